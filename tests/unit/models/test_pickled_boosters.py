"""Boosters saved by joblib, pickle or skops are taken out and asked through their own loaders, with their labels."""

import catboost as cb
import joblib
import lightgbm as lgb
import numpy as np
import pandas as pd
import skops.io
import xgboost as xgb

from scoreline import models
from scoreline.types import TargetType
from tests.unit.models.support import batch, kinds, table


def test_lightgbm_classifier_with_categories_and_labels(tmp_path):
    frame, _yes, three, _score = table()
    data = frame[["age", "city"]].astype({"city": "category"})
    own = lgb.LGBMClassifier(n_estimators=4, min_child_samples=5, verbose=-1, n_jobs=1).fit(data, three)
    joblib.dump(own, tmp_path / "model.joblib")
    skops.io.dump(own, tmp_path / "model.skops")
    for name, trusted in (("model.joblib", True), ("model.skops", False)):
        model = models.load(tmp_path / name, trusted=trusted)
        assert (model.info.format, model.info.target_type) == ("sklearn", TargetType.MULTICLASS)
        assert model.info.class_labels == ("low", "mid", "top")
        assert kinds(model.info) == {"age": "numeric", "city": "text"}
        np.testing.assert_array_equal(model.predict(batch(data, model.info)), own.predict_proba(data))


def test_lightgbm_best_iteration(tmp_path):
    frame, yes_no, _three, _score = table()
    data, target = frame[["age", "rooms"]], (yes_no == "yes").astype(int)
    own = lgb.LGBMClassifier(n_estimators=60, learning_rate=1.0, verbose=-1, n_jobs=1)
    stop = lgb.early_stopping(3, verbose=False)
    own.fit(data[:120], target[:120], eval_X=data[120:], eval_y=target[120:], callbacks=[stop])
    assert own.best_iteration_ < 60
    joblib.dump(own, tmp_path / "model.joblib")
    model = models.load(tmp_path / "model.joblib", trusted=True)
    assert model.info.class_labels == ("0", "1")
    np.testing.assert_array_equal(model.predict(batch(data, model.info)), own.predict_proba(data))


def test_xgboost_regressor_and_plain_booster(tmp_path):
    frame, _yes, _three, score = table()
    data = frame[["age", "rooms"]]
    own = xgb.XGBRegressor(n_estimators=4, max_depth=3, n_jobs=1, missing=3.0).fit(data, score)
    joblib.dump(own, tmp_path / "model.joblib")
    model = models.load(tmp_path / "model.joblib", trusted=True)
    assert model.info.target_type is TargetType.REGRESSION
    np.testing.assert_array_equal(model.predict(batch(data, model.info))[:, 0], own.predict(data).astype(float))
    joblib.dump(own.get_booster(), tmp_path / "booster.joblib")
    plain = models.load(tmp_path / "booster.joblib", trusted=True)
    expected = own.get_booster().predict(xgb.DMatrix(data)).astype(float)
    np.testing.assert_array_equal(plain.predict(batch(data, plain.info))[:, 0], expected)


def test_catboost_classifier(tmp_path):
    frame, yes_no, _three, _score = table()
    own = cb.CatBoostClassifier(
        iterations=4, verbose=0, allow_writing_files=False, thread_count=1, cat_features=["city"]
    )
    own.fit(frame, yes_no)
    joblib.dump(own, tmp_path / "model.joblib")
    model = models.load(tmp_path / "model.joblib", trusted=True)
    assert model.info.class_labels == ("no", "yes")
    np.testing.assert_array_equal(model.predict(batch(frame, model.info)), own.predict_proba(frame))


def test_booster_as_the_last_step_of_a_pipeline(tmp_path):
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame, yes_no, _three, _score = table()
    encoder = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["city"]), remainder="passthrough", verbose_feature_names_out=False
    ).set_output(transform="pandas")
    own = make_pipeline(encoder, lgb.LGBMClassifier(n_estimators=4, verbose=-1)).fit(frame, yes_no)
    joblib.dump(own, tmp_path / "model.joblib")
    model = models.load(tmp_path / "model.joblib", trusted=True)
    assert kinds(model.info)["city"] == "text"
    np.testing.assert_array_equal(model.predict(batch(frame, model.info)), own.predict_proba(frame))
    assert pd.isna(frame.age).any()
