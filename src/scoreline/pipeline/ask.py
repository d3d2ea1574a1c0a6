"""Ask the prediction server for one batch: in turn, again when that helps, in parts when rows are refused."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import pyarrow as pa

from scoreline import faults
from scoreline.errors import (
    Cancelled,
    DataRefused,
    ModelCrashed,
    Overloaded,
    ScoringError,
    ServerUnavailable,
    TooLarge,
    WrongAnswer,
)
from scoreline.pipeline.crashes import Crashes, Hunt
from scoreline.pipeline.gate import Gate
from scoreline.pipeline.search import Part, Search
from scoreline.protocols import Scorer
from scoreline.rows.scores import checked, joined, nothing
from scoreline.types import PacePlan, RunLimits, ScoreOptions, Scores, ScoringPlan

WRONG_ANSWERS = 3

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 2.0  # so that a run goes on soon after a server is back


@dataclass(slots=True)
class Answer:
    """Scores of the rows scored, the message for each of the others, and the seconds that the calls took.

    scores: `row_index` says which rows of the batch they are, unless they are all.
    """

    scores: Scores
    errors: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0


class Asker:
    """Puts as many calls to the scorer at once as its gate lets through; used by several threads.

    plan: what the model gives for each row. chunk_bytes: about what a call is made of, in the source's bytes.
    notes: lines for the job log, to be taken by the thread that keeps it.
    """

    def __init__(
        self,
        scorer: Scorer,
        plan: ScoringPlan,
        pace: PacePlan,
        *,
        stopping: threading.Event,
        limits: RunLimits | None = None,
        chunk_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self.notes: deque[str] = deque()
        self._scorer = scorer
        self._plan = plan
        self._stopping = stopping
        self._gate = Gate(pace, self._check, chunk_bytes=chunk_bytes)
        self._limits = limits or RunLimits()
        self._options = ScoreOptions(self._limits.answer_seconds)
        self._crashes = Crashes(self._check)

    @property
    def gate(self) -> Gate:
        """How many calls are made at once."""
        return self._gate

    def ask(
        self, batch: pa.RecordBatch, *, row_level: bool = True, too_large: Callable[[], None] = lambda: None
    ) -> Answer:
        """Score every row that can be scored; rows count within the batch.

        `too_large` is called each time the server refuses a part for its size; it is then asked in smaller parts.
        Rows that end the model's process count as refused once they did so twice. With `row_level` false a refusal is
        raised as DataRefused, its row counted within the batch. Raises other ScoringErrors once trying again has not
        helped, and Cancelled when the run is stopping.
        """
        answer = Answer(nothing(self._plan))
        parts: list[tuple[int, Scores]] = []
        search = Search(batch.num_rows, batch.num_rows * self._limits.refusal_calls // 1000)
        with ExitStack() as stack:
            hunt: Hunt | None = None
            while (part := search.next()) is not None:
                start, stop = part
                try:
                    scores = self._call(batch.slice(start, stop - start), answer)
                except TooLarge as problem:
                    too_large()
                    search.too_large(part, problem.message)
                except DataRefused as problem:
                    if not row_level:
                        raise _of_the_batch(problem, part) from problem
                    search.refused(part, problem.message, problem.row)
                except ModelCrashed as problem:
                    if hunt is None:
                        hunt = stack.enter_context(self._crashes.hunt())
                        self.notes.append(f"Over a batch of {stop - start} rows: {problem.message}")
                    if self._to_blame(hunt, search, batch, part, problem, answer):
                        if not row_level:
                            raise DataRefused(problem.message) from problem
                        search.refused(part, problem.message)
                else:
                    parts.append((start, scores))
                    search.good(part)
        answer.errors.update(search.errors)
        answer.scores = joined(parts, batch.num_rows, self._plan)
        return answer

    def _to_blame(  # noqa: PLR0917 -- the state of one batch
        self, hunt: Hunt, search: Search, batch: pa.RecordBatch, part: Part, problem: ModelCrashed, answer: Answer
    ) -> bool:
        """Return whether the model's process ended over the rows of the part, and they are to be searched."""
        hunt.crash(problem)
        if hunt.again(part):
            search.again(part)
            return False
        if probes := hunt.probes(part):
            self._probe(hunt, batch, probes, answer)
        if hunt.exhausted:
            search.fail(part, f"not scored: too many rows of the same chunk fail, the last because: {problem.message}")
            return False
        return True

    def _probe(self, hunt: Hunt, batch: pa.RecordBatch, rows: tuple[int, ...], answer: Answer) -> None:
        """Try single rows; give the model up when it survives none of them."""
        for row in rows:
            try:
                self._call(batch.slice(row, 1), answer)
            except ModelCrashed as problem:
                hunt.crash(problem)
                last = problem
            except DataRefused:
                return
            else:
                return
        hunt.give_up(last)

    def _call(self, batch: pa.RecordBatch, answer: Answer) -> Scores:
        """Make one call, and make it again as long as the server may yet answer."""
        began = time.monotonic()
        wrong = tries = 0
        while True:
            with self._gate.turn():
                started = time.monotonic()
                faults.at("chunk.asking")
                try:
                    scores = checked(self._scorer.score(batch, self._options), batch.num_rows, self._plan)
                    self._crashes.good()
                    self._gate.scored(batch.num_rows)
                    return scores
                except Overloaded as problem:
                    failure: ScoringError = problem
                    self._gate.busy(problem.retry_after)
                except ServerUnavailable as problem:
                    failure = problem
                except WrongAnswer as problem:
                    failure = problem
                    wrong += 1
                finally:
                    answer.seconds += time.monotonic() - started
            self._check()
            # A call that hung may have taken all the patience there is: it is made once more in any case.
            if wrong >= WRONG_ANSWERS or (tries and time.monotonic() - began > self._limits.patience_seconds):
                raise failure
            if not tries:
                self.notes.append(f"Trying again: {failure.message}")
            if not isinstance(failure, Overloaded):  # then the gate has everybody wait
                self._pause(_delay(tries))
            tries += 1

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)
        self._check()

    def _check(self) -> None:
        if self._stopping.is_set():
            raise Cancelled("The run is stopping.")


def _of_the_batch(problem: DataRefused, part: Part) -> DataRefused:
    """Return a refusal of a part with its row counted within the batch, if the server named one of those sent."""
    start, stop = part
    row = problem.row
    return DataRefused(problem.message, None if row is None or not 0 <= row < stop - start else start + row)


def _delay(tries: int) -> float:
    spread = random.uniform(0.5, 1.5)  # noqa: S311 -- keeps callers apart, guards nothing
    return float(min(_FIRST_DELAY * 2.0 ** min(tries, 20), _LONGEST_DELAY) * spread)
