"""All that happens to one chunk between framing and writing: parse, score, format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scoreline.errors import DataRefused
from scoreline.pipeline.ask import Asker
from scoreline.pipeline.pace import Pace
from scoreline.pipeline.parse import ChunkParser, Parsed
from scoreline.rows import arrow, csvout
from scoreline.rows.columns import OutputColumns, unusable
from scoreline.types import Counts, CsvDialect, RawChunk, Scores


@dataclass(frozen=True, slots=True)
class DoneChunk:
    """A chunk on its way out: its output records, and the messages of its failed rows, counted from 0."""

    number: int
    body: bytes
    end_offset: int
    counts: Counts
    errors: dict[int, str]


class ChunkWork:
    """Turns raw chunks into output records; used by several threads at once."""

    def __init__(
        self,
        parser: ChunkParser,
        asker: Asker,
        columns: OutputColumns,
        dialect: CsvDialect,
        pace: Pace,
        *,
        outputs: int,
        row_level: bool,
    ) -> None:
        self._parser = parser
        self._asker = asker
        self._columns = columns
        self._dialect = dialect
        self._pace = pace
        self._outputs = outputs
        self._row_level = row_level

    def __call__(self, raw: RawChunk) -> DoneChunk:
        """Raises a ScoringError when the server gives no usable answer, NotEncodable for the output's encoding."""
        parsed = self._parser.parse(raw.body)
        scores, errors, seconds = self._score(parsed, len(raw.body))
        # The server's time alone sets the pace: smaller chunks would not make the rest any quicker.
        self._pace.done(len(raw.body), seconds)
        body = b""
        if parsed.rows:
            # A message may hold what the source's encoding has no sign for.
            shown = {row: csvout.fitting(message, self._dialect.encoding) for row, message in errors.items()}
            arrays = self._columns.build(scores, parsed.passthrough, shown, parsed.rows)
            body = csvout.records(arrays, self._dialect)
        counts = Counts(parsed.rows, parsed.rows - len(errors), len(errors))
        return DoneChunk(raw.number, body, raw.end_offset, counts, errors)

    def _score(self, parsed: Parsed, size: int) -> tuple[Scores, dict[int, str], float]:
        errors = dict(parsed.errors)
        if errors and not self._row_level:
            return self._all_failed(parsed, min(errors.items())[1])
        rows = _sound(parsed)
        batch = parsed.batch if len(rows) == parsed.rows else parsed.batch.take(arrow.numbers(rows))
        if not len(rows):
            return self._nothing(), errors, 0.0
        try:
            answer = self._asker.ask(batch, row_level=self._row_level, too_large=lambda: self._pace.too_large(size))
        except DataRefused as problem:
            return self._all_failed(parsed, problem.message)
        refused = answer.errors | {
            row: message for row, message in unusable(answer.values).items() if row not in answer.errors
        }
        if refused and not self._row_level:
            return self._all_failed(parsed, min(refused.items())[1])
        errors |= {int(rows[row]): message for row, message in refused.items()}
        if refused:
            scored = np.ones(len(rows), np.bool_)
            scored[list(refused)] = False
            return Scores(answer.values[scored], row_index=rows[scored]), errors, answer.seconds
        return Scores(answer.values, row_index=rows if errors else None), errors, answer.seconds

    def _all_failed(self, parsed: Parsed, message: str) -> tuple[Scores, dict[int, str], float]:
        """Without row-level handling one bad row takes its chunk with it."""
        return self._nothing(), dict.fromkeys(range(parsed.rows), message), 0.0

    def _nothing(self) -> Scores:
        return Scores(np.empty((0, self._outputs)))


def _sound(parsed: Parsed) -> npt.NDArray[np.int64]:
    keep = np.ones(parsed.rows, np.bool_)
    keep[list(parsed.errors)] = False
    return np.flatnonzero(keep)
