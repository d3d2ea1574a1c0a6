"""The extension points: what an intake, a scorer, an output, a ledger and a progress do for a run.

What travels between them is in `types`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from scoreline.types import Flush, JsonObject, Range, Receipt, ScoredChunk, ScoreOptions, Scores, Snapshot

if TYPE_CHECKING:
    import pyarrow as pa


class ByteIntake(Protocol):
    """One open source of bytes (CSV, possibly compressed). Row borders are found by the pipeline."""

    def partitions(self, want: int) -> Sequence[Range]:
        """Cut the source in at most `want` parts that can be read on their own; most sources answer [Range()]."""
        ...

    def size(self) -> int | None:
        """Bytes of the whole source, or None while that is not known (an upload that still runs)."""
        ...

    def identity(self) -> JsonObject | None:
        """What tells this source from any other: its bytes, and a digest or a version. None while it is not known.

        Asked before a run and after it; another answer than before means that the source has changed.
        """
        ...

    def blocks(self, part: Range, offset: int) -> Iterator[bytes]:
        """Yield the part's bytes from `offset` on, lazily and in order, blocks of any size.

        Raises SourceError when the source is gone, broken or ends early. Waits for data that is still to come.
        """
        ...

    def close(self) -> None:
        """Release everything; calling it again is harmless."""
        ...


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


class Output(Protocol):
    """One open target, written in two phases: nothing is final before `commit`."""

    def prepare(self) -> JsonObject:
        """Return the state to store before any side effect (upload id, temporary name, transaction key)."""
        ...

    def open(self, state: JsonObject) -> None:
        """Begin, or go on with, the target that `state` describes."""
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

    def commit(self, receipts: Sequence[Receipt]) -> None:
        """Make all of it visible at once; calling it again after a crash is safe."""
        ...

    def abort(self, state: JsonObject) -> None:
        """Leave nothing behind."""
        ...

    def close(self) -> None:
        """Release everything; calling it again is harmless."""
        ...


class Ledger(Protocol):
    """The durable record of one partition's run. Every write raises LostLease once another run has the job."""

    def output_state(self) -> JsonObject | None:
        """The state stored by `begin`, or None on a first run."""
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

    def pin_source(self, identity: JsonObject) -> JsonObject:
        """Return the identity of the source that the job reads: this one if it is the first that is told."""
        ...

    def pin_model(self, model: str) -> str:
        """Return the identity of the model that the job scores with: this one if it is the first that is told."""
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
