"""Text columns -> the columns a model takes, with the model's own types; never guessed from the values.

A cell that is no value of its type fails its row alone. What counts as a value: for numbers whatever Arrow's CSV
reader takes (blanks around it, `inf`, exponents), for integers also `5.0`; the words in `NULLS` and every
`nan` mean no value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.errors import SourceError, one_line
from scoreline.rows import arrow
from scoreline.types import Feature, FeatureType

NULLS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "none", "n/a", "#N/A", "<NA>")
TRUE = ("true", "True", "TRUE", "t", "T", "yes", "Yes", "YES", "y", "Y", "1", "1.0")
FALSE = ("false", "False", "FALSE", "f", "F", "no", "No", "NO", "n", "N", "0", "0.0")
_NULLS, _TRUE, _FALSE = map(arrow.texts, (NULLS, TRUE, FALSE))

ARROW_TYPES = {
    FeatureType.NUMERIC: pa.float64(),
    FeatureType.INTEGER: pa.int64(),
    FeatureType.BOOLEAN: pa.bool_(),
    FeatureType.TEXT: pa.string(),
}

_NOUNS = {
    FeatureType.NUMERIC: "a number",
    FeatureType.INTEGER: "a whole number",
    FeatureType.BOOLEAN: "true or false",
    FeatureType.TEXT: "text",
}
_BLANKS = " \t"
_NUMBER = r"^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf|infinity|nan)|(?i:nan)\([0-9A-Za-z_]*\))$"
_EXACT = float(2**53)
_SHOWN = 60  # characters of a bad cell that a message shows


def missing(names: Sequence[str], features: Sequence[Feature]) -> list[str]:
    """Return the features that are not among the column `names`, in the model's order."""
    present = set(names)
    return [feature.name for feature in features if feature.name not in present]


def schema(features: Sequence[Feature]) -> pa.Schema:
    """Return the Arrow schema of a batch of `features`."""
    return pa.schema([(feature.name, ARROW_TYPES[feature.type]) for feature in features])


def features(columns: Mapping[str, pa.Array], features: Sequence[Feature]) -> tuple[pa.RecordBatch, dict[int, str]]:
    """Return the batch that a model takes, and for each row that has a bad cell its message.

    `columns` hold text (string arrays), or values that already have the feature's type. A bad cell is null in the
    batch. The message names the first bad column in the model's order. Raises SourceError when a column is missing.
    """
    absent = missing(list(columns), features)
    if absent:
        raise SourceError(missing_message(absent))
    arrays, errors = [], dict[int, str]()
    for feature in features:
        array, bad = _cast(columns[feature.name], feature)
        arrays.append(array)
        for row, message in bad.items():
            errors.setdefault(row, message)
    rows = len(arrays[0]) if arrays else 0
    if not arrays:
        return pa.record_batch([], schema=pa.schema([])), errors
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema(features))
    assert batch.num_rows == rows
    return batch, errors


def missing_message(absent: Sequence[str]) -> str:
    """Return the sentence for model columns that the source lacks; all are named, up to 100."""
    shown = ", ".join(f"'{name}'" for name in absent[:100]) + (", ..." if len(absent) > 100 else "")
    noun = "column" if len(absent) == 1 else f"{len(absent)} columns"
    return (
        f"Reading the intake failed: the model needs the {noun} {shown}, which the header does not have; "
        "add what is missing, or check the delimiter and the encoding in csvSettings."
    )


def absent_values(array: pa.Array, feature: Feature) -> dict[int, str]:
    """Return a message for each null in a column whose type has no way to hold one."""
    if feature.nullable or feature.type not in (FeatureType.INTEGER, FeatureType.BOOLEAN) or not array.null_count:
        return {}
    message = f"column '{feature.name}' is empty, and the model needs {_NOUNS[feature.type]} there"
    return dict.fromkeys(np.flatnonzero(~arrow.valid(array)).tolist(), message)


def empty_is_null(array: pa.Array) -> pa.Array:
    """Return the same texts with null for the empty ones; no text is copied."""
    filled = arrow.lengths(array) > 0
    if filled.all():
        return array
    if array.null_count or array.offset:
        return _without(array, ~filled)
    validity = pa.py_buffer(np.packbits(filled, bitorder="little"))
    return pa.Array.from_buffers(array.type, len(array), [validity, *array.buffers()[1:]])


