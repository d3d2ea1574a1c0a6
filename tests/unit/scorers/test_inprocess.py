from __future__ import annotations

import lightgbm
import numpy as np
import pyarrow as pa
import pytest

from scoreline import errors, models
from scoreline.scorers.inprocess import InProcessScorer
from scoreline.types import Feature, FeatureType, ModelInfo, ScoreOptions, TargetType

OPTIONS = ScoreOptions()


def test_a_real_model(tmp_path):
    random = np.random.default_rng(3)
    values = random.normal(size=(200, 2))
    booster = lightgbm.train(
        {"objective": "regression", "verbose": -1, "num_threads": 1},
        lightgbm.Dataset(values, values.sum(axis=1), feature_name=["a", "b"]),
        5,
    )
    booster.save_model(tmp_path / "model.txt")
    scorer = InProcessScorer(models.load(tmp_path / "model.txt", trusted=False))
    rows = pa.record_batch({"a": pa.array(values[:, 0]), "b": pa.array(values[:, 1])})
    assert scorer.score(rows, OPTIONS).values[:, 0].tolist() == booster.predict(values).tolist()
    scorer.close()
    scorer.close()
    with pytest.raises(errors.ServerUnavailable, match="closed"):
        scorer.score(rows, OPTIONS)


class Odd:
    info = ModelInfo("odd", TargetType.REGRESSION, (Feature("a", FeatureType.NUMERIC),))

    def __init__(self, outcome):
        self.outcome = outcome

    def predict(self, batch):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (np.zeros((3, 1)), errors.ModelBroken),
        (ValueError("no good"), errors.DataRefused),
        (errors.ModelBroken("broken"), errors.ModelBroken),
        (MemoryError(), errors.ServerUnavailable),
    ],
)
def test_failures(outcome, kind):
    with pytest.raises(kind):
        InProcessScorer(Odd(outcome)).score(pa.record_batch({"a": pa.array([1.0])}), OPTIONS)
