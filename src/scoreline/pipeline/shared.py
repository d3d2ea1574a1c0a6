"""A job that several runs score: the run that writes takes the parts that others scored ahead as they are.

Whether a part was begun at the right place is known when its turn comes: the run that writes has cut all records before
it and stands at the start of the next one. A part that begins elsewhere is thrown away, and scored by this run like one
that nobody has touched; so is one whose staged bytes are damaged or gone.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from scoreline import __version__, faults
from scoreline.errors import SpoolError, StoreError
from scoreline.pipeline.chunk import DoneChunk
from scoreline.pipeline.source import Source
from scoreline.pipeline.staged import Stage
from scoreline.protocols import Intake, Partitions
from scoreline.rows.columns import OutputColumns
from scoreline.rows.forms import Form
from scoreline.types import Position, RawChunk, RowChunk, RunTicket, ScoredAhead

_MOST_PARTS = 4096
_ASK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Shared:
    """What a run needs whose job others may help with."""

    partitions: Partitions
    stage: Stage


class Turns:
    """The parts of a source as their turns come; see `source.Source.chunks`."""

    def __init__(
        self, shared: Shared, borders: Sequence[int], offset: int, *, made: str, log: Callable[[str], None]
    ) -> None:
        """Begin at a place of the source; `made`: what parts must be made by to be taken (`made_by`)."""
        self._shared = shared
        self._borders = borders
        self._made = made
        self._log = log
        self._next = bisect.bisect_left(borders, offset)
        self._written: deque[tuple[int, ScoredAhead]] = deque()
        self._runs = Runs(shared.partitions.runs)
        self.part: ScoredAhead | None = None
        """The part that was scored ahead and whose turn it is."""
        if borders:
            shared.partitions.reach(self._next)

    @property
    def next(self) -> int | None:
        """The next border, None behind the last one."""
        return self._borders[self._next] if self._next < len(self._borders) else None

    def passes(self, at: int) -> bool:
        """Say whether the run goes on reading at `at`; else `part` begins there."""
        while (border := self.next) is not None and border <= at:
            self._next += 1
            part = self._shared.partitions.turn(self._next)
            if part is None:
                continue
            if part.begin == at and part.made == self._made:
                self.part = part
                self._written.append((self._next, part))
                return False
            self._log(f"Partition {self._next} was scored ahead from a wrong place; it is scored again.")
            self._shared.partitions.reach(self._next)
            self._shared.stage.drop(part.segments)
        return True

    def read(self, part: ScoredAhead) -> Iterator[DoneChunk]:
        """Yield the chunks of a part. Raises SpoolError."""
        return self._shared.stage.read(part.segments)

    def lost(self, why: SpoolError) -> None:
        """Note that a part cannot be read any more."""
        self._log(f"Partition {self._next} was scored ahead in vain, and is scored again: {why.message}")

    def runs(self) -> int:
        """Return how many runs score for the job, as of a moment ago."""
        return self._runs()

    def close(self) -> None:
        """End waiting for other runs."""
        self._shared.partitions.close()

    def recorded(self, offset: int) -> None:
        """Delete what is staged of parts up to a place, because it is in the output."""
        while self._written and self._written[0][1].end <= offset:
            number, part = self._written.popleft()
            self._shared.partitions.reach(number)
            self._shared.stage.drop(part.segments)


class Runs:
    """How many runs score for a job, asked now and then."""

    def __init__(self, runs: Callable[[], int]) -> None:
        self._runs = runs
        self._known = 1
        self._asked = float("-inf")

    def __call__(self) -> int:
        """Return the number; that of before while the database is away."""
        if time.monotonic() - self._asked >= _ASK_SECONDS:
            self._asked = time.monotonic()
            try:
                self._known = self._runs()
            except StoreError:
                return self._known
        return self._known


def plan(ticket: RunTicket, source: Source, intake: Intake, partitions: Partitions) -> Sequence[int]:
    """Return the borders of the source's parts; none for a small one, or one that cannot be cut."""
    least, size = ticket.limits.partition_bytes, intake.size()
    if not least or size is None or size < 2 * least:
        return ()
    parts = intake.partitions(min(size // least, _MOST_PARTS))
    borders = source.borders(parts)
    return partitions.plan(borders) if borders else ()


def joined(
    source: Source, turns: Turns, number: int, target: Callable[[], int]
) -> Iterator[RawChunk | RowChunk | DoneChunk]:
    """Yield the chunks of a source in order, numbered from `number`: of parts scored ahead as they were scored."""
    while True:
        for chunk in source.chunks(number, target, turns):
            yield chunk
            number = chunk.number + 1
        if turns.part is None:
            return
        faults.at("partition.joining")
        end: int | None = None
        while (part := turns.part) is not None:
            turns.part = None
            try:
                for done in turns.read(part):
                    yield replace(done, number=number)
                    number, end = number + 1, done.end_offset
            except SpoolError as why:
                turns.lost(why)
                end = part.begin if end is None else end
                break
            turns.passes(part.behind)
        if end is not None:
            source.go_to(Position(end))


def made_by(columns: OutputColumns, form: Form) -> str:
    """Return what the rows of a part were made by and how they look, to be compared."""
    known = json.dumps([__version__, columns.names, form.state()], sort_keys=True)
    return hashlib.sha256(known.encode()).hexdigest()
