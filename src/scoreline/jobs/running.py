"""One run of a job, from the ticket to the state it ends in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Protocol, TypeVar

import structlog

from scoreline import faults, redact
from scoreline.access.outside import Outside
from scoreline.credentials import RunKeys
from scoreline.engines.local import secrets_of
from scoreline.errors import (
    Cancelled,
    LostLease,
    RunStopped,
    ScorelineError,
    ShuttingDown,
    SpoolFull,
    StoreError,
    StoreFull,
    one_line,
)
from scoreline.jobs import credentials, lease, states, ticket
from scoreline.jobs import ledger as ledgers
from scoreline.jobs import store as rows
from scoreline.jobs.ledger import StoreLedger
from scoreline.jobs.model import Job
from scoreline.jobs.patience import patiently
from scoreline.jobs.progress import RunProgress
from scoreline.jobs.sharing import StorePartitions, most_runs
from scoreline.jobs.spec import LOCAL_FILE
from scoreline.jobs.states import Run
from scoreline.protocols import Ledger, Partitions, Progress
from scoreline.settings import Settings
from scoreline.spool import Spool
from scoreline.store import Store
from scoreline.types import Counts, RunTicket

T = TypeVar("T")

_REASON_LENGTH = 2000

_log = structlog.get_logger(__name__)


class Finished(Protocol):
    """What an engine returns of a run: rows, bytes of the source, bytes of the output."""

    @property
    def counts(self) -> Counts:
        """Rows, each counted once."""
        ...

    @property
    def bytes_in(self) -> int:
        """Bytes of the source."""
        ...

    @property
    def bytes_out(self) -> int:
        """Bytes of the output."""
        ...

    @property
    def sha256(self) -> str | None:
        """Digest of the output, as hexadecimal text."""
        ...


Engine = Callable[[RunTicket, Ledger, Progress, RunKeys, Partitions], Finished]


class JobRun:
    """Does one run. It never raises: whatever happens ends as a state of the job, or leaves the job to others."""

    def __init__(self, settings: Settings, store: Store, spool: Spool, engine: Engine, run: Run) -> None:
        self._settings = settings
        self._store = store
        self._spool = spool
        self._engine = engine
        self._outside = Outside.of(store, settings)
        self._hidden = ExitStack()  # holds the run's secrets out of its texts
        self._run = run
        self._partitions: StorePartitions | None = None
        self._progress = RunProgress(store, run)
        self._log = _log.bind(job_id=run.job_id, run=run.fence)

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self._run.job_id

    @property
    def waiting(self) -> bool:
        """Whether it has nothing to do until another run has scored a part of the job."""
        return self._partitions is not None and self._partitions.waiting

    def shut_down(self) -> None:
        """Ask the run to leave its job to another worker, soon."""
        self._progress.stop(ShuttingDown("This worker is going down; the job goes on with another one."))

    def __call__(self) -> None:
        """Run the job to its end, or to the point where it is not this run's any more."""
        self._log.info("run begins")
        with self._hidden, self._progress:
            try:
                self._do()
            except StoreError as exc:
                self._give_back(exc)
            except SpoolFull as exc:
                self._wait_for_space(exc)
            except ScorelineError as exc:
                if self._progress.reason is None and not isinstance(exc, RunStopped):
                    self._fail(exc.message)
                else:
                    self._leave(self._progress.reason or exc)
            except Exception:  # noqa: BLE001 -- nothing may end this thread with the job left RUNNING
                self._log.exception("run failed by a fault of the program")
                self._fail(
                    "Running the job failed: internal error of Scoreline; report it with the worker's log of job "
                    f"{self._run.job_id}, run {self._run.fence}."
                )

    def _do(self) -> None:
        job = self._patiently(self._find)
        self._progress.limit(self._settings.max_run_seconds, job.ran_seconds)
        with ticket.opened(self._store, self._spool.url, job, self._settings) as built:
            self._hidden.enter_context(redact.hiding(secrets_of(built)))
            self._progress.watch_server(built.server.url)
            stopped = lambda: self._progress.reason  # noqa: E731 -- read short, twice
            ledger = StoreLedger(self._store, self._run, stopped=stopped)
            self._partitions = StorePartitions(self._store, self._run, most_runs(job), stopped=stopped)
            keys = credentials.keys(self._store, self._outside, job.owner.id, job.spec, self._hidden)
            done = self._engine(built, ledger, self._progress, keys, self._partitions)
            ledger.seal(done.counts, done.bytes_out)  # whatever the engine did: no job ends well with rows astray
            self._patiently(lambda: self._complete(done))

    def _find(self) -> Job:
        with self._store.read() as connection:
            job = rows.find(connection, self._run.job_id)
        if job is None or job.fence != self._run.fence:
            raise self._lost()
        return job

    def _complete(self, done: Finished) -> None:
        """Store the final state. Readers learn of the end only by this."""
        self._progress.flush()
        run, counts = self._run, done.counts
        faults.at("job.completing")
        if self._store.run(
            lambda connection: states.complete(
                connection, run, counts, done.bytes_in, done.bytes_out, sha256=done.sha256
            )
        ):
            faults.at("job.completed")
            self._log.info("run completed", rows=counts.read, failed=counts.failed, bytes_out=done.bytes_out)
            return
        self._progress.look()
        raise self._progress.reason or self._lost()

    def _fail(self, reason: str) -> None:
        """End the job for a fault, unless it is not this run's any more."""
        run, text = self._run, one_line(redact.mask(reason), _REASON_LENGTH)
        self._log.warning("run failed", reason=text)
        try:
            self._patiently(self._progress.flush)
            faults.at("job.failing")
            if not self._patiently(lambda: self._store.run(lambda connection: states.fail(connection, run, text))):
                self._patiently(self._progress.look)
                self._leave(self._progress.reason or self._lost())
        except StoreError as exc:
            self._give_back(exc)
        except RunStopped as exc:
            self._leave(exc)

    def _wait_for_space(self, why: SpoolFull) -> None:
        """Let the job rest until there is space, or end it, when what it needs by itself is more than can ever be."""
        run, text = self._run, one_line(why.message, _REASON_LENGTH)
        try:
            wanted = why.wanted
            if why.capacity is not None:
                most = why.capacity - self._patiently(self._staged)
                if why.size > most:
                    self._fail(f"{text} The job alone needs more than all {why.capacity} bytes that can be stored.")
                    return
                wanted = min(wanted, most)
            self._patiently(self._progress.flush)
            rests = self._store.run(lambda connection: states.wait_for_space(connection, run, wanted, text))
            self._log.warning("run waits for space", reason=text, wanted=wanted, rests=rests)
            if not rests:
                self._patiently(self._progress.look)
                self._leave(self._progress.reason or self._lost())
        except StoreError as exc:
            self._give_back(exc)
        except RunStopped as exc:
            self._leave(exc)

    def _staged(self) -> int:
        """Return the bytes that the job itself has in the spool."""
        job = self._find()
        with self._store.read() as connection:
            _, size = ledgers.total(connection, job.id)
        return (job.upload_bytes if job.spec.intake_type == LOCAL_FILE else 0) + (
            size if job.spec.output_type == LOCAL_FILE else 0
        )

    def _leave(self, why: ScorelineError) -> None:
        """End the run without an end of its own for the job."""
        self._log.info("run leaves its job", why=type(why).__name__)
        run = self._run
        try:
            if isinstance(why, Cancelled | LostLease):
                self._store.run(lambda connection: states.forget_owner(connection, run.job_id, run.fence))
                self._store.run(lambda connection: states.clean_again(connection, run.job_id))
            else:
                self._progress.flush()
                lease.release(self._store, run, fault=not isinstance(why, ShuttingDown))
        except StoreError as exc:
            # Others see the silence and do it.
            self._log.warning("the lease could not be given back", cause=exc.message)

    def _give_back(self, fault: StoreError) -> None:
        """The database failed for too long: no fault of the job's, which goes on when the database is back."""
        self._log.warning("run interrupted, because the database fails", cause=fault.message)
        try:
            blamed = not isinstance(fault, StoreFull)  # who has no space for others does not die of this job
            self._patiently(lambda: lease.release(self._store, self._run, fault=blamed))
        except (StoreError, RunStopped) as exc:
            self._log.warning("the lease could not be given back", cause=exc.message)

    def _lost(self) -> LostLease:
        return LostLease(f"Run {self._run.fence} of job {self._run.job_id} lost its lease.")

    def _patiently(self, work: Callable[[], T]) -> T:
        return patiently(work, lambda: self._progress.reason)
