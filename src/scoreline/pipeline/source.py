"""A source as the run sees it: its header, then numbered chunks of UTF-8 records from any position on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from scoreline.pipeline.fetch import Decoded, ReadAhead, after, is_utf8
from scoreline.pipeline.frame import Framer
from scoreline.pipeline.unpack import Unpacked
from scoreline.protocols import ByteIntake
from scoreline.types import Position, RawChunk, RunTicket


class Source:
    """Fetches, unpacks, decodes and frames one part of an intake; offsets count bytes of its text as UTF-8.

    The intake stays open: who opened it closes it.
    """

    def __init__(self, ticket: RunTicket, intake: ByteIntake) -> None:
        self._ticket = ticket
        self._intake = intake
        self._utf8 = is_utf8(ticket.dialect.encoding)
        self._most = 0
        self._packed = False
        self._unpacked: Unpacked | None = None
        self._text: Decoded | None = None
        self._start(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def offset(self) -> int:
        """Bytes before the next record."""
        return self._framer.offset

    def header(self, paused: Callable[[], None]) -> tuple[str, ...]:
        """Read the column names; `paused` is called while the source has nothing to give. Raises SourceError."""
        return self._framer.header(paused)

    def go_to(self, position: Position) -> None:
        """Go on at a position that an earlier run reached."""
        if position.offset != self.offset:
            self._packed = self._unpacked is not None and self._unpacked.packing is not None
            self.close()
            self._start(position.offset)

    def chunks(self, number: int, target: Callable[[], int]) -> Iterator[RawChunk]:
        """Yield the chunks from here on, numbered from `number`. Raises SourceError."""
        return self._framer.chunks(number, target)

    def bytes_in(self, offset: int) -> int:
        """Return how many of the source's own bytes lie before `offset`; about right until the end, then exact."""
        if self._unpacked is not None:
            given = self._unpacked.bytes_out if self._text is None else self._text.bytes_out
            if given:
                offset = offset * self._unpacked.bytes_in // given
        self._most = max(self._most, offset)
        return self._most

    def size(self) -> int | None:
        """Return the bytes of the whole source, None while that is not known."""
        return self._intake.size()

    def close(self) -> None:
        """Stop reading."""
        self._feed.close()

    def _start(self, offset: int) -> None:
        part = self._ticket.part
        if offset and self._utf8 and not self._packed:
            blocks = self._intake.blocks(part, offset)
            self._unpacked = self._text = None
        else:
            # Only from the start can it be known what is packed how, and where a character begins.
            self._unpacked = Unpacked(self._intake.blocks(part, 0), self._ticket.limits)
            self._text = None if self._utf8 else Decoded(iter(self._unpacked), self._ticket.dialect.encoding)
            blocks = after(iter(self._text or self._unpacked), offset)
        self._feed = ReadAhead(blocks)
        self._framer = Framer(self._feed, self._ticket.dialect, offset=offset)
