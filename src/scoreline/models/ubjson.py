"""A check that a UBJSON file is whole. XGBoost's own reader crashes the process on one that ends too early."""

from __future__ import annotations

import struct

_SIZES = {b"i": 1, b"U": 1, b"C": 1, b"I": 2, b"l": 4, b"d": 4, b"L": 8, b"D": 8}
_CONSTANTS = (b"Z", b"N", b"T", b"F")
_LENGTHS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q"}
_DEEPEST = 64


def check(data: bytes) -> None:
    """Raise ValueError unless `data` is one UBJSON object, complete and with nothing behind it."""
    if data[:1] != b"{":
        raise ValueError("it does not begin with an object")
    end = _value(data, 0, 0)
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes lie behind its end")


def _value(data: bytes, at: int, depth: int) -> int:
    """Return where the value at `at` ends."""
    kind = data[at : at + 1]
    at += 1
    if kind in _SIZES:
        return _within(data, at + _SIZES[kind])
    if kind == b"S":
        return _text(data, at)
    if kind in _CONSTANTS:
        return at
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    if kind == b"[":
        return _array(data, at, depth)
    if kind == b"{":
        while data[at : at + 1] != b"}":
            at = _value(data, _text(data, at), depth + 1)
        return at + 1
    raise ValueError("it ends too early" if not kind else f"byte {at - 1} begins no value")


def _array(data: bytes, at: int, depth: int) -> int:
    if data[at : at + 1] == b"$":
        kind = data[at + 1 : at + 2]
        if data[at + 2 : at + 3] != b"#" or kind not in _SIZES:
            raise ValueError(f"byte {at} begins no array")
        count, at = _length(data, at + 3)
        return _within(data, at + count * _SIZES[kind])
    if data[at : at + 1] == b"#":
        count, at = _length(data, at + 1)
        for _ in range(count):
            at = _value(data, at, depth + 1)
        return at
    while data[at : at + 1] != b"]":
        at = _value(data, at, depth + 1)
    return at + 1


def _text(data: bytes, at: int) -> int:
    count, at = _length(data, at)
    return _within(data, at + count)


def _length(data: bytes, at: int) -> tuple[int, int]:
    kind = data[at : at + 1]
    if kind not in _LENGTHS:
        raise ValueError("it ends too early" if not kind else f"byte {at} begins no length")
    end = _within(data, at + 1 + _SIZES[kind])
    (count,) = struct.unpack(_LENGTHS[kind], data[at + 1 : end])
    if count < 0:
        raise ValueError(f"byte {at} begins a negative length")
    return count, end


def _within(data: bytes, end: int) -> int:
    if end > len(data):
        raise ValueError("it ends too early")
    return end
