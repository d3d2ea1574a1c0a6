"""Ask the prediction server for one batch: in turn, again when that helps, in parts when rows are refused."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoreline.errors import (
    Cancelled,
    DataRefused,
    Overloaded,
    ScoringError,
    ServerUnavailable,
    TooLarge,
    WrongAnswer,
    one_line,
)
from scoreline.types import ScoreOptions, Scorer, Scores

# Calls spent on the bad rows of one chunk; then the rest of it fails.
MOST_CALLS = 200
# How long a server may be away or busy before the run gives up, in seconds.
PATIENCE_SECONDS = 300.0
WRONG_ANSWERS = 3

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 15.0
_LONGEST_ASKED_DELAY = 120.0
_POLL = 0.2


@dataclass(slots=True)
class Answer:
    """Values for the rows scored, the message for each of the others, and the seconds that the calls took."""

    values: npt.NDArray[np.float64]
    errors: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0


class Asker:
    """Puts at most `concurrency` calls to the scorer at once; used by several threads.

    outputs: values that the model gives for each row.
    notes: lines for the job log, to be taken by the thread that keeps it.
    """

    def __init__(
        self,
        scorer: Scorer,
        outputs: int,
        concurrency: int,
        *,
        stopping: threading.Event,
        options: ScoreOptions | None = None,
    ) -> None:
        self.notes: deque[str] = deque()
        self._scorer = scorer
        self._outputs = outputs
        self._gate = threading.Semaphore(concurrency)
        self._stopping = stopping
        self._options = options or ScoreOptions()

    def ask(
        self, batch: pa.RecordBatch, *, row_level: bool = True, too_large: Callable[[], None] = lambda: None
    ) -> Answer:
        """Score every row that can be scored; rows count within the batch.

        `too_large` is called each time the server refuses a part for its size; it is then asked in halves.
        With `row_level` false a refusal is raised as DataRefused. Raises other ScoringErrors once trying again has
        not helped, and Cancelled when the run is stopping.
        """
        answer = Answer(np.zeros((batch.num_rows, self._outputs)))
        todo = [(0, batch.num_rows)]
        spent = 0
        refusal = ""
        while todo:
            start, stop = todo.pop()
            if spent >= MOST_CALLS:
                message = f"not scored: too many rows of the same chunk were refused, the last because {refusal}"
                answer.errors.update(dict.fromkeys(range(start, stop), message))
                continue
            spent += bool(refusal)
            try:
                values = self._call(batch.slice(start, stop - start), answer)
            except TooLarge as problem:
                too_large()
                if stop - start == 1:
                    answer.errors[start] = problem.message
                todo += _halves(start, stop)
            except DataRefused as problem:
                if not row_level:
                    raise
                refusal = one_line(problem.message, 200)
                if stop - start == 1:
                    answer.errors[start] = problem.message
                elif problem.row is not None and 0 <= problem.row < stop - start:
                    row = start + problem.row
                    answer.errors[row] = problem.message
                    todo += [part for part in ((row + 1, stop), (start, row)) if part[0] < part[1]]
                else:
                    todo += _halves(start, stop)
            else:
                answer.values[start:stop] = values
        return answer

    def _call(self, batch: pa.RecordBatch, answer: Answer) -> npt.NDArray[np.float64]:
        """Make one call, and make it again as long as the server may yet answer."""
        began = time.monotonic()
        wrong = tries = 0
        while True:
            with self._turn():
                started = time.monotonic()
                try:
                    return _checked(self._scorer.score(batch, self._options), batch.num_rows, self._outputs)
                except (Overloaded, ServerUnavailable) as problem:
                    failure: ScoringError = problem
                except WrongAnswer as problem:
                    failure = problem
                    wrong += 1
                finally:
                    answer.seconds += time.monotonic() - started
            self._check()
            if wrong >= WRONG_ANSWERS or time.monotonic() - began > PATIENCE_SECONDS:
                raise failure
            if not tries:
                self.notes.append(f"Trying again: {failure.message}")
            self._pause(_delay(failure, tries))
            tries += 1

    @contextmanager
    def _turn(self) -> Iterator[None]:
        while not self._gate.acquire(timeout=_POLL):
            self._check()
        try:
            self._check()
            yield
        finally:
            self._gate.release()

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)
        self._check()

    def _check(self) -> None:
        if self._stopping.is_set():
            raise Cancelled("The run is stopping.")


def _delay(failure: ScoringError, tries: int) -> float:
    spread = random.uniform(0.5, 1.5)  # noqa: S311 -- keeps callers apart, guards nothing
    asked = failure.retry_after if isinstance(failure, Overloaded) else None
    if asked is not None:
        return min(max(asked, 0.0), _LONGEST_ASKED_DELAY) + spread * _FIRST_DELAY
    return float(min(_FIRST_DELAY * 2.0 ** min(tries, 20), _LONGEST_DELAY) * spread)


def _halves(start: int, stop: int) -> list[tuple[int, int]]:
    """Return both halves, the first one last: it is taken from the end. One row has none."""
    middle = (start + stop) // 2
    return [(middle, stop), (start, middle)] if stop - start > 1 else []


def _checked(scores: Scores, rows: int, outputs: int) -> npt.NDArray[np.float64]:
    values = scores.values
    if values.ndim != 2 or len(values) != rows:
        raise WrongAnswer(
            f"Scoring failed: the prediction server gave {len(values)} predictions for {rows} rows; "
            "check that the model keeps every row."
        )
    if values.shape[1] == 1 and outputs == 2:  # the last label's probability alone
        values = np.hstack([1 - values, values])
    if values.shape[1] != outputs:
        raise WrongAnswer(
            f"Scoring failed: the prediction server gave {values.shape[1]} values a row, not {outputs}; "
            "check the deployment's class labels."
        )
    if scores.row_index is not None and not np.array_equal(scores.row_index, np.arange(rows)):
        raise WrongAnswer("Scoring failed: the prediction server gave rows in another order than they were sent.")
    return values
