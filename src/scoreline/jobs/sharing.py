"""The parts of a job as its runs see them: the one that writes the output, and those that score ahead for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline import faults
from scoreline.errors import LostLease, RunStopped
from scoreline.jobs import parts, states
from scoreline.jobs.ledger import hold
from scoreline.jobs.model import Job
from scoreline.jobs.parts import Claim, PartState
from scoreline.jobs.patience import patiently
from scoreline.jobs.progress import RunProgress
from scoreline.jobs.states import Run
from scoreline.store import Store
from scoreline.store.tables.jobs import jobs
from scoreline.types import JsonObject, Range, ScoredAhead, Snapshot

T = TypeVar("T")

_ANY = 1 << 20
_LOOK_SECONDS = 0.1

Stopped = Callable[[], RunStopped | None]


def most_runs(job: Job) -> int:
    """Return how many runs may score for a job at once: each makes one call at least of those that its user allows."""
    return _ANY if job.adapts else job.spec.num_concurrent or 1


class StorePartitions:
    """The parts of a job for the run that writes; see `protocols.Partitions`. Patient as a ledger is."""

    def __init__(self, store: Store, run: Run, most: int, *, stopped: Stopped = lambda: None) -> None:
        """most: runs that the job may have at once, this one included."""
        self._store = store
        self._run = run
        self._most = most
        self._stopped = stopped
        self._closed = threading.Event()
        self.waiting = False
        """Whether the run waits for another one."""

    def plan(self, borders: Sequence[int]) -> Sequence[int]:
        """Return the borders of the job's parts; none when it may have one run only."""
        if self._most < 2:
            return ()
        job_id, most = self._run.job_id, self._most
        return self._write(lambda connection: parts.plan(connection, job_id, borders, most))

    def reach(self, number: int) -> None:
        """Have all parts up to one."""
        self._write(lambda connection: parts.reach(connection, self._run.job_id, number))

    def turn(self, number: int) -> ScoredAhead | None:
        """Return what is staged of a part, None once this run has it; wait while another one scores it."""
        try:
            return self._turn(number)
        finally:
            self.waiting = False

    def _turn(self, number: int) -> ScoredAhead | None:
        job_id = self._run.job_id
        while True:
            state, scored = patiently(lambda: self._look(number), self._stopped)
            if state is PartState.SCORED:
                return scored
            if state is PartState.TAKEN:
                return None
            if state is PartState.OPEN and self._write(lambda connection: parts.take(connection, job_id, number)):
                return None
            self.waiting = True
            if self._closed.wait(_LOOK_SECONDS):
                raise RunStopped("Waiting for a part of the job was stopped.")

    def runs(self) -> int:
        """Return how many runs score for the job now. Raises StoreError."""
        with self._store.read() as connection:
            return parts.runs(connection, self._run.job_id)

    def close(self) -> None:
        """End all waiting."""
        self._closed.set()

    def _look(self, number: int) -> tuple[PartState, ScoredAhead | None]:
        with self._store.read() as connection:
            return parts.look(connection, self._run.job_id, number)

    def _write(self, work: Callable[[Connection], T]) -> T:
        def held(connection: Connection) -> T:
            hold(connection, self._run, {})
            return work(connection)

        return patiently(lambda: self._store.run(held), self._stopped)


class AheadProgress(RunProgress):
    """The progress of a run that scores parts ahead: it renews the lease of the part in hand.

    claim: that part. turn: to be held while it changes.
    """

    def __init__(self, database: Store, claim: Claim) -> None:
        super().__init__(database, Run(claim.job_id, claim.fence, claim.owner))
        self.claim: Claim | None = claim
        self.turn = threading.RLock()

    def flush(self) -> None:
        """Renew the lease, and store the lines that wait. Raises StoreError."""
        with self.turn:
            super().flush()

    def look(self) -> None:
        """Find out whether the run has its part still, and the server its address. Raises StoreError."""
        with self.turn:
            super().look()

    def _renew(self, connection: Connection, snapshot: Snapshot | None, seconds: float) -> bool:  # noqa: ARG002 -- the run that writes counts
        if self.claim is None:
            return parts.runs_on(connection, self._run.job_id)
        return parts.renew(connection, self.claim)

    def _server(self, connection: Connection) -> str | None:
        held = sa.true() if self.claim is None else parts.held(self.claim)
        return states.server_of_job(connection, self._run.job_id, held)


class StoreQueue:
    """The parts that a run scores ahead, the first of them in hand; see `protocols.Queue`."""

    def __init__(self, store: Store, progress: AheadProgress, claim: Claim, goes_on: Callable[[], bool]) -> None:
        self._store = store
        self._goes_on = goes_on
        self._progress = progress
        self._owner = claim.owner
        self._job_id = claim.job_id
        self._begun = False
        self.name = _name(claim)

    def next(self) -> Range | None:
        """Return the next part of the job, None when there is none. Raises StoreError."""
        with self._progress.turn:
            if self._begun:
                found = self._claim() if self._goes_on() else None
                if found is None:
                    return None
                self._progress.claim = found
            self._begun = True
            claim = self._progress.claim
            assert claim is not None
            self.name = _name(claim)
        return Range(claim.number, claim.begins, claim.ends)

    def scored(self, part: ScoredAhead) -> bool:
        """Hand the part over; false when it is not this run's any more."""
        with self._progress.turn:
            claim = self._progress.claim
            assert claim is not None
            done = self._write(lambda connection: parts.scored(connection, claim, part))
            if done:
                self._progress.claim = None
        faults.at("partition.recorded")
        return done

    def leave(self) -> None:
        """Leave the part to the run that writes."""
        self.let_go(leave=True)

    def let_go(self, *, leave: bool = False) -> None:
        """Give the part back, if there is one in hand. Raises StoreError."""
        with self._progress.turn:
            claim, self._progress.claim = self._progress.claim, None
            if claim is not None:
                self._store.run(lambda connection: parts.let_go(connection, claim, leave=leave))

    def runs(self) -> int:
        """Return how many runs score for the job now. Raises StoreError."""
        with self._store.read() as connection:
            return parts.runs(connection, self._job_id)

    def pin_source(self, identity: JsonObject) -> JsonObject:
        """Return what tells the job's source from any other."""
        query = sa.select(jobs.c.source_identity).where(jobs.c.id == self._job_id)
        with self._store.read() as connection:
            return dict(connection.scalar(query) or identity)

    def pin_model(self, model: str) -> str:
        """Store which model the job scores with, unless that is known."""
        return self._write(lambda connection: self._pin(connection, model))

    def _pin(self, connection: Connection, model: str) -> str:
        claim = self._progress.claim
        if claim is None or not parts.renew(connection, claim):
            raise LostLease(f"A part of job {self._job_id} is not this run's any more.")
        mine = jobs.c.id == self._job_id
        pinned = sa.func.coalesce(jobs.c.server_model, model)
        connection.execute(jobs.update().where(mine).values(server_model=pinned))
        return str(connection.scalar(sa.select(jobs.c.server_model).where(mine)))

    def _claim(self) -> Claim | None:
        with self._store.read() as connection:
            found = parts.due(connection, self._job_id, self._owner)
        if found is None or not self._store.run(lambda connection: parts.claim(connection, found)):
            return None
        return found

    def _write(self, work: Callable[[Connection], T]) -> T:
        return patiently(lambda: self._store.run(work), lambda: self._progress.reason)


def _name(claim: Claim) -> str:
    return f"{claim.number:06d}.{claim.fence}"
