"""How long things are kept: results and keys after their job's end, jobs whose data never comes, bytes without a job.

These limits are days, so they go by the wall clock; every worker may apply them at any time.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from scoreline.access.vault import Vault
from scoreline.catalog import keeping as catalogue
from scoreline.errors import ScorelineError
from scoreline.jobs import datasets, outbox, uploads
from scoreline.jobs import store as rows
from scoreline.jobs.model import JobState, UploadState, clock
from scoreline.jobs.spec import LOCAL_FILE
from scoreline.spool import Spool
from scoreline.store import Store, now
from scoreline.store.tables.jobs import jobs

_KEPT = ("results", "errors")
_STAGED = ("uploads", "staged", "parts", *_KEPT)
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


def expire_keys(store: Store, hours: float) -> int:
    """Forget the keys of jobs that are over, for as long as their results are kept; return of how many jobs.

    Until then a job can be created again with them. Raises StoreError.
    """
    query = sa.select(jobs.c.id, jobs.c.secret_id, jobs.c.finished_at, jobs.c.retention_hours).where(
        jobs.c.secret_id.is_not(None),
        jobs.c.state.in_((JobState.COMPLETED, JobState.ABORTED)),
        jobs.c.cleaned_at.is_not(None),  # what a job has half written is removed with its keys
        sa.not_(outbox.waits(jobs.c.id)),  # what is still to be sent is signed with them
    )
    with store.read() as connection:
        found = connection.execute(query).all()
    moment, done = now(), 0
    for row in found:
        kept = hours if row.retention_hours is None else row.retention_hours
        if row.finished_at + timedelta(hours=kept) <= moment:
            done += store.run(lambda connection, row=row: _forget_keys(connection, row.id, row.secret_id))  # type: ignore[misc]  # mypy cannot type a lambda with a default
    return done


def forget_messages(store: Store, hours: float) -> int:
    """Forget messages to webhooks that were delivered, or given up, `hours` ago; return how many. Raises StoreError."""
    before = now() - timedelta(hours=hours)
    return store.run(lambda connection: outbox.forget(connection, before))


def purge_datasets(store: Store, spool: Spool, hours: float) -> int:
    """Delete datasets for good that were deleted `hours` ago and that no job reads; return how many.

    Raises StoreError.
    """
    return catalogue.purge(
        store, spool, hours, lambda connection, dataset_id: datasets.reader(connection, dataset_id) is not None
    )


def expire_waiting(store: Store, hours: float) -> int:
    """Abort jobs whose data has not begun to come for `hours`; return how many. Raises StoreError."""
    late = sa.select(jobs.c.id, jobs.c.upload_beat).where(
        jobs.c.state == JobState.INITIALIZING,
        jobs.c.upload_state == UploadState.WAITING,
        jobs.c.paused_at.is_(None),
        jobs.c.created_at < now() - timedelta(hours=hours),
    )
    with store.read() as connection:
        found = connection.execute(late).all()
    reason = f"Waiting for the data failed: nothing came for {hours:g} h after the job was created; create it again."
    return sum(_give_up(store, row.id, row.upload_beat, reason) for row in found)


def delete_orphans(store: Store, spool: Spool) -> int:
    """Delete staged bytes of no dataset, and of no job or one that needs them no more; return of how many.

    Raises StoreError, SpoolError.
    """
    deleted = 0
    for kind in _STAGED:
        there: dict[str, list[str]] = {}
        for key in spool.blobs.list(kind):
            there.setdefault(key.split("/")[1].partition("-")[0], []).append(key)  # markers are named <job>-<what>
        for job_id in there.keys() - _wanted(store, kind, sorted(there)):
            _log.warning("staged bytes without a job deleted", job_id=job_id, kind=kind)
            for key in there[job_id]:
                if key.count("/") == 1:
                    spool.delete_object(key)
            spool.delete_stream(f"{kind}/{job_id}")
            deleted += 1
    return deleted + catalogue.delete_orphans(store, spool)


def _wanted(store: Store, kind: str, job_ids: list[str]) -> set[str]:
    """Return those jobs whose bytes of this kind may still be needed."""
    settled = sa.and_(jobs.c.cleaned_at.is_not(None), jobs.c.finished_at < now() - _SETTLED)
    deleted, aborted = jobs.c.results_deleted_at.is_not(None), jobs.c.state == JobState.ABORTED
    gone = sa.and_(
        settled,
        {"results": sa.or_(aborted, deleted), "errors": deleted}.get(kind, sa.true()),
    )
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


def _forget_keys(connection: Connection, job_id: str, secret_id: str) -> bool:
    held = jobs.update().where(jobs.c.id == job_id, jobs.c.secret_id == secret_id)
    if connection.execute(held.values(secret_id=None)).rowcount != 1:
        return False
    Vault.delete_in(connection, secret_id)
    rows.add_log(connection, job_id, [f"Keys among the settings deleted at {clock(now())}"])
    return True


def _note_deletion(connection: Connection, job_id: str, hours: float) -> bool:
    moment = now()
    kept = jobs.update().where(jobs.c.id == job_id, jobs.c.results_deleted_at.is_(None))
    if connection.execute(kept.values(results_deleted_at=moment)).rowcount != 1:
        return False
    rows.add_log(connection, job_id, [f"Result deleted at {clock(moment)}: it was kept for {hours:g} h"])
    return True


def _give_up(store: Store, job_id: str, beat: int, reason: str) -> bool:
    return store.run(lambda connection: uploads.give_up(connection, job_id, reason, None, beat=beat))
