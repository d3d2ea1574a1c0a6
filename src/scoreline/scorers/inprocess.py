"""A model in this very process, for scoring without any server."""

from __future__ import annotations

import pyarrow as pa

from scoreline.errors import DataRefused, ScorelineError, ServerUnavailable, one_line
from scoreline.models import Model, scores
from scoreline.types import ScoreOptions, Scores


class InProcessScorer:
    """Asks a loaded model directly; several threads may ask at once, as models allow."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._closed = False

    def score(self, features: pa.RecordBatch, options: ScoreOptions) -> Scores:  # noqa: ARG002 -- a call cannot be cut short
        """Score one batch. Raises DataRefused, ModelBroken, or ServerUnavailable once closed."""
        if self._closed:
            raise ServerUnavailable("Scoring stopped: the model was closed.")
        try:
            return scores(self._model, features)
        except ScorelineError:
            raise
        except MemoryError as error:
            raise ServerUnavailable("Scoring failed: there is no memory for this batch.") from error
        except Exception as error:
            raise DataRefused(
                f"the model failed on the rows: {type(error).__name__}: {one_line(str(error), 300)}"
            ) from error

    def close(self) -> None:
        """Take no more calls."""
        self._closed = True
