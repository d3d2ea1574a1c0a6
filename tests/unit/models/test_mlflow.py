"""MLflow model folders, saved by MLflow itself: class probabilities where MLflow's own `predict` gives labels."""

import json
import shutil
import warnings

import catboost as cb
import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost as xgb
import yaml

from scoreline import models
from scoreline.errors import DataRefused, ModelBroken
from scoreline.types import TargetType
from tests.unit.models.support import batch, kinds, table, values

pytestmark = pytest.mark.filterwarnings("ignore")


def saved(flavour, model, path, frame=None, target=None, **options):
    """Save a model with its signature, as MLflow does, without looking up requirements."""
    import mlflow
    from mlflow.models import infer_signature

    signature = None if frame is None else infer_signature(frame, target)
    given = () if model is None else (model,)
    getattr(mlflow, flavour).save_model(*given, path=str(path), signature=signature, pip_requirements=[], **options)
    return path


@pytest.fixture
def custom():
    """Custom models; MLflow warns of each while the file is imported, whatever the filters say."""
    with warnings.catch_warnings(record=True):
        from tests.unit.models import pyfunc_models

    return pyfunc_models


def sklearn_pipeline(frame, target):
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    encoder = make_column_transformer(
        (OneHotEncoder(), ["city"]), (StandardScaler(), ["age", "rooms"]), remainder="passthrough"
    )
    return make_pipeline(encoder, LogisticRegression()).fit(frame, target)


@pytest.mark.parametrize("how", ["skops", "cloudpickle"])
def test_sklearn_gives_probabilities_and_takes_the_signatures_types(tmp_path, how):
    frame, yes_no, _three, _score = table()
    frame["age"] = frame.age.fillna(40)
    own = sklearn_pipeline(frame, yes_no)
    path = saved("sklearn", own, tmp_path / "m", frame, yes_no, serialization_format=how)
    assert models.detect(path) == models.Detected("mlflow", runs_code=how == "cloudpickle")
    model = models.load(path, trusted=how == "cloudpickle")
    assert (model.info.format, model.info.target_type) == ("mlflow", TargetType.BINARY)
    assert model.info.class_labels == ("no", "yes")
    assert kinds(model.info) == {"age": "numeric", "city": "text", "rooms": "integer", "member": "boolean"}
    assert not {f.name: f.nullable for f in model.info.features}["rooms"]
    values = model.predict(batch(frame, model.info))
    np.testing.assert_allclose(values, own.predict_proba(frame), rtol=0, atol=1e-12)
    gaps = batch(frame.head(3), model.info)
    gaps = gaps.set_column(2, "rooms", pa.array([1, None, 2]))
    with pytest.raises(DataRefused, match="column 'rooms' is empty") as caught:
        model.predict(gaps)
    assert caught.value.row == 1


def test_lightgbm_booster_and_classifier(tmp_path):
    frame, yes_no, _three, _score = table()
    data = frame[["age", "city"]].astype({"city": "category"})
    own = lgb.LGBMClassifier(n_estimators=4, min_child_samples=5, verbose=-1, n_jobs=1).fit(data, yes_no)
    for name, model, labels in (("a", own, ("no", "yes")), ("b", own.booster_, None)):
        path = saved("lightgbm", model, tmp_path / name, frame[["age", "city"]], yes_no)
        assert not models.detect(path).runs_code
        loaded = models.load(path, trusted=False)
        assert loaded.info.class_labels == labels
        assert kinds(loaded.info) == {"age": "numeric", "city": "text"}
        np.testing.assert_array_equal(loaded.predict(batch(data, loaded.info)), own.predict_proba(data))


def test_signature_settles_which_columns_have_lightgbms_categories(tmp_path):
    """The same file alone is refused: an ordered category and a truth value look alike in it."""
    frame, yes_no, _three, _score = table()
    sizes = pd.Categorical(np.where(frame.rooms > 3, "big", "small"), categories=["small", "big"], ordered=True)
    data = pd.DataFrame({"age": frame.age, "member": frame.member, "size": sizes})
    booster = lgb.train({"verbose": -1, "objective": "binary"}, lgb.Dataset(data, yes_no == "yes"), 4)
    path = saved("lightgbm", booster, tmp_path / "m", data.astype({"size": str}), yes_no)
    with pytest.raises(ModelBroken, match="fit several columns"):
        models.load(path / "model.lgb", trusted=False)
    model = models.load(path, trusted=False)
    assert kinds(model.info) == {"age": "numeric", "member": "boolean", "size": "text"}
    np.testing.assert_array_equal(model.predict(batch(data, model.info))[:, 1], booster.predict(data))


