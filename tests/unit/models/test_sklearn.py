"""scikit-learn artefacts: the numbers that the estimator itself gives for the DataFrame that pandas reads from CSV."""

import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import DBSCAN
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from scoreline import models
from scoreline.errors import DataRefused, ModelBroken
from scoreline.types import TargetType
from tests.unit.models.support import batch, kinds, table

TEXT = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
NUMBER = make_pipeline(SimpleImputer(), StandardScaler())


def pipeline(final):
    encoder = make_column_transformer((TEXT, ["city"]), (NUMBER, ["age", "rooms"]), remainder="drop")
    return make_pipeline(encoder, final)


def saved(estimator, path):
    if path.suffix == ".skops":
        skops.io.dump(estimator, path)
    elif path.suffix == ".joblib":
        joblib.dump(estimator, path, compress=3)
    else:
        path.write_bytes(pickle.dumps(estimator))
    return path


@pytest.mark.parametrize("suffix", ["skops", "joblib", "pkl"])
def test_binary_pipeline_in_each_way_of_saving(tmp_path, suffix):
    frame, yes_no, _three, _score = table()
    own = pipeline(LogisticRegression()).fit(frame, yes_no)
    path = saved(own, tmp_path / f"model.{suffix}")
    assert models.detect(path) == models.Detected("sklearn", runs_code=suffix != "skops")
    model = models.load(path, trusted=suffix != "skops")
    assert (model.info.format, model.info.target_type, model.info.outputs) == ("sklearn", TargetType.BINARY, 2)
    assert model.info.class_labels == ("no", "yes")
    assert kinds(model.info) == {"age": "numeric", "city": "text", "rooms": "numeric", "member": "numeric"}
    assert all(feature.nullable for feature in model.info.features)
    np.testing.assert_allclose(model.predict(batch(frame, model.info)), own.predict_proba(frame), rtol=0, atol=1e-12)


def test_gaps_look_as_pandas_reads_them(tmp_path):
    frame, yes_no, _three, _score = table()
    own = pipeline(LogisticRegression()).fit(frame, yes_no)
    model = models.load(saved(own, tmp_path / "model.skops"), trusted=False)
    gaps = frame.head(8).astype({"city": object, "rooms": float})
    gaps.loc[[1, 2], "city"] = None
    gaps.loc[[2, 3], "rooms"] = np.nan
    read = pd.read_csv(io.StringIO(gaps.to_csv(index=False)))
    np.testing.assert_allclose(model.predict(batch(gaps, model.info)), own.predict_proba(read), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (["low", "mid", "top"], ("low", "mid", "top")),
        ([0, 1, 2], ("0", "1", "2")),
        ([0.0, 1.0, 2.0], ("0.0", "1.0", "2.0")),
        ([False, True], ("False", "True")),
        (np.array(["a b", "c,d", "ü"]), ("a b", "c,d", "ü")),
    ],
)
def test_labels_verbatim(tmp_path, classes, labels):
    frame, _yes, _three, _score = table()
    target = [classes[i % len(classes)] for i in range(len(frame))]
    own = RandomForestClassifier(5, max_depth=3, random_state=0).fit(frame[["rooms"]], target)
    model = models.load(saved(own, tmp_path / "model.joblib"), trusted=True)
    assert model.info.class_labels == labels
    assert model.info.target_type is (TargetType.BINARY if len(labels) == 2 else TargetType.MULTICLASS)
    values = model.predict(batch(frame, model.info))
    np.testing.assert_array_equal(values, own.predict_proba(frame[["rooms"]]))


@pytest.mark.parametrize(
    "final",
    [
        LinearRegression(),
        RandomForestRegressor(5, random_state=0, n_jobs=-1),
        GradientBoostingRegressor(n_estimators=5),
        TransformedTargetRegressor(LinearRegression(), func=np.cbrt, inverse_func=np.square, check_inverse=False),
    ],
)
def test_regressors(tmp_path, final):
    frame, _yes, _three, score = table()
    own = pipeline(final).fit(frame, score)
    model = models.load(saved(own, tmp_path / "model.pkl"), trusted=True)
    assert (model.info.target_type, model.info.outputs, model.info.class_labels) == (TargetType.REGRESSION, 1, None)
    np.testing.assert_allclose(model.predict(batch(frame, model.info))[:, 0], own.predict(frame), rtol=1e-12)


def test_target_of_one_column(tmp_path):
    frame, _yes, _three, score = table()
    own = LinearRegression().fit(frame[["rooms"]], score.reshape(-1, 1))
    model = models.load(saved(own, tmp_path / "model.pkl"), trusted=True)
    np.testing.assert_allclose(model.predict(batch(frame, model.info)), own.predict(frame[["rooms"]]), rtol=1e-12)


