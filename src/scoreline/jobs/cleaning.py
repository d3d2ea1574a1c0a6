"""Sweeping up behind jobs: staged bytes that nobody needs, and uploads whose sender is gone without a word."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import structlog

from scoreline import adapters
from scoreline.errors import ScorelineError, StoreError
from scoreline.jobs import keeping, states, ticket, uploads
from scoreline.jobs import ledger as ledgers
from scoreline.jobs import store as rows
from scoreline.jobs.model import JobState
from scoreline.settings import Settings
from scoreline.spool import Spool
from scoreline.store import Store, now

_ABANDONED = timedelta(minutes=10)  # an API that died with an upload under way will not end it any more
_MARGIN_SECONDS = 30.0  # the API notices a silent client first
_PARTS_FACTOR = 5  # between two parts of a multipart upload a client may pause longer

_log = structlog.get_logger(__name__)


def sweep(store: Store, spool: Spool, settings: Settings) -> int:
    """Delete uploads of jobs that are over, and what aborted ones had written; return how many jobs that were.

    Every worker may do it at any time. Raises StoreError; trouble with the spool is logged and tried again next time.
    """
    limit = now() - _ABANDONED
    with store.read() as connection:
        found = states.unclean(connection, limit)
    done = 0
    for job_id, state in found:
        try:
            spool.delete_stream(f"uploads/{job_id}")
            if state is JobState.ABORTED:
                _remove_output(store, spool, settings, job_id)
        except ScorelineError as exc:
            _log.warning("Staged bytes could not be deleted", job_id=job_id, cause=exc.message)
            continue
        done += store.run(lambda connection, job_id=job_id: states.cleaned(connection, job_id))  # type: ignore[misc]  # mypy cannot type a lambda with a default
    return done


def _remove_output(store: Store, spool: Spool, settings: Settings, job_id: str) -> None:
    """Remove what the job's runs wrote, if they came to that; the last of them may have died with it half done."""
    with store.read() as connection:
        job = rows.find(connection, job_id)
        states_of_output = ledgers.output_states(connection, job_id)
    if job is None or not states_of_output:
        return
    with closing(adapters.open_output(ticket.for_removal(spool.url, job, settings), spool)) as output:
        for state in states_of_output:
            output.abort(state)


def tidy(store: Store, spool: Spool) -> None:
    """Delete what killed processes left in the spool.

    Raises StoreError; trouble with the spool is logged and tried again next time.
    """
    try:
        gone = spool.sweep()
        orphans = keeping.delete_orphans(store, spool)
    except StoreError:
        raise
    except (ScorelineError, OSError) as exc:
        _log.warning("Left-over files could not be deleted", cause=str(exc))
        return
    if gone or orphans:
        _log.info("left-over files deleted", half_written=gone, without_job=orphans)


class UploadWatch:
    """Ends jobs whose upload shows no sign of life, because the API that took it is gone. `look` every few seconds."""

    def __init__(
        self,
        store: Store,
        idle_seconds: float,
        parts_seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wait for `idle_seconds` and a margin on `clock`, which gives seconds that only grow.

        parts_seconds: how long a job that holds no place in the queue may wait for the next of its parts.
        """
        self._store = store
        self._idle_seconds = idle_seconds + _MARGIN_SECONDS
        self._parts_seconds = parts_seconds
        self._clock = clock
        self._since: dict[tuple[str, int], float] = {}

    def look(self) -> None:
        """Abort the jobs whose upload has been silent for too long. Raises StoreError."""
        with self._store.read() as connection:
            found = uploads.running(connection)
        moment = self._clock()
        before, self._since = self._since, {}
        for one in found:
            self._since[one.job_id, one.beat] = since = before.get((one.job_id, one.beat), moment)
            if moment - since >= self._patience(one):
                self._give_up(one.job_id, moment - since)

    def _patience(self, one: uploads.Running) -> float:
        if not one.in_parts:
            return self._idle_seconds
        return _PARTS_FACTOR * self._idle_seconds if one.in_line else self._parts_seconds

    def _give_up(self, job_id: str, silence: float) -> None:
        reason = f"Receiving the upload failed: nothing came for {silence:.0f} s; send the file again with a new job."
        self._store.run(lambda connection: uploads.give_up(connection, job_id, reason, None))
