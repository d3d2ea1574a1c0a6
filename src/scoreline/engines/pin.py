"""One model for the whole job: what the first answer came from must give all others, in every run of the job."""

from __future__ import annotations

import threading

import pyarrow as pa

from scoreline.errors import ModelChanged
from scoreline.protocols import Pins, Scorer
from scoreline.types import ScoreOptions, Scores


class PinnedScorer:
    """Another scorer, whose answers are refused once they come from another model than the job's first.

    expected: the identity of the model that the job was made for, where it is known beforehand. Servers that do not
    tell which model they run are taken at their word.
    """

    def __init__(self, scorer: Scorer, ledger: Pins, expected: str | None = None) -> None:
        self._scorer = scorer
        self._ledger = ledger
        self._lock = threading.Lock()
        self._model = expected or None

    def score(self, features: pa.RecordBatch, options: ScoreOptions) -> Scores:
        """Score a batch. Raises ModelChanged, what the scorer raises, and on the first call what the ledger raises."""
        scores = self._scorer.score(features, options)
        if scores.model is not None:
            self._check(scores.model)
        return scores

    def close(self) -> None:
        """Close the scorer."""
        self._scorer.close()

    def _check(self, model: str) -> None:
        if self._model is None:
            with self._lock:
                if self._model is None:
                    self._model = self._ledger.pin_model(model)
        if model != self._model:
            raise ModelChanged(
                f"Scoring failed: the prediction server now has the model {model}, but the job began with "
                f"{self._model}; run the job again, so that one model scores all rows."
            )
