"""Answers that stay good for a while, and answers that must be the newest; each asked for once at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from scoreline.errors import Overloaded

V = TypeVar("V")


class TimedCache(Generic[V]):
    """Keeps at most `size` values, the least recently used making room, each for at most the seconds given with it.

    Callers who ask for the same key at the same time share one call; failures and values to keep for 0 s are not kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[str, tuple[float, V]] = OrderedDict()
        self._running: dict[str, asyncio.Task[V]] = {}

    async def get(self, key: str, ask: Callable[[], Awaitable[V]], seconds: Callable[[V], float]) -> V:
        """The value of `key`, from `ask` when none is kept; `seconds` says how long a value stays good."""
        now = asyncio.get_running_loop().time()
        kept = self._values.get(key)
        if kept and kept[0] > now:
            self._values.move_to_end(key)
            return kept[1]
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._fetch(key, ask, seconds))
            self._running[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        return await asyncio.shield(task)

    async def _fetch(self, key: str, ask: Callable[[], Awaitable[V]], seconds: Callable[[V], float]) -> V:
        started = asyncio.get_running_loop().time()
        value = await ask()
        lifetime = seconds(value)
        if lifetime > 0:
            self._values[key] = (started + lifetime, value)
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        else:
            self._values.pop(key, None)
        return value

    def _finished(self, key: str, task: asyncio.Task[V]) -> None:
        self._running.pop(key, None)
        _seen(task)


class Newest(Generic[V]):
    """Gives values that were asked for after the caller came, so that a change is seen by whoever comes after it.

    Callers who come while one call runs share the next one: there is one at a time for each key. While the source
    raises Overloaded, what it said at most `seconds` ago is still good; of at most `size` keys.
    """

    def __init__(self, size: int, seconds: float) -> None:
        self._size = size
        self._seconds = seconds
        self._values: OrderedDict[str, tuple[float, V]] = OrderedDict()
        self._running: dict[str, asyncio.Task[V]] = {}
        self._next: dict[str, asyncio.Task[V]] = {}

    async def get(self, key: str, ask: Callable[[], Awaitable[V]]) -> V:
        """The value of `key` as `ask` gives it. Raises what it raises."""
        running = self._running.get(key)
        if running is None:
            task = self._running[key] = asyncio.create_task(self._ask(key, ask))
        else:
            task = self._next.get(key) or asyncio.create_task(self._ask_after(running, key, ask))
            self._next[key] = task
        task.add_done_callback(_seen)
        return await asyncio.shield(task)

    async def _ask_after(self, running: asyncio.Task[V], key: str, ask: Callable[[], Awaitable[V]]) -> V:
        await asyncio.wait((running,))
        self._running[key] = self._next.pop(key)
        return await self._ask(key, ask)

    async def _ask(self, key: str, ask: Callable[[], Awaitable[V]]) -> V:
        now = asyncio.get_running_loop().time()
        try:
            value = await ask()
        except Overloaded:
            kept = self._values.get(key)
            if kept is None or kept[0] + self._seconds < now:
                raise
            return kept[1]
        except BaseException:
            self._values.pop(key, None)
            raise
        finally:
            if self._running.get(key) is asyncio.current_task():
                del self._running[key]
        self._values[key] = (now, value)
        self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)
        return value


def _seen(task: asyncio.Task[V]) -> None:
    """Those who asked have seen the exception; if they all left, nobody needs to."""
    if not task.cancelled():
        task.exception()
