"""The run of one partition, from the first byte of its source to the commit of its output."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from scoreline import faults
from scoreline.errors import InvalidRequest, OutputError, SourceError, TooManyBadRows
from scoreline.pipeline.ask import Asker
from scoreline.pipeline.chunk import ChunkWork, DoneChunk
from scoreline.pipeline.crew import Crew, NoMore
from scoreline.pipeline.failed import FailedRows
from scoreline.pipeline.pace import Pace
from scoreline.pipeline.parse import Parser
from scoreline.pipeline.shared import Shared, Turns, joined, made_by, plan
from scoreline.pipeline.source import Source, open_source
from scoreline.pipeline.tally import Tally
from scoreline.pipeline.watch import Watch, check_stop
from scoreline.pipeline.write import Writer, receipts
from scoreline.protocols import Intake, Ledger, Output, Pins, Progress, Scorer
from scoreline.rows import csvout
from scoreline.rows.columns import OutputColumns
from scoreline.rows.forms import Form
from scoreline.rows.opening import open_form
from scoreline.types import Counts, CsvDialect, RawChunk, RowChunk, RunTicket

_WARNING = "Warning: "  # begins lines of the job log that tell a person to look

_FILES_TOLD, _FILES_IN_A_LINE = 1000, 20

POLL_SECONDS = 0.2  # a stop is noticed within this time
STOP_SECONDS = 5.0  # how long calls under way may take to come back after it

# Beside the chunks that are being scored: two more threads parse and format meanwhile, and one chunk waits.
MORE_THREADS = 2
MORE_HELD = 3


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
    intake: Intake,
    scorer: Scorer,
    output: Output,
    ledger: Ledger,
    progress: Progress,
    *,
    errors: Output | None = None,
    shared: Shared | None = None,
) -> Summary:
    """Score the source into the output and commit it; go on after the last flush of the ledger, if it has any.

    shared: lets other runs score parts of the source ahead, which are taken as they are.

    The failed rows are listed in `errors`, if it is given; it is committed after the output, and also when the run ends
    because too many rows failed.

    Raises SourceError, ScoringError, OutputError, TooManyBadRows or InvalidRequest when the run cannot be finished,
    and RunStopped (Cancelled unless `progress` or `ledger` raise another) when it was asked to end. The caller then
    decides about `output.abort`. On a stop the scorer is closed, to cut the calls under way.
    """
    _check_dialect(ticket.dialect)
    with closing(open_source(ticket, intake)) as source:
        header = source.header(lambda: check_stop(progress))
        columns = OutputColumns(ticket.plan, header, ticket.output.get("partitionColumns") or ())
        parser = source.parser(ticket.plan, columns.passthrough)
        form = open_form(dict(ticket.output), columns.names, columns.types(source.types()), ticket.dialect)
        warnings = (*columns.warnings, *parser.warnings)
        check_source(intake, ledger)
        writer = _open_writer(ticket, output, ledger, progress, form=form, errors=errors, file_of=source.file_of)
        if not writer.begun:
            for warning in warnings:
                progress.log(f"{_WARNING}{warning}")
            writer.header(source.offset)
        borders = () if shared is None else plan(ticket, source, intake, shared.partitions)
        source.go_to(writer.position)
        turns = None
        if shared is not None and borders:
            made = made_by(columns, form)
            turns = Turns(shared, borders, writer.position.offset, made=made, log=progress.log)
        _score(ticket, source, scorer, progress, parser=parser, columns=columns, form=form, writer=writer, turns=turns)
        if writer.position.offset != source.offset:
            raise OutputError(
                f"Finishing the output failed: it holds the source up to {writer.position.offset} of {source.offset}; "
                "run the job again."
            )
        check_source(intake, ledger)
        sha256 = writer.commit()
        _tell_files(source.files(writer.files), progress)
        bytes_in = source.bytes_in(writer.position.offset)
        return Summary(writer.counts, bytes_in, writer.bytes_out, warnings, sha256)


def _tell_files(files: Sequence[tuple[str, int]], progress: Progress) -> None:
    """Say in the job's log how many rows each file had."""
    for start in range(0, min(len(files), _FILES_TOLD), _FILES_IN_A_LINE):
        some = files[start : start + _FILES_IN_A_LINE]
        progress.log(f"Rows of each file: {', '.join(f'{name} {rows}' for name, rows in some)}.")
    if len(files) > _FILES_TOLD:
        progress.log(f"And {len(files) - _FILES_TOLD} more files.")


def check_source(intake: Intake, ledger: Pins) -> None:
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
    ticket: RunTicket,
    output: Output,
    ledger: Ledger,
    progress: Progress,
    *,
    form: Form,
    errors: Output | None,
    file_of: Callable[[int], int | None],
) -> Writer:
    state = ledger.output_state()
    if state is None:
        state = {**output.prepare(), **form.state()}
        faults.at("output.prepared")
        ledger.begin(state)
        faults.at("output.begun")
    if any(state.get(name) != value for name, value in form.state().items()):
        raise OutputError(
            "Going on with the output failed: its columns have other types than when the job began; was Scoreline "
            "upgraded meanwhile? Run the job again."
        )
    done = ledger.flushes()
    output.open(state, receipts(done))
    failed = None
    if errors is not None:
        listed = [flush.errors for flush in done if flush.errors is not None]
        failed = FailedRows(errors, listed, ticket.limits.max_errors_bytes, progress.log)
    most = ticket.limits.max_result_bytes
    return Writer(output, form, ledger, done, failed, most=most, file_of=file_of)


def _score(
    ticket: RunTicket,
    source: Source,
    scorer: Scorer,
    progress: Progress,
    *,
    parser: Parser,
    columns: OutputColumns,
    form: Form,
    writer: Writer,
    turns: Turns | None,
) -> None:
    stopping = threading.Event()
    pace = Pace(ticket.pace)
    asker = Asker(scorer, ticket.plan, ticket.pace, stopping=stopping, limits=ticket.limits, chunk_bytes=pace.target)
    work = ChunkWork(ticket, parser, asker, columns, pace, form=form)
    tally = Tally(ticket.errors, progress.log, writer.counts)
    first = writer.position.chunk
    crew: Crew[RawChunk | RowChunk | DoneChunk, DoneChunk] = Crew(
        source.chunks(first, pace.target) if turns is None else joined(source, turns, first, pace.target),
        lambda chunk: chunk if isinstance(chunk, DoneChunk) else work(chunk),
        threads=asker.gate.most + MORE_THREADS,
        held=lambda: asker.gate.limit + MORE_HELD,
    )
    watch = Watch(
        progress,
        writer,
        asker,
        bytes_in=source.bytes_in,
        bytes_total=source.size,
        in_flight=lambda: crew.in_flight,
        chunk_bytes=pace.target,
        turns=turns,
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
        writer.end()
        watch.look(last=True)
    finally:
        stopping.set()
        if turns is not None:
            turns.close()
        source.close()
        if crew.in_flight:
            scorer.close()
        crew.stop(STOP_SECONDS)


def _in_order(
    crew: Crew[RawChunk | RowChunk | DoneChunk, DoneChunk], watch: Watch, tally: Tally, columns: OutputColumns
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
