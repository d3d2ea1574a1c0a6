"""The DataRobot Prediction API: DataRobot itself, a Portable Prediction Server, or Scoreline's own real-time route."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pyarrow as pa

from scoreline.errors import ModelCrashed, ScoringError
from scoreline.scorers import reasons
from scoreline.scorers.foreign import CSV, ForeignScorer, Learned, csv_body
from scoreline.scorers.replies import Reader
from scoreline.scorers.transport import Reply, refusal
from scoreline.types import Feature, ModelInfo, Scores, ScoringPlan, ServerAddress

_MODEL_HEADERS = ("x-scoreline-model", "x-datarobot-model-id")


class DataRobotScorer(ForeignScorer):
    """A deployment behind the Prediction API; without the option `deployment`, a server of one single model."""

    kind = "datarobot"
    content_type = CSV
    most_bytes = 50 << 20
    concurrency = 4
    row_bytes = 4 << 10
    options = {  # noqa: RUF012 -- never changed
        "deployment": "id of the deployment on that server",
        "route": "`predApi` (default), `pps` (Portable Prediction Server) or `serverless`",
    }
    advice = "register it again with the class labels of its deployment"

    def headers(self, server: ServerAddress) -> dict[str, str]:
        """Add the second key that managed installations want."""
        extra = {"datarobot-key": server.datarobot_key} if server.datarobot_key else {}
        return super().headers(server) | extra

    def address(self) -> str:
        """Return the route of the deployment."""
        deployment = self.given.get("deployment")
        if not deployment:
            return f"{self.url}/predictions"
        base = self.url if self.given.get("route", "predApi") != "predApi" else f"{self.url}/predApi/v1.0"
        return f"{base}/deployments/{quote(deployment, safe='')}/predictions"

    def body(self, batch: pa.RecordBatch) -> bytes:
        """Return CSV with commas, the one dialect of this API."""
        return csv_body(batch)

    def values(self, reply: Reply, rows: int) -> tuple[Scores, str | None]:
        """Read `data`; some installations name the model in a header."""
        document = reply.json()
        found = document.get("data") if isinstance(document, dict) else None
        model = next((reply.headers[name] for name in _MODEL_HEADERS if name in reply.headers), None)
        return read(found, rows, self.reader), model

    def refusal(self, reply: Reply) -> ScoringError:
        """Besides the usual: Scoreline's own route says when a model ended over the rows."""
        said = reasons.find(reply).text
        if reply.status == 500 and reply.document().get("reason") == "crash":
            return ModelCrashed(said)
        return refusal(self.where, reply, said)

    def learn(self, labels: tuple[str, ...] | None, features: tuple[Feature, ...]) -> Learned:  # noqa: ARG002 -- nothing is told
        """Nothing can be asked with a deployment's key but predictions."""
        return Learned(ModelInfo(self.kind, None, ()))


def open_scorer(server: ServerAddress, plan: ScoringPlan) -> DataRobotScorer:
    """Return a scorer; nothing is sent yet."""
    return DataRobotScorer(server, plan)


def read(data: Any, rows: int, reader: Reader) -> Scores:
    """Read the list of this API: for each row `rowId`, `prediction` and `predictionValues`.

    Raises WrongAnswer or ModelBroken.
    """
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise reader.wrong("no list of predictions")
    reader.check_count(len(data), rows)
    if any(item.get("rowId", place) != place for place, item in enumerate(data)):
        raise reader.wrong("rows in another order than they were sent")
    extra = reader.beside([item.get("extraModelOutput") or {} for item in data])
    if reader.outputs <= 1:
        return reader.scores([item.get("prediction") for item in data], extra)
    try:
        named = [{str(value["label"]): value["value"] for value in item["predictionValues"]} for item in data]
    except (KeyError, TypeError) as error:
        raise reader.wrong("rows without predictionValues") from error
    return reader.named(named, extra)
