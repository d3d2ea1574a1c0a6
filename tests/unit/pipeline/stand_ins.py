"""A run's surroundings in memory, for tests of the run itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from scoreline.types import (
    CsvDialect,
    ErrorPlan,
    Feature,
    FeatureType,
    Flush,
    PacePlan,
    Range,
    Receipt,
    RunLimits,
    RunTicket,
    ScoredChunk,
    Scores,
    ScoringPlan,
    ServerAddress,
    Snapshot,
    TargetType,
)

PLAN = ScoringPlan(
    TargetType.REGRESSION, "y", (Feature("x", FeatureType.NUMERIC),), passthrough=("id",), include_status=True
)


def ticket(plan=PLAN, *, size="auto", concurrency=2, dialect=None, limits=None, **errors) -> RunTicket:
    return RunTicket(
        job_id="0" * 24,
        fence=1,
        part=Range(),
        intake={"type": "memory"},
        output={"type": "memory"},
        dialect=dialect or CsvDialect(),
        plan=plan,
        pace=PacePlan(size, concurrency),
        errors=ErrorPlan(**errors),
        server=ServerAddress("http://none", "p", "t"),
        spool="",
        package_hash="",
        limits=limits or RunLimits(),
    )


class MemoryIntake:
    """Text in blocks; a callable among the blocks is called in its turn."""

    def __init__(self, blocks: Sequence[bytes | Callable[[], None]]) -> None:
        self.given = list(blocks)
        self.closed = threading.Event()
        self.identities: list[dict | None] = []  # what `identity` says, call by call, the last one for ever

    def partitions(self, want: int) -> Sequence[Range]:
        return [Range()]

    def size(self) -> int | None:
        return sum(len(block) for block in self.given if isinstance(block, bytes))

    def identity(self) -> dict | None:
        if len(self.identities) > 1:
            return self.identities.pop(0)
        return self.identities[0] if self.identities else None

    def blocks(self, part: Range, offset: int) -> Iterator[bytes]:
        for block in self.given:
            if not isinstance(block, bytes):
                block()
                continue
            dropped = min(offset, len(block))
            offset -= dropped
            if block[dropped:]:
                yield block[dropped:]

    def wait(self) -> None:
        """A block that never comes."""
        self.closed.wait(30)

    def close(self) -> None:
        self.closed.set()


class DoublingScorer:
    """Predicts 2x. `refuse` may raise for a batch; counts calls, and how many were under way at once."""

    def __init__(self, refuse: Callable[[list[float]], None] | None = None, seconds: float = 0.0) -> None:
        self.refuse = refuse
        self.seconds = seconds
        self.calls: list[int] = []
        self.now = self.most = 0
        self.closed = threading.Event()
        self._lock = threading.Lock()

    def score(self, features: pa.RecordBatch, options) -> Scores:
        with self._lock:
            self.calls.append(features.num_rows)
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            assert features.num_rows > 0
            values = features.column("x").to_pylist()
            if self.seconds:
                time.sleep(self.seconds)
            if self.refuse is not None:
                self.refuse(values)
            return Scores(np.array([[np.inf if v is None else 2 * v] for v in values]))
        finally:
            with self._lock:
                self.now -= 1

    def close(self) -> None:
        self.closed.set()


class MemoryOutput:
    """Keeps blocks by their first chunk's number."""

    def __init__(self) -> None:
        self.blocks: dict[int, ScoredChunk] = {}
        self.opened: list[dict] = []
        self.committed: list[Receipt] | None = None
        self.aborted = False

    def prepare(self):
        return {"name": "memory"}

    def open(self, state, done=()):
        self.opened.append(state)

    def durable(self, state):
        return []

    def write(self, chunk: ScoredChunk) -> Receipt:
        self.blocks[chunk.first] = chunk
        return Receipt({"first": chunk.first, "last": chunk.last})

    def sha256(self, receipts):
        return "read back"

    def finish(self, receipts, seal):
        pass

    def commit(self, receipts):
        self.committed = list(receipts)

    def abort(self, state):
        self.aborted = True

    def close(self):
        pass

    @property
    def text(self) -> bytes:
        return b"".join(self.blocks[first].body for first in sorted(self.blocks))


class MemoryLedger:
    def __init__(self) -> None:
        self.state = None
        self.source = None
        self.rows: list[Flush] = []

    def output_state(self):
        return self.state

    def left(self):
        return self.state

    def begin(self, state):
        self.state = state

    def check(self):
        pass

    def seal(self, counts, bytes_out):
        pass

    def pin_source(self, identity):
        self.source = self.source or identity
        return self.source

    def flushes(self):
        return list(self.rows)

    def record(self, flush: Flush) -> None:
        assert flush.first == (self.rows[-1].last + 1 if self.rows else 0)
        self.rows.append(flush)


class SeenProgress:
    def __init__(self) -> None:
        self.stop = threading.Event()
        self.lines: list[str] = []
        self.reports: list[Snapshot] = []

    def report(self, snapshot: Snapshot) -> None:
        self.reports.append(snapshot)

    def log(self, message: str) -> None:
        self.lines.append(message)

    def stop_requested(self) -> bool:
        return self.stop.is_set()