def _cast(column: pa.Array, feature: Feature) -> tuple[pa.Array, dict[int, str]]:
    wanted = ARROW_TYPES[feature.type]
    if column.type == wanted and feature.type is not FeatureType.TEXT:
        return _nan_is_null(column), absent_values(column, feature)
    if column.type != pa.string():
        column = pc.cast(column, pa.string())
    if feature.type is FeatureType.TEXT:
        return empty_is_null(column), {}
    plain = _plain(column, wanted)
    if plain is not None:
        return _nan_is_null(plain), absent_values(plain, feature)
    text = pc.ascii_trim(column, _BLANKS)
    text = _without(text, arrow.mask(pc.is_in(text, value_set=_NULLS)))
    array, bad = _READERS[feature.type](text)
    errors = absent_values(array, feature) if not bad.any() else {}
    if bad.any():
        errors = absent_values(_without(text, bad), feature)
        for row in np.flatnonzero(bad).tolist():
            shown = one_line(column[row].as_py(), _SHOWN)
            errors[row] = f"column '{feature.name}': '{shown}' is not {_NOUNS[feature.type]}"
    return _nan_is_null(array), errors


def _plain(column: pa.Array, wanted: pa.DataType) -> pa.Array | None:
    """Cast a column that has nothing but clean numbers and empty cells; None when there is anything else."""
    if wanted == pa.bool_():
        return None
    try:
        return pc.cast(empty_is_null(column), wanted)
    except pa.ArrowInvalid:
        return None


def _nan_is_null(array: pa.Array) -> pa.Array:
    """Make `nan` in any spelling what the words in NULLS are: no value."""
    if not pa.types.is_floating(array.type):
        return array
    nan = pc.is_nan(array)
    return pc.if_else(nan, arrow.null(array.type), array) if pc.any(nan).as_py() else array


def _numbers(text: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    try:
        return pc.cast(text, pa.float64()), _none_of(text)
    except pa.ArrowInvalid:
        bad = ~arrow.mask(pc.match_substring_regex(text, _NUMBER)) & arrow.valid(text)
        return pc.cast(_without(text, bad), pa.float64()), bad


def _integers(text: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    try:
        return pc.cast(text, pa.int64()), _none_of(text)
    except pa.ArrowInvalid:
        pass
    plain = arrow.mask(pc.match_substring_regex(text, r"^(?:[+-]?\d+|0[xX][0-9a-fA-F]+)$"))
    signless = pc.replace_substring_regex(text, r"^\+", "")
    array, bad = _fitting(_without(signless, ~plain))
    # `5.0` and `1e3` are whole numbers, too: files written from tables with gaps are full of them.
    other = arrow.valid(text) & ~plain
    if not other.any():
        return array, bad
    decimal, wrong = _numbers(_without(text, ~other))
    values = arrow.values(decimal)  # nan where there is none
    with np.errstate(invalid="ignore"):
        exact = other & ~wrong & (np.abs(values) <= _EXACT) & (values == np.floor(values))
    whole = arrow.numbers(np.where(exact, values, 0).astype(np.int64))
    absent = ~wrong & np.isnan(values)
    return pc.if_else(arrow.flags(exact), whole, array), bad | (other & ~exact & ~absent)


def _booleans(text: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    yes = pc.is_in(text, value_set=_TRUE)
    known = pc.or_(yes, pc.is_in(text, value_set=_FALSE))
    bad = arrow.valid(text) & ~arrow.mask(known)
    return pc.if_else(known, yes, arrow.null(pa.bool_())), bad


def _fitting(text: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Cast texts of digits, setting aside those beyond 64 bits."""
    bad = _none_of(text)
    for row in np.flatnonzero(arrow.valid(text) & (arrow.lengths(text) > 17)).tolist():
        bad[row] = not _fits(text[row], pa.int64())
    return pc.cast(_without(text, bad), pa.int64()), bad


def _fits(value: pa.Scalar, wanted: pa.DataType) -> bool:
    try:
        pc.cast(value, wanted)
    except pa.ArrowInvalid:
        return False
    return True


def _without(text: pa.Array, rows: npt.NDArray[np.bool_]) -> pa.Array:
    return pc.if_else(arrow.flags(rows), arrow.null(text.type), text)


def _none_of(array: pa.Array) -> npt.NDArray[np.bool_]:
    return np.zeros(len(array), np.bool_)


_READERS: dict[FeatureType, Callable[[pa.Array], tuple[pa.Array, npt.NDArray[np.bool_]]]] = {
    FeatureType.NUMERIC: _numbers,
    FeatureType.INTEGER: _integers,
    FeatureType.BOOLEAN: _booleans,
}
