"""The extension points: what an intake, a scorer, an output, a ledger and a progress do for a run.

What travels between them is in `types`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from scoreline.types import (
    Counts,
    Flush,
    JsonObject,
    Range,
    Receipt,
    ScoredAhead,
    ScoredChunk,
    ScoreOptions,
    Scores,
    Snapshot,
)

if TYPE_CHECKING:
    import pyarrow as pa


class Blocks(Protocol):
    """Bytes that can be read from any place on."""

    def size(self) -> int | None:
        """Bytes of the whole, or None while that is not known (an upload that still runs)."""
        ...

    def blocks(self, part: Range, offset: int) -> Iterator[bytes]:
        """Yield the part's bytes from `offset` on, lazily and in order, blocks of any size.

        Raises SourceError when the source is gone, broken or ends early. Waits for data that is still to come.
        """
        ...


class ByteIntake(Blocks, Protocol):
    """One open source of bytes (CSV, possibly compressed). Row borders are found by the pipeline."""

    def partitions(self, want: int) -> Sequence[Range]:
        """Cut the source in at most `want` parts that can be read on their own; most sources answer [Range()]."""
        ...

    def identity(self) -> JsonObject | None:
        """What tells this source from any other: its bytes, and a digest or a version. None while it is not known.

        Asked before a run and after it; another answer than before means that the source has changed.
        """
        ...

    def close(self) -> None:
        """Release everything; calling it again is harmless."""
        ...


class ManyIntake(Protocol):
    """Several sources of bytes, each with a header, that are read one after the other."""

    def names(self) -> Sequence[str]:
        """How messages call them, in order."""
        ...

    def sizes(self) -> Sequence[int]:
        """Bytes of each."""
        ...

    def one(self, number: int) -> Blocks:
        """Return one of them."""
        ...

    def partitions(self, want: int) -> Sequence[Range]:
        """Cut the source in at most `want` parts that can be read on their own; see `ByteIntake`."""
        ...

    def size(self) -> int | None:
        """Bytes of all."""
        ...

    def identity(self) -> JsonObject | None:
        """What tells this source from any other; see `ByteIntake`."""
        ...

    def close(self) -> None:
        """Release everything; calling it again is harmless."""
        ...


class RowIntake(Protocol):
    """One open source of rows with types, such as Parquet files. Places in it are numbers of rows."""

    def schema(self) -> pa.Schema:
        """Return the names and plain types (`rows.typed`) of all columns. Raises SourceError."""
        ...

    def rows(self) -> int:
        """Return how many rows there are in all."""
        ...

    def files(self) -> Sequence[tuple[str, int]]:
        """Return the files, if there are several, and the rows of each."""
        ...

    def partitions(self, want: int) -> Sequence[Range]:
        """Cut the source in at most `want` parts that can be read on their own; see `ByteIntake`."""
        ...

    def size(self) -> int | None:
        """Bytes of the whole source."""
        ...

    def identity(self) -> JsonObject | None:
        """What tells this source from any other; see `ByteIntake`."""
        ...

    def batches(self, part: Range, row: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the part's rows from `row` on, in order, in batches of any size with exactly these columns.

        Raises SourceError when the source is gone, broken or not what it was, RunStopped once `close` was called.
        """
        ...

    def close(self) -> None:
        """Release everything; calling it again is harmless."""
        ...


Intake: TypeAlias = ByteIntake | ManyIntake | RowIntake
"""Whatever a run can read from."""


class Scorer(Protocol):
    """One way to ask a prediction server."""

    def score(self, features: pa.RecordBatch, options: ScoreOptions) -> Scores:
        """Score a batch of at least one row; called by several threads at once.

        Raises a `ScoringError`: DataRefused, ModelCrashed, TooLarge, Overloaded, ServerUnavailable, AccessRefused,
        WrongAnswer, ModelBroken.
        """
        ...

    def close(self) -> None:
        """Release everything; calling it again is harmless."""
        ...


class Seal(Protocol):
    """The line that a job crosses when its output is put in place; up to it the job can be aborted and paused."""

    def check(self) -> None:
        """Raise why the run must end, if it must; cheap."""
        ...

    def cross(self) -> None:
        """Say that what follows cannot be taken back. Crossing again is harmless.

        Raises why the run must end, and OutputError when its rows do not add up.
        """
        ...


