"""The contract: the words that every part of Scoreline shares.

Data flows intake -> chunks -> scores -> output. The records below are what travels; the extension points between which
it does are in `protocols`. Nothing here does any work, opens anything or imports another part of the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from scoreline.network import Reach

JsonObject = dict[str, Any]


class TargetType(StrEnum):
    """What a model predicts, spelt as the API spells it.

    CLUSTERING is a word for registrations: it is kept and shown as MULTICLASS without a target name.
    """

    REGRESSION = "Regression"
    BINARY = "Binary"
    MULTICLASS = "Multiclass"
    MULTILABEL = "Multilabel"
    ANOMALY = "Anomaly"
    CLUSTERING = "Clustering"
    TEXT_GENERATION = "TextGeneration"
    UNSTRUCTURED = "Unstructured"
    AGENTIC_WORKFLOW = "AgenticWorkflow"


class FeatureType(StrEnum):
    """How the text of a source column becomes a model's input; fixed when a model is registered."""

    NUMERIC = "numeric"  # float64
    INTEGER = "integer"  # int64
    BOOLEAN = "boolean"
    TEXT = "text"  # text as it stands; also categories


@dataclass(frozen=True, slots=True)
class Feature:
    """One input column of a model.

    nullable: whether the model takes rows without a value here. optional: whether the source may lack the column,
    because the model declares so. example: a value that the model knows, for the check at registration; None where any
    value will do. It is no part of what the feature is.
    """

    name: str
    type: FeatureType
    nullable: bool = True
    optional: bool = False
    example: str | float | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ExtraOutput:
    """A column that a model gives beside its predictions; the type decides how its numbers are written."""

    name: str
    type: FeatureType


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model artefact says about itself. `None` means that the artefact does not say.

    outputs: columns of `Scores.values`: 1, or one per class or label in the order of the labels; 0 for text.
    """

    format: str
    target_type: TargetType | None
    features: tuple[Feature, ...]
    class_labels: tuple[str, ...] | None = None
    target_name: str | None = None
    outputs: int = 1
    extra: tuple[ExtraOutput, ...] = ()


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """How a CSV text is cut into fields. `delimiter` and `quotechar` are single ASCII characters."""

    delimiter: str = ","
    quotechar: str = '"'
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a source that can be read on its own: a byte range, or all of it (`end` is None)."""

    index: int = 0
    start: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True)
class ScoredAhead:
    """A part of a source that was scored and staged before its turn in the output came.

    begin: where its first record begins. end: where its last one ends. behind: what the source had reached then, which
    is where the next part begins. segments: receipts of the spool, in order. made: what its rows were made by, and how
    they look.
    """

    begin: int
    end: int
    behind: int
    counts: Counts
    segments: tuple[JsonObject, ...]
    made: str


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run may be taken up again: everything before it is done.

    offset: bytes of the (decompressed) source that are consumed, or rows of a source of typed rows. chunk: number of
    the next chunk. row: data rows before it.
    """

    offset: int = 0
    chunk: int = 1
    row: int = 0


@dataclass(frozen=True, slots=True)
class RawChunk:
    """A numbered run of consecutive rows, as the source's own bytes (UTF-8 CSV records, no header)."""

    number: int
    body: bytes
    end_offset: int

    @property
    def size(self) -> int:
        """Bytes of the chunk."""
        return len(self.body)


@dataclass(frozen=True, slots=True)
class RowChunk:
    """A numbered run of consecutive rows with types: the columns that the run reads."""

    number: int
    body: pa.RecordBatch
    end_offset: int

    @property
    def size(self) -> int:
        """Bytes of the chunk in memory."""
        return int(self.body.nbytes)


@dataclass(frozen=True, slots=True)
class Scores:
    """A prediction server's answer for one batch.

    values: float64 [rows, outputs]: the prediction, or one probability per class in the model package's class order.
    text: for text generation, one text per row; then `values` has no columns.
    extra: what the model gives besides, in the order of `ScoringPlan.extra`: texts, numbers or truth values.
    row_index: for each output row the input row it belongs to; None means 0..n-1.
    model: identity of the model that answered (a content hash, or what a foreign server reports).
    """

    values: npt.NDArray[np.float64]
    text: pa.Array | None = None
    extra: tuple[pa.Array, ...] = ()
    row_index: npt.NDArray[np.int64] | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of a run, each counted once: read = scored + failed + skipped."""

    read: int = 0
    scored: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Counts(*(mine + theirs for mine, theirs in pairs))


@dataclass(frozen=True, slots=True)
class Receipt:
    """An output's proof that a block is durably stored, as plain JSON values."""

    data: JsonObject