def test_lightgbm_names_with_blanks(tmp_path):
    frame, _yes, _three, score = table()
    data = frame[["age", "rooms"]].set_axis(["age in years", "rooms"], axis=1)
    booster = lgb.train({"verbose": -1}, lgb.Dataset(data, score), 3)
    model = models.load(saved("lightgbm", booster, tmp_path / "m", data, score), trusted=False)
    assert list(kinds(model.info)) == ["age in years", "rooms"]
    np.testing.assert_array_equal(model.predict(batch(data, model.info))[:, 0], booster.predict(data))


def test_xgboost(tmp_path):
    frame, yes_no, _three, _score = table()
    data, target = frame[["age", "rooms"]], (yes_no == "yes").astype(int)
    own = xgb.XGBClassifier(n_estimators=4, n_jobs=1).fit(data, target)
    model = models.load(saved("xgboost", own, tmp_path / "m", data, target), trusted=False)
    assert kinds(model.info) == {"age": "numeric", "rooms": "integer"}
    np.testing.assert_array_equal(
        model.predict(batch(data, model.info))[:, 1], own.predict_proba(data)[:, 1].astype(float)
    )


def test_catboost_trained_on_an_array_takes_the_signatures_names(tmp_path):
    frame, _yes, three, _score = table()
    data = frame[["age", "rooms"]]
    own = cb.CatBoostClassifier(iterations=4, verbose=0, allow_writing_files=False).fit(data.to_numpy(), three)
    model = models.load(saved("catboost", own, tmp_path / "m", data, three), trusted=False)
    assert kinds(model.info) == {"age": "numeric", "rooms": "integer"}
    assert model.info.class_labels == ("low", "mid", "top")
    np.testing.assert_array_equal(model.predict(batch(data, model.info)), own.predict_proba(data.to_numpy()))


def test_onnx(tmp_path):
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    frame, yes_no, _three, _score = table()
    data = frame[["rooms", "member"]].astype(float)
    own = LogisticRegression().fit(data.to_numpy(), yes_no)
    content = to_onnx(own, data.to_numpy(np.float32)[:1])
    model = models.load(saved("onnx", content, tmp_path / "m", data, yes_no), trusted=False)
    assert kinds(model.info) == {"rooms": "numeric", "member": "numeric"}
    np.testing.assert_allclose(model.predict(batch(data, model.info)), own.predict_proba(data.to_numpy()), atol=1e-5)


def test_without_signature_the_model_inside_speaks(tmp_path):
    frame, _yes, _three, score = table()
    booster = lgb.train({"verbose": -1}, lgb.Dataset(frame[["age"]], score), 3)
    model = models.load(saved("lightgbm", booster, tmp_path / "m"), trusted=False)
    assert kinds(model.info) == {"age": "numeric"}


def test_signature_that_contradicts_the_model(tmp_path):
    frame, _yes, _three, score = table()
    booster = lgb.train({"verbose": -1}, lgb.Dataset(frame[["age", "rooms"]], score), 3)
    path = saved("lightgbm", booster, tmp_path / "m", frame[["age", "member"]], score)
    with pytest.raises(ModelBroken, match="takes a column 'rooms', which its signature does not have"):
        models.load(path, trusted=False)


def test_pyfunc_numbers(tmp_path, custom):
    frame, _yes, _three, score = table()
    path = saved("pyfunc", None, tmp_path / "m", frame[["age", "city", "rooms"]], score, python_model=custom.Doubled())
    assert models.detect(path) == models.Detected("mlflow", runs_code=True)
    model = models.load(path, trusted=True)
    assert (model.info.target_type, model.info.outputs) == (TargetType.REGRESSION, 1)
    assert kinds(model.info) == {"age": "numeric", "city": "text", "rooms": "integer"}
    expected = frame.age.fillna(0) * 2 + frame.rooms + frame.city.str.len()
    np.testing.assert_allclose(values(model, batch(frame, model.info))[:, 0], expected, rtol=1e-12)


def test_pyfunc_probabilities_name_their_classes(tmp_path, custom):
    frame, _yes, _three, _score = table()
    path = saved("pyfunc", None, tmp_path / "m", frame[["rooms"]], None, python_model=custom.Shares())
    model = models.load(path, trusted=True)
    assert (model.info.target_type, model.info.class_labels) == (TargetType.BINARY, ("no", "yes"))
    share = 1 / (1 + np.exp(-frame.rooms / 3))
    np.testing.assert_allclose(values(model, batch(frame, model.info))[:, 1], share, rtol=1e-12)


