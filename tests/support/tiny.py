"""A small LightGBM model and rows for it, the same for every test that only needs some model."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import lightgbm as lgb
import numpy as np

COLUMNS = ("age", "income")
LABELS = ("no", "yes")
TARGET = "churn"
DEPLOY = ("--target", TARGET, "--target-type", "Binary", "--class-labels", ",".join(LABELS))
HEADER = f"id,{TARGET}_yes_PREDICTION,{TARGET}_no_PREDICTION,{TARGET}_PREDICTION,THRESHOLD,POSITIVE_CLASS"


def save(path: Path) -> Path:
    """Write the model to a file."""
    path.write_text(_model_text())
    return path


def rows(count: int, seed: int = 7) -> tuple[str, np.ndarray]:
    """CSV text with an id and the model's columns, and the positive class's probability of each row."""
    values = _values(count, seed)
    lines = [f"{number:05d},{age!r},{income!r}" for number, (age, income) in enumerate(values.tolist())]
    probabilities = lgb.Booster(model_str=_model_text()).predict(values)
    return "\n".join(["id,age,income", *lines]) + "\n", np.asarray(probabilities)


def scored(count: int) -> tuple[bytes, bytes]:
    """A CSV of so many rows, and what a job that passes the id through makes of it: by LightGBM, written here."""
    text, probabilities = rows(count)
    lines = [f"{HEADER.removeprefix('id,')},id"]
    for number, yes in enumerate(probabilities.tolist()):
        label = LABELS[1] if yes >= 0.5 else LABELS[0]
        lines.append(f"{yes!r},{1 - yes!r},{label},0.5,yes,{number:05d}")
    return text.encode(), ("\n".join(lines) + "\n").encode()


@cache
def _model_text() -> str:
    values = _values(600, 1)
    wanted = (values[:, 0] > 40) ^ (values[:, 1] > 3000)
    data = lgb.Dataset(values, wanted.astype(int), feature_name=list(COLUMNS))
    parameters = {"objective": "binary", "num_leaves": 7, "seed": 1, "verbose": -1, "num_threads": 1}
    return lgb.train(parameters, data, num_boost_round=12).model_to_string()


def _values(count: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.column_stack([generator.uniform(18, 80, count), generator.uniform(500, 9000, count)])
