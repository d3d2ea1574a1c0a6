"""Numbers as text: the shortest text that gives the same float64 again, spelt as Python spells it.

Arrow prints the shortest digits, too, and without holding the interpreter's lock, but lays some of them out
differently (`5`, `0.00001`, `1e-7`, `1.5e+10`). Only those values are laid out again here, many at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.rows import arrow

# Arrow writes an exponent from here on, Python only from 1e16.
_ARROW_EXPONENT = 1e10
_PYTHON_EXPONENT = 1e16
_EXACT = 2.0**53  # from here on not every whole number is a float64
_POINT_ZERO, _NOTHING, _MINUS_ZERO = map(arrow.text, (".0", "", "-0.0"))
_TRUE, _FALSE = map(arrow.text, ("True", "False"))
_SMALL = 1e-4  # below this Python writes an exponent

# What Arrow writes for 1e-5 > |x| and how Python does.
_TINY_RULES = (
    (r"^(-?)0\.0000([1-9])$", r"\1\2e-05"),
    (r"^(-?)0\.0000([1-9])(\d+)$", r"\1\2.\3e-05"),
    (r"^(-?)0\.00000([1-9])$", r"\1\2e-06"),
    (r"^(-?)0\.00000([1-9])(\d+)$", r"\1\2.\3e-06"),
    (r"e-(\d)$", r"e-0\1"),
)
_LARGE_RULES = tuple((rf"^(-?\d)\.(\d{{{n}}})(\d+)e\+{n}$", r"\1\2.\3") for n in range(10, 16))


def floats(values: npt.NDArray[np.float64]) -> pa.Array:
    """Return the texts of `values` as Python's `repr` writes them; null for nan and the infinities."""
    finite = np.isfinite(values)
    text = pc.cast(arrow.numbers(values, ~finite), pa.string())
    size = np.abs(values)
    with np.errstate(invalid="ignore"):
        whole = finite & (size < _PYTHON_EXPONENT) & (values == np.floor(values))
        large = finite & (size >= _ARROW_EXPONENT) & (size < _PYTHON_EXPONENT) & ~whole
        tiny = (size < _SMALL) & (size > 0)
    text = _patch(text, whole, lambda _: _whole(values[whole]))
    text = _patch(text, large, lambda some: _rewrite(some, _LARGE_RULES))
    return _patch(text, tiny, lambda some: _rewrite(some, _TINY_RULES))


def cells(column: pa.Array) -> pa.Array:
    """Return the texts of a column of texts, numbers or truth values; null for null, nan and the infinities."""
    if pa.types.is_floating(column.type):
        return floats(arrow.values(column))
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, _TRUE, _FALSE)
    return column if column.type == pa.string() else pc.cast(column, pa.string())


def whole_cells(column: pa.Array) -> pa.Array:
    """Do what `cells` does, but write numbers without a fraction as whole ones, whatever type they come in."""
    if not pa.types.is_floating(column.type):
        return cells(column)
    values = arrow.values(column)
    with np.errstate(invalid="ignore"):
        whole = (np.abs(values) < _EXACT) & (values == np.floor(values))
    return _patch(floats(values), whole, lambda _: pc.cast(arrow.numbers(values[whole].astype(np.int64)), pa.string()))


def _patch(text: pa.Array, mask: npt.NDArray[np.bool_], new: Callable[[pa.Array], pa.Array]) -> pa.Array:
    if not mask.any():
        return text
    if mask.all():
        return new(text)
    chosen = arrow.flags(mask)
    return pc.replace_with_mask(text, chosen, new(text.filter(chosen)))


def _rewrite(text: pa.Array, rules: tuple[tuple[str, str], ...]) -> pa.Array:
    for pattern, replacement in rules:
        text = pc.replace_substring_regex(text, pattern, replacement)
    return text


def _whole(values: npt.NDArray[np.float64]) -> pa.Array:
    digits = pc.cast(arrow.numbers(values.astype(np.int64)), pa.string())
    text = pc.binary_join_element_wise(digits, _POINT_ZERO, _NOTHING)
    negative_zero = (values == 0) & np.signbit(values)
    return pc.if_else(arrow.flags(negative_zero), _MINUS_ZERO, text) if negative_zero.any() else text