def test_pyfunc_texts_leave_the_target_type_open(tmp_path, custom):
    frame, _yes, _three, _score = table()
    path = saved("pyfunc", None, tmp_path / "m", frame[["rooms"]], None, python_model=custom.Labels())
    model = models.load(path, trusted=True)
    assert (model.info.target_type, model.info.outputs) == (None, 0)
    found = models.scores(model, batch(frame, model.info))
    assert found.text.to_pylist() == ["yes" if rooms > 3 else "no" for rooms in frame.rooms]
    assert values(model, batch(frame, model.info)).shape == (len(frame), 0)


def test_pyfunc_with_columns_beside_the_prediction(tmp_path, custom):
    frame, _yes, _three, _score = table()
    path = saved("pyfunc", None, tmp_path / "m", frame[["rooms"]], None, python_model=custom.Explained())
    model = models.load(path, trusted=True)
    assert (model.info.target_type, model.info.outputs) == (TargetType.REGRESSION, 1)
    assert [(each.name, each.type) for each in model.info.extra] == [
        ("low", "numeric"),
        ("count", "integer"),
        ("large", "boolean"),
        ("note", "text"),
    ]
    found = models.scores(model, batch(frame, model.info))
    assert values(model, batch(frame, model.info))[:, 0].tolist() == [rooms * 1.5 for rooms in frame.rooms]
    low, count, large, note = (column.to_pylist() for column in found.extra)
    assert low == [rooms - 0.5 for rooms in frame.rooms]
    assert count == frame.rooms.tolist()
    assert large == [bool(rooms > 3) for rooms in frame.rooms]
    assert note == [None if rooms == 1 else f"{rooms} rooms" for rooms in frame.rooms]


def test_pyfunc_whole_numbers_leave_the_target_type_open(tmp_path, custom):
    frame, _yes, _three, _score = table()
    path = saved("pyfunc", None, tmp_path / "m", frame[["rooms"]], None, python_model=custom.Counted())
    assert models.load(path, trusted=True).info.target_type is None


def test_pyfunc_errors_and_input_examples(tmp_path, custom):
    frame, _yes, _three, _score = table()
    data = frame[["city"]]
    path = saved("pyfunc", None, tmp_path / "a", data, None, python_model=custom.Picky())
    with pytest.raises(ModelBroken, match=r"does not score a made-up row.*unknown city.*`input_example`"):
        models.load(path, trusted=True)
    path = saved("pyfunc", None, tmp_path / "b", data, None, python_model=custom.Picky(), input_example=data.head(2))
    model = models.load(path, trusted=True)
    with pytest.raises(DataRefused, match="The MLflow model refused the rows: unknown city"):
        model.predict(batch(pd.DataFrame({"city": ["Atlantis"]}), model.info))


def test_pyfunc_without_signature(tmp_path, custom):
    path = saved("pyfunc", None, tmp_path / "m", python_model=custom.Shares())
    with pytest.raises(ModelBroken, match="has no signature"):
        models.load(path, trusted=True)


def test_pyfunc_narrow_types_and_dates(tmp_path, custom):
    data = pd.DataFrame(
        {
            "n": np.array([1, 2], np.int32),
            "x": np.array([0.5, 1.5], np.float32),
            "b": [True, False],
            "day": pd.to_datetime(["2026-03-04", "2026-03-05"]),
        }
    )
    path = saved("pyfunc", None, tmp_path / "m", data, np.ones(2), python_model=custom.Narrow(), input_example=data)
    model = models.load(path, trusted=True)
    assert kinds(model.info) == {"n": "integer", "x": "numeric", "b": "boolean", "day": "text"}
    given = batch(data.assign(day=["2026-03-04", "2026-03-05"]), model.info)
    np.testing.assert_array_equal(values(model, given), [[5], [7]])
    with pytest.raises(DataRefused, match="'n': 4294967296 is beyond 32 bits") as caught:
        values(model, given.set_column(0, "n", pa.array([1, 2**32])))
    assert caught.value.row == 1
    with pytest.raises(DataRefused, match="someday"):
        values(model, given.set_column(3, "day", pa.array(["2026-03-04", "someday"])))


def test_pyfunc_with_an_array_signature(tmp_path, custom):
    example = np.array([[1.0, 2.0], [3.0, 4.0]])
    path = saved("pyfunc", None, tmp_path / "m", example, None, python_model=custom.Array())
    model = models.load(path, trusted=True)
    assert kinds(model.info) == {"x0": "numeric", "x1": "numeric"}
    given = pa.RecordBatch.from_arrays([pa.array([1.0, 3.0]), pa.array([2.0, 4.0])], ["x0", "x1"])
    np.testing.assert_array_equal(values(model, given), [[3.0], [7.0]])


