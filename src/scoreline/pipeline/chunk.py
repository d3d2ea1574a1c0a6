"""All that happens to one chunk between framing and writing: parse, score, format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from scoreline.errors import DataRefused
from scoreline.pipeline.ask import Asker
from scoreline.pipeline.pace import Pace
from scoreline.pipeline.parse import ChunkParser, Parsed
from scoreline.pipeline.quotes import records
from scoreline.rows import arrow, csvout
from scoreline.rows.columns import OutputColumns
from scoreline.rows.scores import chosen, nothing, unusable
from scoreline.types import Counts, CsvDialect, RawChunk, Scores, ScoringPlan


@dataclass(frozen=True, slots=True)
class DoneChunk:
    """A chunk on its way out: its output records, and the messages and records of its failed rows, counted from 0."""

    number: int
    body: bytes
    end_offset: int
    counts: Counts
    errors: dict[int, str]
    sources: Mapping[int, bytes] = field(default_factory=dict)


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
        plan: ScoringPlan,
        row_level: bool,
        keep_failed: bool = False,
    ) -> None:
        self._parser = parser
        self._asker = asker
        self._columns = columns
        self._dialect = dialect
        self._pace = pace
        self._plan = plan
        self._row_level = row_level
        self._keep_failed = keep_failed

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
        sources = records(raw.body, self._dialect, errors) if errors and self._keep_failed else {}
        return DoneChunk(raw.number, body, raw.end_offset, counts, errors, sources)

    def _score(self, parsed: Parsed, size: int) -> tuple[Scores, dict[int, str], float]:
        errors = dict(parsed.errors)
        if errors and not self._row_level:
            return self._all_failed(parsed, min(errors.items())[1])
        rows = _sound(parsed)
        batch = parsed.batch if len(rows) == parsed.rows else parsed.batch.take(arrow.numbers(rows))
        if not len(rows):
            return nothing(self._plan), errors, 0.0
        try:
            answer = self._asker.ask(batch, row_level=self._row_level, too_large=lambda: self._pace.too_large(size))
        except DataRefused as problem:
            return self._all_failed(parsed, problem.message)
        scores = answer.scores
        scored = rows if scores.row_index is None else rows[scores.row_index]
        refused = {int(rows[row]): message for row, message in answer.errors.items()}
        useless = unusable(scores)
        if useless:
            refused |= {int(scored[row]): message for row, message in useless.items()}
            keep = np.ones(len(scored), np.bool_)
            keep[list(useless)] = False
            scores, scored = chosen(scores, keep), scored[keep]
        if refused and not self._row_level:
            return self._all_failed(parsed, min(refused.items())[1])
        errors |= refused
        return replace(scores, row_index=scored if errors else None), errors, answer.seconds

    def _all_failed(self, parsed: Parsed, message: str) -> tuple[Scores, dict[int, str], float]:
        """Without row-level handling one bad row takes its chunk with it."""
        return nothing(self._plan), dict.fromkeys(range(parsed.rows), message), 0.0


def _sound(parsed: Parsed) -> npt.NDArray[np.int64]:
    keep = np.ones(parsed.rows, np.bool_)
    keep[list(parsed.errors)] = False
    return np.flatnonzero(keep)
