"""What every scorer promises, whatever it asks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from scoreline import models as formats
from scoreline.errors import DataRefused, ServerUnavailable
from scoreline.protocols import Scorer
from scoreline.scorers import open_scorer
from scoreline.scorers.inprocess import InProcessScorer
from scoreline.types import ScoreOptions, ScoringPlan, ServerAddress, TargetType
from tests.unit.serving import models_for_tests as models
from tests.unit.serving.conftest import api, cache, made, url

__all__ = ["api", "cache", "made", "url"]

OPTIONS = ScoreOptions(timeout=60)
LABELS = {"regression": (), "binary": ("no", "yes"), "multiclass": ("low", "mid", "high"), "moody": ()}
TARGETS = {0: TargetType.REGRESSION, 2: TargetType.BINARY, 3: TargetType.MULTICLASS}


@pytest.fixture(params=["inprocess", "scoreline"])
def opened(request, made) -> Iterator:
    """A function from the name of a model to a scorer for it."""
    scorers: list[Scorer] = []

    def opener(name: str) -> Scorer:
        if request.param == "inprocess":
            scorers.append(InProcessScorer(formats.load(made.paths[name], trusted=True)))
        else:
            plan = ScoringPlan(TARGETS[len(LABELS[name])], "y", (), LABELS[name])
            scorers.append(open_scorer(ServerAddress(request.getfixturevalue("url"), name, "run"), plan))
        return scorers[-1]

    yield opener
    for scorer in scorers:
        scorer.close()


def rows(values: np.ndarray) -> pa.RecordBatch:
    return pa.record_batch({"x": pa.array(values[:, 0]), "z": pa.array(values[:, 1])})


@pytest.mark.parametrize("name", ["regression", "binary", "multiclass"])
def test_one_line_of_values_for_each_row_in_order(opened, made, name):
    values = np.random.default_rng(5).normal(size=(300, 2))
    wanted = made.boosters[name].predict(values)
    if name == "binary":
        wanted = np.column_stack([1 - wanted, wanted])
    scores = opened(name).score(rows(values), OPTIONS)
    assert scores.values.dtype == np.float64
    assert scores.values.tolist() == wanted.reshape(300, -1).tolist()
    assert scores.row_index is None


def test_several_threads_at_once(opened, made):
    scorer = opened("regression")

    def same(seed: int) -> bool:
        values = np.random.default_rng(seed).normal(size=(10 + seed, 2))
        found = scorer.score(rows(values), OPTIONS).values[:, 0]
        return found.tolist() == made.boosters["regression"].predict(values).tolist()

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(same, range(40)))


def test_slices_are_only_what_they_show(opened, made):
    values = np.random.default_rng(6).normal(size=(100, 2))
    found = opened("regression").score(rows(values).slice(37, 5), OPTIONS).values[:, 0]
    assert found.tolist() == made.boosters["regression"].predict(values[37:42]).tolist()


def test_rows_that_the_model_refuses(opened):
    scorer = opened("moody")
    with pytest.raises(DataRefused, match="this row is no good"):
        scorer.score(rows(np.array([[1.0, 0.0], [models.RAISE, 0.0]])), OPTIONS)
    assert scorer.score(rows(np.array([[1.5, 0.0]])), OPTIONS).values.tolist() == [[3.0]]


def test_closing(opened):
    scorer = opened("regression")
    scorer.score(rows(np.zeros((1, 2))), OPTIONS)
    scorer.close()
    scorer.close()
    with pytest.raises(ServerUnavailable):
        scorer.score(rows(np.zeros((1, 2))), OPTIONS)
