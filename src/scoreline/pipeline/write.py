"""Hand the output to its target in blocks that are durable before the ledger says so."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

from scoreline.pipeline.chunk import DoneChunk
from scoreline.pipeline.failed import FailedRows
from scoreline.protocols import Ledger, Output
from scoreline.types import Counts, Flush, Position, Receipt, ScoredChunk

# Bytes and seconds after which a block is handed over; the first rows go out at once.
FLUSH_BYTES = 8 << 20
FLUSH_SECONDS = 1.0


class Writer:
    """Collects finished chunks in order and flushes them; goes on behind `done`, where the ledger ends."""

    def __init__(self, output: Output, ledger: Ledger, done: Sequence[Flush], failed: FailedRows | None = None) -> None:
        self._output = output
        self._failed = failed
        self._ledger = ledger
        self.position = done[-1].end if done else Position()
        self.counts = sum((flush.counts for flush in done), Counts())
        self.bytes_out = sum(flush.bytes_out for flush in done)
        self.begun = bool(done)
        self._receipts = [flush.receipt for flush in done]
        self._digest = None if done else hashlib.sha256()  # of a run that writes everything itself
        self._waiting: list[DoneChunk] = []
        self._waiting_bytes = 0
        self._last = float("-inf")

    def header(self, body: bytes, offset: int) -> None:
        """Write the header line as chunk 0; the source's first row begins at `offset`."""
        self._store(ScoredChunk(0, 0, body, 0), Position(offset, 1, 0), Counts(), None)
        self.begun = True

    def add(self, chunk: DoneChunk) -> None:
        """Take the next chunk, and flush when it is time."""
        self._waiting.append(chunk)
        self._waiting_bytes += len(chunk.body)
        self.tick()

    def tick(self) -> bool:
        """Flush when something waits and it is time; say whether it was."""
        due = self._waiting_bytes >= FLUSH_BYTES or time.monotonic() - self._last >= FLUSH_SECONDS
        if due and self._waiting:
            self.flush()
            return True
        return False

    def flush(self) -> None:
        """Make everything taken so far durable. Raises OutputError, or LostLease from the ledger."""
        if not self._waiting:
            return
        first, last = self._waiting[0], self._waiting[-1]
        counts = sum((chunk.counts for chunk in self._waiting), Counts())
        body = first.body if first is last else b"".join(chunk.body for chunk in self._waiting)
        failed = self._failed.write(self._waiting, self.position.row) if self._failed is not None else None
        self._waiting = []
        self._waiting_bytes = 0
        end = Position(last.end_offset, last.number + 1, self.position.row + counts.read)
        self._store(ScoredChunk(first.number, last.number, body, counts.scored + counts.failed), end, counts, failed)
        self._last = time.monotonic()

    def commit(self) -> str | None:
        """Make output and errors file whole; return the output's SHA-256, if it can be had. Raises OutputError."""
        sha256 = self._output.sha256(self._receipts) if self._digest is None else self._digest.hexdigest()
        self._output.commit(self._receipts)
        if self._failed is not None:
            self._failed.commit()
        return sha256

    def end_early(self) -> None:
        """Make what there is durable, and the errors file whole: it says why the run ends. Raises OutputError."""
        self.flush()
        if self._failed is not None:
            self._failed.commit()

    def _store(self, block: ScoredChunk, end: Position, counts: Counts, failed: Receipt | None) -> None:
        receipt = self._output.write(block)
        if self._digest is not None:
            self._digest.update(block.body)
        self._ledger.record(Flush(block.first, block.last, end, counts, receipt, len(block.body), failed))
        self._receipts.append(receipt)
        self.position = end
        self.counts += counts
        self.bytes_out += len(block.body)
