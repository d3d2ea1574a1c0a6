"""Casting against an independent reading of each cell by Python."""

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.errors import SourceError
from scoreline.rows import cast
from scoreline.types import Feature, FeatureType

NULL = {"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "none", "n/a", "#N/A", "<NA>"}
CELL = st.one_of(
    st.sampled_from(
        [*sorted(NULL), "NAN", "inf", "-inf", "x", "1,5", "0x1F", "5.0", "1e3", "+7", " 4 ", "\t-2", "1.", ".5"]
    ),
    st.floats().map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.text(alphabet="01.eE+- x", max_size=4),
)
BAD = object()


def number(cell: str):
    cell = cell.strip(" \t")
    if cell in NULL:
        return None
    try:
        value = BAD if "_" in cell or any(c.isspace() for c in cell) else float(cell)
    except ValueError:
        return BAD
    return None if value is not BAD and math.isnan(value) else value


def integer(cell: str):
    cell = cell.strip(" \t")
    if cell.lower().startswith("0x"):
        try:
            value = int(cell, 16)
        except ValueError:
            return BAD
    else:
        try:
            value = int(cell)
        except ValueError:
            value = number(cell)
    if value is None or value is BAD:
        return value
    if isinstance(value, float):
        return int(value) if abs(value) <= 2**53 and value == math.floor(value) else BAD
    return value if -(2**63) <= value < 2**63 else BAD


@pytest.mark.parametrize(("kind", "read"), [(FeatureType.NUMERIC, number), (FeatureType.INTEGER, integer)])
@given(cells=st.lists(CELL, max_size=12))
def test_numbers(kind, read, cells):
    batch, errors = cast.features({"a": pa.array(cells, pa.string())}, [Feature("a", kind)])
    assert batch.schema.field("a").type == cast.ARROW_TYPES[kind]
    wanted = [read(cell) for cell in cells]
    # nan is as good as null: both are nan to a model.
    got = [None if isinstance(v, float) and math.isnan(v) else v for v in batch.column(0).to_pylist()]
    assert sorted(errors) == [i for i, value in enumerate(wanted) if value is BAD]
    for i, value in enumerate(wanted):
        assert got[i] is None if value is BAD else got[i] == value, (cells[i], got[i], value)


def test_messages_and_first_column_wins():
    columns = {"n": pa.array(["1", "abc", "2"]), "i": pa.array(["1", "x", "2.5"]), "b": pa.array(["yes", "", "si"])}
    features = [
        Feature("n", FeatureType.NUMERIC),
        Feature("i", FeatureType.INTEGER),
        Feature("b", FeatureType.BOOLEAN),
    ]
    batch, errors = cast.features(columns, features)
    assert errors == {1: "column 'n': 'abc' is not a number", 2: "column 'i': '2.5' is not a whole number"}
    assert batch.to_pydict() == {"n": [1.0, None, 2.0], "i": [1, None, None], "b": [True, None, None]}


def test_text_is_left_alone_but_for_empty():
    batch, errors = cast.features({"t": pa.array(["", "NA", " x ", None])}, [Feature("t", FeatureType.TEXT)])
    assert batch.column(0).to_pylist() == [None, "NA", " x ", None]
    assert errors == {}
    sliced = pa.array(["drop", "", "y"]).slice(1)
    assert cast.empty_is_null(sliced).to_pylist() == [None, "y"]


@pytest.mark.parametrize(
    ("kind", "cells", "noun"),
    [
        (FeatureType.INTEGER, ["1", "", "2"], "a whole number"),
        (FeatureType.BOOLEAN, ["yes", "", "no"], "true or false"),
        (FeatureType.NUMERIC, ["1", "", "2"], "a number"),
        (FeatureType.NUMERIC, ["1", "nan", "2"], "a number"),
        (FeatureType.NUMERIC, ["1", "NA", "2"], "a number"),
        (FeatureType.TEXT, ["a", "", "b"], "text"),
    ],
)
def test_a_model_that_takes_no_nulls_fails_the_row(kind, cells, noun):
    columns = {"c": pa.array(cells)}
    assert cast.features(columns, [Feature("c", kind)])[1] == {}
    _, errors = cast.features(columns, [Feature("c", kind, nullable=False)])
    assert errors == {1: f"column 'c' is empty, and the model needs {noun} there"}


def test_a_float_column_may_hold_nan_for_null():
    columns = {"c": pa.array([1.0, float("nan"), None])}
    _, errors = cast.features(columns, [Feature("c", FeatureType.NUMERIC, nullable=False)])
    assert sorted(errors) == [1, 2]


def test_a_bad_cell_says_more_than_that_it_became_null():
    features = [Feature("i", FeatureType.INTEGER, nullable=False), Feature("x", FeatureType.NUMERIC, nullable=False)]
    _, errors = cast.features({"i": pa.array(["1", "", "z"]), "x": pa.array(["1", "", "1"])}, features)
    assert errors == {
        1: "column 'i' is empty, and the model needs a whole number there",
        2: "column 'i': 'z' is not a whole number",
    }


@given(st.integers(0, 5).flatmap(lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=1, max_size=4)))
def test_many_columns_are_read_as_each_alone(table):
    kinds = [FeatureType.NUMERIC, FeatureType.INTEGER] * 2
    features = [Feature(f"c{i}", kind) for i, (kind, _) in enumerate(zip(kinds, table, strict=False))]
    columns = {f"c{i}": pa.array(cells, pa.string()) for i, cells in enumerate(table)}
    batch, errors = cast.features(columns, features)
    wanted = {}
    for feature in features:
        alone, bad = cast.features(columns, [feature])
        assert repr(alone.column(0).to_pylist()) == repr(batch.column(feature.name).to_pylist())
        wanted = bad | wanted
    assert errors == wanted


def test_typed_columns_pass():
    features = [Feature("x", FeatureType.NUMERIC), Feature("b", FeatureType.BOOLEAN), Feature("t", FeatureType.TEXT)]
    batch, errors = cast.features(
        {"x": pa.array([1, None]), "b": pa.array([True, False]), "t": pa.array([7, 8])}, features
    )
    assert batch.to_pydict() == {"x": [1.0, None], "b": [True, False], "t": ["7", "8"]}
    assert errors == {}


def test_missing_columns_are_all_named():
    features = [Feature("a", FeatureType.TEXT), Feature("b", FeatureType.TEXT), Feature("c", FeatureType.TEXT)]
    with pytest.raises(SourceError, match="2 columns 'a', 'c'"):
        cast.features({"b": pa.array(["x"])}, features)
