"""What a run does about rows that end the model's process: find them with few crashes, or give the model up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from scoreline.errors import ModelBroken, ModelCrashed

# Crashes spent on the bad rows of one chunk; then the rest of it fails.
MOST_A_CHUNK = 40
# Crashes of a run beyond the calls that went well: each costs other jobs on the server a process for a while.
MOST_A_RUN = 100
_LEAST_PROBED = 8
_POLL = 0.2


class Crashes:
    """Counts a run's crashes; shared by all threads that ask."""

    def __init__(self, check_stop: Callable[[], None]) -> None:
        self._check_stop = check_stop
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._excess = 0
        self._scored = False
        self._verdict: str | None = None

    @property
    def any_scored(self) -> bool:
        """True once the model has scored anything in this run."""
        return self._scored

    def good(self) -> None:
        """Count a call that went well."""
        self._scored = True
        if self._excess:
            with self._lock:
                self._excess = max(0, self._excess - 1)

    def crash(self, problem: ModelCrashed) -> None:
        """Count a crash. Raises ModelBroken when there were too many of them."""
        with self._lock:
            self._excess += 1
            many = self._excess > MOST_A_RUN
        if many:
            self.give_up(f"it did so {MOST_A_RUN} times more often than it scored a batch", problem)

    def give_up(self, why: str, problem: ModelCrashed) -> None:
        """End the run, whichever of its threads asks next. Raises ModelBroken."""
        self._verdict = f"Scoring failed: {problem.message.rstrip('.')}; {why}, so the model is given up."
        self._raise_verdict()

    @contextmanager
    def hunt(self) -> Iterator[Hunt]:
        """Look for the bad rows of one chunk; other threads wait for their turn, so that crashes come one at a time.

        Raises ModelBroken when the model was given up meanwhile.
        """
        while not self._turn.acquire(timeout=_POLL):
            self._check_stop()
        try:
            self._raise_verdict()
            yield Hunt(self)
        finally:
            self._turn.release()

    def _raise_verdict(self) -> None:
        if self._verdict is not None:
            raise ModelBroken(self._verdict)


class Hunt:
    """The search for the rows of one chunk that end the model's process."""

    def __init__(self, crashes: Crashes) -> None:
        self._crashes = crashes
        self._left = MOST_A_CHUNK
        self._seen: set[tuple[int, int]] = set()
        self._sure = False
        self._probed = False

    @property
    def exhausted(self) -> bool:
        """True when no more crashes may be spent on this chunk."""
        return self._left <= 0

    def crash(self, problem: ModelCrashed) -> None:
        """Count a crash. Raises ModelBroken."""
        self._left -= 1
        self._crashes.crash(problem)

    def again(self, part: tuple[int, int]) -> bool:
        """Return whether to ask for these rows (from, to) once more before they are blamed.

        A process may end for other reasons. Once the whole chunk was blamed, only single rows get a second chance.
        """
        if part in self._seen or (self._sure and part[1] - part[0] > 1):
            self._sure = True
            return False
        self._seen.add(part)
        return True

    def probes(self, part: tuple[int, int]) -> tuple[int, ...]:
        """Return rows to try alone, once, as long as the model has not scored anything: it may end over every row."""
        first, end = part
        if self._probed or self._crashes.any_scored or end - first < _LEAST_PROBED:
            return ()
        self._probed = True
        return (first, (first + end) // 2, end - 1)

    def give_up(self, problem: ModelCrashed) -> None:
        """Say that every row that was tried alone ended the process. Raises ModelBroken."""
        self._crashes.give_up("so it did for single rows, too, and no row was scored", problem)
