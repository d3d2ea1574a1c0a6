"""What a job would do, told before it runs; nothing is written, and nothing of it stays.

The document is the API's and the command line's alike.
"""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from scoreline import redact
from scoreline.access import Caller, require_write
from scoreline.access.outside import Outside
from scoreline.engines import preview_ticket
from scoreline.errors import InvalidRequest, Overloaded, ScorelineError, SourceError
from scoreline.jobs import checks, credentials, ticket, webhooks
from scoreline.jobs import ready as readiness
from scoreline.jobs.fields import Fields
from scoreline.jobs.ready import Ready
from scoreline.jobs.spec import LOCAL_FILE, JobSpec
from scoreline.pipeline import Preview
from scoreline.pipeline.preview import Input
from scoreline.settings import Settings
from scoreline.spool import Spool
from scoreline.store import Store
from scoreline.types import JsonObject, Range, RunTicket

FIELD = "sample"
_AT_ONCE = 2
_MOST_BYTES = 1 << 60
_LINE_SECONDS = 20.0
_PATIENCE_SECONDS = 15.0
_ANSWER_SECONDS = 30.0  # half of what the official client waits for an answer

_places = threading.BoundedSemaphore(_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Sample:
    """The first rows of a file that would be uploaded, as an intake. whole: the bytes of the whole file, if known."""

    data: bytes
    whole: int | None = None

    @classmethod
    def from_document(cls, given: JsonObject) -> Sample:
        """Read what a request has. Raises InvalidRequest."""
        fields = Fields(given, f"{FIELD}.")
        fields.only(("data", "bytes"))
        try:
            # An empty file is a sample like any other: what is wrong with it, the plan says.
            data = b"" if given.get("data") == "" else base64.b64decode(fields.text("data") or "", validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidRequest(f"{FIELD}.data is no base64: it holds the first rows.", f"{FIELD}.data") from error
        size = fields.whole("bytes", len(data), _MOST_BYTES)
        return cls(data, size)

    def size(self) -> int | None:
        """Return the bytes of the whole file."""
        return self.whole

    def partitions(self, want: int) -> Sequence[Range]:  # noqa: ARG002 -- it is not cut
        """Return the whole."""
        return [Range()]

    def identity(self) -> None:
        """Return nothing: it is no source of a run."""

    def blocks(self, part: Range, offset: int) -> Iterator[bytes]:  # noqa: ARG002 -- there is one
        """Yield the rest."""
        yield self.data[offset:]

    def close(self) -> None:
        """Nothing is open."""


def plan(
    store: Store, caller: Caller, spec: JobSpec, spool: Spool, *, settings: Settings, sample: Sample | None
) -> JsonObject:
    """Return what a job with this spec would do, judged by the first rows of its intake; see `document`.

    sample: the first rows of an intake that is uploaded. Credentials are opened here, as a run would. Raises what
    making the job does, and Overloaded when too many plans are made just now; what would end its run is told in
    `problems`.
    """
    require_write(caller)
    checks.check_built(spec, files_open=settings.files_dir is not None)
    outside = Outside.of(store, settings)
    if spec.webhooks:
        webhooks.check_reach(spec.webhooks, ticket.reach(store, caller.user_id, settings, outside))
    found = readiness.find(store, caller, spec, outside)
    with store.begin() as connection:
        found.check_in(store, connection, caller)
    if found.spec.intake_type == LOCAL_FILE and sample is None:
        unseen = "No row was looked at: the plan of a job whose file is uploaded takes its first rows as `sample`."
        return document(Preview(warnings=(unseen,)), found.server.concurrency)
    if not _places.acquire(timeout=_LINE_SECONDS):
        raise Overloaded("Too many plans are made just now: ask for this one again in a moment.", 5)
    try:
        with ticket.looking(store, caller, found, outside, spool_url=spool.url, settings=settings) as built:
            return _looked(store, caller, found, outside, built, sample=sample)
    finally:
        _places.release()


def _looked(
    store: Store, caller: Caller, found: Ready, outside: Outside, built: RunTicket, *, sample: Sample | None
) -> JsonObject:
    deadline = time.monotonic() + _ANSWER_SECONDS

    def check() -> None:
        if time.monotonic() > deadline:
            raise SourceError(f"Reading the intake failed: no row came within {_ANSWER_SECONDS:.0f} seconds.")

    with ExitStack() as hidden:
        keys = credentials.keys(store, outside, caller.user_id, found.spec, hidden)
        limits = replace(built.limits, patience_seconds=_PATIENCE_SECONDS, answer_seconds=_ANSWER_SECONDS)
        uploaded = sample if found.spec.intake_type == LOCAL_FILE else None
        try:
            seen = preview_ticket(replace(built, limits=limits), check, keys, intake=uploaded)
        except ScorelineError as problem:
            seen = Preview(problems=(problem.message,))
        masked = tuple(redact.mask(problem) for problem in seen.problems)
        return document(replace(seen, problems=masked), found.server.concurrency)


def document(found: Preview, concurrency: int) -> JsonObject:
    """Return what a preview tells as a JSON document; `concurrency`: calls at once that a run begins with."""
    sample = found.sample
    return {
        "ready": not found.problems,
        "problems": list(found.problems),
        "warnings": list(found.warnings),
        "source": {"bytes": found.size, "rows": found.rows, "rowsAreExact": found.exact},
        "inputColumns": [_input(each) for each in found.inputs],
        "extraColumns": list(found.extra),
        "outputColumns": [{"name": name, "type": str(kind)} for name, kind in found.output],
        "sample": {
            "rows": sample.read,
            "scoredRows": sample.scored,
            "failedRows": sample.failed,
            "seconds": None if found.seconds is None else round(found.seconds, 4),
            "errors": [{"row": row + 1, "reason": reason} for row, reason in found.errors.items()],
            "output": [dict(row) for row in found.rows_shown],
        },
        "estimate": {"seconds": _seconds(found, concurrency), "outputBytes": found.bytes_out},
    }


def _input(found: Input) -> JsonObject:
    return {
        "name": found.feature.name,
        "type": found.feature.type.value,
        "found": found.found,
        "sourceType": None if found.source is None else str(found.source),
        "emptyCells": found.empty,
        "unreadableCells": found.unreadable,
        "example": found.example,
    }


def _seconds(found: Preview, concurrency: int) -> float | None:
    """Return the time of the whole run by that of the sample, as if calls side by side did not slow each other."""
    if found.seconds is None or found.rows is None or not found.sample.read:
        return None
    return round(found.seconds * max(1.0, found.rows / found.sample.read / concurrency), 2)
