"""Hand the output to its target in blocks that are durable before the ledger says so."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from scoreline import faults
from scoreline.errors import OutputError
from scoreline.pipeline.chunk import DoneChunk
from scoreline.pipeline.failed import FailedRows
from scoreline.protocols import Ledger, Output
from scoreline.rows.forms import Form
from scoreline.types import Counts, Flush, JsonObject, Position, Receipt, ScoredChunk

# What stands in the ledger beside a block's receipt: what its form noted, and how many of its rows are from which file.
_NOTE = "note"
_FILES = "files"
_ENDED = "ended"


class Writer:
    """Collects finished chunks in order and flushes them; goes on behind `done`, where the ledger ends."""

    def __init__(
        self,
        output: Output,
        form: Form,
        ledger: Ledger,
        done: Sequence[Flush],
        failed: FailedRows | None = None,
        *,
        most: int | None = None,
        file_of: Callable[[int], int | None] = lambda _: None,
    ) -> None:
        """Write at most `most` bytes, None for any number."""
        self._most = most
        self._output = output
        self._form = form
        self._failed = failed
        self._ledger = ledger
        self._file_of = file_of
        self.position = done[-1].end if done else Position()
        self.counts = sum((flush.counts for flush in done), Counts())
        self.bytes_out = sum(flush.bytes_out for flush in done)
        self.begun = bool(done)
        self._receipts = receipts(done)
        self._notes = [flush.receipt.data[_NOTE] for flush in done if _NOTE in flush.receipt.data]
        self.files = Counter[str]()  # rows by the number of their file, where the source has several
        for flush in done:
            self.files.update(flush.receipt.data.get(_FILES, {}))
        self._digest = None if done or not form.final else hashlib.sha256()  # of a run that writes everything itself
        self._waiting: list[DoneChunk] = []
        self._waiting_bytes = 0
        self._last = float("-inf") if form.at_once else time.monotonic()

    def header(self, offset: int) -> None:
        """Write what comes before all rows as chunk 0; the source's first row begins at `offset`."""
        self._store(ScoredChunk(0, 0, self._form.head(), 0), Position(offset, 1, 0), Counts())
        self.begun = True

    def add(self, chunk: DoneChunk) -> None:
        """Take the next chunk, and flush when it is time."""
        self._waiting.append(chunk)
        self._waiting_bytes += chunk.size
        self.tick()

    def tick(self) -> bool:
        """Flush when something waits and it is time; say whether it was."""
        form = self._form
        due = self._waiting_bytes >= form.flush_bytes or time.monotonic() - self._last >= form.flush_seconds
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
        pieces = [chunk.piece for chunk in self._waiting if chunk.piece is not None]
        body, note = self._form.block(pieces, self.bytes_out) if pieces else (b"", None)
        failed = self._failed.write(self._waiting, self.position.row) if self._failed is not None else None
        waiting, self._waiting = self._waiting, []
        self._waiting_bytes = 0
        end = Position(last.end_offset, last.number + 1, self.position.row + counts.read)
        files = Counter[str]()
        for chunk in waiting:
            number = self._file_of(chunk.end_offset)
            if number is not None:
                files[str(number)] += chunk.counts.read
        block = ScoredChunk(first.number, last.number, body, counts.scored + counts.failed)
        self._store(block, end, counts, failed, note=note, files=files)
        self._last = time.monotonic()

    def end(self) -> None:
        """Flush the rest, and write what comes behind all rows, unless it is there."""
        self.flush()
        if any(_ENDED in note for note in self._notes):
            return
        tail = self._form.tail(self._notes)
        if tail is not None:
            at = self.position
            block = ScoredChunk(at.chunk, at.chunk, tail, 0)
            self._store(block, Position(at.offset, at.chunk + 1, at.row), Counts(), note={_ENDED: True})

    def commit(self) -> str | None:
        """Make output and errors file whole; return the output's SHA-256, if it can be had.

        Raises OutputError, or Cancelled and LostLease from the ledger.
        """
        sha256 = self._output.sha256(self._receipts) if self._digest is None else self._digest.hexdigest()
        seal = _Seal(self._ledger, self.counts, self.bytes_out)
        self._output.finish(self._receipts, seal)
        seal.cross()
        self._output.commit(self._receipts)
        if self._failed is not None:
            self._failed.commit()
        return sha256

    def end_early(self) -> None:
        """Make what there is durable, and the errors file whole: it says why the run ends. Raises OutputError."""
        self.flush()
        if self._failed is not None:
            self._failed.commit()

    def _store(
        self,
        block: ScoredChunk,
        end: Position,
        counts: Counts,
        failed: Receipt | None = None,
        *,
        note: JsonObject | None = None,
        files: Mapping[str, int] | None = None,
    ) -> None:
        faults.at("output.writing")
        if self._most is not None and self.bytes_out + len(block.body) > self._most:
            raise OutputError(
                f"Writing the output failed: it would have more than the {self._most} bytes that a result may have "
                "(SCORELINE_MAX_RESULT_BYTES); score the data in several jobs, or ask for a higher limit."
            )
        receipt = self._output.write(block)
        faults.at("output.written")
        if self._digest is not None:
            self._digest.update(block.body)
        more = {name: value for name, value in ((_NOTE, note), (_FILES, dict(files or {}))) if value}
        noted = Receipt({**receipt.data, **more}) if more else receipt
        self._ledger.record(Flush(block.first, block.last, end, counts, noted, len(block.body), failed))
        faults.at("ledger.recorded")
        self._receipts.append(receipt)
        if note is not None:
            self._notes.append(note)
        self.files.update(files or {})
        self.position = end
        self.counts += counts
        self.bytes_out += len(block.body)


class _Seal:
    """See `protocols.Seal`."""

    def __init__(self, ledger: Ledger, counts: Counts, bytes_out: int) -> None:
        self._ledger = ledger
        self._counts = counts
        self._bytes_out = bytes_out

    def check(self) -> None:
        self._ledger.check()

    def cross(self) -> None:
        self._ledger.seal(self._counts, self._bytes_out)


def receipts(done: Sequence[Flush]) -> list[Receipt]:
    """Return the receipts of flushes as the output gave them."""
    return [
        Receipt({name: value for name, value in flush.receipt.data.items() if name not in (_NOTE, _FILES)})
        for flush in done
    ]
