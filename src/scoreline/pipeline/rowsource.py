"""A source of typed rows as the run sees it: numbered chunks of the columns that it needs, from any row on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import pyarrow as pa

from scoreline.pipeline.borders import NO_BORDERS, Borders
from scoreline.pipeline.parse import Parsed
from scoreline.protocols import RowIntake
from scoreline.rows import cast, typed
from scoreline.types import Position, Range, RowChunk, RunTicket, ScoringPlan


class RowParser:
    """Makes of chunks with the columns of `schema` what the model takes; used by several threads at once.

    warnings: lines for the job log. Raises SourceError when columns that the model needs are absent, or no input of any
    model.
    """

    def __init__(self, schema: pa.Schema, plan: ScoringPlan, passthrough: Sequence[str]) -> None:
        self.warnings: list[str] = []
        self._absent = cast.absent(schema.names, plan.features)
        if self._absent:
            self.warnings.append(cast.absent_message(list(self._absent)))
        self._features = cast.inputs(schema.names, plan.features)
        typed.check_features(schema, self._features)
        self._cast = cast.Caster(self._features)
        self._passthrough = tuple(passthrough)
        read = [feature.name for feature in self._features if feature.name not in self._absent]
        self.columns = tuple(dict.fromkeys([*read, *passthrough]))
        """The columns that chunks must have."""

    def parse(self, body: pa.RecordBatch) -> Parsed:
        """Take one chunk's columns."""
        columns = _by_name(body)
        rows = body.num_rows
        batch, errors = self._cast(
            {
                feature.name: pa.nulls(rows, self._absent[feature.name])
                if feature.name in self._absent
                else typed.feature(columns[feature.name], feature.type)
                for feature in self._features
            }
        )
        return Parsed(rows, batch, {name: columns[name] for name in self._passthrough}, errors)

    def sources(self, body: pa.RecordBatch, rows: Collection[int]) -> dict[int, bytes]:
        """Return these rows of a chunk as JSON objects of the columns that are read."""
        columns = _by_name(body)
        return {row: typed.shown(columns, row) for row in rows}


class RowSource:
    """Reads one part of an intake of rows; offsets count rows. The intake stays open: who opened it closes it."""

    def __init__(self, ticket: RunTicket, intake: RowIntake) -> None:
        self._part = ticket.part
        self._intake = intake
        self._schema = intake.schema()
        self._columns: tuple[str, ...] = ()
        self.offset = 0
        """Rows before the next one."""

    def header(self, paused: Callable[[], None]) -> tuple[str, ...]:  # noqa: ARG002 -- it is there
        """Return the column names."""
        return tuple(self._schema.names)

    def types(self) -> dict[str, pa.DataType]:
        """Return the type of each column."""
        return {field.name: field.type for field in self._schema}

    def parser(self, plan: ScoringPlan, passthrough: Sequence[str]) -> RowParser:
        """Return what reads the chunks; they will have the columns that it needs. Raises SourceError."""
        parser = RowParser(self._schema, plan, passthrough)
        self._columns = parser.columns
        return parser

    def borders(self, parts: Sequence[Range]) -> Sequence[int]:
        """Return the first rows of the parts but the first."""
        return [part.start for part in parts[1:]]

    def begin_of(self, border: int) -> int:
        """Return the border."""
        return border

    def go_to(self, position: Position) -> None:
        """Go on at a position that an earlier run reached, or where a part begins."""
        self.offset = position.offset

    def chunks(self, number: int, target: Callable[[], int], borders: Borders = NO_BORDERS) -> Iterator[RowChunk]:
        """Yield the chunks from here on, numbered from `number`, each of about `target()` bytes, up to a border.

        Raises SourceError.
        """
        if borders.next == self.offset and not borders.passes(self.offset):
            return
        waiting: list[pa.RecordBatch] = []
        size = 0
        for batch in self._intake.batches(self._part, self.offset, self._columns):
            waiting.append(batch)
            size += batch.nbytes
            room = None if borders.next is None else borders.next - self.offset
            if size < target() and (room is None or sum(one.num_rows for one in waiting) < room):
                continue
            whole = _joined(waiting)
            while whole.num_rows and (size >= target() or (room is not None and whole.num_rows >= room)):
                rows = max(1, min(whole.num_rows, target() * whole.num_rows // max(1, size)))
                yield self._chunk(number, whole.slice(0, rows if room is None else min(rows, room)))
                number += 1
                if borders.next == self.offset and not borders.passes(self.offset):
                    return
                whole = whole.slice(rows if room is None else min(rows, room))
                size = whole.nbytes
                room = None if borders.next is None else borders.next - self.offset
            waiting = [whole] if whole.num_rows else []
        if waiting:
            yield self._chunk(number, _joined(waiting))

    def bytes_in(self, offset: int) -> int:
        """Return how many of the source's own bytes lie before row `offset`, about; exact at the end."""
        size = self._intake.size() or 0
        rows = self._intake.rows()
        return size if offset >= rows else size * offset // rows

    def file_of(self, offset: int) -> None:
        """Return nothing."""

    def files(self, counted: Mapping[str, int]) -> Sequence[tuple[str, int]]:  # noqa: ARG002 -- the intake knows
        """Return the files of the intake, if there are several, and the rows of each."""
        return self._intake.files()

    def size(self) -> int | None:
        """Return the bytes of the whole source."""
        return self._intake.size()

    def close(self) -> None:
        """Stop reading: the intake does, once it is closed."""

    def _chunk(self, number: int, body: pa.RecordBatch) -> RowChunk:
        self.offset += body.num_rows
        return RowChunk(number, body, self.offset)


def _by_name(batch: pa.RecordBatch) -> Mapping[str, pa.Array]:
    return dict(zip(batch.schema.names, batch.columns, strict=True))


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    columns = [pa.concat_arrays(parts) for parts in zip(*(batch.columns for batch in batches), strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=batches[0].schema)