def test_folders_written_by_older_versions(tmp_path):
    """Version 1.x: `data` names the file, columns have no `required`, the signature is a list or its text."""
    frame, _yes, _three, score = table()
    booster = lgb.train({"verbose": -1}, lgb.Dataset(frame[["age", "rooms"]], score), 3)
    booster.save_model(tmp_path / "model.lgb")
    columns = [{"name": "age", "type": "double"}, {"name": "rooms", "type": "long"}]
    for inputs in (columns, json.dumps(columns)):
        document = {
            "flavors": {"lightgbm": {"data": "model.lgb"}, "python_function": {}},
            "signature": {"inputs": inputs},
        }
        (tmp_path / "MLmodel").write_text(yaml.safe_dump(document))
        model = models.load(tmp_path, trusted=False)
        assert kinds(model.info) == {"age": "numeric", "rooms": "integer"}
        np.testing.assert_array_equal(
            model.predict(batch(frame, model.info))[:, 0], booster.predict(frame[["age", "rooms"]])
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'MLmodel' cannot be read"),
        ("flavors: 3", "'MLmodel' cannot be read"),
        ("{[", "'MLmodel' cannot be read"),
        ("flavors:\n  spark: {}\n", r"none of its flavours can be scored \(spark\)"),
        ("flavors:\n  lightgbm:\n    data: gone.lgb\n", "'gone.lgb' that its 'MLmodel' names is missing"),
        ("flavors:\n  lightgbm:\n    data: .\n", "is no file"),
    ],
)
def test_damaged_folders(tmp_path, text, words):
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(ModelBroken, match=words):
        models.detect(tmp_path)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ("nonsense", "signature cannot be read"),
        ('[{"type": "binary", "name": "b"}]', "the type 'binary' in the column 'b'"),
        ('[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 28, 28]}}]', "only tables are scored"),
        ('[{"type": "tensor", "tensor-spec": {"dtype": "str", "shape": [-1, 2]}}]', "only numbers are taken"),
    ],
)
def test_signatures_of_no_table(tmp_path, inputs, words):
    frame, _yes, _three, score = table()
    lgb.train({"verbose": -1}, lgb.Dataset(frame[["age"]], score), 2).save_model(tmp_path / "model.lgb")
    document = {"flavors": {"lightgbm": {"data": "model.lgb"}}, "signature": {"inputs": inputs}}
    (tmp_path / "MLmodel").write_text(yaml.safe_dump(document))
    with pytest.raises(ModelBroken, match=words):
        models.load(tmp_path, trusted=False)


def test_code_beside_a_pickled_model(tmp_path):
    """Some folders carry the modules that their pickle needs."""
    code = tmp_path / "lib" / "house_rules_xyz.py"
    code.parent.mkdir()
    code.write_text(
        "from sklearn.base import BaseEstimator, RegressorMixin\n"
        "class Rule(RegressorMixin, BaseEstimator):\n"
        "    def fit(self, X, y=None):\n"
        "        self.n_features_in_ = X.shape[1]\n        return self\n"
        "    def predict(self, X):\n        return X[:, 0] * 3\n"
    )
    script = (
        "import sys, cloudpickle, numpy; sys.path.insert(0, sys.argv[1]); from house_rules_xyz import Rule\n"
        "open(sys.argv[2], 'wb').write(cloudpickle.dumps(Rule().fit(numpy.zeros((2, 1)))))"
    )
    import subprocess
    import sys

    folder = tmp_path / "m"
    folder.mkdir()
    subprocess.run([sys.executable, "-c", script, str(code.parent), str(folder / "model.pkl")], check=True)
    shutil.copytree(code.parent, folder / "code")
    document = {"flavors": {"sklearn": {"pickled_model": "model.pkl", "code": "code"}}}
    (folder / "MLmodel").write_text(yaml.safe_dump(document))
    model = models.load(folder, trusted=True)
    given = pa.RecordBatch.from_arrays([pa.array([1.0, 2.0])], ["x0"])
    np.testing.assert_array_equal(model.predict(given), [[3.0], [6.0]])


def test_columns_that_the_signature_does_not_require_are_optional(tmp_path):
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    frame, yes_no, _three, _score = table()
    data = frame[["age", "rooms"]].astype({"rooms": float})
    own = lgb.LGBMClassifier(n_estimators=4, min_child_samples=5, verbose=-1, n_jobs=1).fit(data, yes_no)
    columns = [ColSpec("double", "age"), ColSpec("double", "rooms", required=False)]
    path = tmp_path / "m"
    mlflow = pytest.importorskip("mlflow")
    mlflow.lightgbm.save_model(own, path=str(path), signature=ModelSignature(Schema(columns)), pip_requirements=[])
    loaded = models.load(path, trusted=False)
    assert {f.name: (f.nullable, f.optional) for f in loaded.info.features} == {
        "age": (True, False),
        "rooms": (True, True),
    }
