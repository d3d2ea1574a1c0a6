"""Several CSV files as one source: one header, chunks that never span two files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyarrow as pa

from scoreline.errors import SourceError
from scoreline.pipeline.borders import NO_BORDERS, Borders
from scoreline.pipeline.bytesource import ByteSource
from scoreline.pipeline.parse import ChunkParser
from scoreline.protocols import ManyIntake
from scoreline.types import Position, Range, RawChunk, RunTicket, ScoringPlan

# An offset is the number of a file and a place in it.
_FILE = 1 << 44


class ManySource:
    """Reads the files of an intake in turn. The intake stays open: who opened it closes it."""

    def __init__(self, ticket: RunTicket, intake: ManyIntake) -> None:
        self._ticket = ticket
        self._intake = intake
        self._names = intake.names()
        self._sizes = intake.sizes()
        self._number = 0
        self._ended = False
        self._closed = False
        self._header: tuple[str, ...] = ()
        self._source: ByteSource | None = None
        self.offset = 0
        """The number of a file, and the place of the next record in it."""

    def header(self, paused: Callable[[], None]) -> tuple[str, ...]:
        """Return the first file's column names. Raises SourceError."""
        self._header = self._open(0).header(paused)
        self.offset = self._place()
        return self._header

    def types(self) -> dict[str, pa.DataType]:
        """Return the type of each column: all are text."""
        return dict.fromkeys(self._header, pa.string())

    def parser(self, plan: ScoringPlan, passthrough: Sequence[str]) -> ChunkParser:
        """Return what reads the chunks. Raises SourceError when the header lacks columns that the model needs."""
        return ChunkParser(self._header, plan, passthrough, self._ticket.dialect)

    def borders(self, parts: Sequence[Range]) -> Sequence[int]:
        """Return where the parts but the first begin: with files."""
        return [part.start * _FILE for part in parts[1:]]

    def begin_of(self, border: int) -> int:
        """Return the border."""
        return border

    def go_to(self, position: Position) -> None:
        """Go on at a position that an earlier run reached, or at the start of a file."""
        number, offset = divmod(position.offset, _FILE)
        if position.offset != self.offset:
            source = self._next(number)
            if offset:
                source.go_to(Position(offset))
            self.offset = self._place()

    def chunks(self, number: int, target: Callable[[], int], borders: Borders = NO_BORDERS) -> Iterator[RawChunk]:
        """Yield the chunks from here on, numbered from `number`, up to a border. Raises SourceError."""
        source = self._source
        while source is not None:
            with self._words():
                for chunk in source.chunks(number, target):
                    self.offset = self._number * _FILE + chunk.end_offset
                    yield RawChunk(chunk.number, chunk.body, self.offset)
                    number = chunk.number + 1
            more = self._number + 1
            if borders.next is not None and more * _FILE >= borders.next and not borders.passes(more * _FILE):
                return
            source = self._next(more) if more < len(self._names) else None
        self._ended = True

    def bytes_in(self, offset: int) -> int:
        """Return how many bytes of the files lie before `offset`, about; exact at the end."""
        if self._ended and offset == self.offset:
            return self.size()
        number, place = divmod(offset, _FILE)
        source, size = self._source, self._sizes[number]
        inside = source.bytes_in(place) if source is not None and number == self._number else size
        return sum(self._sizes[:number]) + min(inside, size)

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(self._sizes)

    def close(self) -> None:
        """Stop reading."""
        self._closed = True
        if self._source is not None:
            self._source.close()

    def file_of(self, offset: int) -> int:
        """Return the number of the file that an offset lies in."""
        return offset // _FILE

    def files(self, counted: Mapping[str, int]) -> Sequence[tuple[str, int]]:
        """Return the names of the files, and the rows counted of each."""
        return [(name, counted.get(str(number), 0)) for number, name in enumerate(self._names)]

    def _open(self, number: int) -> ByteSource:
        if self._source is not None:
            self._source.close()
        self._number = number
        with self._words():
            self._source = ByteSource(self._ticket, self._intake.one(number))
        if self._closed:
            self._source.close()
        return self._source

    def _next(self, number: int) -> ByteSource:
        """Open a file and read its header. Raises SourceError when it is another one than the first file's."""
        source = self._open(number)
        with self._words():
            header = source.header(lambda: None)
        if header != self._header:
            pairs = zip((*header, *[None] * len(self._header)), (*self._header, *[None] * len(header)), strict=False)
            place, (have, wanted) = next((i, pair) for i, pair in enumerate(pairs, 1) if pair[0] != pair[1])
            raise SourceError(
                f"Reading the intake failed: the files differ in column {place}: {self._names[0]} has {_told(wanted)}, "
                f"{self._names[number]} has {_told(have)}; give all files the same header."
            )
        return source

    def _place(self) -> int:
        return self._number * _FILE + (self._source.offset if self._source is not None else 0)

    @contextmanager
    def _words(self) -> Iterator[None]:
        try:
            yield
        except SourceError as error:
            name = self._names[self._number]
            if name in error.message:
                raise
            raise SourceError(f"{error.message.rstrip('.')} (in {name}).") from error


def _told(name: str | None) -> str:
    return "none" if name is None else f"'{name}'"