class Output(Protocol):
    """One open target, written in two phases: nothing is final before `commit`."""

    def prepare(self) -> JsonObject:
        """Return the state to store before any side effect (upload id, temporary name, transaction key)."""
        ...

    def open(self, state: JsonObject, done: Sequence[Receipt] = ()) -> None:
        """Begin, or go on with, the target that `state` describes; `done`: the ledger's receipts of what is in it."""
        ...

    def durable(self, state: JsonObject) -> Sequence[Receipt]:
        """What is already safely there, asked when a run is taken up again."""
        ...

    def write(self, chunk: ScoredChunk) -> Receipt:
        """Store a block durably; the same chunk numbers twice count once."""
        ...

    def sha256(self, receipts: Sequence[Receipt]) -> str | None:
        """Return the digest of all that was written, read back, as hexadecimal text; None where that cannot be.

        Asked before `commit`, by a run that did not write all of it by itself.
        """
        ...

    def finish(self, receipts: Sequence[Receipt], seal: Seal) -> None:
        """Do what is left before `commit` and may take long, asking `seal.check` now and then.

        The job can still be aborted meanwhile, unless the output lets it cross the seal itself.
        """
        ...

    def commit(self, receipts: Sequence[Receipt]) -> None:
        """Make all of it visible at once; calling it again after a crash is safe."""
        ...

    def abort(self, state: JsonObject) -> None:
        """Leave nothing behind."""
        ...

    def close(self) -> None:
        """Release everything; calling it again is harmless."""
        ...


class Pins(Protocol):
    """What all runs of a job must agree on. Every write raises LostLease once the run has no part of the job."""

    def pin_source(self, identity: JsonObject) -> JsonObject:
        """Return the identity of the source that the job reads: this one if it is the first that is told."""
        ...

    def pin_model(self, model: str) -> str:
        """Return the identity of the model that the job scores with: this one if it is the first that is told."""
        ...


class Ledger(Pins, Protocol):
    """The durable record of one job's output. Every write raises LostLease once another run has the job."""

    def output_state(self) -> JsonObject | None:
        """The state stored by `begin`, or None on a first run."""
        ...

    def left(self) -> JsonObject | None:
        """The state of an output that a run which fails is to remove itself.

        None where the record outlives the run: the job's end is noted first then, and who notes it sees to the output.
        """
        ...

    def begin(self, state: JsonObject) -> None:
        """Store an output's state before its first side effect."""
        ...

    def flushes(self) -> Sequence[Flush]:
        """All that is recorded, in order."""
        ...

    def record(self, flush: Flush) -> None:
        """Add one flush, in one transaction with the job's counters."""
        ...

    def check(self) -> None:
        """Raise why the run must end, if it must; cheap."""
        ...

    def seal(self, counts: Counts, bytes_out: int) -> None:
        """Note that the output is put in place now: from here on the job can be neither aborted nor paused.

        Raises OutputError when the run has counted other rows or bytes than are recorded.
        """
        ...


class Partitions(Protocol):
    """The parts of a job's source as the run that writes sees them; other runs score some of them ahead.

    Part 0 begins at the source's start, part n at the n-th border. Raises LostLease and Cancelled as a ledger does.
    """

    def plan(self, borders: Sequence[int]) -> Sequence[int]:
        """Return the borders of the job's parts: these if they are the first that are told."""
        ...

    def reach(self, number: int) -> None:
        """Say that the parts up to this one are written by this run."""
        ...

    def turn(self, number: int) -> ScoredAhead | None:
        """Return a part whose turn has come, if it was scored ahead; wait for a run that is about to do that.

        None: this run has it. Raises RunStopped once `close` was called.
        """
        ...

    def runs(self) -> int:
        """Return how many runs score for the job now, this one included."""
        ...

    def close(self) -> None:
        """End all waiting; calling it again is harmless."""
        ...


class Queue(Pins, Protocol):
    """The parts that one run scores ahead, one after the other. name: of the part in hand, like no other run's."""

    name: str

    def next(self) -> Range | None:
        """Return the next part, None when there is none to do now."""
        ...

    def scored(self, part: ScoredAhead) -> bool:
        """Hand the part over; say whether it is wanted still."""
        ...

    def leave(self) -> None:
        """Leave the part to the run that writes."""
        ...

    def runs(self) -> int:
        """Return how many runs score for the job now, this one included."""
        ...


class Progress(Protocol):
    """A run's link to whoever watches it; cheap to call."""

    def report(self, snapshot: Snapshot) -> None:
        """Show how far the run is; may drop reports that come too fast."""
        ...

    def log(self, message: str) -> None:
        """Append one line to the job's log."""
        ...

    def stop_requested(self) -> bool:
        """True once the run must end: cancelled, lease lost, or the process is going down."""
        ...