def test_array_without_names(tmp_path):
    frame, yes_no, _three, _score = table()
    matrix = frame[["rooms", "member"]].to_numpy(float)
    own = LogisticRegression().fit(matrix, yes_no)
    model = models.load(saved(own, tmp_path / "model.skops"), trusted=False)
    assert kinds(model.info) == {"x0": "numeric", "x1": "numeric"}
    named = pa.RecordBatch.from_arrays([pa.array(matrix[:, 0]), pa.array(frame.member)], ["rooms", "member"])
    np.testing.assert_allclose(model.predict(named), own.predict_proba(matrix), rtol=0, atol=1e-12)


def test_array_of_texts(tmp_path):
    frame, yes_no, _three, _score = table()
    matrix = frame[["city", "rooms"]].to_numpy(object)
    own = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(matrix, yes_no)
    model = models.load(saved(own, tmp_path / "model.pkl"), trusted=True)
    assert kinds(model.info) == {"x0": "text", "x1": "numeric"}
    named = frame[["city", "rooms"]].set_axis(["x0", "x1"], axis=1)
    np.testing.assert_allclose(model.predict(batch(named, model.info)), own.predict_proba(matrix), rtol=0, atol=1e-12)


def types_of(estimator, frame, target, tmp_path):
    model = models.load(saved(estimator.fit(frame, target), tmp_path / "model.pkl"), trusted=True)
    return kinds(model.info)


@pytest.mark.parametrize("spec", [["city"], slice("city", "city"), [1], slice(1, 2), [False, True, False, False]])
def test_column_selections(tmp_path, spec):
    frame, yes_no, _three, _score = table()
    encoder = ColumnTransformer([("t", OneHotEncoder(), spec), ("n", NUMBER, ["age", "rooms"])])
    found = types_of(make_pipeline(encoder, LogisticRegression()), frame, yes_no, tmp_path)
    assert found == {"age": "numeric", "city": "text", "rooms": "numeric", "member": "numeric"}


@pytest.mark.parametrize(
    "estimator",
    [
        GridSearchCV(pipeline(LogisticRegression()), {"logisticregression__C": [1, 2]}, cv=2),
        CalibratedClassifierCV(pipeline(LogisticRegression()), cv=2),
        VotingClassifier([("a", pipeline(LogisticRegression())), ("b", pipeline(LogisticRegression()))], voting="soft"),
    ],
)
def test_types_inside_meta_estimators(tmp_path, estimator):
    frame, yes_no, _three, _score = table()
    assert types_of(estimator, frame, yes_no, tmp_path)["city"] == "text"


