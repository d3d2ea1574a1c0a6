"""Just enough of the protobuf wire format to recognise an ONNX file and read a few of its fields, without a library."""

from __future__ import annotations

from collections.abc import Iterator

Field = tuple[int, int, "int | memoryview"]  # number, wire type, value: an int for varints, bytes for all else

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields(data: memoryview) -> Iterator[Field]:
    """Yield a message's fields in their order. Raises ValueError for what is not a message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("field number 0")
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, kind, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(data):
            raise ValueError("a field ends behind the message")
        yield number, kind, data[at : at + size]
        at += size


def varints(data: memoryview) -> Iterator[int]:
    """Yield the numbers of a packed repeated field. Raises ValueError."""
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def signed(value: int) -> int:
    """Return a varint's value as int64."""
    return value - (1 << 64) if value >> 63 else value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number ends behind the message")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
