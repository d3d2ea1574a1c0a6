"""Score parts of a job ahead of the run that writes its output.

What is staged here is used when its turn comes, if it is right then (`pipeline.shared`). Nothing of it is seen before,
and whatever goes wrong here is left to the run that writes, which meets the same trouble in its place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

from scoreline import faults
from scoreline.pipeline.ask import Asker
from scoreline.pipeline.borders import End
from scoreline.pipeline.chunk import ChunkWork, DoneChunk
from scoreline.pipeline.crew import Crew, NoMore
from scoreline.pipeline.pace import Pace
from scoreline.pipeline.run import MORE_HELD, MORE_THREADS, POLL_SECONDS, STOP_SECONDS, check_source
from scoreline.pipeline.shared import Runs, made_by
from scoreline.pipeline.source import Source, open_source
from scoreline.pipeline.staged import Stage, StagedPart
from scoreline.pipeline.watch import check_stop
from scoreline.protocols import Intake, Progress, Queue, Scorer
from scoreline.rows.columns import OutputColumns
from scoreline.rows.opening import open_form
from scoreline.types import Position, Range, RawChunk, RowChunk, RunTicket, ScoredAhead


def run_ahead(
    ticket: RunTicket, intake: Intake, scorer: Scorer, queue: Queue, progress: Progress, *, stage: Stage
) -> None:
    """Score the parts of the queue until there is none.

    Raises what `run` raises; the part in hand is then neither handed over nor left, and nothing of it is staged.
    """
    with closing(open_source(ticket, intake)) as source:
        header = source.header(lambda: check_stop(progress))
        columns = OutputColumns(ticket.plan, header, ticket.output.get("partitionColumns") or ())
        parser = source.parser(ticket.plan, columns.passthrough)
        form = open_form(dict(ticket.output), columns.names, columns.types(source.types()), ticket.dialect)
        check_source(intake, queue)
        stopping, pace = threading.Event(), Pace(ticket.pace)
        asker = Asker(
            scorer, ticket.plan, ticket.pace, stopping=stopping, limits=ticket.limits, chunk_bytes=pace.target
        )
        work = ChunkWork(ticket, parser, asker, columns, pace, form=form)
        made, runs = made_by(columns, form), Runs(queue.runs)

        def look() -> None:
            check_stop(progress)
            while asker.notes:
                progress.log(asker.notes.popleft())
            asker.gate.runs = runs()

        try:
            while (part := queue.next()) is not None:
                staged = StagedPart(stage, queue.name)
                ended = False
                try:
                    done = _score(source, part, asker, work, pace.target, staged=staged, look=look)
                    check_source(intake, queue)
                    if done is None:
                        queue.leave()
                    else:
                        faults.at("partition.scored")
                        ended = queue.scored(
                            ScoredAhead(done[0], done[1], done[2], staged.counts, tuple(staged.segments), made)
                        )
                finally:
                    if not ended:
                        staged.drop()
        finally:
            stopping.set()
            source.close()
            scorer.close()


def _score(
    source: Source,
    part: Range,
    asker: Asker,
    work: ChunkWork,
    target: Callable[[], int],
    *,
    staged: StagedPart,
    look: Callable[[], None],
) -> tuple[int, int, int] | None:
    """Stage the records of a part; return its begin, its end, and what is reached then. None: it cannot be done."""
    look()
    begin = source.begin_of(part.start)
    if begin is None or (part.end is not None and begin >= part.end):
        return None
    source.go_to(Position(begin))
    end = End(part.end)
    crew: Crew[RawChunk | RowChunk, DoneChunk] = Crew(
        source.chunks(1, target, end),
        work,
        threads=asker.gate.most + MORE_THREADS,
        held=lambda: asker.gate.limit + MORE_HELD,
    )
    try:
        while True:
            look()
            try:
                chunk = crew.take(POLL_SECONDS)
            except NoMore:
                break
            if chunk is not None:
                faults.at("partition.scoring")
                staged.add(chunk)
    finally:
        crew.stop(STOP_SECONDS)
    staged.flush()
    return None if staged.end is None else (begin, staged.end, source.offset if end.at is None else end.at)
