"""Bytes that wait in the spool until they fill a part of an object: which they are, and how a part is read."""

from __future__ import annotations

import bisect
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scoreline.adapters.files import Part
from scoreline.spool import Spool
from scoreline.types import JsonObject, Receipt, ScoredChunk

PART_BYTES = 8 << 20
_SAME_SIZE = 250  # parts, before their size doubles
_IN_MEMORY = 16 << 20


@dataclass(frozen=True, slots=True)
class Span:
    """A part of an object: its number, from 1, and its place."""

    number: int
    start: int
    size: int

    @property
    def end(self) -> int:
        """The place behind it."""
        return self.start + self.size

    def next(self, most: int) -> Span:
        """Return the part behind it, which may be larger: stores limit how many there are."""
        return Span(self.number + 1, self.end, _size(self.number + 1, most))


def first_span(most: int) -> Span:
    """Return the first part of every object."""
    return Span(1, 0, _size(1, most))


def _size(number: int, most: int) -> int:
    return min(PART_BYTES << min((number - 1) // _SAME_SIZE, 40), most)


class Staged:
    """The blocks of one output in order, each a segment in the spool, as the ledger has receipts of them.

    A run that lost its job unawares has segments with another number in their names, which no receipt speaks of.
    """

    def __init__(self, spool: Spool, job_id: str, fence: int) -> None:
        self.receipts: list[Receipt] = []
        self._spool = spool
        self._fence = fence
        self._stream = f"staged/{job_id}"
        self._ends: list[int] = []
        self._kept = 0  # segments before it are deleted

    @property
    def size(self) -> int:
        """Bytes of all blocks."""
        return self.end(len(self._ends))

    def end(self, blocks: int) -> int:
        """Return the place behind so many blocks."""
        return self._ends[blocks - 1] if blocks else 0

    def restart(self, receipts: Sequence[Receipt]) -> None:
        """Know these blocks, and no others."""
        self.receipts, self._ends, self._kept = [], [], 0
        for receipt in receipts:
            self.add(receipt)

    def known(self, chunk: ScoredChunk) -> Receipt | None:
        """Return the receipt of a block that is written again."""
        name = self._name(chunk)
        return next((known for known in reversed(self.receipts) if known.data["segment"] == name), None)

    def put(self, chunk: ScoredChunk) -> JsonObject:
        """Store a block durably and return its receipt's data. Raises SpoolFull, SpoolError."""
        return self._spool.put_segment(self._stream, self._name(chunk), chunk.body)

    def add(self, receipt: Receipt) -> None:
        """Know one more block."""
        self.receipts.append(receipt)
        self._ends.append(self.size + int(receipt.data["size"]))

    def body(self, span: Span) -> bytes | Part:
        """Return the bytes of a part, to be read piece by piece when it is large. Raises SpoolError."""
        if span.size > _IN_MEMORY:
            return _Body(self, span)
        return b"".join(self.pieces(span.start, span.end))

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes between two places. Raises SpoolError when they are not what their receipts say."""
        at = bisect.bisect_right(self._ends, start)
        while start < end:
            data = self.receipts[at].data
            begin = self._ends[at] - int(data["size"])
            for piece in self._spool.read_segment(
                self._stream, str(data["segment"]), offset=start - begin, crc32=int(data["crc32"])
            ):
                yield piece[: end - start]
                start += len(piece)
                if start >= end:
                    return
            at += 1

    def whole(self) -> bool:
        """Say whether all blocks are still here."""
        return all(self._spool.segment(self._stream, str(known.data["segment"])) for known in self.receipts)

    def sha256(self) -> str | None:
        """Return the digest of all blocks, None when some are not here any more. Raises SpoolError."""
        if not self.whole():
            return None
        digest = hashlib.sha256()
        for piece in self.pieces(0, self.size):
            digest.update(piece)
        return digest.hexdigest()

    def drop(self, end: int) -> None:
        """Delete the blocks that end before a place. Raises SpoolError."""
        while self._kept < len(self._ends) and self._ends[self._kept] <= end:
            self._spool.drop_segment(self._stream, str(self.receipts[self._kept].data["segment"]))
            self._kept += 1

    def delete(self) -> None:
        """Delete everything, of all runs. Raises SpoolError."""
        self._spool.delete_stream(self._stream)

    def _name(self, chunk: ScoredChunk) -> str:
        return f"{chunk.first:010d}-{chunk.last:010d}.{self._fence}"


class _Body(io.RawIOBase):
    """A part as a file, read from the spool as it is sent."""

    def __init__(self, staged: Staged, span: Span) -> None:
        self._staged = staged
        self._span = span
        self._place = 0
        self._pieces: Iterator[bytes] | None = None
        self._left = b""

    def __len__(self) -> int:
        return self._span.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, place: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._span.size}[whence]
        if base + place != self._place:
            self._place, self._pieces, self._left = base + place, None, b""
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int = -1, /) -> bytes:
        if self._pieces is None:
            self._pieces = self._staged.pieces(self._span.start + self._place, self._span.end)
        if size < 0:
            found = self._left + b"".join(self._pieces)
            self._left = b""
        else:
            self._left = self._left or next(self._pieces, b"")
            found, self._left = self._left[:size], self._left[size:]
        self._place += len(found)
        return found
