"""The errors file of a run: one line for each failed row, under the same record of what is done as the output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from scoreline.pipeline.chunk import DoneChunk
from scoreline.protocols import Output
from scoreline.rows import failed
from scoreline.types import Receipt, ScoredChunk


class FailedRows:
    """Writes the failed rows of finished chunks to `output`, up to `most_bytes`; goes on behind `receipts`.

    log: takes the line which says that the file is full.
    """

    def __init__(
        self, output: Output, receipts: Sequence[Receipt], most_bytes: int, log: Callable[[str], None]
    ) -> None:
        self._output = output
        self._receipts = list(receipts)
        self._size = sum(int(receipt.data["size"]) for receipt in receipts)
        self._most = most_bytes
        self._log = log
        output.open(output.prepare())

    def write(self, chunks: Sequence[DoneChunk], row: int) -> Receipt | None:
        """Store the failed rows of consecutive chunks durably; `row` data rows come before them. None for no rows.

        Raises OutputError.
        """
        lines = list[bytes]()
        for number, reason, source in _rows(chunks, row):
            if self._size >= self._most:
                break
            lines.append(failed.line(number, reason, source))
            self._size += len(lines[-1])
            if self._size >= self._most:
                self._log(
                    f"The errors file is full with row {number}; rows that fail after it are counted only. The setting "
                    "SCORELINE_MAX_ERRORS_BYTES says how large it may be."
                )
        if not lines:
            return None
        receipt = self._output.write(ScoredChunk(chunks[0].number, chunks[-1].number, b"".join(lines), len(lines)))
        self._receipts.append(receipt)
        return receipt

    def commit(self) -> None:
        """Make the file whole. Raises OutputError."""
        self._output.commit(self._receipts)


def _rows(chunks: Sequence[DoneChunk], row: int) -> Iterator[tuple[int, str, str]]:
    for chunk in chunks:
        for place in sorted(chunk.errors):
            yield row + place + 1, chunk.errors[place], chunk.sources.get(place, b"").decode(errors="replace")
        row += chunk.counts.read
