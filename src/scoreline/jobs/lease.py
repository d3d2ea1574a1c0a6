"""Who runs a job: claiming it, holding it, taking it over from a worker that is gone.

A lease is a counter in the job's row that its owner renews. A taker must see it unchanged for the lease length on its
own monotonic clock; no clock of another machine is asked, and a clock that is set changes nothing. Time in which the
taker itself did not look (it was frozen, the database was away: then the owner could not renew either) hardly counts.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.jobs import parts, states
from scoreline.jobs.model import JobState
from scoreline.jobs.states import Run
from scoreline.store import Store
from scoreline.store.tables.jobs import jobs
from scoreline.types import Snapshot

_FINAL = (JobState.COMPLETED, JobState.ABORTED)
_LOOKS = 3  # at least so many looks, in step with the clock, before a silence is believed
_ENOUGH = 1 - 1e-9  # sums of floats


def new_worker_id() -> str:
    """Return a name for this worker process that no other one has, and that tells where it runs."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def next_run(store: Store, worker_id: str) -> Run | None:
    """Take the next job that is due: one given back by another worker, else the first in line at a free slot.

    Cheap when there is nothing to do (two reads). Raises StoreError.
    """
    with store.read() as connection:
        given_back = states.unowned(connection)
        server_id = None if given_back else states.due_server(connection)
    if given_back is not None:
        job_id, fence = given_back
        return store.run(lambda connection: states.adopt(connection, job_id, fence, None, worker_id))
    if server_id is not None:
        return claim(store, server_id, worker_id)
    return None


def claim(store: Store, server_id: str, worker_id: str) -> Run | None:
    """Start the first job in a server's line if a slot is free; safe with any number of workers at once."""
    return store.run(lambda connection: states.claim(connection, server_id, worker_id))


def renew(store: Store, run: Run, snapshot: Snapshot | None = None) -> bool:
    """Keep the lease and store how far the run is; False once the run has lost its job."""
    return store.run(lambda connection: states.renew(connection, run, snapshot))


def release(store: Store, run: Run, *, fault: bool = False) -> bool:
    """Give a job back that still runs, so that any worker goes on with it at once. `fault`: see `states.let_go`."""
    return store.run(lambda connection: states.let_go(connection, run, fault=fault))


def release_owner(store: Store, worker_id: str) -> int:
    """Give back all leases of a worker that is known to be dead (a supervisor has reaped it); return how many."""

    def release(connection: Connection) -> int:
        return states.let_go_all(connection, worker_id) + parts.let_go_all(connection, worker_id)

    return store.run(release)


@dataclass(frozen=True, slots=True)
class Silent:
    """A job whose worker has been silent for the lease length, as it was seen."""

    job_id: str
    fence: int
    beat: int
    state: JobState


class Silence:
    """How long counters have stood still that their owners should move."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Believe in a silence after so many seconds on `clock`, which only grows."""
        self._seconds = seconds
        self._clock = clock
        self._looked: float | None = None
        self._silence: dict[Hashable, float] = {}

    def of(self, seen: Iterable[Hashable]) -> set[Hashable]:
        """Return which of the counters seen now, with their values, have been silent for too long.

        One that is seen for the first time, or that moved, starts anew.
        """
        moment = self._clock()
        step = 0.0 if self._looked is None else min(moment - self._looked, self._seconds / _LOOKS)
        self._looked = moment
        before = self._silence
        self._silence = {key: before[key] + step if key in before else 0.0 for key in seen}
        return {key for key, silence in self._silence.items() if silence >= self._seconds * _ENOUGH}


class Watcher:
    """Watches the leases of other workers. `look` is called about once a second."""

    def __init__(
        self, store: Store, worker_id: str, lease_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Watch for the worker `worker_id`; `clock` gives seconds that only grow."""
        self._store = store
        self._worker_id = worker_id
        self._silence = Silence(lease_seconds, clock)

    def look(self) -> list[Silent]:
        """Return the jobs whose lease has not moved for the lease length. Raises StoreError.

        A lease that is seen for the first time, or that moved, starts anew.
        """
        query = sa.select(jobs.c.id, jobs.c.fence, jobs.c.lease_beat, jobs.c.state).where(
            sa.or_(jobs.c.state == JobState.RUNNING, sa.and_(jobs.c.state.in_(_FINAL), jobs.c.cleaned_at.is_(None))),
            jobs.c.lease_owner.is_not(None),
            jobs.c.lease_owner != self._worker_id,
        )
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        silent = self._silence.of((row.id, row.fence, row.lease_beat) for row in rows)
        return [
            Silent(row.id, row.fence, row.lease_beat, JobState(row.state))
            for row in rows
            if (row.id, row.fence, row.lease_beat) in silent
        ]

    def take(self, silent: Silent) -> Run | None:
        """Take a silent worker's job over, as a new run; None when somebody else was first, or it is over."""
        if silent.state is not JobState.RUNNING:
            self._store.run(lambda connection: states.forget_owner(connection, silent.job_id, silent.fence))
            return None
        return self._store.run(
            lambda connection: states.adopt(connection, silent.job_id, silent.fence, silent.beat, self._worker_id)
        )
