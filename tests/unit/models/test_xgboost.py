"""XGBoost json and ubj files: XGBoost's own float32 numbers, bit by bit, since the same code computes them."""

from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost as xgb

from scoreline import models
from scoreline.errors import DataRefused, ModelBroken
from scoreline.models import xgboost
from scoreline.types import TargetType
from tests.unit.models.support import batch, kinds, table

SMALL = {"max_depth": 3, "nthread": 1}


def categorised():
    frame, yes_no, three, score = table()
    city = frame.city.replace("Köln", "Cologne")
    data = frame.assign(city=pd.Categorical(city), rooms=pd.Categorical(frame.rooms), whole=frame.rooms * 2)
    data.loc[::9, "city"] = None
    return data, (yes_no == "yes").astype(int), pd.Categorical(three).codes, score


@pytest.mark.parametrize("suffix", ["json", "ubj", "bin"])
def test_binary_with_categories(tmp_path, suffix):
    data, target, _three, _score = categorised()
    own = xgb.XGBClassifier(n_estimators=6, enable_categorical=True, **SMALL).fit(data, target)
    path = tmp_path / f"model.{suffix}"
    own.get_booster().save_raw("ubj" if suffix == "bin" else suffix)
    path.write_bytes(bytes(own.get_booster().save_raw("ubj" if suffix == "bin" else suffix)))
    model = models.load(path, trusted=False)
    assert (model.info.format, model.info.target_type, model.info.outputs) == ("xgboost", TargetType.BINARY, 2)
    assert kinds(model.info) == {
        "age": "numeric",
        "city": "text",
        "rooms": "numeric",
        "member": "boolean",
        "whole": "numeric",
    }
    values = model.predict(batch(data, model.info))
    positive = own.predict_proba(data)[:, 1].astype(float)
    np.testing.assert_array_equal(values[:, 1], positive)
    np.testing.assert_array_equal(values[:, 0], 1 - positive)


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_texts_that_xgboost_stores_wrongly_are_refused(tmp_path, suffix):
    """Up to 3.2 it counts letters where it should count bytes: "Köln", "Lima" become "Köl", "nLim"."""
    frame, _yes, _three, score = table()
    train = xgb.DMatrix(pd.DataFrame({"city": pd.Categorical(frame.city)}), label=score, enable_categorical=True)
    xgb.train(SMALL, train, 2).save_model(tmp_path / f"m.{suffix}")
    if tuple(map(int, xgb.__version__.split(".")[:2])) >= (3, 3):
        assert models.load(tmp_path / f"m.{suffix}", trusted=False).info.features
        return
    with pytest.raises(ModelBroken, match=r"categories beyond ASCII wrongly.*'city'"):
        models.load(tmp_path / f"m.{suffix}", trusted=False)


@pytest.mark.parametrize(
    ("tail", "version"),
    [
        (b'"version":[3,2,0]}', (3, 2)),
        (b'"version": [ 3, 10, 1 ] }', (3, 10)),
        (b"\x07version[#L\0\0\0\0\0\0\0\x03i\x03i\x02i\0}", (3, 2)),
        (b"nothing", (0, 0)),
    ],
)
def test_version_that_wrote_a_file(tail, version):
    assert xgboost._written_by(b"x" * 300 + tail) == version


def test_category_unknown_to_the_model_is_a_row_error(tmp_path):
    data, target, _three, _score = categorised()
    xgb.XGBClassifier(n_estimators=3, enable_categorical=True, **SMALL).fit(data, target).save_model(
        tmp_path / "m.json"
    )
    model = models.load(tmp_path / "m.json", trusted=False)
    strange = data.head(4).astype({"city": object})
    strange.loc[2, "city"] = "Atlantis"
    with pytest.raises(DataRefused, match="'city': 'Atlantis'") as caught:
        model.predict(batch(strange, model.info))
    assert caught.value.row == 2
    with pytest.raises(ModelBroken, match="'city'"):
        model.predict(batch(strange.assign(city=1.0), _as_numbers(model.info, "city")))


def _as_numbers(info, name):
    from dataclasses import replace

    from scoreline.types import FeatureType

    features = tuple(replace(f, type=FeatureType.NUMERIC) if f.name == name else f for f in info.features)
    return replace(info, features=features)


