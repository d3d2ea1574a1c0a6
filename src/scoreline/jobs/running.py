"""One run of a job, from the ticket to the state it ends in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Protocol, TypeVar

import structlog

from scoreline import redact
from scoreline.engines.local import secrets_of
from scoreline.errors import (
    Cancelled,
    LostLease,
    OutputError,
    RunStopped,
    ScorelineError,
    ShuttingDown,
    StoreError,
    one_line,
)
from scoreline.jobs import lease, states, ticket
from scoreline.jobs import ledger as ledgers
from scoreline.jobs import store as rows
from scoreline.jobs.ledger import StoreLedger
from scoreline.jobs.model import Job
from scoreline.jobs.patience import patiently
from scoreline.jobs.progress import RunProgress
from scoreline.jobs.states import Run
from scoreline.protocols import Ledger, Progress
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


Engine = Callable[[RunTicket, Ledger, Progress], Finished]


class JobRun:
    """Does one run. It never raises: whatever happens ends as a state of the job, or leaves the job to others."""

    def __init__(self, settings: Settings, store: Store, spool: Spool, engine: Engine, run: Run) -> None:
        self._settings = settings
        self._store = store
        self._spool = spool
        self._engine = engine
        self._hidden = ExitStack()  # holds the run's secrets out of its texts
        self._run = run
        self._progress = RunProgress(store, run)
        self._log = _log.bind(job_id=run.job_id, run=run.fence)

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
            ledger = StoreLedger(self._store, self._run, stopped=lambda: self._progress.reason)
            done = self._engine(built, ledger, self._progress)
            self._patiently(lambda: self._complete(done))

    def _find(self) -> Job:
        with self._store.read() as connection:
            job = rows.find(connection, self._run.job_id)
        if job is None or job.fence != self._run.fence:
            raise self._lost()
        return job

    def _complete(self, done: Finished) -> None:
        """Store the final state, if every row is accounted for. Readers learn of the end only by this."""
        self._progress.flush()
        run, counts = self._run, done.counts
        with self._store.read() as connection:
            recorded, size = ledgers.total(connection, run.job_id)
        whole = counts.read == counts.scored + counts.failed + counts.skipped
        if not whole or (counts, done.bytes_out) != (recorded, size):
            raise OutputError(
                f"Reconciling the job failed: the run counted {_told(counts, done.bytes_out)}, and the ledger has "
                f"{_told(recorded, size)}; report it with the worker's log, and run the job again."
            )
        if self._store.run(
            lambda connection: states.complete(
                connection, run, counts, done.bytes_in, done.bytes_out, sha256=done.sha256
            )
        ):
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
            if not self._patiently(lambda: self._store.run(lambda connection: states.fail(connection, run, text))):
                self._patiently(self._progress.look)
                self._leave(self._progress.reason or self._lost())
        except StoreError as exc:
            self._give_back(exc)
        except RunStopped as exc:
            self._leave(exc)

    def _leave(self, why: ScorelineError) -> None:
        """End the run without an end of its own for the job."""
        self._log.info("run leaves its job", why=type(why).__name__)
        run = self._run
        try:
            if isinstance(why, Cancelled):
                self._store.run(lambda connection: states.forget_owner(connection, run.job_id, run.fence))
            elif not isinstance(why, LostLease):
                self._progress.flush()
                lease.release(self._store, run, fault=not isinstance(why, ShuttingDown))
        except StoreError as exc:
            # Others see the silence and do it.
            self._log.warning("the lease could not be given back", cause=exc.message)

    def _give_back(self, fault: StoreError) -> None:
        """The database failed for too long: no fault of the job's, which goes on when the database is back."""
        self._log.warning("run interrupted, because the database fails", cause=fault.message)
        try:
            self._patiently(lambda: lease.release(self._store, self._run, fault=True))
        except (StoreError, RunStopped) as exc:
            self._log.warning("the lease could not be given back", cause=exc.message)

    def _lost(self) -> LostLease:
        return LostLease(f"Run {self._run.fence} of job {self._run.job_id} lost its lease.")

    def _patiently(self, work: Callable[[], T]) -> T:
        return patiently(work, lambda: self._progress.reason)


def _told(counts: Counts, size: int) -> str:
    return (
        f"{counts.read} rows read, {counts.scored} scored, {counts.failed} failed, {counts.skipped} skipped and "
        f"{size} bytes written"
    )
