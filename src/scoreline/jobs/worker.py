"""The worker's loop: take what is due, run it in a thread, look after the leases of others, sweep up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from scoreline import faults, logs
from scoreline.engines import memory, run_ahead, run_ticket
from scoreline.errors import ScorelineError, SpoolError, StoreError
from scoreline.jobs import cleaning, helping, keeping, lease
from scoreline.jobs.helping import HelpRun, PartWatch
from scoreline.jobs.running import Engine, JobRun
from scoreline.jobs.states import Run
from scoreline.settings import Settings
from scoreline.spool import Spool, spool_of
from scoreline.store import Store

_POLL_SECONDS = 0.05
_IDLE_POLL_SECONDS = 0.1  # after some time without work
_IDLE_AFTER = 30.0
_LONGEST_PAUSE = 5.0  # while the database is away
_LOOK_SECONDS = 1.0
_HELP_SECONDS = 0.25
_NO_ROOM_SECONDS = 30.0
_SWEEP_SECONDS = 2.0
_EXPIRE_SECONDS = 60.0
_HOUR_SECONDS = 3600.0
_SPOOL_SECONDS = 5.0
_DRAIN_SECONDS = 10.0  # less than a supervisor waits

_log = structlog.get_logger(__name__)


def run_worker(settings: Settings, stop: threading.Event, *, worker_id: str | None = None) -> None:
    """Run jobs until `stop` is set, then give back those that run and return; see `Worker`.

    worker_id: a name that no other worker has, for the supervisor to give back the leases of a worker that died
    (`lease.release_owner`). Raises SetupError when the database or the spool cannot be used.
    """
    logs.configure(settings, "worker")
    store = Store(settings.store_url)
    try:
        spool = spool_of(settings)
        if not (_answers("database", store.migrate, stop) and _answers("spool", spool.check, stop)):
            return
        # Runs open the spool by its URL, and wait for it; who sweeps up has others to look after, too.
        Worker(settings, store, spool.hasty(_SPOOL_SECONDS), worker_id=worker_id).work(stop)
    finally:
        store.dispose()


class Worker:
    """Runs up to `settings.worker_jobs` jobs at once, each in a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        spool: Spool,
        *,
        worker_id: str | None = None,
        engine: Engine = run_ticket,
    ) -> None:
        self.worker_id = worker_id or lease.new_worker_id()
        self._settings = settings
        self._store = store
        self._spool = spool
        self._engine = engine
        self._most = settings.worker_jobs
        self._runs: list[tuple[threading.Thread, JobRun | HelpRun]] = []
        self._watcher = lease.Watcher(store, self.worker_id, settings.lease_seconds)
        self._parts = PartWatch(store, self.worker_id, settings.lease_seconds)
        self._uploads = cleaning.UploadWatch(
            store, settings.upload_idle_seconds, settings.upload_wait_hours * _HOUR_SECONDS
        )
        self._later = cleaning.Later()
        self._help_at = 0.0
        self._look_at = 0.0
        self._sweep_at = 0.0
        self._expire_at = 0.0
        self._tidy_at = 0.0
        self._busy_at = time.monotonic()

    def work(self, stop: threading.Event) -> None:
        """Work until `stop` is set. While the database is away it waits for it; running jobs do the same."""
        _log.info("worker is ready", worker=self.worker_id, jobs=self._most)
        pause = 0.0
        while not stop.wait(pause):
            try:
                pause = self._turn()
            except StoreError as exc:
                _log.warning("worker waits for the database", cause=exc.message)
                pause = min(_LONGEST_PAUSE, max(0.2, 2 * pause))
        self._drain()

    def _turn(self) -> float:
        """Do what is due; return the seconds to wait before the next turn."""
        self._forget_ended()
        if len(self._runs) < self._most:
            run = lease.next_run(self._store, self.worker_id)
            if run is not None:
                self._start(run)
                return 0.0
            self._help()
        self._look_after_others()
        idle = not self._runs and time.monotonic() - self._busy_at > _IDLE_AFTER
        return _IDLE_POLL_SECONDS if idle else _POLL_SECONDS

    def _start(self, run: Run) -> None:
        faults.at("job.claimed")
        self._begin(JobRun(self._settings, self._store, self._spool, self._engine, run), run.job_id)

    def _begin(self, run: JobRun | HelpRun, job_id: str) -> None:
        thread = threading.Thread(target=run, name=f"job {job_id}", daemon=True)
        self._runs.append((thread, run))
        thread.start()

    def _help(self) -> None:
        """Score ahead for a job that another worker runs, if there is one that has parts to give away."""
        moment = time.monotonic()
        if moment < self._help_at or not self._settings.partition_bytes:
            return
        self._help_at = moment + _HELP_SECONDS
        busy = [run.job_id for _, run in self._runs if isinstance(run, HelpRun)]
        own = {run.job_id: run for _, run in self._runs if isinstance(run, JobRun)}
        waiting = [job_id for job_id, run in own.items() if run.waiting]
        claimed = helping.claim(self._store, self.worker_id, busy, waiting)
        if claimed is None:
            return
        writes = own.get(claimed.job_id)
        goes_on = lambda: writes is None or writes.waiting  # noqa: E731 -- read short
        run = HelpRun(self._settings, self._store, self._spool, run_ahead, claimed, goes_on=goes_on)
        self._begin(run, claimed.job_id)

    def _forget_ended(self) -> None:
        alive = [item for item in self._runs if item[0].is_alive()]
        if any(isinstance(run, HelpRun) and run.no_room for thread, run in self._runs if not thread.is_alive()):
            self._help_at = time.monotonic() + _NO_ROOM_SECONDS
        if len(alive) < len(self._runs):
            self._runs = alive
            self._sweep_at = 0.0
            memory.give_back()
        if alive:
            self._busy_at = time.monotonic()

    def _look_after_others(self) -> None:
        moment = time.monotonic()
        if moment >= self._look_at:
            self._look_at = moment + _LOOK_SECONDS
            self._parts.look()
            for silent in self._watcher.look():
                if len(self._runs) < self._most and (run := self._watcher.take(silent)):
                    _log.warning("job taken over from a silent worker", job_id=run.job_id, run=run.fence)
                    self._start(run)
        if moment >= self._sweep_at:
            self._sweep_at = moment + _SWEEP_SECONDS
            cleaning.sweep(self._store, self._spool, self._settings, self._later)
            self._uploads.look()
            cleaning.let_go_on(self._store, self._spool)
        if moment >= self._expire_at:
            self._expire_at = moment + _EXPIRE_SECONDS
            keeping.expire_results(self._store, self._spool, self._settings.retention_hours)
            keeping.expire_keys(self._store, self._settings.retention_hours)
            keeping.forget_messages(self._store, self._settings.retention_hours)
            keeping.purge_datasets(self._store, self._spool, self._settings.undelete_hours)
            keeping.expire_waiting(self._store, self._settings.upload_wait_hours)
        if moment >= self._tidy_at:
            self._tidy_at = moment + _HOUR_SECONDS
            cleaning.tidy(self._store, self._spool)

    def _drain(self) -> None:
        """Ask all runs to leave, and wait for them for a while; what they leave goes on with other workers."""
        for _, job_run in self._runs:
            job_run.shut_down()
        deadline = time.monotonic() + _DRAIN_SECONDS
        for thread, _ in self._runs:
            thread.join(max(0.0, deadline - time.monotonic()))
        left = sum(thread.is_alive() for thread, _ in self._runs)
        try:
            # Runs that do not end in time are refused by their fence from here on.
            lease.release_owner(self._store, self.worker_id)
        except ScorelineError as exc:
            _log.warning("leases could not be given back", cause=exc.message)
        _log.info("worker is down", runs_left_behind=left)


def _answers(what: str, ask: Callable[[], None], stop: threading.Event) -> bool:
    """Do what needs the database or the spool, as soon as it answers; False when `stop` came first."""
    pause = 0.2
    while not stop.is_set():
        try:
            ask()
        except (StoreError, SpoolError) as exc:
            _log.warning(f"worker waits for the {what}", cause=exc.message)
            stop.wait(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)
        else:
            return True
    return False
