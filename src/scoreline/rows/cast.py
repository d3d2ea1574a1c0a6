"""Text columns -> the columns a model takes, with the model's own types; never guessed from the values.

A cell that is no value of its type fails its row alone. What counts as a value: for numbers whatever Arrow's CSV
reader takes (blanks around it, `inf`, exponents), for integers also `5.0`; the words in `NULLS` mean no value,
and so does `nan` in any spelling: a model sees nan for a null.
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
_Reader = Callable[[pa.Array], tuple[pa.Array, npt.NDArray[np.bool_]]]
_BLANKS = " \t"
_CLIENTS_INDEX = "__DR_index__"
_NUMBER = r"^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf|infinity|nan)|(?i:nan)\([0-9A-Za-z_]*\))$"
_EXACT = float(2**53)
_SHOWN = 60  # characters of a bad cell that a message shows


def missing(names: Sequence[str], features: Sequence[Feature]) -> list[str]:
    """Return the features that are not among the column `names`, in the model's order."""
    present = set(names)
    return [feature.name for feature in features if feature.name not in present]


def absent(names: Sequence[str], features: Sequence[Feature]) -> dict[str, pa.DataType]:
    """Return the types of the model's columns that are not among the `names` and need not be.

    Raises SourceError for others, and when none of a model's columns is there.
    """
    lacking = set(missing(names, features))
    gone = [feature for feature in features if feature.name in lacking]
    if len(gone) == len(features) > 0 or not all(feature.optional for feature in gone):
        raise SourceError(missing_message([feature.name for feature in gone]))
    return {feature.name: ARROW_TYPES[feature.type] for feature in gone}


def inputs(names: Sequence[str], features: Sequence[Feature]) -> tuple[Feature, ...]:
    """Return the columns that a model gets: its own, or for one that names none every column of the source as it is.

    The column by which the official client finds its rows again is nobody's input.
    """
    return tuple(features) or tuple(Feature(name, FeatureType.TEXT) for name in names if name != _CLIENTS_INDEX)


def schema(features: Sequence[Feature]) -> pa.Schema:
    """Return the Arrow schema of a batch of `features`."""
    return pa.schema([(feature.name, ARROW_TYPES[feature.type]) for feature in features])


def features(columns: Mapping[str, pa.Array], features: Sequence[Feature]) -> tuple[pa.RecordBatch, dict[int, str]]:
    """Return the batch that a model takes, and for each row that has a bad cell its message.

    `columns` hold text (string arrays), or values that already have the feature's type. A bad cell is null in the
    batch. The message names the first bad column in the model's order. Raises SourceError when a column is missing.
    """
    return Caster(features)(columns)


class Caster:
    """`features` for many batches of the same columns."""

    def __init__(self, features: Sequence[Feature]) -> None:
        self._features = tuple(features)
        self._schema = schema(features)

    def __call__(self, columns: Mapping[str, pa.Array]) -> tuple[pa.RecordBatch, dict[int, str]]:
        """Cast the columns of one batch; see `features`."""
        absent = missing(list(columns), self._features)
        if absent:
            raise SourceError(missing_message(absent))
        arrays = [_ready(columns[feature.name], feature) for feature in self._features]
        errors = dict[int, str]()
        found = list[tuple[int, dict[int, str]]]()
        for kind, read in _READERS.items():
            texts = [i for i, feature in enumerate(self._features) if feature.type is kind and _is_text(arrays[i])]
            found += _cast(arrays, texts, self._features, read) if texts else ()
        for i, feature in enumerate(self._features):
            if not feature.nullable:
                found.append((i, _absent_values(arrays[i], feature)))
        # A cell that is no value became null: its own message comes first, as sorting keeps the order of equals.
        for _, messages in sorted(found, key=lambda some: some[0]):
            errors = messages | errors
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema), errors


def missing_message(absent: Sequence[str]) -> str:
    """Return the sentence for model columns that the source lacks; all are named, up to 100."""
    return (
        f"Reading the intake failed: the model needs the {_listed(absent)}, which the header does not have; "
        "add what is missing, or check the delimiter and the encoding in csvSettings."
    )


