"""A run's link to the store: its lease, its counters, its log lines, and the word to stop."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy.engine import Connection

from scoreline import redact
from scoreline.errors import Cancelled, LostLease, Paused, RunStopped, ShuttingDown, StoreError, TimeLimit
from scoreline.jobs import states, store
from scoreline.jobs.model import JobState
from scoreline.jobs.states import Run
from scoreline.store import Store
from scoreline.types import Snapshot

_BEAT_SECONDS = 0.5  # two of them renew the lease
_MOST_LINES = 500  # of one run; a source with a million oddities must not fill the database

_log = structlog.get_logger(__name__)


class RunProgress:
    """The progress of one run, for as long as the `with` block lasts; see `protocols.Progress`.

    A thread renews the lease each second and looks twice a second whether the job is still this run's. While the
    database is away it keeps trying: whether the lease is lost is for the database to say.
    """

    def __init__(self, database: Store, run: Run, *, beat_seconds: float = _BEAT_SECONDS) -> None:
        self._store = database
        self._run = run
        self._beat_seconds = beat_seconds
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._lines: deque[str] = deque()
        self._taken_lines = 0
        self._reason: RunStopped | None = None
        self._over = threading.Event()
        self._server_url: str | None = None
        self._deadline = math.inf
        self._limit = ""
        self._told = time.monotonic()  # until when the run's time is stored
        self._thread = threading.Thread(target=self._beat, name=f"lease of {run.job_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def watch_server(self, url: str) -> None:
        """Ask the run to end, for a new one to go on, when the job's server is no longer found at this address.

        A server that is started again may come up elsewhere; the run's ticket knows the old place only.
        """
        self._server_url = url

    def limit(self, seconds: float | None, ran: float) -> None:
        """Let the run fail once its job has run for `seconds`; earlier runs took `ran` of them."""
        if seconds is not None:
            self._limit = f"{seconds:g} s"
            self._deadline = time.monotonic() + max(0.0, seconds - ran)

    def report(self, snapshot: Snapshot) -> None:
        """Keep the latest state of the run; the heartbeat stores it."""
        with self._lock:
            self._snapshot = snapshot

    def log(self, message: str) -> None:
        """Append a line to the job's log, with the next heartbeat. After 500 lines of one run the rest is left out."""
        with self._lock:
            self._taken_lines += 1
            if self._taken_lines <= _MOST_LINES:
                self._lines.append(redact.mask(message))
            elif self._taken_lines == _MOST_LINES + 1:
                self._lines.append(f"Further lines of this run are left out after {_MOST_LINES}.")

    def stop_requested(self) -> bool:
        """Return False while the run may go on; else raise why it must end: RunStopped, or TimeLimit."""
        reason = self._reason
        if reason is not None:
            raise type(reason)(reason.message)
        if time.monotonic() > self._deadline:
            raise TimeLimit(
                f"Scoring was stopped: the job has run for {self._limit}, which is as long as this installation lets "
                "jobs run (SCORELINE_MAX_RUN_SECONDS); score the data in parts, or ask for a higher limit."
            )
        return False

    @property
    def reason(self) -> RunStopped | None:
        """Why the run must end, None while it may go on."""
        return self._reason

    def stop(self, reason: RunStopped) -> None:
        """Ask the run to end; the first reason stays.

        But what the database says weighs more than a shutdown, and an abort more than a pause: then nobody goes on
        with what was written.
        """
        with self._lock:
            weaker = (ShuttingDown, Paused) if isinstance(reason, Cancelled) else ShuttingDown
            if self._reason is None or isinstance(self._reason, weaker):
                self._reason = reason

    def flush(self) -> None:
        """Store the counters and lines that wait. Raises StoreError."""
        with self._flushing:
            with self._lock:
                snapshot, lines = self._snapshot, list(self._lines)
            moment = time.monotonic()
            seconds = moment - self._told
            if not self._store.run(lambda connection: self._put(connection, snapshot, lines, seconds)):
                self._find_reason()
                return
            self._told = moment
            with self._lock:
                for _ in lines:
                    self._lines.popleft()

    def _put(self, connection: Connection, snapshot: Snapshot | None, lines: list[str], seconds: float) -> bool:
        held = self._renew(connection, snapshot, seconds)
        if held:
            store.add_log(connection, self._run.job_id, lines)
        return held

    def _renew(self, connection: Connection, snapshot: Snapshot | None, seconds: float) -> bool:
        return states.renew(connection, self._run, snapshot, seconds)

    def _server(self, connection: Connection) -> str | None:
        return states.server_of_job(connection, self._run.job_id, states.held(self._run))

    def _beat(self) -> None:
        renew = False
        while not self._over.wait(self._beat_seconds):
            try:
                if renew or self._lines:
                    self.flush()
                else:
                    self.look()
                renew = not renew
            except StoreError as exc:
                renew = True
                _log.warning("The lease could not be renewed", job_id=self._run.job_id, cause=exc.message)

    def look(self) -> None:
        """Find out whether the run has its job still, and its server its address. Raises StoreError."""
        with self._store.read() as connection:
            url = self._server(connection)
        if url is None:
            self._find_reason()
        elif self._server_url is not None and url != self._server_url and self._reason is None:
            self.log(f"The prediction server has moved to {url}; the job goes on there.")
            self.stop(ShuttingDown("The prediction server has another address; the job goes on with a new run."))

    def _find_reason(self) -> None:
        with self._store.read() as connection:
            state = states.state_of(connection, self._run.job_id)
        if state is JobState.ABORTED:
            self.stop(Cancelled(f"Job {self._run.job_id} was aborted."))
        elif state is JobState.INITIALIZING:
            self.stop(Paused(f"Job {self._run.job_id} was paused."))
        else:
            self.stop(LostLease(f"Run {self._run.fence} of job {self._run.job_id} lost its lease."))
