"""A source of bytes as the run sees it: its header, then numbered chunks of UTF-8 records from any position on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa

from scoreline.pipeline.borders import NO_BORDERS, WINDOW_BYTES, Borders, first_record
from scoreline.pipeline.fetch import Decoded, ReadAhead, after, is_utf8
from scoreline.pipeline.frame import Framer
from scoreline.pipeline.parse import ChunkParser
from scoreline.pipeline.unpack import Unpacked
from scoreline.protocols import Blocks
from scoreline.types import Position, Range, RawChunk, RunTicket, ScoringPlan


class ByteSource:
    """Fetches, unpacks, decodes and frames one part of an intake; offsets count bytes of its text as UTF-8."""

    def __init__(self, ticket: RunTicket, intake: Blocks) -> None:
        self._ticket = ticket
        self._intake = intake
        self._utf8 = is_utf8(ticket.dialect.encoding)
        self._most = 0
        self._packed = False
        self._closed = False
        self._unpacked: Unpacked | None = None
        self._text: Decoded | None = None
        self._header: tuple[str, ...] = ()
        self._start(0)

    @property
    def offset(self) -> int:
        """Bytes before the next record."""
        return self._framer.offset

    def header(self, paused: Callable[[], None]) -> tuple[str, ...]:
        """Read the column names; `paused` is called while the source has nothing to give. Raises SourceError."""
        self._header = self._framer.header(paused)
        return self._header

    def types(self) -> dict[str, pa.DataType]:
        """Return the type of each column: all are text."""
        return dict.fromkeys(self._header, pa.string())

    def parser(self, plan: ScoringPlan, passthrough: Sequence[str]) -> ChunkParser:
        """Return what reads the chunks. Raises SourceError when the header lacks columns that the model needs."""
        return ChunkParser(self._header, plan, passthrough, self._ticket.dialect)

    def borders(self, parts: Sequence[Range]) -> Sequence[int]:
        """Return where the parts but the first begin, at the first record from there on: of plain UTF-8 alone."""
        return [part.start for part in parts[1:]] if self._utf8 and not self._is_packed() else []

    def begin_of(self, border: int) -> int | None:
        """Return where a record seems to begin at a border or right behind it, None where none does."""
        text = b""
        for block in self._intake.blocks(self._ticket.part, border - 1):
            text += block[: WINDOW_BYTES - len(text)]
            if len(text) >= WINDOW_BYTES:
                break
        whole = len(text) < WINDOW_BYTES
        found = first_record(text, self._ticket.dialect, len(self._header), whole=whole)
        return None if found is None else border - 1 + found

    def go_to(self, position: Position) -> None:
        """Go on at a position that an earlier run reached, or where a part begins."""
        if position.offset != self.offset:
            self._packed = self._is_packed()
            self._feed.close()
            self._start(position.offset)

    def chunks(self, number: int, target: Callable[[], int], borders: Borders = NO_BORDERS) -> Iterator[RawChunk]:
        """Yield the chunks from here on, numbered from `number`, up to a border. Raises SourceError."""

        def size() -> int:
            border = borders.next
            return target() if border is None else max(1, min(target(), border - self.offset))

        chunks = self._framer.chunks(number, size)
        while borders.next is None or self.offset < borders.next or borders.passes(self.offset):
            chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def bytes_in(self, offset: int) -> int:
        """Return how many of the source's own bytes lie before `offset`; about right until the end, then exact."""
        if self._unpacked is not None:
            given = self._unpacked.bytes_out if self._text is None else self._text.bytes_out
            # A run that goes on is at `offset` before what lies before it has come again.
            offset = min(offset, given) * self._unpacked.bytes_in // given if given else 0
        self._most = max(self._most, offset)
        return self._most

    def file_of(self, offset: int) -> None:
        """Return nothing."""

    def files(self, counted: Mapping[str, int]) -> Sequence[tuple[str, int]]:  # noqa: ARG002 -- as above
        """Return nothing."""
        return ()

    def size(self) -> int | None:
        """Return the bytes of the whole source, None while that is not known."""
        return self._intake.size()

    def close(self) -> None:
        """Stop reading."""
        self._closed = True
        self._feed.close()

    def _is_packed(self) -> bool:
        return self._packed or (self._unpacked is not None and self._unpacked.packing is not None)

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
        if self._closed:
            self._feed.close()
        self._framer = Framer(self._feed, self._ticket.dialect, offset=offset)
