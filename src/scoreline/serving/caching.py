"""Answers that stay good for a while, asked for once at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

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
        if not task.cancelled():
            task.exception()  # those who asked have seen it; if they all left, nobody needs to
