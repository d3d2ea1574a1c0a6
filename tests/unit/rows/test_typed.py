"""Typed columns as models and CSV see them."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from scoreline.errors import SourceError
from scoreline.rows import cast, typed
from scoreline.types import Feature, FeatureType

NAN, INF = math.nan, math.inf

TEXTS = {
    "int8": (pa.array([1, None, -3], pa.int8()), ["1", None, "-3"]),
    "uint64": (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
    "double": (pa.array([0.1, 5.0, NAN, INF, -INF, None, 1e-7]), ["0.1", "5.0", None, "inf", "-inf", None, "1e-07"]),
    "float": (pa.array([0.1, 5.0, NAN, None], pa.float32()), ["0.1", "5.0", None, None]),
    "bool": (pa.array([True, False, None]), ["True", "False", None]),
    "decimal": (pa.array([Decimal("1.50"), None]), ["1.50", None]),
    "date": (pa.array([date(2026, 2, 3)]), ["2026-02-03"]),
    "time": (pa.array([time(1, 2, 3)], pa.time32("s")), ["01:02:03"]),
    "moment": (
        pa.array([1770091506000000, 1770091506000070, None], pa.timestamp("us")),
        ["2026-02-03 04:05:06", "2026-02-03 04:05:06.000070", None],
    ),
    "moment in a zone": (
        pa.array([datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC), None], pa.timestamp("ms", "Europe/Berlin")),
        ["2026-02-03 04:05:06Z", None],
    ),
    "duration": (pa.array([timedelta(seconds=2)], pa.duration("ms")), ["2000"]),
    "binary": (pa.array([b"ab", None]), ["ab", None]),
    "list": (pa.array([[1, None], None]), ["[1, null]", None]),
    "struct": (pa.array([{"a": "ü"}]), ['{"a": "ü"}']),
    "numbers without end": (pa.array([[0.5, NAN, -INF], None]), ["[0.5, null, null]", None]),
    "deep": (pa.array([{"a": [{"b": NAN}], "c": b"\xc3\xbc"}]), ['{"a": [{"b": null}], "c": "ü"}']),
    "null": (pa.nulls(2), [None, None]),
    "large text": (pa.array(["x", "", None], pa.large_string()), ["x", "", None]),
    "view": (pa.array(["x", None], pa.string_view()), ["x", None]),
    "dictionary": (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
    "runs": (pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]), ["a", "a", "b"]),
    "extension": (pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}"])), ["{}"]),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str) -> None:
    column, wanted = TEXTS[name]
    plain = typed.plain(column)
    assert plain.type == typed.plain_type(column.type)
    assert typed.as_text(plain).to_pylist() == wanted
    assert typed.as_text(plain.slice(1)).to_pylist() == wanted[1:]


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(SourceError, match="no UTF-8"):
        typed.as_text(pa.array([b"\xff"]))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[b"\xff"]]),
        pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["x", "x"]),
        pa.array([[2**62]]).cast(pa.list_(pa.timestamp("us"))),
    ],
)
def test_what_json_cannot_have(column: pa.Array) -> None:
    with pytest.raises(SourceError, match=r"of the type .* holds what cannot be written as JSON"):
        typed.as_text(column)


def taken(column: pa.Array, kind: FeatureType) -> tuple[list, dict[int, str]]:
    batch, errors = cast.features({"x": typed.feature(typed.plain(column), kind)}, [Feature("x", kind)])
    return batch.column(0).to_pylist(), errors


@pytest.mark.parametrize(
    ("column", "kind", "wanted"),
    [
        (pa.array([1, None], pa.int16()), FeatureType.NUMERIC, [1.0, None]),
        (pa.array([2**53 + 1]), FeatureType.NUMERIC, [float(2**53)]),
        (pa.array([0.1], pa.float32()), FeatureType.NUMERIC, [float(np.float32(0.1))]),
        (pa.array([True, None]), FeatureType.NUMERIC, [1.0, None]),
        (pa.array([Decimal("0.10")]), FeatureType.NUMERIC, [0.1]),
        (pa.array(["1.5", "", "NA"]).dictionary_encode(), FeatureType.NUMERIC, [1.5, None, None]),
        (pa.nulls(1), FeatureType.NUMERIC, [None]),
        (pa.array([5.0, NAN, None]), FeatureType.INTEGER, [5, None, None]),
        (pa.array([2**53 + 1, None]), FeatureType.INTEGER, [2**53 + 1, None]),
        (pa.array([False]), FeatureType.INTEGER, [0]),
        (pa.array([1, 0, None]), FeatureType.BOOLEAN, [True, False, None]),
        (pa.array([True, None]), FeatureType.BOOLEAN, [True, None]),
        (pa.array([7, None]), FeatureType.TEXT, ["7", None]),
        (pa.array([date(2026, 1, 2)]), FeatureType.TEXT, ["2026-01-02"]),
        (pa.array(["", "NA"]), FeatureType.TEXT, [None, "NA"]),
    ],
    ids=str,
)
def test_features(column: pa.Array, kind: FeatureType, wanted: list) -> None:
    assert taken(column, kind) == (wanted, {})


@pytest.mark.parametrize(
    ("column", "kind", "says"),
    [
        (pa.array([1.5]), FeatureType.INTEGER, "'1.5' is not a whole number"),
        (pa.array([2**64 - 1], pa.uint64()), FeatureType.INTEGER, "is not a whole number"),
        (pa.array([date(2026, 1, 2)]), FeatureType.NUMERIC, "'2026-01-02' is not a number"),
        (pa.array([2]), FeatureType.BOOLEAN, "'2' is not true or false"),
    ],
    ids=["fraction", "beyond 64 bits", "date", "neither"],
)
def test_cells_that_are_no_values(column: pa.Array, kind: FeatureType, says: str) -> None:
    values, errors = taken(column, kind)
    assert values == [None]
    assert says in errors[0]


def test_nested_columns_are_no_features() -> None:
    schema = pa.schema([("x", pa.list_(pa.int64()))])
    with pytest.raises(SourceError, match="column 'x' holds values of the type list"):
        typed.check_features(schema, [Feature("x", FeatureType.NUMERIC)])