def test_types_from_other_encoders(tmp_path):
    frame, yes_no, _three, _score = table()
    frame = frame.assign(note=frame.city + " is nice", flag=frame.member)
    encoder = ColumnTransformer(
        [
            ("ordinal", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city"]),
            ("words", TfidfVectorizer(), "note"),
            ("number", OneHotEncoder(handle_unknown="ignore"), ["rooms"]),
            ("flag", make_pipeline(FunctionTransformer(), OneHotEncoder()), ["flag"]),
            ("target", TargetEncoder(cv=2), ["member"]),
        ]
    )
    found = types_of(make_pipeline(encoder, LogisticRegression()), frame, yes_no, tmp_path)
    assert found == {
        "age": "numeric",
        "city": "text",
        "rooms": "numeric",
        "member": "boolean",
        "note": "text",
        "flag": "boolean",
    }


def test_histogram_boosting_with_categories_of_its_own(tmp_path):
    frame, yes_no, _three, _score = table()
    data = frame[["age", "city"]].astype({"city": "category"})
    own = HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype").fit(data, yes_no)
    path = saved(own, tmp_path / "model.joblib")
    model = models.load(path, trusted=True)
    assert kinds(model.info) == {"age": "numeric", "city": "text"}
    assert [feature.nullable for feature in model.info.features] == [True, True]
    np.testing.assert_array_equal(model.predict(batch(data, model.info)), own.predict_proba(data))


def test_registered_types_other_than_the_default(tmp_path):
    """A truth value passed on untouched: nothing in the artefact tells its type, so the registration does."""
    frame, yes_no, _three, _score = table()
    encoder = make_column_transformer((TEXT, ["city"]), (NUMBER, ["age"]), remainder="passthrough")
    own = make_pipeline(encoder, LogisticRegression()).fit(frame, yes_no)
    model = models.load(saved(own, tmp_path / "model.pkl"), trusted=True)
    plain = batch(frame, model.info)
    typed = plain.set_column(3, "member", pa.array(frame.member)).set_column(2, "rooms", pa.array(frame.rooms))
    for given in (plain, typed):
        np.testing.assert_allclose(model.predict(given), own.predict_proba(frame), rtol=0, atol=1e-12)


def test_gaps_where_the_model_takes_none_are_row_errors(tmp_path):
    frame, yes_no, _three, _score = table()
    encoder = make_column_transformer((OneHotEncoder(), ["city"]), (NUMBER, ["age"]), (StandardScaler(), ["rooms"]))
    own = make_pipeline(encoder, LogisticRegression()).fit(frame, yes_no)
    model = models.load(saved(own, tmp_path / "model.skops"), trusted=False)
    nullable = {feature.name: feature.nullable for feature in model.info.features}
    assert nullable == {"age": True, "city": False, "rooms": False, "member": True}
    gaps = frame.head(6).astype({"rooms": float})
    gaps.loc[4, "rooms"] = np.nan
    with pytest.raises(DataRefused, match="column 'rooms' is empty") as caught:
        model.predict(batch(gaps, model.info))
    assert caught.value.row == 4


def test_data_errors_are_one_line_without_a_trace(tmp_path):
    frame, yes_no, _three, _score = table()
    own = make_pipeline(make_column_transformer((OneHotEncoder(), ["city"])), LogisticRegression()).fit(frame, yes_no)
    model = models.load(saved(own, tmp_path / "model.skops"), trusted=False)
    strange = frame.head(3).assign(city=["Oslo", "Atlantis\nof old", "Bern"])
    with pytest.raises(DataRefused, match=r"scikit-learn refused the rows: .*unknown categories.*Atlantis") as caught:
        model.predict(batch(strange, model.info))
    assert "\n" not in caught.value.message
    assert "Traceback" not in caught.value.message


def test_the_check_at_registration_uses_known_categories(tmp_path):
    frame, yes_no, _three, _score = table()
    own = make_pipeline(make_column_transformer((OneHotEncoder(), ["city"])), LogisticRegression()).fit(frame, yes_no)
    model = models.load(saved(own, tmp_path / "model.skops"), trusted=False)
    assert model.predict(models.sample_batch(model.info)).shape == (1, 2)


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (DBSCAN(), "no `predict`"),
        (StandardScaler(), "no `predict`"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_words(tmp_path, estimator, words):
    frame, yes_no, _three, _score = table()
    path = saved(estimator.fit(frame[["rooms", "member"]], yes_no), tmp_path / "model.pkl")
    with pytest.raises(ModelBroken, match=rf"'model.pkl' cannot be used.*{words}"):
        models.load(path, trusted=True)


@pytest.mark.parametrize("held", [{"a": 1}, [1, 2], "text", None, np.zeros(3)])
def test_pickles_of_something_else(tmp_path, held):
    with pytest.raises(ModelBroken, match="holds an object of the type"):
        models.load(saved(held, tmp_path / "model.pkl"), trusted=True)


def test_unfitted_and_one_class_and_several_targets(tmp_path):
    frame, _yes, _three, score = table()
    with pytest.raises(ModelBroken, match="not fitted"):
        models.load(saved(LogisticRegression(), tmp_path / "a.pkl"), trusted=True)
    one = RandomForestClassifier(2).fit(frame[["rooms"]], ["same"] * len(frame))
    with pytest.raises(ModelBroken, match="the class 'same' only"):
        models.load(saved(one, tmp_path / "b.pkl"), trusted=True)
    both = RandomForestClassifier(2).fit(frame[["rooms"]], np.column_stack([frame.member, frame.rooms % 3]))
    with pytest.raises(ModelBroken, match="several targets"):
        models.load(saved(both, tmp_path / "c.pkl"), trusted=True)
    two = MultiOutputRegressor(LinearRegression()).fit(frame[["rooms"]], np.column_stack([score, score]))
    with pytest.raises(ModelBroken, match="gives 2 numbers for a row"):
        models.load(saved(two, tmp_path / "d.pkl"), trusted=True)


def test_threads_reach_every_estimator_inside(tmp_path):
    frame, yes_no, _three, _score = table()
    members = [("f", RandomForestClassifier(3, n_jobs=-1)), ("g", RandomForestClassifier(3, n_jobs=7))]
    own = VotingClassifier(members, voting="soft", n_jobs=-1).fit(frame[["rooms"]], yes_no)
    model = models.load(saved(own, tmp_path / "model.pkl"), trusted=True, threads=1)
    inner = model._ask.__self__
    assert [inner.n_jobs, *(estimator.n_jobs for estimator in inner.estimators_)] == [1, 1, 1]


def test_several_threads_at_once(tmp_path):
    frame, yes_no, _three, _score = table()
    own = pipeline(RandomForestClassifier(10, random_state=0)).fit(frame, yes_no)
    model = models.load(saved(own, tmp_path / "model.joblib"), trusted=True, threads=2)
    given, expected = batch(frame, model.info), own.predict_proba(frame)
    with ThreadPoolExecutor(4) as pool:
        for values in pool.map(lambda _: model.predict(given), range(12)):
            np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)
