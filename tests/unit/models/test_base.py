"""What all formats share."""

import math
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.errors import DataRefused, ModelBroken, SetupError
from scoreline.models import base, sample_batch
from scoreline.types import Feature, FeatureType, ModelInfo, TargetType


@given(
    values=st.lists(st.one_of(st.none(), st.floats(), st.integers(-(2**53), 2**53)), min_size=1, max_size=40),
    cut=st.tuples(st.integers(0, 10), st.integers(0, 10)),
    kind=st.sampled_from([pa.float64(), pa.float32(), pa.int64(), pa.int32(), pa.uint8(), pa.bool_()]),
)
def test_numbers_as_arrow_itself_gives_them(values, cut, kind):
    array = pa.array(_fitting(values, kind), kind)
    part = array.slice(cut[0], max(0, len(array) - cut[0] - cut[1]))
    expected = np.array([np.nan if value is None else value for value in part.to_pylist()], float)
    np.testing.assert_array_equal(base.numbers(part, "a").astype(float), expected)
    np.testing.assert_array_equal(base.valid(part), [value is not None for value in part.to_pylist()])


def _fitting(values, kind):
    if pa.types.is_boolean(kind):
        return [None if value is None else bool(value) for value in values]
    if pa.types.is_integer(kind):
        return [None if value is None or math.isnan(value) else int(min(max(value, 0), 200)) for value in values]
    return [None if value is None else float(value) for value in values]


@given(st.lists(st.text()))
def test_arrays_built_without_pandas(values):
    assert base.texts(values).to_pylist() == values
    base.texts(values).validate(full=True)
    lengths = [len(value) for value in values]
    assert base.integers(lengths).to_pylist() == lengths
    assert base.floats(lengths).to_pylist() == lengths
    assert base.bools([length > 2 for length in lengths]).to_pylist() == [length > 2 for length in lengths]


def info(*features):
    return ModelInfo("any", TargetType.REGRESSION, features)


def test_sample_row_has_the_features_types_and_examples():
    features = (
        Feature("n", FeatureType.NUMERIC),
        Feature("m", FeatureType.NUMERIC, example=2.5),
        Feature("i", FeatureType.INTEGER, example=7),
        Feature("b", FeatureType.BOOLEAN),
        Feature("t", FeatureType.TEXT),
        Feature("known", FeatureType.TEXT, example="Oslo"),
    )
    row = sample_batch(info(*features))
    assert row.to_pylist() == [{"n": 1.0, "m": 2.5, "i": 7, "b": True, "t": "a", "known": "Oslo"}]
    assert [str(kind) for kind in row.schema.types] == ["double", "double", "int64", "bool", "string", "string"]


def test_an_example_is_no_part_of_what_a_feature_is():
    assert Feature("a", FeatureType.TEXT, example="x") == Feature("a", FeatureType.TEXT)


def test_rows_without_a_value_where_one_is_needed():
    needed = info(Feature("a", FeatureType.NUMERIC), Feature("b", FeatureType.NUMERIC, nullable=False))
    gap = pa.array([None, 1.0])
    base.refuse_nulls([gap, pa.array([1.0, 2.0])], needed)
    for column, row in ((pa.array([1.0, None]), 1), (pa.array([float("nan"), 1.0]), 0), (pa.array(["x", None]), 1)):
        with pytest.raises(DataRefused, match="column 'b' is empty") as caught:
            base.refuse_nulls([gap, column], needed)
        assert caught.value.row == row


@pytest.mark.parametrize(
    ("module", "extra"),
    [("lightgbm", "lightgbm"), ("xgboost", "xgboost"), ("onnxruntime", "onnx"), ("skops.io", "sklearn")],
)
def test_missing_libraries_name_their_extra(monkeypatch, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SetupError, match=rf"Loading it needs.*pip install 'scoreline\[{extra}\]'"):
        base.require(module, "Loading it")


def test_missing_lightgbm(monkeypatch, tmp_path):
    from scoreline.models import lightgbm_native

    monkeypatch.setattr(lightgbm_native.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(SetupError, match=r"'lightgbm', which is not installed.*scoreline\[lightgbm\]"):
        lightgbm_native._find()
    monkeypatch.undo()
    fake = tmp_path / "lightgbm"
    fake.mkdir()
    (fake / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "lightgbm", raising=False)
    with pytest.raises(SetupError, match="lacks its library"):
        lightgbm_native._find()


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("[11:07:45] /workspace/src/common/json.cc:409: Expecting: x\nStack trace:\n  [bt] (0) lib", "Expecting: x"),
        ("util/stream/input.cpp:77: Failed to read!", "Failed to read!"),
        ("two\n  lines.", "two lines"),
        ("", "ValueError"),
    ],
)
def test_causes_are_one_line_in_the_librarys_words(text, folded):
    assert base.cause(ValueError(text)) == folded


def test_predictions_of_the_wrong_shape():
    np.testing.assert_array_equal(base.as_values([1, 2], 2), [[1.0], [2.0]])
    with pytest.raises(ModelBroken, match="for 3 rows"):
        base.as_values([1, 2], 3)
    with pytest.raises(ModelBroken, match="not numbers"):
        base.as_values(["yes"], 1)


def test_labels_are_verbatim():
    labels = [np.float64(1.0), np.int64(1), np.bool_(True), np.str_("a b"), b"yes", 1.0, True, np.float32(0.1)]
    assert list(map(base.label, labels)) == ["1.0", "1", "True", "a b", "yes", "1.0", "True", "0.1"]
