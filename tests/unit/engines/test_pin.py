"""One model for the whole job."""

from __future__ import annotations

import numpy as np
import pytest

from scoreline.engines.local import MemoryLedger
from scoreline.engines.pin import PinnedScorer
from scoreline.errors import ModelChanged
from scoreline.types import ScoreOptions, Scores


class Scripted:
    def __init__(self, *models):
        self._models = list(models)

    def score(self, features, options):
        return Scores(np.zeros((1, 1)), model=self._models.pop(0))

    def close(self):
        pass


def test_the_first_model_told_is_the_jobs_in_every_run():
    ledger = MemoryLedger()
    scorer = PinnedScorer(Scripted(None, "a", "a", None, "b"), ledger)
    for _ in range(4):
        scorer.score(None, ScoreOptions())
    with pytest.raises(ModelChanged, match=r"the model b, but the job began with a"):
        scorer.score(None, ScoreOptions())
    with pytest.raises(ModelChanged):
        PinnedScorer(Scripted("b"), ledger).score(None, ScoreOptions())


def test_a_server_with_another_model_than_the_jobs_is_refused_at_once():
    scorer = PinnedScorer(Scripted("a", "b"), MemoryLedger(), "a")
    scorer.score(None, ScoreOptions())
    with pytest.raises(ModelChanged):
        scorer.score(None, ScoreOptions())
    with pytest.raises(ModelChanged, match="the model b, but the job began with a"):
        PinnedScorer(Scripted("b"), MemoryLedger(), "a").score(None, ScoreOptions())
