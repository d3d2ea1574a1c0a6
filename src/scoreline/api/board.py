"""What the jobs do that somebody watches: one look for all of them, shared by all streams of this process."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

from scoreline.errors import Overloaded, StoreError
from scoreline.jobs.watching import Seen

_LOOK_SECONDS = 0.5
_MOST = 256
_MOST_OF_ONE = 64
_RETRY_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Looks:
    """How a job is now; `next` is done when it is another, or the process goes down."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.next: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.watchers = 0

    def show(self, seen: Seen) -> None:
        """Tell those who wait."""
        self.seen = seen
        done, self.next = self.next, asyncio.get_running_loop().create_future()
        done.set_result(None)


Look = Callable[[Mapping[str, Seen | None]], Awaitable[dict[str, Seen]]]
"""Looks at jobs in a thread; see `watching.look`."""


class Board:
    """Belongs to one event loop. Looks about twice a second while anybody watches, and not at all otherwise."""

    def __init__(self) -> None:
        self._jobs: dict[str, Looks] = {}
        self._users: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def place(self, user_id: str) -> Iterator[None]:
        """Take one of the places for streams. Raises Overloaded when there is none left for this user."""
        if self._users.total() >= _MOST or self._users[user_id] >= _MOST_OF_ONE:
            raise Overloaded(
                "Too many streams of events are open: close some, or ask for the job itself now and then.",
                retry_after=_RETRY_SECONDS,
            )
        self._users[user_id] += 1
        try:
            yield
        finally:
            self._users[user_id] -= 1
            self._users += Counter()  # drops those without any

    @contextmanager
    def watch(self, seen: Seen, look: Look, closing: threading.Event) -> Iterator[Looks]:
        """Have a job looked at until the end of the block; `seen` is how it was a moment ago.

        closing: set when all who watch are to be woken.
        """
        job_id = seen.job.id
        looks = self._jobs.setdefault(job_id, Looks(seen))
        looks.watchers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep_looking(look, closing))
        try:
            yield looks
        finally:
            looks.watchers -= 1
            if not looks.watchers:
                self._jobs.pop(job_id, None)

    async def _keep_looking(self, look: Look, closing: threading.Event) -> None:
        while self._jobs:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._jobs:
                break
            before: dict[str, Seen | None] = {job_id: looks.seen for job_id, looks in self._jobs.items()}
            try:
                found = await look(before)
            except StoreError as exc:
                _log.warning("streams of events wait for the database: %s", exc.message)
                found = {}
            for job_id, looks in list(self._jobs.items()):
                seen = found.get(job_id, looks.seen)
                if seen != looks.seen or closing.is_set():
                    looks.show(seen)