@dataclass(frozen=True, slots=True)
class ScoredChunk:
    """Output bytes of the consecutive chunks `first`..`last`; chunk 0 is the header line."""

    first: int
    last: int
    body: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class Flush:
    """One row of the ledger: the chunks `first`..`last` are durably in the output.

    errors: what the errors file gave for their failed rows, if there is such a file.
    """

    first: int
    last: int
    end: Position
    counts: Counts
    receipt: Receipt
    bytes_out: int
    errors: Receipt | None = None


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """What a scorer needs beside the features."""

    timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class Boundaries:
    """Between these a regression's prediction is usual, on them included; None: no limit on that side."""

    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class ScoringPlan:
    """Everything about a job that decides what its output rows look like; fixed when the job is created.

    class_labels are in the model package's order. passthrough: names in the order wanted, or "all".
    remap: pairs (name, new name or None to drop), applied last. include_classes: empty means all.
    label_thresholds: of a multilabel target; empty: `threshold` for all. outliers: say of each prediction whether it is
    beyond these. approval: the status in the deployment's approval workflow, if it has one. notes: for the job log.
    """

    target_type: TargetType
    target_name: str  # may be empty
    features: tuple[Feature, ...]  # none known: every source column is sent as its text
    class_labels: tuple[str, ...] = ()
    positive_class: str | None = None
    threshold: float = 0.5
    passthrough: tuple[str, ...] | str = ()
    include_status: bool = False
    include_probabilities: bool = True
    include_classes: tuple[str, ...] = ()
    remap: tuple[tuple[str, str | None], ...] = ()
    association_id: tuple[str, ...] = ()
    association_required: bool = False
    label_thresholds: tuple[float, ...] = ()
    extra: tuple[ExtraOutput, ...] = ()
    outliers: Boundaries | None = None
    approval: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """Columns of the model's `Scores.values`: one for each class or label, one for a number, none for text."""
        return 0 if self.target_type is TargetType.TEXT_GENERATION else len(self.class_labels) or 1


@dataclass(frozen=True, slots=True)
class PacePlan:
    """How much is in flight. chunk_size: "auto", "fixed", "dynamic" or bytes (at least one row is always taken).

    concurrency: calls at the prediction server at once. most: None when that number holds to the end; else the run
    begins with it and may go up to `most`, as the server likes.
    """

    chunk_size: str | int = "auto"
    concurrency: int = 1
    most: int | None = None


@dataclass(frozen=True, slots=True)
class ErrorPlan:
    """When bad rows end a job (`spec` names: abortOnError, disableRowLevelErrorHandling)."""

    abort_on_error: bool = True
    row_level: bool = True
    max_failed_rows: int = 100
    max_failed_share: float = 0.10
    all_failed_rows: int = 1000


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What an installation lets a run take.

    answer_seconds: time of one call to a prediction server. patience_seconds: how long a server may be away or busy
    before the run gives up. refusal_calls: calls for each 1,000 rows of a chunk that are spent on finding the rows
    which a model or server refuses. max_expansion, max_unpacked_bytes: what a compressed source may unpack to, in
    times of its own size and in bytes. max_errors_bytes: size of the errors file, less its last line. max_result_bytes:
    size of the output, None for any. partition_bytes: size of the parts that several workers share, 0 to cut nothing.
    """

    answer_seconds: float = 600.0
    patience_seconds: float = 300.0
    refusal_calls: int = 1500
    max_expansion: int = 250
    max_unpacked_bytes: int = 1 << 40
    max_errors_bytes: int = 256 << 20
    max_result_bytes: int | None = None
    partition_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A prediction server as a run reaches it.

    token: minted for the run, or a foreign server's key; it is never logged. options: what its kind of server needs to
    know, for instance the model's name there. reach: how far the address may lead; None for our own servers.
    """

    url: str
    package_id: str
    token: str = field(repr=False)
    kind: str = "scoreline"
    options: Mapping[str, str] = field(default_factory=dict)
    datarobot_key: str = field(default="", repr=False)
    reach: Reach | None = None


@dataclass(frozen=True, slots=True)
class RunTicket:
    """All that a partition's run needs, picklable; of credentials it has nothing, see `credentials.Keys`.

    errors_file: settings of the list of failed rows, None for none. reach: how far addresses in the settings of intake
    and output may lead, None: anywhere. goes_on: whether another run takes the job up when this one breaks off.
    """

    job_id: str
    fence: int
    part: Range
    intake: Mapping[str, Any]  # resolved settings, with their `type`
    output: Mapping[str, Any]
    dialect: CsvDialect
    plan: ScoringPlan
    pace: PacePlan
    errors: ErrorPlan
    server: ServerAddress
    spool: str
    package_hash: str
    limits: RunLimits = RunLimits()
    errors_file: Mapping[str, Any] | None = None
    reach: Reach | None = None
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a run is, for the people who watch it.

    bytes_in counts source bytes that are durably scored; bytes_total is the source's size, None while it is not known.
    in_flight: chunks in hand. concurrency: calls at the prediction server at once; chunk_bytes: the next chunk's size.
    """

    counts: Counts
    bytes_in: int
    bytes_out: int
    in_flight: int = 0
    chunk_bytes: int = 0
    bytes_total: int | None = None
    concurrency: int = 0
