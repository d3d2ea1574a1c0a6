"""The pandas loop that Scoreline is measured against: what a careful user writes in ten lines."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from bench.data import CATEGORIES, NUMBERS, TARGET


def score(model: str, source: str, target: str) -> None:
    """Score a W1 file in chunks of 100,000 rows; write the id, two probabilities and the label."""
    features = NUMBERS + CATEGORIES if model.endswith(".txt") else NUMBERS
    predict = _tree(model) if model.endswith(".txt") else _linear(model)
    types = dict.fromkeys(CATEGORIES, "category")
    chunks = pd.read_csv(source, usecols=["id", *features], dtype=types, chunksize=100_000)
    for number, chunk in enumerate(chunks):
        positive = predict(chunk[features])
        scored = pd.DataFrame(
            {
                f"{TARGET}_1_PREDICTION": positive,
                f"{TARGET}_0_PREDICTION": 1 - positive,
                f"{TARGET}_PREDICTION": np.where(positive > 0.5, "1", "0"),
                "id": chunk["id"],
            }
        )
        scored.to_csv(target, index=False, header=number == 0, mode="a" if number else "w")


def _tree(model: str):  # noqa: ANN202 -- a closure over the model
    import lightgbm as lgb  # noqa: PLC0415 -- a user imports only the library of the model

    return lgb.Booster(model_file=model).predict  # on its default threads


def _linear(model: str):  # noqa: ANN202 -- as above
    import joblib  # noqa: PLC0415 -- as above

    pipeline = joblib.load(model)
    return lambda frame: pipeline.predict_proba(frame)[:, 1]


if __name__ == "__main__":
    score(*sys.argv[1:])
