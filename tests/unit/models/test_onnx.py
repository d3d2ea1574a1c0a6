"""ONNX files made by skl2onnx and onnxmltools. ONNX computes in float32, hence 1e-5 against scikit-learn's float64;
against ONNX Runtime itself the numbers are the same."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import BooleanTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scoreline import models
from scoreline.errors import DataRefused, ModelBroken
from scoreline.types import TargetType
from tests.unit.models.support import batch, kinds, table

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
WIDE = [("X", FloatTensorType([None, 2]))]


def converted(estimator, path, initial_types=WIDE, **options):
    options = {id(estimator): options} if options else None
    path.write_bytes(to_onnx(estimator, initial_types=initial_types, options=options).SerializeToString())
    return models.load(path, trusted=False)


def unnamed(frame):
    matrix = frame[["rooms", "member"]].to_numpy(np.float32)
    names = ["x0", "x1"]
    return matrix, pa.RecordBatch.from_arrays([pa.array(matrix[:, i].astype(float)) for i in (0, 1)], names)


@pytest.mark.parametrize("zipmap", [True, False, "columns"])
@pytest.mark.parametrize("labels", [["no", "yes"], [3, 7], ["a", "b", "c"]])
def test_classifiers_with_and_without_zipmap(tmp_path, zipmap, labels):
    frame, _yes, _three, _score = table()
    matrix, given = unnamed(frame)
    target = np.array(labels)[np.arange(len(frame)) % len(labels)]
    own = RandomForestClassifier(5, max_depth=3, random_state=0).fit(matrix, target)
    if zipmap == "columns":
        with pytest.raises(ModelBroken, match="which of its outputs holds the predictions cannot be told"):
            converted(own, tmp_path / "m.onnx", zipmap=zipmap)
        return
    model = converted(own, tmp_path / "m.onnx", zipmap=zipmap)
    assert (model.info.format, model.info.outputs) == ("onnx", len(labels))
    assert model.info.target_type is (TargetType.BINARY if len(labels) == 2 else TargetType.MULTICLASS)
    assert model.info.class_labels == tuple(map(str, labels))
    assert kinds(model.info) == {"x0": "numeric", "x1": "numeric"}
    np.testing.assert_allclose(model.predict(given), own.predict_proba(matrix), rtol=0, atol=1e-5)


def test_regression(tmp_path):
    frame, _yes, _three, score = table()
    matrix, given = unnamed(frame)
    own = GradientBoostingRegressor(n_estimators=5).fit(matrix, score)
    model = converted(own, tmp_path / "m.onnx")
    assert (model.info.target_type, model.info.outputs) == (TargetType.REGRESSION, 1)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    expected = session.run(None, {"X": matrix})[0].astype(float)
    np.testing.assert_array_equal(model.predict(given), expected)
    renamed = given.rename_columns(["rooms", "member"])  # the file has no names: those of the registration
    np.testing.assert_array_equal(model.predict(renamed), expected)


def columns_model(path):
    frame, yes_no, _three, _score = table()
    data = frame[["city", "rooms", "member"]].assign(age=frame.age.fillna(0))
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]), (StandardScaler(), ["age", "rooms"])
    )
    own = make_pipeline(encoder, LogisticRegression()).fit(data, yes_no)
    inputs = [
        ("city", StringTensorType([None, 1])),
        ("rooms", Int64TensorType([None, 1])),
        ("member", BooleanTensorType([None, 1])),
        ("age", FloatTensorType([None, 1])),
    ]
    path.write_bytes(to_onnx(own, initial_types=inputs).SerializeToString())
    return models.load(path, trusted=False), own, data


def test_one_input_per_column(tmp_path):
    model, own, data = columns_model(tmp_path / "m.onnx")
    found = kinds(model.info)
    assert found == {"city": "text", "rooms": "integer", "age": "numeric"} | (
        {"member": "boolean"} if "member" in found else {}
    )
    assert model.info.class_labels == ("no", "yes")
    np.testing.assert_allclose(model.predict(batch(data, model.info)), own.predict_proba(data), rtol=0, atol=1e-5)


def test_gaps_and_lossy_values_are_row_errors(tmp_path):
    model, _own, data = columns_model(tmp_path / "m.onnx")
    nullable = {feature.name: feature.nullable for feature in model.info.features}
    assert nullable["age"]
    assert not nullable["city"]
    gaps = data.head(4).astype({"city": object})
    gaps.loc[2, "city"] = None
    with pytest.raises(DataRefused, match="column 'city' is empty") as caught:
        model.predict(batch(gaps, model.info))
    assert caught.value.row == 2
    given = batch(data.head(3), model.info)
    halves = given.set_column(given.schema.get_field_index("rooms"), "rooms", pa.array([1.0, 2.5, 3.0]))
    with pytest.raises(DataRefused, match=r"'rooms': 2.5 is no int64 value") as caught:
        model.predict(halves)
    assert caught.value.row == 1


def test_several_threads_at_once(tmp_path):
    model, own, data = columns_model(tmp_path / "m.onnx")
    given, expected = batch(data, model.info), own.predict_proba(data)
    with ThreadPoolExecutor(4) as pool:
        for values in pool.map(lambda _: model.predict(given), range(12)):
            np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5)


def written(path, node, inputs, outputs, *more):
    graph = helper.make_graph([node, *more], "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def test_softmax_network_without_labels(tmp_path):
    path = written(
        tmp_path / "m.onnx",
        helper.make_node("Softmax", ["X"], ["P"]),
        [tensor("X", [None, 3])],
        [tensor("P", [None, 3])],
    )
    model = models.load(path, trusted=False)
    assert (model.info.target_type, model.info.class_labels, model.info.outputs) == (TargetType.MULTICLASS, None, 3)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ([4, 2], "takes exactly 4 rows at a time"),
        ([None, None], "no table with a known number of columns"),
        ([None, 2, 2], "no table with a known number of columns"),
        ([None, 2], "gives 2 numbers for a row that are no probabilities"),
    ],
)
def test_graphs_that_cannot_be_scored_are_refused_in_words(tmp_path, shape, words):
    node = helper.make_node("Exp", ["X"], ["Y"])
    path = written(tmp_path / "m.onnx", node, [tensor("X", shape)], [tensor("Y", shape)])
    with pytest.raises(ModelBroken, match=rf"'m.onnx' cannot be used.*{words}"):
        models.load(path, trusted=False)


def test_numbers_that_may_be_those_of_labels(tmp_path):
    node = helper.make_node("Sigmoid", ["X"], ["P"])
    path = written(tmp_path / "m.onnx", node, [tensor("X", [None, 3])], [tensor("P", [None, 3])])
    model = models.load(path, trusted=False)
    assert (model.info.target_type, model.info.class_labels, model.info.outputs) == (None, None, 3)


def test_labels_only_and_anomaly_scores(tmp_path):
    node = helper.make_node("Cast", ["X"], ["L"], to=TensorProto.INT64)
    path = written(tmp_path / "a.onnx", node, [tensor("X", [None, 1])], [tensor("L", [None, 1], TensorProto.INT64)])
    with pytest.raises(ModelBroken, match="labels only"):
        models.load(path, trusted=False)
    frame, _yes, _three, _score = table()
    matrix, _given = unnamed(frame)
    forest = IsolationForest(n_estimators=3).fit(matrix)
    content = to_onnx(forest, initial_types=WIDE, target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString()
    (tmp_path / "b.onnx").write_bytes(content)
    with pytest.raises(ModelBroken, match="as anomaly detectors do"):
        models.load(tmp_path / "b.onnx", trusted=False)


def test_integers_beyond_the_inputs_type(tmp_path):
    node = helper.make_node("Cast", ["n"], ["Y"], to=TensorProto.FLOAT)
    path = written(tmp_path / "m.onnx", node, [tensor("n", [None], TensorProto.INT32)], [tensor("Y", [None])])
    model = models.load(path, trusted=False)
    assert kinds(model.info) == {"n": "integer"}
    with pytest.raises(DataRefused, match="'n': 4294967297 is no int32 value"):
        model.predict(pa.RecordBatch.from_arrays([pa.array([1, 2**32 + 1])], ["n"]))
    np.testing.assert_array_equal(model.predict(pa.RecordBatch.from_arrays([pa.array([5, 7])], ["n"])), [[5.0], [7.0]])


def test_truncated_files_never_load(tmp_path):
    frame, yes_no, _three, _score = table()
    matrix, _given = unnamed(frame)
    converted(LogisticRegression().fit(matrix, yes_no), tmp_path / "m.onnx")
    whole = (tmp_path / "m.onnx").read_bytes()
    for size in (10, len(whole) // 2, len(whole) - 2):
        (tmp_path / "m.onnx").write_bytes(whole[:size])
        with pytest.raises(ModelBroken, match=r"'m.onnx' cannot be used: ONNX Runtime cannot read it"):
            models.load(tmp_path / "m.onnx", trusted=False)
