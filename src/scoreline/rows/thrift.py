"""The compact encoding of Thrift, as far as the footer of a Parquet file needs it to be read, changed and written."""

from __future__ import annotations

import struct
from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
_WHOLE = (I16, I32, I64)
_LONG = 15  # a list with so many elements, or more, has its length behind its header

Struct = dict[int, tuple[int, Any]]
"""The fields of a struct by number: each a type and a value; of a list the value is the elements' type and a list."""


def read(body: bytes, at: int = 0) -> tuple[Struct, int]:
    """Return the struct that begins at a place, and where it ends. Raises ValueError for what is no such struct."""
    try:
        return _Reader(body, at).struct()
    except (IndexError, struct.error) as error:
        raise ValueError("a Thrift struct is cut off") from error


def write(fields: Struct) -> bytes:
    """Return the bytes of a struct."""
    out = bytearray()
    _struct(out, fields)
    return bytes(out)


def list_head(kind: int, length: int) -> bytes:
    """Return what stands before the elements of a list."""
    if length < _LONG:
        return bytes([length << 4 | kind])
    return bytes([_LONG << 4 | kind]) + _varint(length)


def field_head(number: int, kind: int, before: int) -> bytes:
    """Return what stands before the value of field `number`, which comes behind field `before`."""
    step = number - before
    if 0 < step < 16:
        return bytes([step << 4 | kind])
    return bytes([kind]) + _varint(_zigzag(number))


class _Reader:
    def __init__(self, body: bytes, at: int) -> None:
        self._body = body
        self._at = at

    def struct(self) -> tuple[Struct, int]:
        fields: Struct = {}
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            number = number + step if step else self._whole()
            fields[number] = (kind, self._value(kind, alone=True))
        return fields, self._at

    def _value(self, kind: int, *, alone: bool) -> Any:
        if kind in (TRUE, FALSE):
            return kind == TRUE if alone else self._byte() == TRUE
        if kind in _WHOLE:
            return self._whole()
        reads = {BYTE: self._byte, DOUBLE: self._double, BINARY: self._binary, LIST: self._list, SET: self._list}
        if kind == STRUCT:
            return self.struct()[0]
        if kind not in reads:
            raise ValueError(f"Thrift type {kind} is not known")
        return reads[kind]()

    def _double(self) -> Any:
        return struct.unpack("<d", self._bytes(8))[0]

    def _binary(self) -> bytes:
        return self._bytes(self._varint())

    def _list(self) -> tuple[int, list[Any]]:
        head = self._byte()
        length, kind = head >> 4, head & 15
        if length == _LONG:
            length = self._varint()
        return kind, [self._value(kind, alone=False) for _ in range(length)]

    def _byte(self) -> int:
        self._at += 1
        return self._body[self._at - 1]

    def _bytes(self, length: int) -> bytes:
        self._at += length
        if self._at > len(self._body):
            raise IndexError
        return self._body[self._at - length : self._at]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _whole(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)


def _struct(out: bytearray, fields: Struct) -> None:
    before = 0
    for number, (kind, value) in fields.items():
        # Of a field that is a truth value, the type is the value.
        out += field_head(number, (TRUE if value else FALSE) if kind in (TRUE, FALSE) else kind, before)
        if kind not in (TRUE, FALSE):
            _put(out, kind, value)
        before = number
    out.append(0)


def _put(out: bytearray, kind: int, value: Any) -> None:
    if kind in (TRUE, FALSE):
        out.append(TRUE if value else FALSE)
    elif kind == BYTE:
        out.append(value)
    elif kind in _WHOLE:
        out += _varint(_zigzag(value))
    elif kind == DOUBLE:
        out += struct.pack("<d", value)
    elif kind == BINARY:
        out += _varint(len(value)) + value
    elif kind in (LIST, SET):
        inner, items = value
        out += list_head(inner, len(items))
        for item in items:
            _put(out, inner, item)
    else:
        _struct(out, value)


def _zigzag(value: int) -> int:
    return value << 1 ^ value >> 63


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
