"""What a run needs of a source, whatever it is a source of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, cast

import pyarrow as pa

from scoreline.pipeline.borders import NO_BORDERS, Borders
from scoreline.pipeline.bytesource import ByteSource
from scoreline.pipeline.manysource import ManySource
from scoreline.pipeline.parse import Parser
from scoreline.pipeline.rowsource import RowSource
from scoreline.protocols import Intake, ManyIntake, RowIntake
from scoreline.types import Position, Range, RawChunk, RowChunk, RunTicket, ScoringPlan


class Source(Protocol):
    """What a run needs of a source, of bytes or of rows."""

    @property
    def offset(self) -> int:
        """How far it is read, in its own measure (`Position`)."""
        ...

    def header(self, paused: Callable[[], None]) -> tuple[str, ...]:
        """Return the column names; `paused` is called while the source has nothing to give. Raises SourceError."""
        ...

    def types(self) -> dict[str, pa.DataType]:
        """Return the type of each column of the header."""
        ...

    def parser(self, plan: ScoringPlan, passthrough: Sequence[str]) -> Parser:
        """Return what reads the chunks. Raises SourceError when columns are absent."""
        ...

    def borders(self, parts: Sequence[Range]) -> Sequence[int]:
        """Return where the parts but the first begin, none where it can only be read from its start.

        In a text that is about where: at the first record that begins there or later.
        """
        ...

    def begin_of(self, border: int) -> int | None:
        """Return where the part behind a border begins, as far as that can be seen from there; None if it cannot."""
        ...

    def go_to(self, position: Position) -> None:
        """Go on at a position that an earlier run reached, or where a part begins."""
        ...

    def chunks(
        self, number: int, target: Callable[[], int], borders: Borders = NO_BORDERS
    ) -> Iterator[RawChunk | RowChunk]:
        """Yield the chunks from here on, numbered from `number`, of about `target()` bytes. Raises SourceError.

        None goes beyond a border, which ends them unless it lets them pass.
        """
        ...

    def bytes_in(self, offset: int) -> int:
        """Return how many of the source's own bytes lie before `offset`."""
        ...

    def file_of(self, offset: int) -> int | None:
        """Return the number of the file that a chunk which ends there is from; None where that is not told."""
        ...

    def files(self, counted: Mapping[str, int]) -> Sequence[tuple[str, int]]:
        """Return the source's files, if there are several, and the rows of each; `counted`: by number, if told."""
        ...

    def size(self) -> int | None:
        """Return the bytes of the whole source, None while that is not known."""
        ...

    def close(self) -> None:
        """Stop reading."""
        ...


def open_source(ticket: RunTicket, intake: Intake) -> Source:
    """Return the part of the intake that the ticket names; the intake stays open: who opened it closes it."""
    if hasattr(intake, "batches"):
        return RowSource(ticket, cast("RowIntake", intake))
    if hasattr(intake, "names"):
        return ManySource(ticket, cast("ManyIntake", intake))
    return ByteSource(ticket, intake)
