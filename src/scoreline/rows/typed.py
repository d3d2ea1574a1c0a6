"""Columns that come with types, as those of Parquet and Arrow: what a model takes of them, and their text in CSV.

Numbers go to a model as they are where that is exact. Everything else goes the way of CSV: as its text, which is then
read as the model's type, so that one table scores the same in both formats.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.errors import SourceError
from scoreline.rows import arrow, text
from scoreline.types import Feature, FeatureType

_NOTHING, _ZULU, _POINT_ZERO = map(arrow.text, ("", "Z", ".0"))
_WHOLE = r"^-?\d+$"
_NO_FRACTION = r"\.0+$"


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that `plain` gives to a column."""
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    return kind


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema with the types that `plain` gives, and without notes of whoever wrote it."""
    return pa.schema([(field.name, plain_type(field.type)) for field in schema])


def plain(column: pa.Array) -> pa.Array:
    """Return the same values without dictionaries, runs and special widths of text, which are no part of the values."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return plain(column.storage)
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return plain(pc.run_end_decode(column))
    wanted = plain_type(kind)
    return column if wanted == kind else pc.cast(column, wanted)


def check_features(schema: pa.Schema, features: Sequence[Feature]) -> None:
    """Raise SourceError for a model's column that is nested: it is no value that a model takes."""
    kinds = {field.name: field.type for field in schema}
    for feature in features:
        kind = kinds.get(feature.name)
        if kind is not None and pa.types.is_nested(kind):
            raise SourceError(
                f"Reading the intake failed: column '{feature.name}' holds values of the type {kind}, which are no "
                "input of a model; store its parts as columns of their own."
            )


def feature(column: pa.Array, kind: FeatureType) -> pa.Array:
    """Return a plain column for a model's input: with the type's own values, or as texts that are still to be read.

    true and false are 1 and 0 where the model takes numbers.
    """
    have = column.type
    number = pa.types.is_integer(have) or pa.types.is_floating(have) or pa.types.is_boolean(have)
    if kind is FeatureType.NUMERIC and number:
        return pc.cast(column, pa.float64(), safe=False)  # beyond 2**53 to the nearest, as text is read
    if kind is FeatureType.INTEGER and number and not pa.types.is_floating(have):
        try:
            return pc.cast(column, pa.int64())
        except pa.ArrowInvalid:
            pass
    if kind is FeatureType.BOOLEAN and pa.types.is_boolean(have):
        return column
    return as_text(column)


def as_text(column: pa.Array) -> pa.Array:
    """Return the texts of a plain column; null for null and nan. Raises SourceError for bytes that are no text."""
    kind = column.type
    if pa.types.is_string(kind):
        return column
    for is_one, write in _WRITERS:
        if is_one(kind):
            return write(column)
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowInvalid as error:
        raise SourceError(
            "Reading the intake failed: a column of the type binary holds bytes that are no UTF-8 text; leave it out "
            "of passthroughColumns, or write Parquet."
        ) from error


def as_json(column: pa.Array) -> pa.Array:
    """Return the JSON of each value of a nested column; null for null, and within for nan and the infinities.

    Raises SourceError for what JSON cannot have: bytes that are no text, a struct with two fields of one name, a time
    beyond Python's.
    """
    try:
        return arrow.texts([None if value is None else _json(value) for value in column.to_pylist()])
    except (ValueError, OverflowError) as error:
        raise SourceError(
            f"Reading the intake failed: a column of the type {str(column.type)[:100]} holds what cannot be written as "
            f"JSON ({str(error)[:100]}); leave it out of passthroughColumns, or write Parquet."
        ) from error


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=_said, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, default=_said)


def _said(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    """Return the same value with None for nan and the infinities."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def jsonable(column: pa.Array) -> pa.Array:
    """Return the column with a type that JSON has: numbers, truth values, nested ones, and texts for all others."""
    kind = column.type
    if pa.types.is_float64(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_nested(kind):
        return column
    texts = as_text(column)
    return pc.cast(texts, pa.float64()) if pa.types.is_floating(kind) else texts


def shown(columns: Mapping[str, pa.Array], row: int) -> bytes:
    """Return one row for a person, as a JSON object."""
    cells = {name: as_text(column.slice(row, 1))[0].as_py() for name, column in columns.items()}
    return json.dumps(cells, ensure_ascii=False).encode()


def _doubles(column: pa.Array) -> pa.Array:
    values = arrow.values(column)
    texts = text.floats(values)
    infinite = np.isinf(values)
    if infinite.any():
        return pc.if_else(arrow.flags(infinite), pc.cast(arrow.numbers(values), pa.string()), texts)
    return texts


def _small_floats(column: pa.Array) -> pa.Array:
    """Return the shortest texts that give the value again in its own width."""
    texts = pc.cast(pc.cast(column, pa.float32()), pa.string())
    texts = pc.if_else(pc.equal(texts, arrow.text("nan")), arrow.null(pa.string()), texts)
    whole = pc.match_substring_regex(texts, _WHOLE)
    return pc.if_else(whole, pc.binary_join_element_wise(texts, _POINT_ZERO, _NOTHING), texts)


def _moments(column: pa.Array) -> pa.Array:
    """Return `YYYY-MM-DD HH:MM:SS`, with a fraction if there is one; in UTC, with a Z, if there is a time zone."""
    kind = column.type
    local = column if kind.tz is None else column.view(pa.timestamp(kind.unit))
    texts = pc.replace_substring_regex(pc.cast(local, pa.string()), _NO_FRACTION, "")
    return texts if kind.tz is None else pc.binary_join_element_wise(texts, _ZULU, _NOTHING)


_WRITERS = (
    (pa.types.is_float64, _doubles),
    (pa.types.is_floating, _small_floats),
    (pa.types.is_boolean, text.cells),
    (pa.types.is_timestamp, _moments),
    (pa.types.is_nested, as_json),
    (pa.types.is_duration, lambda column: pc.cast(pc.cast(column, pa.int64()), pa.string())),
)
