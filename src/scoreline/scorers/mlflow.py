"""MLflow (`mlflow models serve`): rows go out as JSON with their types, or as CSV where no input columns are known."""

from __future__ import annotations

import json
import re

import pyarrow as pa

from scoreline.errors import AccessRefused, DataRefused, ScoringError, ServerUnavailable
from scoreline.rows import jsonout
from scoreline.scorers import reasons
from scoreline.scorers.foreign import CSV, JSON, ForeignScorer, Learned, csv_body, finite
from scoreline.scorers.transport import Reply, refusal
from scoreline.types import Feature, ModelInfo, Scores, ScoringPlan, ServerAddress

_VERSION = re.compile(rb'"?\d+\.\d')
# What MLflow calls mistakes of its own, whatever the status.
_SERVER_FAULTS = frozenset({"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "RESOURCE_EXHAUSTED"})


class MlflowScorer(ForeignScorer):
    """A model behind MLflow's scoring server.

    JSON (`dataframe_split`) keeps numbers exact and texts as they are, where CSV would be guessed at by pandas. The
    answer never says which model gave it.
    """

    kind = "mlflow"
    options = {"singleOutput": "`last`: a binary model's one value is the last class's probability"}  # noqa: RUF012 -- never changed
    advice = (
        "save the model with `pyfunc_predict_fn='predict_proba'`, or, if its one value is a probability, register it "
        "with `--server-option singleOutput=last`"
    )

    def __init__(self, server: ServerAddress, plan: ScoringPlan) -> None:
        super().__init__(server, plan)
        self.content_type = JSON if plan.features else CSV

    def address(self) -> str:
        """The one route for rows."""
        return f"{self.url}/invocations"

    def body(self, batch: pa.RecordBatch) -> bytes:
        """Return JSON, or CSV without known columns."""
        if self.content_type == CSV:
            return csv_body(batch)
        names = json.dumps(batch.schema.names).encode()
        rows = jsonout.lists(finite(batch).columns)
        return b'{"dataframe_split":{"columns":%s,"data":[%s]}}' % (names, rows)

    def values(self, reply: Reply, rows: int) -> tuple[Scores, str | None]:
        """Read `predictions`; older servers answer the bare list."""
        document = reply.json()
        found = document.get("predictions") if isinstance(document, dict) else document
        return self.reader.rows(found, rows), None

    def refusal(self, reply: Reply) -> ScoringError:
        """400 is for everything that goes wrong with rows; its message may hold a trace, which stays here."""
        reason = reasons.find(reply)
        if reply.status == 400 and reply.document().get("error_code") not in _SERVER_FAULTS:
            machine = reason.text.partition(":")[0]
            if machine in {"MemoryError", "TimeoutError"}:
                return ServerUnavailable(f"Scoring failed: the {self.where} says: {reason.text} (status 400)")
            return DataRefused(reason.text or "the model failed on the rows")
        return refusal(self.where, reply, reason.text)

    def learn(self, labels: tuple[str, ...] | None, features: tuple[Feature, ...]) -> Learned:  # noqa: ARG002 -- nothing is told
        """MLflow tells nothing of its model over HTTP: only that it is there."""
        reply = self.ask("/version")
        if reply.status == 404:
            raise AccessRefused(f"The {self.where} is no MLflow server: it has no /version.")
        if reply.status != 200:
            raise self.refusal(reply)
        if not _VERSION.match(reply.body):
            raise AccessRefused(f"The {self.where} is no MLflow server: what it has at /version is no version.")
        return Learned(ModelInfo(self.kind, None, ()), needs_values=True)


def open_scorer(server: ServerAddress, plan: ScoringPlan) -> MlflowScorer:
    """Return a scorer; nothing is sent yet."""
    return MlflowScorer(server, plan)
