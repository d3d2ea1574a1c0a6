"""What a run would find, seen on the first rows of its source: nothing is written, and nothing is kept."""

from __future__ import annotations

import csv
import io
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from scoreline.errors import InvalidRequest, ScorelineError, SourceError
from scoreline.pipeline.ask import Asker
from scoreline.pipeline.chunk import ChunkWork, DoneChunk
from scoreline.pipeline.pace import Pace
from scoreline.pipeline.source import Source, open_source
from scoreline.protocols import Intake, Scorer
from scoreline.rows import arrow, cast, typed
from scoreline.rows.columns import OutputColumns
from scoreline.rows.forms import CsvForm, Form
from scoreline.rows.opening import open_form
from scoreline.types import Counts, CsvDialect, Feature, FeatureType, RawChunk, RowChunk, RunTicket

SAMPLE_BYTES = 256 << 10
_SHOWN_ROWS = 5
_SHOWN_ERRORS = 10

_FITS: Mapping[FeatureType, Callable[[pa.DataType], bool]] = {
    FeatureType.NUMERIC: lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind),
    FeatureType.INTEGER: pa.types.is_integer,
    FeatureType.BOOLEAN: pa.types.is_boolean,
    FeatureType.TEXT: pa.types.is_string,
}
OK, COERCED, UNREADABLE, OPTIONAL, MISSING = "ok", "coerced", "unreadable", "optional", "missing"


