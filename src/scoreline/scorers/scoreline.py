"""Our own prediction server: one Arrow record batch there, its values back, over connections that stay open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa

from scoreline.errors import (
    AccessRefused,
    DataRefused,
    ModelBroken,
    ModelCrashed,
    Overloaded,
    ScoringError,
    ServerUnavailable,
    TooLarge,
    WrongAnswer,
    one_line,
)
from scoreline.rows import exchange
from scoreline.scorers.transport import Reply, Transport, retry_after
from scoreline.types import ScoreOptions, Scores, ScoringPlan, ServerAddress

# Beyond the numbers themselves: the schema and what Arrow adds to each column.
_MORE_BYTES = 1 << 20
_COLUMN_BYTES = 1 << 10
# Texts have no size of their own: one batch's may be as large as this.
_MOST_TEXT = 256 << 20


def open_scorer(server: ServerAddress, plan: ScoringPlan) -> ScorelineScorer:
    """Return a scorer for the model package that `server` names."""
    return ScorelineScorer(server, plan)


class ScorelineScorer:
    """Scores batches on one package of one prediction server; several threads may ask at once.

    `Scores.model` is the content hash that the server says it used.
    """

    def __init__(self, server: ServerAddress, plan: ScoringPlan) -> None:
        self._url = f"{server.url.rstrip('/')}/scoreline/v1/packages/{server.package_id}/score"
        self._where = f"prediction server {server.url.rstrip('/')}"
        self._outputs = plan.outputs
        self._extra = tuple(each.name for each in plan.extra)
        self._transport = Transport(
            self._where, {"Authorization": f"Bearer {server.token}", "Accept": exchange.MEDIA_TYPE}
        )

    def score(self, features: pa.RecordBatch, options: ScoreOptions) -> Scores:
        """Score one batch; see `scoreline.protocols.Scorer` for what is raised."""
        reply = self._transport.post(
            self._url,
            exchange.encode(features).to_pybytes(),
            content_type=exchange.MEDIA_TYPE,
            seconds=options.timeout,
            most_bytes=self._most_bytes(features.num_rows),
        )
        if reply.status != 200:
            raise self._refusal(reply)
        scores = self._decode(reply.body)
        found = len(scores.values)
        if found != features.num_rows:
            raise WrongAnswer(
                f"Scoring failed: the {self._where} answered {found} predictions for {features.num_rows} rows."
            )
        return replace(scores, model=reply.headers.get("x-scoreline-model"))

    def close(self) -> None:
        """End calls in flight at once (they raise ServerUnavailable) and close all connections."""
        self._transport.close()

    def _most_bytes(self, rows: int) -> int:
        """Twice what is due, so that a reply of the wrong shape is still read and named as that."""
        if self._extra or self._outputs == 0:
            return _MOST_TEXT
        return _MORE_BYTES + 2 * self._outputs * (8 * rows + _COLUMN_BYTES)

    def _decode(self, body: bytes) -> Scores:
        """Raises WrongAnswer or ModelBroken."""
        try:
            scores = exchange.decode_scores(body, self._extra)
        except ValueError as error:
            raise WrongAnswer(
                f"Scoring failed: the {self._where} answered no table of predictions ({one_line(str(error), 100)})."
            ) from error
        found = scores.values.shape[1]
        if found != self._outputs or (scores.text is None) is (self._outputs == 0):
            gave = "text" if scores.text is not None else f"{found} columns"
            raise ModelBroken(
                f"Scoring failed: the model answers {gave} where its registration says {self._outputs or 'text'}; "
                "register it again with its class labels."
            )
        return scores

    def _refusal(self, reply: Reply) -> ScoringError:
        """The error that a status means."""
        status = reply.status
        document = reply.document()
        text = one_line(str(document.get("message") or f"status {status}"))
        told = f"Scoring failed: the {self._where} says: {text}"
        if status == 413:
            return TooLarge(told)
        if status in {429, 503}:
            return Overloaded(told, retry_after(reply.headers.get("retry-after")))
        if status in {401, 403, 404}:
            return AccessRefused(f"{told} ({status})")
        reason = document.get("reason")
        if reason in _ABOUT_THE_MODEL:
            return _ABOUT_THE_MODEL[reason](text)
        if 400 <= status < 500 and status != 408:
            row = document.get("row")
            return DataRefused(text, row if isinstance(row, int) else None)
        return ServerUnavailable(f"{told} ({status})")


_ABOUT_THE_MODEL: dict[Any, type[ScoringError]] = {"model": ModelBroken, "crash": ModelCrashed}
