"""How long things are kept: results after the end of their job, jobs whose data never comes, bytes without a job.

These limits are days, so they go by the wall clock; every worker may apply them at any time.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from scoreline.errors import ScorelineError
from scoreline.jobs import store as rows
from scoreline.jobs import uploads
from scoreline.jobs.model import JobState, UploadState, clock
from scoreline.jobs.spec import LOCAL_FILE
from scoreline.spool import Spool
from scoreline.store import Store, now
from scoreline.store.tables.jobs import jobs

_KEPT = ("results", "errors")
_STAGED = ("uploads", *_KEPT)
_SETTLED = timedelta(minutes=10)  # what is younger may belong to a request that still runs
_AT_ONCE = 500  # ids in one query

_log = structlog.get_logger(__name__)


def expire_results(store: Store, spool: Spool, hours: float) -> int:
    """Delete what was kept of jobs for its time, `hours` unless the job says otherwise; return of how many jobs.

    That is the result of a localFile output, and the list of failed rows of any job. Raises StoreError; trouble with
    the spool is logged and tried again next time.
    """
    moment = now()
    result = sa.and_(jobs.c.state == JobState.COMPLETED, jobs.c.output_type == LOCAL_FILE)
    query = sa.select(jobs.c.id, jobs.c.finished_at, jobs.c.retention_hours).where(
        jobs.c.state.in_((JobState.COMPLETED, JobState.ABORTED)),
        jobs.c.results_deleted_at.is_(None),
        sa.or_(result, jobs.c.rows_failed > 0),
    )
    with store.read() as connection:
        found = connection.execute(query).all()
    done = 0
    for row in found:
        kept = hours if row.retention_hours is None else row.retention_hours
        if row.finished_at + timedelta(hours=kept) <= moment:
            done += _delete_result(store, spool, row.id, kept)
    return done


def expire_waiting(store: Store, hours: float) -> int:
    """Abort jobs whose data has not begun to come for `hours`; return how many. Raises StoreError."""
    late = sa.select(jobs.c.id).where(
        jobs.c.state == JobState.INITIALIZING,
        jobs.c.upload_state == UploadState.WAITING,
        jobs.c.paused_at.is_(None),
        jobs.c.created_at < now() - timedelta(hours=hours),
    )
    with store.read() as connection:
        found = connection.scalars(late).all()
    reason = f"Waiting for the data failed: nothing came for {hours:g} h after the job was created; create it again."
    return sum(_give_up(store, job_id, reason) for job_id in found)


def delete_orphans(store: Store, spool: Spool) -> int:
    """Delete staged bytes that belong to no job, or to one that needs them no more; return of how many jobs.

    Raises StoreError, SpoolError.
    """
    deleted = 0
    for kind in _STAGED:
        there = {key.split("/")[1] for key in spool.blobs.list(kind)}
        for job_id in there - _wanted(store, kind, sorted(there)):
            _log.warning("staged bytes without a job deleted", job_id=job_id, kind=kind)
            spool.delete_stream(f"{kind}/{job_id}")
            deleted += 1
    return deleted


def _wanted(store: Store, kind: str, job_ids: list[str]) -> set[str]:
    """Return those jobs whose bytes of this kind may still be needed."""
    settled = sa.and_(jobs.c.cleaned_at.is_not(None), jobs.c.finished_at < now() - _SETTLED)
    deleted, aborted = jobs.c.results_deleted_at.is_not(None), jobs.c.state == JobState.ABORTED
    gone = sa.and_(settled, {"uploads": sa.true(), "results": sa.or_(aborted, deleted), "errors": deleted}[kind])
    found: set[str] = set()
    with store.read() as connection:
        for start in range(0, len(job_ids), _AT_ONCE):
            some = jobs.c.id.in_(job_ids[start : start + _AT_ONCE])
            found.update(
                connection.scalars(sa.select(jobs.c.id).where(some, sa.not_(sa.func.coalesce(gone, sa.false()))))
            )
    return found


def _delete_result(store: Store, spool: Spool, job_id: str, hours: float) -> bool:
    try:
        # The record goes first: a reader who comes in between is told that the result is not kept any more.
        if not store.run(lambda connection: _note_deletion(connection, job_id, hours)):
            return False
        for kind in _KEPT:
            spool.delete_stream(f"{kind}/{job_id}")
    except ScorelineError as exc:
        _log.warning("a result could not be deleted", job_id=job_id, cause=exc.message)
        return False
    return True


def _note_deletion(connection: Connection, job_id: str, hours: float) -> bool:
    moment = now()
    kept = jobs.update().where(jobs.c.id == job_id, jobs.c.results_deleted_at.is_(None))
    if connection.execute(kept.values(results_deleted_at=moment)).rowcount != 1:
        return False
    rows.add_log(connection, job_id, [f"Result deleted at {clock(moment)}: it was kept for {hours:g} h"])
    return True


def _give_up(store: Store, job_id: str, reason: str) -> bool:
    return store.run(lambda connection: uploads.give_up(connection, job_id, reason, None))
