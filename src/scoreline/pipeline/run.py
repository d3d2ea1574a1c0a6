"""The run of one partition, from the first byte of its source to the commit of its output."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from scoreline.errors import InvalidRequest, OutputError, SourceError, TooManyBadRows
from scoreline.pipeline.ask import Asker
from scoreline.pipeline.chunk import ChunkWork, DoneChunk
from scoreline.pipeline.crew import Crew, NoMore
from scoreline.pipeline.failed import FailedRows
from scoreline.pipeline.pace import Pace
from scoreline.pipeline.parse import ChunkParser
from scoreline.pipeline.source import Source
from scoreline.pipeline.tally import Tally
from scoreline.pipeline.watch import Watch, check_stop
from scoreline.pipeline.write import Writer
from scoreline.protocols import ByteIntake, Ledger, Output, Progress, Scorer
from scoreline.rows import csvout
from scoreline.rows.columns import OutputColumns
from scoreline.types import Counts, CsvDialect, RawChunk, RunTicket

_WARNING = "Warning: "  # begins lines of the job log that tell a person to look

POLL_SECONDS = 0.2  # a stop is noticed within this time
STOP_SECONDS = 5.0  # how long calls under way may take to come back after it

# Beside the chunks that are being scored: two more threads parse and format meanwhile, and one chunk waits.
_MORE_THREADS = 2
_MORE_HELD = 3


@dataclass(frozen=True, slots=True)
class Summary:
    """What a finished run did; bytes are those of the source and of the output.

    sha256: of the whole output, None where it cannot be had.
    """

    counts: Counts
    bytes_in: int
    bytes_out: int
    warnings: tuple[str, ...] = ()
    sha256: str | None = None


def run(  # noqa: PLR0917 -- a run is these six things; the name of each is its type
    ticket: RunTicket,
    intake: ByteIntake,
    scorer: Scorer,
    output: Output,
    ledger: Ledger,
    progress: Progress,
    *,
    errors: Output | None = None,
) -> Summary:
    """Score the source into the output and commit it; go on after the last flush of the ledger, if it has any.

    The failed rows are listed in `errors`, if it is given; it is committed after the output, and also when the run ends
    because too many rows failed.

    Raises SourceError, ScoringError, OutputError, TooManyBadRows or InvalidRequest when the run cannot be finished,
    and RunStopped (Cancelled unless `progress` or `ledger` raise another) when it was asked to end. The caller then
    decides about `output.abort`. On a stop the scorer is closed, to cut the calls under way.
    """
    _check_dialect(ticket.dialect)
    with Source(ticket, intake) as source:
        header = source.header(lambda: check_stop(progress))
        columns = OutputColumns(ticket.plan, header)
        parser = ChunkParser(header, ticket.plan, columns.passthrough, ticket.dialect)
        warnings = (*columns.warnings, *parser.warnings)
        _check_source(intake, ledger)
        writer = _open_writer(ticket, output, errors, ledger, progress)
        if not writer.begun:
            for warning in warnings:
                progress.log(f"{_WARNING}{warning}")
            writer.header(csvout.header(columns.names, ticket.dialect), source.offset)
        source.go_to(writer.position)
        _score(ticket, source, scorer, progress, parser=parser, columns=columns, writer=writer)
        if writer.position.offset != source.offset:
            raise OutputError(
                f"Finishing the output failed: it holds rows up to byte {writer.position.offset} of "
                f"{source.offset}; run the job again."
            )
        _check_source(intake, ledger)
        sha256 = writer.commit()
        bytes_in = source.bytes_in(writer.position.offset)
        return Summary(writer.counts, bytes_in, writer.bytes_out, warnings, sha256)


def _check_source(intake: ByteIntake, ledger: Ledger) -> None:
    """Raise SourceError when the source is not the one that the job began with."""
    identity = intake.identity()
    if identity is None:
        return
    known = ledger.pin_source(identity)
    if known != identity:
        changed = next(name for name in {**known, **identity} if known.get(name) != identity.get(name))
        raise SourceError(
            f"Reading the intake failed: the source has changed since the job began (its {changed} is another); "
            "leave it as it is while a job reads it, and run the job again."
        )


def _open_writer(
    ticket: RunTicket, output: Output, errors: Output | None, ledger: Ledger, progress: Progress
) -> Writer:
    state = ledger.output_state()
    if state is None:
        state = output.prepare()
        ledger.begin(state)
    output.open(state)
    done = ledger.flushes()
    failed = None
    if errors is not None:
        receipts = [flush.errors for flush in done if flush.errors is not None]
        failed = FailedRows(errors, receipts, ticket.limits.max_errors_bytes, progress.log)
    return Writer(output, ledger, done, failed)


def _score(
    ticket: RunTicket,
    source: Source,
    scorer: Scorer,
    progress: Progress,
    *,
    parser: ChunkParser,
    columns: OutputColumns,
    writer: Writer,
) -> None:
    stopping = threading.Event()
    plan = ticket.plan
    pace = Pace(ticket.pace)
    asker = Asker(scorer, plan, ticket.pace, stopping=stopping, limits=ticket.limits, chunk_bytes=pace.target)
    work = ChunkWork(
        parser,
        asker,
        columns,
        ticket.dialect,
        pace,
        plan=plan,
        row_level=ticket.errors.row_level,
        keep_failed=ticket.errors_file is not None,
    )
    tally = Tally(ticket.errors, progress.log, writer.counts)
    crew = Crew(
        source.chunks(writer.position.chunk, pace.target),
        work,
        threads=asker.gate.most + _MORE_THREADS,
        held=lambda: asker.gate.limit + _MORE_HELD,
    )
    watch = Watch(
        progress,
        writer,
        asker,
        bytes_in=source.bytes_in,
        bytes_total=source.size,
        in_flight=lambda: crew.in_flight,
        chunk_bytes=pace.target,
    )
    try:
        for chunk in _in_order(crew, watch, tally, columns):
            writer.add(chunk)
            try:
                tally.add(chunk.counts, chunk.errors)
            except TooManyBadRows:
                writer.end_early()
                raise
        writer.flush()
        try:
            tally.end()
        except TooManyBadRows:
            writer.end_early()
            raise
        watch.look(last=True)
    finally:
        stopping.set()
        source.close()
        if crew.in_flight:
            scorer.close()
        crew.stop(STOP_SECONDS)


def _in_order(
    crew: Crew[RawChunk, DoneChunk], watch: Watch, tally: Tally, columns: OutputColumns
) -> Iterator[DoneChunk]:
    while True:
        watch.look()
        try:
            chunk = crew.take(POLL_SECONDS)
        except csvout.NotEncodable as problem:
            raise OutputError(
                f"Writing the output failed: column '{columns.names[problem.column]}' of row "
                f"{tally.counts.read + problem.row + 1} has the character {problem.character!r}, which the encoding "
                f"{problem.encoding} lacks; choose another encoding in csvSettings, such as utf-8."
            ) from problem
        except NoMore:
            return
        if chunk is not None:
            yield chunk


def _check_dialect(dialect: CsvDialect) -> None:
    signs = (dialect.delimiter, dialect.quotechar)
    usable = all(len(sign) == 1 and sign.isascii() and sign not in "\r\n\0" for sign in signs)
    if not usable or dialect.delimiter == dialect.quotechar:
        raise InvalidRequest(
            f"Reading the intake failed: delimiter {dialect.delimiter!r} with quotechar {dialect.quotechar!r} cannot "
            "be read; both must be single ASCII characters, and different ones.",
            "csvSettings",
        )
