"""One worker's help with a job that another one runs: it scores parts of the source before their turn comes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress

import structlog

from scoreline import redact
from scoreline.access.outside import Outside
from scoreline.credentials import RunKeys
from scoreline.engines.local import secrets_of
from scoreline.errors import RunStopped, ScorelineError, ShuttingDown, SpoolFull, StoreError, one_line
from scoreline.jobs import credentials, lease, parts, ticket
from scoreline.jobs import store as rows
from scoreline.jobs.parts import Claim
from scoreline.jobs.sharing import AheadProgress, StoreQueue
from scoreline.protocols import Progress, Queue
from scoreline.settings import Settings
from scoreline.spool import Spool
from scoreline.store import Store
from scoreline.types import RunTicket

AheadEngine = Callable[[RunTicket, Queue, Progress, RunKeys], None]

_log = structlog.get_logger(__name__)


def claim(store: Store, worker_id: str, busy: Collection[str], waiting: Collection[str]) -> Claim | None:
    """Take a part of a job that another worker writes, or of one of its own that is waiting for a part.

    busy: jobs that this one helps with already. Raises StoreError.
    """
    with store.read() as connection:
        for job_id in parts.helped(connection, worker_id, waiting):
            found = None if job_id in busy else parts.due(connection, job_id, worker_id)
            if found is not None:
                break
        else:
            return None
    return found if store.run(lambda connection: parts.claim(connection, found)) else None


class HelpRun:
    """Scores parts of one job until there are none to do. It never raises.

    Trouble is the business of the run that writes the output: what fails here is left to it, in its turn.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        spool: Spool,
        engine: AheadEngine,
        claimed: Claim,
        *,
        goes_on: Callable[[], bool],
    ) -> None:
        """Begin with a part; go on with others as long as `goes_on` says so."""
        self.job_id = claimed.job_id
        self.no_room = False
        """Whether it ended because nothing more can be staged."""
        self._settings = settings
        self._store = store
        self._spool = spool
        self._engine = engine
        self._number = claimed.number
        self._hidden = ExitStack()
        self._progress = AheadProgress(store, claimed)
        self._queue = StoreQueue(store, self._progress, claimed, goes_on)
        self._log = _log.bind(job_id=claimed.job_id)

    def shut_down(self) -> None:
        """Ask the run to give its part back, soon."""
        self._progress.stop(ShuttingDown("This worker is going down; others go on with the job."))

    def __call__(self) -> None:
        """Score part after part."""
        self._log.info("help begins", partition=self._number)
        leave = False
        with self._hidden, self._progress:
            try:
                self._do()
            except (RunStopped, StoreError) as exc:
                self._log.info("help ends", why=type(exc).__name__)
            except SpoolFull as exc:
                self.no_room = True
                self._log.warning("help ends", why=exc.message)
            except ScorelineError as exc:
                leave = self._progress.reason is None
                self._log.warning("a partition could not be scored ahead", why=one_line(redact.mask(exc.message), 2000))
            except Exception:  # noqa: BLE001 -- a fault of the program here must not end the worker
                leave = True
                self._log.exception("help failed by a fault of the program")
            with suppress(StoreError):  # others see the silence
                self._queue.let_go(leave=leave)

    def _do(self) -> None:
        with self._store.read() as connection:
            job = rows.find(connection, self.job_id)
        if job is None:
            return
        with ticket.opened(self._store, self._spool.url, job, self._settings, helper=self._number) as built:
            self._hidden.enter_context(redact.hiding(secrets_of(built)))
            self._progress.watch_server(built.server.url)
            keys = credentials.keys(
                self._store, Outside.of(self._store, self._settings), job.owner.id, job.spec, self._hidden
            )
            self._engine(built, self._queue, self._progress, keys)


class PartWatch:
    """Gives back the parts of workers that were silent for the lease length. `look` is called about once a second."""

    def __init__(self, store: Store, worker_id: str, lease_seconds: float) -> None:
        self._store = store
        self._worker_id = worker_id
        self._silence = lease.Silence(lease_seconds)

    def look(self) -> int:
        """Return how many parts were given back. Raises StoreError."""
        with self._store.read() as connection:
            seen = parts.others(connection, self._worker_id)
        silent = self._silence.of((one.job_id, one.number, one.fence, beat) for one, beat in seen)
        done = 0
        for one, beat in seen:
            if (one.job_id, one.number, one.fence, beat) in silent:
                _log.warning("a partition is taken back from a silent worker", job_id=one.job_id, partition=one.number)
                done += self._store.run(lambda connection, one=one, beat=beat: parts.free(connection, one, beat))  # type: ignore[misc]  # mypy cannot type a lambda with a default
        return done