@dataclass(frozen=True, slots=True)
class Input:
    """One of the model's columns as the source has it.

    found: "ok", "coerced" (of another type, and read as the model's), "unreadable" (some cells are no value of the
    model's type), "optional" or "missing" (not there). source: its type there. empty, unreadable: cells of the sample.
    example: what is wrong with the first of them.
    """

    feature: Feature
    found: str
    source: pa.DataType | None = None
    empty: int = 0
    unreadable: int = 0
    example: str | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """What the first rows tell. Sizes are in bytes, `seconds` are those of scoring the sample by one call.

    size: of the whole source, None if that is not known. rows: of the whole source; estimated unless `exact`. extra:
    columns that neither the model nor the output takes. problems: sentences, each of which would end a run.
    rows_shown: the first rows of the output, as CSV has them. errors: first rows that cannot be scored, from 0.
    """

    size: int | None = None
    inputs: tuple[Input, ...] = ()
    extra: tuple[str, ...] = ()
    output: tuple[tuple[str, pa.DataType], ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    sample: Counts = field(default_factory=Counts)
    sample_out: int = 0
    seconds: float | None = None
    rows: int | None = None
    exact: bool = False
    rows_shown: tuple[Mapping[str, str], ...] = ()
    errors: Mapping[int, str] = field(default_factory=dict)

    @property
    def bytes_out(self) -> int | None:
        """The size of the whole output, about."""
        if self.rows is None or not self.sample.read:
            return None
        return self.sample_out * self.rows // self.sample.read


def preview(ticket: RunTicket, intake: Intake, scorer: Scorer, check: Callable[[], None]) -> Preview:
    """Read the first rows, hold them against the model, score them, and tell what that says of the whole run.

    check: called while the source has nothing to give; may raise. What would end the run is told in `problems`; raises
    SourceError only when the source cannot be read at all, and what `check` raises.
    """
    with closing(open_source(ticket, intake)) as source:
        header = source.header(check)
        kinds = source.types()
        rows: Callable[[], int] | None = getattr(intake, "rows", None)  # only of what has a schema
        found = Preview(size=source.size(), rows=rows and rows(), exact=rows is not None)
        try:
            columns = OutputColumns(ticket.plan, header, ticket.output.get("partitionColumns") or ())
            form = open_form(dict(ticket.output), columns.names, columns.types(kinds), ticket.dialect)
            found = replace(found, output=tuple(zip(columns.names, columns.types(kinds), strict=True)))
            parser = source.parser(ticket.plan, columns.passthrough)
        except (SourceError, InvalidRequest) as problem:
            inputs = _inputs(ticket, kinds, {}, of_text=rows is None)
            return replace(found, inputs=inputs, extra=_extra(ticket, header, ()), problems=(problem.message,))
        features = [feature.name for feature in cast.inputs(header, ticket.plan.features) if feature.name in kinds]
        looking = source.parser(ticket.plan, tuple(dict.fromkeys([*features, *columns.passthrough])))
        chunk = next(iter(source.chunks(1, lambda: SAMPLE_BYTES)), None)
        seen = {} if chunk is None else looking.parse(chunk.body).passthrough
        found = replace(
            found,
            inputs=_inputs(ticket, kinds, seen, of_text=rows is None),
            extra=_extra(ticket, header, columns.passthrough),
            warnings=(*columns.warnings, *parser.warnings),
        )
        if chunk is None:
            return replace(found, rows=0, exact=True)

        def work(form: Form) -> ChunkWork:
            asker = Asker(scorer, ticket.plan, ticket.pace, stopping=threading.Event(), limits=ticket.limits)
            return ChunkWork(ticket, parser, asker, columns, Pace(ticket.pace), form=form)

        try:
            return _scored(found, source, chunk, work, form, names=columns.names)
        except ScorelineError as problem:
            return replace(found, problems=(problem.message,))


def _scored(
    found: Preview,
    source: Source,
    chunk: RawChunk | RowChunk,
    work: Callable[[Form], ChunkWork],
    form: Form,
    *,
    names: Sequence[str],
) -> Preview:
    """Score the sample twice: what a server has to do but once is no part of what the rows take."""
    plain = CsvDialect()
    shown = work(CsvForm(names, plain))(chunk)
    begun = time.perf_counter()
    done = work(form)(chunk)
    seconds = time.perf_counter() - begun
    body = b"" if done.piece is None else form.block([done.piece], 0)[0]
    rows, exact = found.rows, found.exact
    own = source.bytes_in(chunk.end_offset)
    if not exact and found.size is not None and own:
        rows = round(done.counts.read * max(1.0, found.size / own))
        exact = own >= found.size
    return replace(
        found,
        sample=done.counts,
        sample_out=len(body),
        seconds=seconds,
        rows=rows,
        exact=exact,
        rows_shown=_shown(shown, names),
        errors=dict(sorted(done.errors.items())[:_SHOWN_ERRORS]),
    )


def _extra(ticket: RunTicket, header: Sequence[str], carried: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that nobody takes; a model that names no columns takes all."""
    if not ticket.plan.features:
        return ()
    used = {feature.name for feature in ticket.plan.features} | set(carried)
    return tuple(name for name in header if name not in used)


def _inputs(
    ticket: RunTicket, kinds: Mapping[str, pa.DataType], seen: Mapping[str, pa.Array], *, of_text: bool
) -> tuple[Input, ...]:
    return tuple(
        _input(feature, kinds.get(feature.name), seen.get(feature.name), of_text=of_text)
        for feature in ticket.plan.features
    )


def _input(feature: Feature, kind: pa.DataType | None, cells: pa.Array | None, *, of_text: bool) -> Input:
    if kind is None:
        return Input(feature, OPTIONAL if feature.optional else MISSING)
    found = OK if of_text or _FITS[feature.type](kind) else COERCED
    if cells is None:
        return Input(feature, found, kind)
    given = typed.feature(cells, feature.type)
    batch, bad = cast.features({feature.name: given}, [replace(feature, nullable=True)])
    values = batch.column(0)
    absent = ~arrow.valid(values)
    if pa.types.is_floating(values.type):
        absent |= np.isnan(arrow.values(values))
    empty = int(absent.sum()) - len(bad)
    if bad:
        return Input(feature, UNREADABLE, kind, empty, len(bad), min(bad.items())[1])
    return Input(feature, found, kind, empty)


def _shown(done: DoneChunk, names: Sequence[str]) -> tuple[Mapping[str, str], ...]:
    text = (done.piece or b"") if isinstance(done.piece, bytes | None) else b""
    records = csv.reader(io.StringIO(text.decode(), newline=""))
    return tuple(dict(zip(names, record, strict=True)) for record, _ in zip(records, range(_SHOWN_ROWS), strict=False))
