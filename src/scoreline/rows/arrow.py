"""Values of Python and NumPy as Arrow's and back, without `pa.array`, `pa.scalar` and `to_numpy`.

These look for pandas first and import it where it is installed: most of a second and some 50 MB that a worker has no
use for. Compute functions do the same to plain Python arguments, so they are given the scalars from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def numbers(
    values: npt.NDArray[np.float64] | npt.NDArray[np.int64], missing: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """Return float64 or int64 values, null where `missing` is true."""
    kind = pa.float64() if values.dtype == np.float64 else pa.int64()
    body = np.ascontiguousarray(values, np.float64 if kind == pa.float64() else np.int64)
    valid = None if missing is None or not missing.any() else _bits(~missing)
    return pa.Array.from_buffers(kind, len(body), [valid, pa.py_buffer(body)])


def flags(values: npt.NDArray[np.bool_]) -> pa.Array:
    """Return booleans."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def texts(items: Sequence[str | None]) -> pa.Array:
    """Return strings; None is null."""
    encoded = [b"" if item is None else item.encode() for item in items]
    offsets = np.fromiter(accumulate(map(len, encoded), initial=0), np.int32, len(encoded) + 1)
    missing = np.fromiter((item is None for item in items), np.bool_, len(encoded))
    valid = _bits(~missing) if missing.any() else None
    return pa.Array.from_buffers(
        pa.string(), len(encoded), [valid, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def text(item: str) -> pa.Scalar:
    """Return one string."""
    return texts([item])[0]


def null(kind: pa.DataType) -> pa.Scalar:
    """Return no value, of a type."""
    return pa.nulls(1, kind)[0]


def values(array: pa.Array) -> npt.NDArray[np.float64]:
    """Return float64 values as NumPy's; null is nan. Without nulls nothing is copied, and they cannot be written to."""
    if not len(array):
        return np.empty(0)
    found = np.frombuffer(array.buffers()[1], np.float64, len(array), 8 * array.offset)
    return np.where(valid(array), found, np.nan) if array.null_count else found


def lengths(array: pa.Array) -> npt.NDArray[np.int32]:
    """Return the bytes of each text of a string array; of a null it may be anything."""
    if not len(array):
        return np.zeros(0, np.int32)
    offsets = np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, 4 * array.offset)
    return np.subtract(offsets[1:], offsets[:-1])


def mask(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Return a boolean array as NumPy's; null is false."""
    valid_bits, bits = array.buffers()
    found = _unpacked(bits, array)
    return found & _unpacked(valid_bits, array) if array.null_count else found


def valid(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Return where an array has values."""
    return _unpacked(array.buffers()[0], array) if array.null_count else np.ones(len(array), np.bool_)


def _unpacked(bits: pa.Buffer, array: pa.Array) -> npt.NDArray[np.bool_]:
    if not len(array):
        return np.zeros(0, np.bool_)
    end = array.offset + len(array)
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=end, bitorder="little")[array.offset :].view(np.bool_)


def _bits(values: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
