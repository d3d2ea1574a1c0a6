"""All that happens to one chunk between framing and writing: parse, score, format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoreline.errors import DataRefused
from scoreline.pipeline.ask import Asker
from scoreline.pipeline.pace import Pace
from scoreline.pipeline.parse import Parsed, Parser
from scoreline.rows import arrow, csvout
from scoreline.rows.columns import OutputColumns
from scoreline.rows.forms import Form, Piece
from scoreline.rows.scores import chosen, nothing, unusable
from scoreline.types import Counts, RawChunk, RowChunk, RunTicket, Scores


@dataclass(frozen=True, slots=True)
class DoneChunk:
    """A chunk on its way out: its output rows, and the messages and records of its failed rows, counted from 0.

    piece: the rows in the output's form, None for no rows. size: its bytes.
    """

    number: int
    piece: Piece | None
    size: int
    end_offset: int
    counts: Counts
    errors: dict[int, str]
    sources: Mapping[int, bytes] = field(default_factory=dict)


class ChunkWork:
    """Turns raw chunks into output records; used by several threads at once."""

    def __init__(
        self,
        ticket: RunTicket,
        parser: Parser,
        asker: Asker,
        columns: OutputColumns,
        pace: Pace,
        *,
        form: Form,
    ) -> None:
        self._parser = parser
        self._asker = asker
        self._columns = columns
        self._form = form
        self._dialect = ticket.dialect
        self._pace = pace
        self._plan = ticket.plan
        self._row_level = ticket.errors.row_level
        self._keep_failed = ticket.errors_file is not None

    def __call__(self, raw: RawChunk | RowChunk) -> DoneChunk:
        """Raises a ScoringError when the server gives no usable answer, NotEncodable for the output's encoding."""
        parsed = self._parser.parse(raw.body)
        scores, errors, seconds = self._score(parsed, raw.size)
        # The server's time alone sets the pace: smaller chunks would not make the rest any quicker.
        self._pace.done(raw.size, seconds)
        piece: Piece | None = None
        if parsed.rows:
            # A message may hold what the source's encoding has no sign for.
            shown = {row: csvout.fitting(message, self._dialect.encoding) for row, message in errors.items()}
            typed = self._form.typed
            piece = self._form.piece(self._columns.build(scores, parsed.passthrough, shown, parsed.rows, typed=typed))
        size = 0 if piece is None else len(piece) if isinstance(piece, bytes) else piece.nbytes
        counts = Counts(parsed.rows, parsed.rows - len(errors), len(errors))
        sources = self._parser.sources(raw.body, errors) if errors and self._keep_failed else {}
        return DoneChunk(raw.number, piece, size, raw.end_offset, counts, errors, sources)

    def _score(self, parsed: Parsed, size: int) -> tuple[Scores, dict[int, str], float]:
        errors = dict(parsed.errors)
        if errors and not self._row_level:
            return self._all_failed(parsed, errors)
        rows = _sound(parsed)
        batch = parsed.batch if len(rows) == parsed.rows else parsed.batch.take(arrow.numbers(rows))
        if not len(rows):
            return nothing(self._plan), errors, 0.0
        try:
            answer = self._asker.ask(batch, row_level=self._row_level, too_large=lambda: self._pace.too_large(size))
        except DataRefused as problem:
            if problem.row is None:
                return self._all_failed(parsed, dict.fromkeys(range(parsed.rows), problem.message))
            return self._all_failed(parsed, {int(rows[problem.row]): problem.message})
        scores = answer.scores
        scored = rows if scores.row_index is None else rows[scores.row_index]
        refused = {int(rows[row]): message for row, message in answer.errors.items()}
        useless = self._unwritable(scores) | unusable(scores)
        if useless:
            refused |= {int(scored[row]): message for row, message in useless.items()}
            keep = np.ones(len(scored), np.bool_)
            keep[list(useless)] = False
            scores, scored = chosen(scores, keep), scored[keep]
        if refused and not self._row_level:
            return self._all_failed(parsed, refused)
        errors |= refused
        return replace(scores, row_index=scored if errors else None), errors, answer.seconds

    def _unwritable(self, scores: Scores) -> dict[int, str]:
        """Return a message for each row with a text of the model's that the output's encoding cannot express."""
        if self._form.typed:
            return {}  # only CSV is in an encoding
        encoding = self._dialect.encoding
        return {
            row: f"the model's text has the character {character!r}, which the encoding {encoding} lacks"
            for column in (scores.text, *scores.extra)
            if column is not None and column.type == pa.string()
            for row, character in csvout.unwritable(column, encoding).items()
        }

    def _all_failed(self, parsed: Parsed, errors: Mapping[int, str]) -> tuple[Scores, dict[int, str], float]:
        """Without row-level handling the rows at fault, `errors`, take their chunk with them."""
        message = f"not scored: another row of its chunk is at fault: {min(errors.items())[1]}"
        return nothing(self._plan), dict.fromkeys(range(parsed.rows), message) | dict(errors), 0.0


def _sound(parsed: Parsed) -> npt.NDArray[np.int64]:
    keep = np.ones(parsed.rows, np.bool_)
    keep[list(parsed.errors)] = False
    return np.flatnonzero(keep)
