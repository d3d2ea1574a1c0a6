"""What the API answers about jobs, as types; see `answers`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import WithJsonSchema

# pydantic reads these and not the standard library's before Python 3.12.
from typing_extensions import TypedDict

from scoreline.api.wire.answers import Link, Moment, Person
from scoreline.jobs.described import shown_schema
from scoreline.types import JsonObject

ShownSpec = Annotated[JsonObject, WithJsonSchema(shown_schema())]
"""The settings of a job with defaults filled in."""


class JobLinks(TypedDict):
    """Where a job's data goes and comes from (for localFile intake and output), and the list of its failed rows."""

    self: Link
    errors: Link
    csvUpload: NotRequired[Link]
    download: NotRequired[Link]


class MadeFrom(TypedDict):
    """The job definition that a job was made from. `createdBy` is a user's id."""

    id: str
    name: str
    createdBy: str


class Job(TypedDict):
    """A batch prediction job. `status` ends as COMPLETED or ABORTED; `statusDetails` says why.

    `rendered` has what the settings with templates are in it, by their paths.
    """

    id: str
    status: Literal["INITIALIZING", "RUNNING", "COMPLETED", "ABORTED"]
    statusDetails: Annotated[str, WithJsonSchema({"type": "string", "minLength": 1})]
    percentageCompleted: Annotated[float, WithJsonSchema({"type": "number", "minimum": 0, "maximum": 100})]
    elapsedTimeSec: int
    created: Moment | None
    createdBy: Person
    scoredRows: int
    failedRows: int
    skippedRows: int
    jobIntakeSize: int
    jobOutputSize: int
    liveConcurrency: int | None
    liveChunkSize: int | None
    queued: bool
    queuePosition: int | None
    resultsDeleted: bool
    source: str | None
    logs: list[str]
    links: JobLinks
    jobSpec: ShownSpec
    rendered: dict[str, str]
    hidden: Moment | None
    paused: Moment | None
    intakeDatasetDisplayName: str | None
    monitoringBatchId: None
    batchPredictionJobDefinition: MadeFrom | None
    partitions: int


class Progress(TypedDict):
    """What an event says of a job, with the names of `Job`. `logs`: lines that are new."""

    id: str
    status: Literal["INITIALIZING", "RUNNING", "COMPLETED", "ABORTED"]
    statusDetails: str
    percentageCompleted: float
    elapsedTimeSec: int
    scoredRows: int
    failedRows: int
    skippedRows: int
    jobIntakeSize: int
    jobOutputSize: int
    liveConcurrency: int | None
    liveChunkSize: int | None
    queued: bool
    queuePosition: int | None
    paused: Moment | None
    logs: list[str]


class Partition(TypedDict):
    """A part of a job that several workers may share. `rows`: of one that was scored before its turn came."""

    partition: int
    state: Literal["open", "ahead", "scored", "taken"]
    worker: str | None
    rows: int | None


class Partitions(TypedDict):
    """The parts of a job in order, none where it is not cut."""

    data: list[Partition]


class Message(TypedDict):
    """What one webhook is told. `due`: when it is sent (again); `status`, `trouble`: what came of the last try.

    `webhook` is the number of the webhook among the job's, from 0.
    """

    id: str
    webhook: int
    url: str
    event: Literal["started", "completed", "aborted"]
    state: Literal["waiting", "delivered", "failed"]
    tries: int
    created: Moment | None
    due: Moment | None
    settled: Moment | None
    status: int | None
    trouble: str | None


class Messages(TypedDict):
    """The messages of a job in the order of their events; settled ones are kept for a while."""

    data: list[Message]


class ManifestRows(TypedDict):
    """Rows of a job, each counted once: read = scored + failed + skipped, written = scored + failed."""

    read: int
    scored: int
    failed: int
    skipped: int
    written: int


class ManifestIntake(TypedDict):
    """What a job read. `identity` tells the source from any other, once it is known."""

    type: str
    bytes: int
    identity: dict[str, Any] | None


class ManifestOutput(TypedDict):
    """What a job wrote; the digest is there once the job is COMPLETED, where it can be had."""

    type: str
    bytes: int
    sha256: str | None


class ManifestModel(TypedDict):
    """What a job scored with: the package, the digest of its artefact, and what a foreign server called its model."""

    modelPackageId: str
    sha256: str
    servedAs: str | None


class Manifest(TypedDict):
    """What a job did, to the byte."""

    jobId: str
    status: Literal["INITIALIZING", "RUNNING", "COMPLETED", "ABORTED"]
    statusDetails: str
    rows: ManifestRows
    intake: ManifestIntake
    output: ManifestOutput
    model: ManifestModel
    runs: int
    ranSeconds: float
    created: Moment | None
    started: Moment | None
    finished: Moment | None
    jobSpec: ShownSpec
    rendered: dict[str, str]


class PlannedSource(TypedDict):
    """The intake as a plan sees it. `rows` is an estimate unless `rowsAreExact`; null where nothing tells."""

    bytes: int | None
    rows: int | None
    rowsAreExact: bool


class PlannedInput(TypedDict):
    """A column of the model. Cells are counted in the sample; `example` is the first that cannot be read."""

    name: str
    type: str
    found: Literal["ok", "coerced", "unreadable", "optional", "missing"]
    sourceType: str | None
    emptyCells: int
    unreadableCells: int
    example: str | None


class PlannedOutput(TypedDict):
    """A column of the output; its type is Arrow's name for it."""

    name: str
    type: str


class PlannedError(TypedDict):
    """A row of the sample, counted from 1, that would fail."""

    row: int
    reason: str


class PlannedSample(TypedDict):
    """The first rows, and what scoring them gave; `output` has the first of them as CSV would."""

    rows: int
    scoredRows: int
    failedRows: int
    seconds: float | None
    errors: list[PlannedError]
    output: list[dict[str, str]]


class PlannedEstimate(TypedDict):
    """What the whole job is expected to take."""

    seconds: float | None
    outputBytes: int | None


class Plan(TypedDict):
    """What a job would do. `problems` are sentences, each of which would end it; `ready`: there are none."""

    ready: bool
    problems: list[str]
    warnings: list[str]
    source: PlannedSource
    inputColumns: list[PlannedInput]
    extraColumns: list[str]
    outputColumns: list[PlannedOutput]
    sample: PlannedSample
    estimate: PlannedEstimate
