"""Sweeping up behind jobs: staged bytes that nobody needs, and uploads whose sender is gone without a word."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta

import sqlalchemy as sa
import structlog

from scoreline import adapters, faults, pipeline
from scoreline.access import tokens
from scoreline.access.outside import Outside
from scoreline.errors import NotFound, ScorelineError, StoreError
from scoreline.jobs import credentials, keeping, states, ticket, uploads
from scoreline.jobs import ledger as ledgers
from scoreline.jobs import store as rows
from scoreline.jobs.model import JobState
from scoreline.settings import Settings
from scoreline.spool import Spool
from scoreline.store import Store, now
from scoreline.store.tables.jobs import jobs

_ABANDONED = timedelta(minutes=10)  # an API that died with an upload under way will not end it any more
_QUIET = timedelta(seconds=5)  # parts that are sent side by side have noticed by then that their job is over
_MARGIN_SECONDS = 30.0  # the API notices a silent client first
_PARTS_FACTOR = 5  # between two parts of a multipart upload a client may pause longer

_FIRST_PAUSE = 2.0
_LONGEST_PAUSE = 1800.0

_log = structlog.get_logger(__name__)


class Later:
    """When jobs that could not be cleaned are tried again: a target that is away must not hold workers up each time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without any; `clock` gives seconds that only grow."""
        self._clock = clock
        self._due: dict[str, tuple[float, float]] = {}

    def is_due(self, job_id: str) -> bool:
        """Say whether it is time for a job."""
        return self._clock() >= self._due.get(job_id, (0.0, 0.0))[0]

    def failed(self, job_id: str) -> None:
        """Let twice as long pass before the job's next time as before this one."""
        pause = min(max(_FIRST_PAUSE, 2 * self._due.get(job_id, (0.0, 0.0))[1]), _LONGEST_PAUSE)
        self._due[job_id] = self._clock() + pause, pause

    def done(self, job_id: str) -> None:
        """Forget a job."""
        self._due.pop(job_id, None)


def sweep(store: Store, spool: Spool, settings: Settings, later: Later | None = None) -> int:
    """Delete what is staged for jobs that are over, and what aborted ones had written; return how many jobs that were.

    Every worker may do it at any time. Raises StoreError; trouble with the spool or a job's target is logged and tried
    again, when `later` says.
    """
    later = later or Later()
    moment = now()
    with store.read() as connection:
        found = states.unclean(connection, moment - _ABANDONED, moment - _QUIET)
    done = 0
    for job_id, state in found:
        if not later.is_due(job_id):
            continue
        try:
            spool.delete_stream(f"uploads/{job_id}")
            pipeline.Stage(spool, job_id).delete()
            if state is JobState.ABORTED:
                _remove_output(store, spool, settings, job_id)
            spool.delete_stream(f"staged/{job_id}")
        except ScorelineError as exc:
            _log.warning("What a job wrote could not be deleted yet", job_id=job_id, cause=exc.message)
            later.failed(job_id)
            continue
        later.done(job_id)
        tokens.end_runs(store, job_id)
        faults.at("job.cleaning")
        done += store.run(lambda connection, job_id=job_id: states.cleaned(connection, job_id))  # type: ignore[misc]  # mypy cannot type a lambda with a default
    return done


def _remove_output(store: Store, spool: Spool, settings: Settings, job_id: str) -> None:
    """Remove what the job's runs wrote, if they came to that; the last of them may have died with it half done."""
    with store.read() as connection:
        job = rows.find(connection, job_id)
        states_of_output = ledgers.output_states(connection, job_id)
    if job is None or not states_of_output:
        return
    with ExitStack() as stack:
        keys = credentials.keys(store, Outside.of(store, settings), job.owner.id, job.spec, stack)
        try:
            output = adapters.open_output(ticket.for_removal(store, spool.url, job, settings), spool, keys.output)
        except NotFound as exc:
            # Nobody has the key to the target any more: what lies there cannot be removed from here.
            _log.warning("What an aborted job wrote stays where it is", job_id=job_id, cause=exc.message)
            return
        stack.callback(output.close)
        for state in states_of_output:
            output.abort(state)


def let_go_on(store: Store, spool: Spool) -> int:
    """Let jobs go on that wait for space, as far as there is some; return how many. Raises StoreError."""
    query = (
        sa.select(jobs.c.id, jobs.c.space_wanted)
        .where(jobs.c.state == JobState.INITIALIZING, jobs.c.space_wanted.is_not(None))
        .order_by(jobs.c.priority.desc(), jobs.c.queued_at, jobs.c.id)
    )
    with store.read() as connection:
        found = connection.execute(query).all()
    done = wanted = 0
    for row in found:
        wanted += row.space_wanted
        try:
            spool.check_space(wanted, f"results/{row.id}")
        except ScorelineError:
            break
        done += store.run(lambda connection, job_id=row.id: states.has_space(connection, job_id))  # type: ignore[misc]  # mypy cannot type a lambda with a default
    return done


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
    """Ends jobs whose upload shows no sign of life, when there is no API to do it. `look` every few seconds."""

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
            found = [one for one in uploads.unfinished(connection) if not one.rests and not one.over]
        moment = self._clock()
        before, self._since = self._since, {}
        for one in found:
            self._since[one.job_id, one.beat] = since = before.get((one.job_id, one.beat), moment)
            if moment - since >= self._patience(one):
                self._give_up(one, moment - since)

    def _patience(self, one: uploads.Open) -> float:
        if not one.in_parts:
            return self._idle_seconds
        return _PARTS_FACTOR * self._idle_seconds if one.in_line else self._parts_seconds

    def _give_up(self, one: uploads.Open, silence: float) -> None:
        reason = f"Receiving the upload failed: nothing came for {silence:.0f} s; send the file again with a new job."
        self._store.run(lambda connection: uploads.give_up(connection, one.job_id, reason, None, beat=one.beat))
