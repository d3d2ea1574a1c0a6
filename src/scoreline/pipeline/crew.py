"""Chunks side by side, results in order: the threads between framing and writing."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class NoMore(Exception):
    """Every item has been worked on and every result taken."""


class _Slot(Generic[Item, Result]):
    """A place in the line, from the moment an item comes in until its result is taken."""

    __slots__ = ("done", "item", "problem", "result")

    def __init__(self, item: Item) -> None:
        self.item: Item | None = item
        self.result: Result | None = None
        self.problem: BaseException | None = None
        self.done = False


class Crew(Generic[Item, Result]):
    """Works on the items of a source in `threads` threads and hands out the results in the items' order.

    At most `held()` items are in its hands at once, done or not: when results are not taken, it stops taking items.
    An error in the source or in the work is raised by `take`, in its place.
    """

    def __init__(
        self, source: Iterator[Item], work: Callable[[Item], Result], *, threads: int, held: Callable[[], int]
    ) -> None:
        self._source = source
        self._work = work
        self._held = held
        self._line: deque[_Slot[Item, Result]] = deque()
        self._todo: deque[_Slot[Item, Result]] = deque()
        self._problem: BaseException | None = None
        self._ended = False
        self._stopping = False
        self._turn = threading.Condition()
        self._threads = [threading.Thread(target=self._feed, name="scoreline-frame", daemon=True)]
        self._threads += [
            threading.Thread(target=self._labour, name=f"scoreline-chunk-{i}", daemon=True) for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def in_flight(self) -> int:
        """Items taken in whose results have not been taken out."""
        return len(self._line)

    def take(self, timeout: float) -> Result | None:
        """Return the next result, or None after `timeout` seconds without one. Raises NoMore at the end."""
        with self._turn:
            self._turn.wait_for(self._something_to_say, timeout)
            if self._line and self._line[0].done:
                slot = self._line.popleft()
                self._turn.notify_all()
                if slot.problem is not None:
                    raise slot.problem
                return slot.result
            if self._line or not self._ended:
                return None
            if self._problem is not None:
                raise self._problem
            raise NoMore

    def stop(self, timeout: float = 0.0) -> bool:
        """Take no more items; wait up to `timeout` seconds for the threads and say whether they have ended."""
        with self._turn:
            self._stopping = True
            self._turn.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _something_to_say(self) -> bool:
        return self._line[0].done if self._line else self._ended

    def _feed(self) -> None:
        try:
            for item in self._source:
                with self._turn:
                    slot = _Slot[Item, Result](item)
                    self._line.append(slot)
                    self._todo.append(slot)
                    self._turn.notify_all()
                    # The next item is framed only when there is room: it may have to wait for a result.
                    self._turn.wait_for(lambda: len(self._line) < self._held() or self._stopping)
                    if self._stopping:
                        return
        except BaseException as problem:  # noqa: BLE001 -- it is raised in the thread that takes the results
            self._problem = problem
        finally:
            with self._turn:
                self._ended = True
                self._turn.notify_all()

    def _labour(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._todo or self._ended or self._stopping)
                if self._stopping or not self._todo:
                    return
                slot = self._todo.popleft()
            assert slot.item is not None
            try:
                slot.result = self._work(slot.item)
            except BaseException as problem:  # noqa: BLE001 -- as above
                slot.problem = problem
            slot.item = None  # a chunk's bytes are not needed any more
            with self._turn:
                slot.done = True
                self._turn.notify_all()
