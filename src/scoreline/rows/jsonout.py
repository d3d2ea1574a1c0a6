"""Columns -> JSON, by column or by row. No loop runs over rows."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.rows import arrow, csvout, text, typed

_COMMA, _NOTHING, _QUOTE = map(arrow.text, (",", "", '"'))
_NULL = "null"
_CONTROL = r"[\x00-\x1f]"
_NULLS = {"null_handling": "replace", "null_replacement": _NULL}


def literals(array: pa.Array) -> pa.Array:
    """Return the JSON of each value as text; null stays null, and so become nan and the infinities."""
    if pa.types.is_floating(array.type):
        return text.floats(arrow.values(array))
    if pa.types.is_string(array.type):
        return pc.binary_join_element_wise(_QUOTE, _escaped(array), _QUOTE, _NOTHING)
    if pa.types.is_nested(array.type):
        return typed.as_json(array)
    return pc.cast(array, pa.string())


def objects(names: Sequence[str], arrays: Sequence[pa.Array]) -> bytes:
    """Return each row as a JSON object with these names, in a line of its own; null where there is no value."""
    members = [
        pc.binary_join_element_wise(
            arrow.text(json.dumps(name, ensure_ascii=False) + ":"), literals(array), _NOTHING, **_NULLS
        )
        for name, array in zip(names, arrays, strict=True)
    ]
    inside = pc.binary_join_element_wise(*members, _COMMA)
    return csvout.data_bytes(pc.binary_join_element_wise(arrow.text("{"), inside, arrow.text("}\n"), _NOTHING))


def values(arrays: Sequence[pa.Array]) -> bytes:
    """Return the values, row by row, as the inside of one JSON list; null where there is none."""
    return _joined([literals(array) for array in arrays])


def lists(arrays: Sequence[pa.Array]) -> bytes:
    """Return each row as a JSON list, as the inside of one JSON list."""
    cells = pc.binary_join_element_wise(*map(literals, arrays), _COMMA, **_NULLS)
    return _joined([pc.binary_join_element_wise(arrow.text("["), cells, arrow.text("]"), _NOTHING)])


def infinite(batch: pa.RecordBatch) -> tuple[int, str] | None:
    """Return the first row and column with an infinite number, which JSON has no sign for."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_floating(column.type):
            found = np.isinf(arrow.values(column))
            if found.any():
                return int(found.argmax()), name
    return None


def _joined(columns: list[pa.Array]) -> bytes:
    # Each value is followed by a comma, so that they can be put together as they lie; the last one's is cut off.
    line = pc.binary_join_element_wise(*columns, _NOTHING, _COMMA, **_NULLS)
    return csvout.data_bytes(line)[:-1]


def _escaped(array: pa.Array) -> pa.Array:
    body = csvout.data_bytes(array)
    if b"\\" in body:
        array = pc.replace_substring(array, "\\", "\\\\")
    if b'"' in body:
        array = pc.replace_substring(array, '"', '\\"')
    if pc.any(pc.match_substring_regex(array, _CONTROL)).as_py():
        for code in range(0x20):
            array = pc.replace_substring(array, chr(code), json.dumps(chr(code))[1:-1])
    return array