def absent_message(absent: Sequence[str]) -> str:
    """Return the warning for model columns that the source lacks and the model can do without."""
    return (
        f"The header lacks the model's {_listed(absent)}: all rows are scored without a value there, which this model "
        "takes; check the header if that is not meant."
    )


def _listed(absent: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in absent[:100]) + (", ..." if len(absent) > 100 else "")
    return f"{'column' if len(absent) == 1 else f'{len(absent)} columns'} {shown}"


def empty_is_null(array: pa.Array) -> pa.Array:
    """Return the same texts with null for the empty ones; no text is copied."""
    filled = arrow.lengths(array) > 0
    if filled.all():
        return array
    if array.null_count or array.offset:
        return _without(array, ~filled)
    validity = pa.py_buffer(np.packbits(filled, bitorder="little"))
    return pa.Array.from_buffers(array.type, len(array), [validity, *array.buffers()[1:]])


def _is_text(array: pa.Array) -> bool:
    return bool(array.type == pa.string())


def _ready(column: pa.Array, feature: Feature) -> pa.Array:
    """Return the column as its type has it, or as texts that are still to be cast."""
    if not _is_text(column):
        if column.type == ARROW_TYPES[feature.type]:
            return column
        column = pc.cast(column, pa.string())
    return empty_is_null(column) if feature.type is FeatureType.TEXT else column


def _cast(
    arrays: list[pa.Array], places: Sequence[int], features: Sequence[Feature], read: _Reader
) -> list[tuple[int, dict[int, str]]]:
    """Cast the texts at `places`, all of one type, where they are; return the messages of the bad cells by place."""
    wanted = ARROW_TYPES[features[places[0]].type]
    # One call for all columns: thousands of small calls from several threads would wait for one another.
    if _cast_clean(arrays, places, wanted):
        return []
    found = []
    for i in places:
        if _cast_clean(arrays, [i], wanted):
            continue
        column, feature = arrays[i], features[i]
        text = pc.ascii_trim(column, _BLANKS)
        text = _without(text, arrow.mask(pc.is_in(text, value_set=_NULLS)))
        arrays[i], bad = read(text)
        messages = {}
        for row in np.flatnonzero(bad).tolist():
            shown = one_line(column[row].as_py(), _SHOWN)
            messages[row] = f"column '{feature.name}': '{shown}' is not {_NOUNS[feature.type]}"
        found.append((i, messages))
    return found


def _cast_clean(arrays: list[pa.Array], places: Sequence[int], wanted: pa.DataType) -> bool:
    """Cast columns that have nothing but clean numbers and empty cells; say whether they were such."""
    if wanted == pa.bool_():
        return False
    rows = len(arrays[places[0]])
    try:
        whole = arrays[places[0]] if len(places) == 1 else pa.concat_arrays([arrays[i] for i in places])
        numbers = pc.cast(empty_is_null(whole), wanted)
    except pa.ArrowInvalid:
        return False
    for number, i in enumerate(places):
        arrays[i] = numbers.slice(number * rows, rows)
    return True


def _absent_values(array: pa.Array, feature: Feature) -> dict[int, str]:
    """Return a message for each null (or nan, which means the same) in a column where the model takes none.

    A model would refuse such rows itself, but one call at a time, and the calls spent on a chunk have an end.
    """
    absent = ~arrow.valid(array)
    if pa.types.is_floating(array.type):
        absent |= np.isnan(arrow.values(array))
    message = f"column '{feature.name}' is empty, and the model needs {_NOUNS[feature.type]} there"
    return dict.fromkeys(np.flatnonzero(absent).tolist(), message)


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


_READERS: dict[FeatureType, _Reader] = {
    FeatureType.NUMERIC: _numbers,
    FeatureType.INTEGER: _integers,
    FeatureType.BOOLEAN: _booleans,
}
