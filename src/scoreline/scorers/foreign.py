"""What the scorers for servers of other makers share: limits, the call, checks of the answer, learning."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.errors import DataRefused, InvalidRequest, ScoringError, TooLarge
from scoreline.rows import arrow, csvout, jsonout, text
from scoreline.scorers import reasons
from scoreline.scorers.replies import Reader
from scoreline.scorers.transport import Reply, Transport, refusal
from scoreline.types import (
    CsvDialect,
    Feature,
    ModelInfo,
    ScoreOptions,
    Scores,
    ScoringPlan,
    ServerAddress,
    TargetType,
)

CSV = "text/csv; charset=utf-8"
JSON = "application/json"
_LEARN_SECONDS = 15.0
_MOST_TEXT = 256 << 20
_DIALECT = CsvDialect()

# Options of every kind of server.
COMMON = {
    "maxBytes": "largest request body in bytes",
    "maxRows": "most rows of one request",
    "timeout": "seconds that an answer may take",
    "concurrency": "requests that the server takes at once",
}
_WHOLE = ("maxBytes", "maxRows", "concurrency")


@dataclass(frozen=True, slots=True)
class Learned:
    """What a server says about its model when it is registered.

    options: what scoring needs to know of it later. needs_values: whole numbers and flags cannot be sent as nothing.
    """

    info: ModelInfo
    options: Mapping[str, str] = field(default_factory=dict)
    needs_values: bool = False


class ForeignScorer:
    """Asks one server; several threads may ask at once. A kind of server is a subclass in a file of its own."""

    kind: ClassVar[str]
    most_bytes: ClassVar[int] = 16 << 20
    concurrency: ClassVar[int] = 1
    # Bytes of an answer for a row and for each of its values, at the very most.
    row_bytes: ClassVar[int] = 1 << 10
    content_type: str = JSON
    options: ClassVar[Mapping[str, str]] = {}
    advice: ClassVar[str] = ""

    def __init__(self, server: ServerAddress, plan: ScoringPlan) -> None:
        given = server.options
        self.url = server.url.rstrip("/")
        self.where = f"prediction server {self.url}"
        self.given = given
        self._plan = plan
        self._most_bytes = int(given.get("maxBytes", self.most_bytes))
        self._most_rows = int(given["maxRows"]) if "maxRows" in given else None
        self._seconds = float(given["timeout"]) if "timeout" in given else None
        single = given.get("singleOutput") == "last"
        self.reader = Reader(plan, self.where, single=single, advice=self.advice)
        self.transport = Transport(self.where, {"Accept": JSON, **self.headers(server)}, again=True, reach=server.reach)

    def score(self, features: pa.RecordBatch, options: ScoreOptions) -> Scores:
        """Score one batch; see `scoreline.protocols.Scorer` for what is raised."""
        rows = features.num_rows
        if self._most_rows is not None and rows > self._most_rows:
            raise TooLarge(f"Scoring failed: {rows} rows are more than the {self.where} takes ({self._most_rows}).")
        body = self.body(features)
        if len(body) > self._most_bytes:
            raise TooLarge(
                f"Scoring failed: a request of {len(body)} bytes is more than the {self.where} takes "
                f"({self._most_bytes})."
            )
        seconds = self._seconds or options.timeout
        before = self.model(seconds)
        reply = self.transport.post(
            self.address(),
            body,
            content_type=self.content_type,
            seconds=seconds,
            most_bytes=self._most_answer(rows),
        )
        if reply.status != 200:
            raise self.refusal(reply)
        try:
            scores, model = self.values(reply, rows)
        except ValueError as error:
            raise self.reader.wrong("no JSON") from error
        self.reader.check_count(len(scores.values), rows)
        return replace(scores, model=model or before)

    def _most_answer(self, rows: int) -> int:
        if self.reader.outputs == 0 or self.reader.extra:  # texts have no size of their own
            return _MOST_TEXT
        return (1 << 20) + rows * self.row_bytes * (1 + self.reader.outputs)

    def close(self) -> None:
        """End calls in flight at once (they raise ServerUnavailable) and close all connections."""
        self.transport.close()

    # What differs from kind to kind

    def headers(self, server: ServerAddress) -> dict[str, str]:
        """Return headers for all calls."""
        return {"Authorization": f"Bearer {server.token}"} if server.token else {}

    def address(self) -> str:
        """Return the URL that rows are sent to."""
        raise NotImplementedError

    def body(self, batch: pa.RecordBatch) -> bytes:
        """Return the request for a batch. Raises DataRefused for a row that cannot be expressed."""
        raise NotImplementedError

    def values(self, reply: Reply, rows: int) -> tuple[Scores, str | None]:
        """Return the predictions and the model's identity, if the answer tells it.

        Raises WrongAnswer, ModelBroken, or ValueError for an answer that is no JSON.
        """
        raise NotImplementedError

    def model(self, seconds: float) -> str | None:  # noqa: ARG002 -- for kinds that have to ask
        """Return the identity of the model when the server tells it elsewhere than in its answers."""
        return None

    def refusal(self, reply: Reply) -> ScoringError:
        """Return the error that an answer other than 200 means."""
        return refusal(self.where, reply, reasons.find(reply).text)

    def learn(self, labels: tuple[str, ...] | None, features: tuple[Feature, ...]) -> Learned:  # noqa: ARG002 -- for some
        """Return what the server says about its model; labels and features as they are asked for.

        Raises a ScoringError when the server cannot be asked.
        """
        return Learned(ModelInfo(self.kind, None, ()))

    # What several kinds share

    def ask(self, path: str) -> Reply:
        """Return the answer to a GET, whatever its status."""
        return self.transport.get(f"{self.url}{path}", seconds=_LEARN_SECONDS)

    def data_or_machine(self, reply: Reply) -> ScoringError:
        """Return the error of a server that answers 500 for bad rows, too: what it says decides."""
        reason = reasons.find(reply)
        if reply.status == 500 and reason.data:
            return DataRefused(reason.text)
        return refusal(self.where, reply, reason.text)


def open_plain(kind: type[ForeignScorer], server: ServerAddress) -> ForeignScorer:
    """Return a scorer for asking about a server only."""
    return kind(server, ScoringPlan(TargetType.REGRESSION, "", ()))


def check_options(kind: type[ForeignScorer], options: Mapping[str, str]) -> None:
    """Raise InvalidRequest for an option that this kind of server does not have, or a value that it cannot be."""
    known = {**kind.options, **COMMON}
    for name, value in options.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            advice = f"did you mean `{close[0]}`?" if close else f"there are {', '.join(known)}."
            raise InvalidRequest(f"Servers of kind {kind.kind} have no option `{name}`: {advice}", "server.options")
        if name in _WHOLE and not (value.isascii() and value.isdigit() and 0 < int(value) < 1 << 40):
            raise InvalidRequest(f"The option `{name}` is a whole number above 0, not {value!r}.", "server.options")
    if "timeout" in options and not _seconds(options["timeout"]):
        raise InvalidRequest("The option `timeout` is a number of seconds from 1 to 3600.", "server.options")
    if options.get("singleOutput", "last") != "last":
        raise InvalidRequest(
            "The option `singleOutput` is `last`: the one value is the last class's probability.", "server.options"
        )


def csv_body(batch: pa.RecordBatch) -> bytes:
    """Return a batch as CSV with a header: numbers in their shortest exact form, nothing for null."""
    return csvout.header(batch.schema.names, _DIALECT) + csvout.records([_cells(c) for c in batch.columns], _DIALECT)


def finite(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch; raises DataRefused for the first row with an infinite number, which JSON cannot hold."""
    found = jsonout.infinite(batch)
    if found is not None:
        row, name = found
        raise DataRefused(f"column '{name}' is infinite, which cannot be sent to this kind of server", row)
    return batch


def fingerprint(*parts: str) -> str:
    """Return a short name for what is the same as long as all parts are."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _cells(column: pa.Array) -> pa.Array:
    if pa.types.is_string(column.type):
        return column
    if not pa.types.is_floating(column.type):
        return pc.cast(column, pa.string())
    values = arrow.values(column)
    cells = text.floats(values)
    infinite = np.isinf(values)
    return pc.if_else(arrow.flags(infinite), pc.cast(column, pa.string()), cells) if infinite.any() else cells


def _seconds(value: str) -> bool:
    try:
        return 1 <= float(value) <= 3600
    except ValueError:
        return False
