"""CatBoost cbm files: CatBoost's own numbers for a DataFrame, exactly."""

from concurrent.futures import ThreadPoolExecutor

import catboost as cb
import numpy as np
import pyarrow as pa
import pytest

from scoreline import models
from scoreline.errors import DataRefused, ModelBroken
from scoreline.types import TargetType
from tests.unit.models.support import batch, kinds, table

QUIET = {"iterations": 5, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 1}


def test_binary_with_categories(tmp_path):
    frame, yes_no, _three, _score = table()
    own = cb.CatBoostClassifier(cat_features=["city", "rooms"], **QUIET).fit(frame, yes_no)
    own.save_model(tmp_path / "model.cbm")
    model = models.load(tmp_path / "model.cbm", trusted=False)
    assert (model.info.format, model.info.target_type, model.info.outputs) == ("catboost", TargetType.BINARY, 2)
    assert model.info.class_labels == ("no", "yes")
    assert kinds(model.info) == {"age": "numeric", "city": "text", "rooms": "text", "member": "numeric"}
    given = batch(frame, model.info)
    np.testing.assert_array_equal(model.predict(given), own.predict_proba(frame))
    whole = given.set_column(2, "rooms", pa.array(frame.rooms))  # registered as whole numbers
    np.testing.assert_array_equal(model.predict(whole), own.predict_proba(frame))


def test_missing_category_is_a_row_error(tmp_path):
    frame, yes_no, _three, _score = table()
    cb.CatBoostClassifier(cat_features=["city"], **QUIET).fit(frame, yes_no).save_model(tmp_path / "model.cbm")
    model = models.load(tmp_path / "model.cbm", trusted=False)
    assert [feature.name for feature in model.info.features if not feature.nullable] == ["city"]
    gaps = frame.head(5).copy()
    gaps.loc[3, "city"] = None
    with pytest.raises(DataRefused, match="column 'city' is empty") as caught:
        model.predict(batch(gaps, model.info))
    assert caught.value.row == 3


@pytest.mark.parametrize("loss", ["RMSE", "MAE", "Poisson", "Tweedie:variance_power=1.5", "Quantile:alpha=0.9"])
def test_regression_losses(tmp_path, loss):
    frame, _yes, _three, score = table()
    data = frame[["age", "rooms"]]
    own = cb.CatBoostRegressor(loss_function=loss, **QUIET).fit(data, np.abs(score) + 1)
    own.save_model(tmp_path / "model.cbm")
    model = models.load(tmp_path / "model.cbm", trusted=False)
    assert (model.info.target_type, model.info.outputs) == (TargetType.REGRESSION, 1)
    np.testing.assert_array_equal(model.predict(batch(data, model.info))[:, 0], own.predict(data))


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (["low", "mid", "top"], ("low", "mid", "top")),
        ([1.0, 2.5, 7.0], ("1.0", "2.5", "7.0")),
        ([1, 2, 3], ("1", "2", "3")),
    ],
)
def test_multiclass_labels_verbatim(tmp_path, classes, labels):
    frame, _yes, three, _score = table()
    data = frame[["age", "rooms"]].to_numpy()
    target = np.array(classes, dtype=object)[np.unique(three, return_inverse=True)[1]]
    own = cb.CatBoostClassifier(**QUIET).fit(data, list(target))
    own.save_model(tmp_path / "model.cbm")
    model = models.load(tmp_path / "model.cbm", trusted=False)
    assert (model.info.target_type, model.info.class_labels) == (TargetType.MULTICLASS, labels)
    assert kinds(model.info) == {"0": "numeric", "1": "numeric"}
    named = frame[["age", "rooms"]].set_axis(["0", "1"], axis=1)
    np.testing.assert_array_equal(model.predict(batch(named, model.info)), own.predict_proba(data))


def test_boolean_labels(tmp_path):
    frame, yes_no, _three, _score = table()
    cb.CatBoostClassifier(**QUIET).fit(frame[["age"]], yes_no == "yes").save_model(tmp_path / "model.cbm")
    assert models.load(tmp_path / "model.cbm", trusted=False).info.class_labels == ("False", "True")


def test_other_losses_are_refused_in_words(tmp_path):
    frame, _yes_no, _three, score = table()
    ranker = cb.CatBoost({**QUIET, "loss_function": "YetiRank"})
    ranker.fit(frame[["age", "rooms"]], score, group_id=np.zeros(len(frame), int)).save_model(tmp_path / "rank.cbm")
    with pytest.raises(ModelBroken, match=r"'rank.cbm'.*'YetiRank'"):
        models.load(tmp_path / "rank.cbm", trusted=False)


@pytest.mark.parametrize("loss", ["MultiLogloss", "MultiCrossEntropy"])
def test_labels(tmp_path, loss):
    frame, yes_no, _three, score = table()
    three = np.column_stack([yes_no == "yes", score > 0, score > 1]).astype(int)
    own = cb.CatBoostClassifier(loss_function=loss, **QUIET).fit(frame[["age", "rooms"]], three)
    own.save_model(tmp_path / "labels.cbm")
    model = models.load(tmp_path / "labels.cbm", trusted=False)
    assert (model.info.target_type, model.info.class_labels, model.info.outputs) == (TargetType.MULTILABEL, None, 3)
    expected = own.predict(frame[["age", "rooms"]], prediction_type="Probability")
    np.testing.assert_allclose(model.predict(batch(frame, model.info)), expected, rtol=0, atol=1e-12)


def test_several_threads_at_once(tmp_path):
    frame, yes_no, _three, _score = table()
    own = cb.CatBoostClassifier(cat_features=["city"], **QUIET).fit(frame, yes_no)
    own.save_model(tmp_path / "model.cbm")
    model = models.load(tmp_path / "model.cbm", trusted=False, threads=2)
    given, expected = batch(frame, model.info), own.predict_proba(frame)
    with ThreadPoolExecutor(4) as pool:
        for values in pool.map(lambda _: model.predict(given), range(20)):
            np.testing.assert_array_equal(values, expected)


def test_truncated_files_never_load(tmp_path):
    frame, yes_no, _three, _score = table()
    cb.CatBoostClassifier(**QUIET).fit(frame[["age"]], yes_no).save_model(tmp_path / "model.cbm")
    whole = (tmp_path / "model.cbm").read_bytes()
    for size in (4, 100, len(whole) - 1):
        (tmp_path / "cut.cbm").write_bytes(whole[:size])
        with pytest.raises(ModelBroken, match=r"'cut.cbm' cannot be used: CatBoost cannot read it"):
            models.load(tmp_path / "cut.cbm", trusted=False)
