"""A model in this very process, for scoring without any server."""

from __future__ import annotations

import pyarrow as pa

from scoreline.errors import DataRefused, ScorelineError, ServerUnavailable, WrongAnswer, one_line
from scoreline.models import Model
from scoreline.types import ScoreOptions, Scores


class InProcessScorer:
    """Asks a loaded model directly; several threads may ask at once, as models allow."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._closed = False

    def score(self, features: pa.RecordBatch, options: ScoreOptions) -> Scores:  # noqa: ARG002 -- a call cannot be cut short
        """Score one batch. Raises DataRefused, ModelBroken, WrongAnswer, or ServerUnavailable once closed."""
        if self._closed:
            raise ServerUnavailable("Scoring stopped: the model was closed.")
        try:
            values = self._model.predict(features)
        except ScorelineError:
            raise
        except MemoryError as error:
            raise ServerUnavailable("Scoring failed: there is no memory for this batch.") from error
        except Exception as error:
            raise DataRefused(
                f"the model failed on the rows: {type(error).__name__}: {one_line(str(error), 300)}"
            ) from error
        if len(values) != features.num_rows:
            raise WrongAnswer(
                f"Scoring failed: the model answered {len(values)} predictions for {features.num_rows} rows."
            )
        return Scores(values)

    def close(self) -> None:
        """Take no more calls."""
        self._closed = True