@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
def test_multiclass_gives_probabilities(tmp_path, objective):
    """Also for `multi:softmax`, whose own predictions are labels; computed in float64 there, hence 1e-6."""
    frame, _yes, three, _score = table()
    data = frame[["age", "rooms"]]
    params = {**SMALL, "num_class": 3}
    train = xgb.DMatrix(data, label=pd.Categorical(three).codes)
    xgb.train({**params, "objective": objective}, train, 5).save_model(tmp_path / "m.ubj")
    expected = xgb.train({**params, "objective": "multi:softprob"}, train, 5).predict(train)
    model = models.load(tmp_path / "m.ubj", trusted=False)
    assert (model.info.target_type, model.info.outputs) == (TargetType.MULTICLASS, 3)
    np.testing.assert_allclose(model.predict(batch(data, model.info)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("objective", ["reg:squarederror", "count:poisson", "reg:tweedie", "reg:gamma"])
def test_regression(tmp_path, objective):
    frame, _yes, _three, score = table()
    data = frame[["age", "rooms"]]
    train = xgb.DMatrix(data, label=np.abs(score) + 1)
    booster = xgb.train({**SMALL, "objective": objective}, train, 5)
    booster.save_model(tmp_path / "m.json")
    model = models.load(tmp_path / "m.json", trusted=False)
    assert model.info.target_type is TargetType.REGRESSION
    np.testing.assert_array_equal(model.predict(batch(data, model.info))[:, 0], booster.predict(train).astype(float))


@pytest.mark.filterwarnings("ignore:.*gblinear")
def test_linear_booster_from_many_threads(tmp_path):
    frame, _yes, _three, score = table()
    data = frame[["rooms"]].assign(age=frame.age.fillna(0))
    train = xgb.DMatrix(data, label=score)
    booster = xgb.train({"booster": "gblinear", "nthread": 1, "updater": "coord_descent"}, train, 3)
    booster.save_model(tmp_path / "m.json")
    model = models.load(tmp_path / "m.json", trusted=False)
    given = batch(data, model.info)
    with ThreadPoolExecutor(4) as pool:
        for values in pool.map(lambda _: model.predict(given), range(16)):
            np.testing.assert_array_equal(values[:, 0], booster.predict(train).astype(float))


def test_best_iteration_of_early_stopping(tmp_path):
    frame, yes_no, _three, _score = table()
    data, target = frame[["age", "rooms"]], (yes_no == "yes").astype(int)
    own = xgb.XGBClassifier(n_estimators=60, early_stopping_rounds=3, learning_rate=1.0, **SMALL)
    own.fit(data[:120], target[:120], eval_set=[(data[120:], target[120:])], verbose=False)
    assert own.best_iteration + 1 < own.get_booster().num_boosted_rounds()
    own.save_model(tmp_path / "m.json")
    model = models.load(tmp_path / "m.json", trusted=False)
    np.testing.assert_array_equal(
        model.predict(batch(data, model.info))[:, 1], own.predict_proba(data)[:, 1].astype(float)
    )


def test_array_without_names_takes_the_registrations_names(tmp_path):
    frame, _yes, _three, score = table()
    matrix = frame[["age", "rooms"]].to_numpy()
    booster = xgb.train(SMALL, xgb.DMatrix(matrix, label=score), 4)
    booster.save_model(tmp_path / "m.json")
    model = models.load(tmp_path / "m.json", trusted=False)
    assert kinds(model.info) == {"f0": "numeric", "f1": "numeric"}
    renamed = pa.RecordBatch.from_pandas(frame[["age", "rooms"]].astype(float), preserve_index=False)
    expected = booster.predict(xgb.DMatrix(matrix)).astype(float)
    np.testing.assert_array_equal(model.predict(renamed)[:, 0], expected)


@pytest.mark.parametrize("objective", ["binary:hinge", "binary:logitraw", "rank:ndcg"])
def test_objectives_without_probabilities_are_refused(tmp_path, objective):
    frame, yes_no, _three, _score = table()
    train = xgb.DMatrix(frame[["age", "rooms"]], label=(yes_no == "yes").astype(int))
    train.set_group([len(frame)])
    xgb.train({**SMALL, "objective": objective}, train, 2).save_model(tmp_path / "m.json")
    with pytest.raises(ModelBroken, match=f"'m.json'.*'{objective}'"):
        models.load(tmp_path / "m.json", trusted=False)


@pytest.mark.parametrize("wrapped", [False, True])
def test_labels(tmp_path, wrapped):
    frame, yes_no, _three, score = table()
    own = xgb.XGBClassifier(n_estimators=3, max_depth=2).fit(
        frame[["age", "rooms"]], np.column_stack([yes_no == "yes", score > 0, score > 1]).astype(int)
    )
    if wrapped:
        joblib.dump(own, tmp_path / "m.joblib")
    else:
        own.save_model(tmp_path / "m.json")
    model = models.load(tmp_path / ("m.joblib" if wrapped else "m.json"), trusted=wrapped)
    assert (model.info.target_type, model.info.class_labels, model.info.outputs) == (TargetType.MULTILABEL, None, 3)
    expected = own.predict_proba(frame[["age", "rooms"]])
    np.testing.assert_allclose(model.predict(batch(frame, model.info)), expected, rtol=0, atol=1e-7)


def test_several_targets_are_refused(tmp_path):
    frame, _yes, _three, score = table()
    train = xgb.DMatrix(frame[["age", "rooms"]], label=np.column_stack([score, score]))
    xgb.train(SMALL, train, 2).save_model(tmp_path / "m.json")
    with pytest.raises(ModelBroken, match="several targets"):
        models.load(tmp_path / "m.json", trusted=False)


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_truncated_files_never_load(tmp_path, suffix):
    frame, _yes, _three, score = table()
    xgb.train(SMALL, xgb.DMatrix(frame[["age"]], label=score), 2).save_model(tmp_path / f"m.{suffix}")
    whole = (tmp_path / f"m.{suffix}").read_bytes()
    for size in (30, len(whole) // 2, len(whole) - 3):
        (tmp_path / f"m.{suffix}").write_bytes(whole[:size])
        with pytest.raises(ModelBroken, match=f"'m.{suffix}' cannot be used: XGBoost cannot read it") as caught:
            models.load(tmp_path / f"m.{suffix}", trusted=False)
        assert "Stack trace" not in caught.value.message
        assert "\n" not in caught.value.message


def test_old_binary_format_is_named(tmp_path):
    (tmp_path / "m.model").write_bytes(b"binf\0\0\0\x3f" + bytes(200))
    with pytest.raises(ModelBroken, match="old binary format"):
        models.detect(tmp_path / "m.model")
