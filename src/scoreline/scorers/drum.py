"""DRUM (`drum server`): rows go out as CSV; answers are a plain list, or the form of a Portable Prediction Server."""

from __future__ import annotations

import json
import threading
import time

import pyarrow as pa

from scoreline.errors import InvalidRequest, ScoringError, WrongAnswer
from scoreline.scorers import datarobot
from scoreline.scorers.foreign import CSV, ForeignScorer, Learned, csv_body, fingerprint
from scoreline.scorers.transport import Reply
from scoreline.types import Feature, JsonObject, ModelInfo, Scores, ScoringPlan, ServerAddress, TargetType

_LOOK_SECONDS = 10.0  # how old the model's identity may be
_KINDS = {kind.casefold(): kind for kind in TargetType}


class DrumScorer(ForeignScorer):
    """A custom model behind DRUM.

    Its answers do not name the model, so `/info/` is asked now and then for what the server runs.
    """

    kind = "drum"
    content_type = CSV
    advice = "register it again with `--class-labels` as `drum server` was started with"

    def __init__(self, server: ServerAddress, plan: ScoringPlan) -> None:
        super().__init__(server, plan)
        self._lock = threading.Lock()
        self._known: str | None = None
        self._look_at = 0.0

    def address(self) -> str:
        """DRUM's own route."""
        return f"{self.url}/predict/"

    def body(self, batch: pa.RecordBatch) -> bytes:
        """CSV: DRUM refuses JSON."""
        return csv_body(batch)

    def values(self, reply: Reply, rows: int) -> tuple[Scores, str | None]:
        """Read either form."""
        document = reply.json()
        if not isinstance(document, dict):
            raise self.reader.wrong("no object with predictions")
        if "data" in document:
            return datarobot.read(document["data"], rows, self.reader), None
        return self.reader.rows(document.get("predictions"), rows, self._beside(document, rows)), None

    def _beside(self, document: JsonObject, rows: int) -> list[pa.Array]:
        """Read `extraModelOutput`: names of columns, and a list of cells for each row."""
        if not self.reader.extra:
            return []
        table = document.get("extraModelOutput")
        try:
            names, data = table["columns"], table["data"]  # type: ignore[index]  # None is caught like the rest
            self.reader.check_count(len(data), rows)
            return self.reader.beside([dict(zip(names, cells, strict=True)) for cells in data])
        except (KeyError, TypeError, ValueError) as error:
            raise self.reader.wrong("no table of columns beside the predictions") from error

    def model(self, seconds: float) -> str | None:
        """Return a fingerprint of what `/info/` says about the model."""
        with self._lock:
            if time.monotonic() < self._look_at:
                return self._known
            self._look_at = time.monotonic() + _LOOK_SECONDS
            known = self._known
        try:
            reply = self.transport.get(f"{self.url}/info/", seconds=seconds)
            if reply.status != 200:
                raise self.refusal(reply)
        except ScoringError:
            with self._lock:
                self._look_at = 0.0
            raise
        found = _identity(reply)
        with self._lock:
            self._known = found
        return found if found is not None else known

    def refusal(self, reply: Reply) -> ScoringError:
        """DRUM answers 500 for bad rows, too."""
        return self.data_or_machine(reply)

    def learn(self, labels: tuple[str, ...] | None, features: tuple[Feature, ...]) -> Learned:  # noqa: ARG002 -- the server says
        """Target type and class labels are in `/info/`; input columns are not."""
        reply = self.ask("/info/")
        if reply.status != 200:
            raise self.refusal(reply)
        document = reply.document()
        if "drumVersion" not in document and "targetType" not in document:
            raise WrongAnswer(f"The {self.where} is no DRUM server: its /info/ says neither version nor target type.")
        said = str(document.get("targetType", ""))
        kind = _KINDS.get(said.replace("_", "").casefold())
        if said and kind is None:
            raise InvalidRequest(f"DRUM models of type {said} have no rows and columns to score.", "target.type")
        found = document.get("classLabels")
        own = tuple(map(str, found)) if isinstance(found, list) and found else None
        pair = document.get("negativeClassLabel"), document.get("positiveClassLabel")
        if own is None and None not in pair:
            own = tuple(map(str, pair))
        return Learned(ModelInfo(self.kind, kind, (), class_labels=own))


def open_scorer(server: ServerAddress, plan: ScoringPlan) -> DrumScorer:
    """Return a scorer; nothing is sent yet."""
    return DrumScorer(server, plan)


def _identity(reply: Reply) -> str | None:
    document = reply.document()
    if not document:
        return None
    metadata = document.get("modelMetadata")
    named = metadata.get("modelID") if isinstance(metadata, dict) else None
    if named:
        return f"drum {named}"
    # Without an id: all that it says, save for what changes with the server software.
    said = {name: value for name, value in document.items() if name not in {"drumVersion", "drumServer"}}
    return f"drum {fingerprint(json.dumps(said, sort_keys=True))}"
