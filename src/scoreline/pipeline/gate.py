"""How many calls a run has at the prediction server at once: what was asked for, or what the server likes best.

With a number of the user's, it is that number exactly. Without, the run begins with what the server is registered
with and feels its way: one call more as long as that scores more rows a second, half of them when the server says that
it is busy. A pause that the server asks for is kept by all calls together.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from scoreline.types import PacePlan

# Bytes of chunks that are being scored at once, however quick the server is.
MOST_BYTES = 32 << 20
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 15.0
_LONGEST_ASKED = 120.0
_POLL = 0.2
_LEAST_CALLS = 4  # of a round, by which a number of calls is judged
_WORTH = 1.05  # one call more must score so many times as much
_LIKE = 1.3  # rounds whose calls differ more in size say nothing about each other
_FIRST_HOLD, _LONGEST_HOLD = 8, 64  # rounds until the next try


class Gate:
    """Lets calls through; shared by all threads of a run."""

    def __init__(
        self,
        plan: PacePlan,
        check_stop: Callable[[], None],
        *,
        chunk_bytes: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.runs = 1
        """Runs among which the calls are divided."""
        self._check_stop = check_stop
        self._chunk_bytes = chunk_bytes
        self._clock = clock
        self._limit = max(1, plan.concurrency)
        self._most = max(self._limit, plan.most or 0)
        self._adapts = plan.most is not None
        self._turn = threading.Condition()
        self._under_way = 0
        self._not_before = 0.0
        self._refusals = 0  # in a row
        self._begin_round()
        self._before: tuple[float, float] | None = None  # rows a second and rows a call of the last round
        self._trying = False
        self._hold = 0
        self._next_hold = _FIRST_HOLD

    @property
    def limit(self) -> int:
        """Calls that may be under way now."""
        return max(1, self._limit // self.runs)

    @property
    def most(self) -> int:
        """The most that `limit` can become."""
        return self._most

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until a call may be made; it is under way until the block ends. Raises what `check_stop` raises."""
        with self._turn:
            while (wait := self._wait()) > 0:
                self._turn.wait(min(wait, _POLL))
                self._check_stop()
            self._under_way += 1
        try:
            self._check_stop()
            yield
        finally:
            with self._turn:
                self._under_way -= 1
                self._turn.notify_all()

    def scored(self, rows: int) -> None:
        """Count a call that went well."""
        with self._turn:
            self._refusals = 0
            if not self._adapts:
                return
            self._rows += rows
            self._calls += 1
            self._full += self._under_way >= self.limit
            if self._calls >= max(_LEAST_CALLS, 2 * self.limit):
                self._judge(self._clock() - self._since)
                self._begin_round()

    def busy(self, retry_after: float | None) -> None:
        """Count a call that the server has no time for: everybody waits, as long as it asks or ever longer."""
        with self._turn:
            now = self._clock()
            spread = random.uniform(0.5, 1.5)  # noqa: S311 -- keeps runs apart, guards nothing
            if retry_after is None:
                pause = min(_FIRST_PAUSE * 2.0 ** min(self._refusals, 20), _LONGEST_PAUSE) * spread
            else:
                pause = min(max(retry_after, 0.0), _LONGEST_ASKED) + spread * _FIRST_PAUSE
            first = now >= self._not_before  # others that were under way say the same
            self._refusals += first
            self._not_before = max(self._not_before, now + pause)
            if self._adapts and first:
                self._limit = max(1, self._limit // 2)
                self._settle()
                self._begin_round()

    def _wait(self) -> float:
        """Seconds until it is worth looking again; 0 when a call may be made."""
        left = self._not_before - self._clock()
        if left > 0:
            return left
        return _POLL if self._under_way >= self.limit else 0.0

    def _judge(self, seconds: float) -> None:
        rate, size = self._rows / max(seconds, 1e-6), self._rows / self._calls
        before, self._before = self._before, (rate, size)
        if 2 * self._full < self._calls:
            self._trying = False  # the server is not what the run waits for
            return
        alike = before is not None and 1 / _LIKE < size / before[1] < _LIKE
        if self._trying and alike and before is not None and rate < _WORTH * before[0]:
            self._limit -= 1
            self._settle()
            return
        if self._trying:
            self._next_hold = _FIRST_HOLD
        if self._hold > 0:
            self._hold -= 1
            return
        room = max(1, MOST_BYTES // max(1, self._chunk_bytes()))
        self._trying = alike and self._limit < min(self._most, room)
        if self._trying:
            self._limit += 1
            self._turn.notify_all()

    def _settle(self) -> None:
        """Stay with a number for a while, longer each time that no other one was better."""
        self._trying = False
        self._before = None
        self._hold = self._next_hold
        self._next_hold = min(2 * self._next_hold, _LONGEST_HOLD)

    def _begin_round(self) -> None:
        self._rows = self._calls = self._full = 0
        self._since = self._clock()
