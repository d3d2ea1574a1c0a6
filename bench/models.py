"""The bench's own models, trained once and kept in `bench/data/`."""

from __future__ import annotations

from pathlib import Path

import joblib
import lightgbm as lgb
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.data import CATEGORIES, DATA, NUMBERS, TARGET, csv_file

_TRAIN_ROWS = 150_000


def tree_model() -> Path:
    """Return W1's model: binary LightGBM, 200 trees of 31 leaves, categories as pandas categoricals."""
    path = DATA / "w1-model.txt"
    if not path.exists():
        frame = _training_rows()
        parameters = {"objective": "binary", "num_leaves": 31, "seed": 1, "verbose": -1, "deterministic": True}
        data = lgb.Dataset(frame[NUMBERS + CATEGORIES], frame[TARGET])
        lgb.train(parameters, data, num_boost_round=200).save_model(path)
    return path


def linear_model() -> Path:
    """Return W3's model: logistic regression on the numbers, gaps filled, so that reading and writing dominate."""
    path = DATA / "w3-model.joblib"
    if not path.exists():
        frame = _training_rows()
        pipeline = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
        joblib.dump(pipeline.fit(frame[NUMBERS], frame[TARGET]), path)
    return path


def _training_rows() -> pd.DataFrame:
    types = dict.fromkeys(CATEGORIES, "category")
    return pd.read_csv(csv_file(100), usecols=[*NUMBERS, *CATEGORIES, TARGET], dtype=types, nrows=_TRAIN_ROWS)
