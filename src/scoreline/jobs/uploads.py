"""The client's upload as the job's row knows it: waiting, running, done or broken. The bytes are in the spool.

Changes are by compare-and-set, as in `jobs.states`; functions return whether they changed anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.jobs import states
from scoreline.jobs.model import Job, JobState, UploadState
from scoreline.store.tables.jobs import jobs

_LIVE = (JobState.INITIALIZING, JobState.RUNNING)


def begin(connection: Connection, job: Job, expected: int | None) -> bool:
    """Begin the upload, once; parts of a multipart upload may each say so while it runs."""
    before = (UploadState.WAITING, UploadState.RUNNING) if job.spec.multipart else (UploadState.WAITING,)
    change = jobs.update().where(jobs.c.id == job.id, jobs.c.state.in_(_LIVE), jobs.c.upload_state.in_(before))
    values = {"upload_state": UploadState.RUNNING, "upload_expected": expected, "upload_beat": jobs.c.upload_beat + 1}
    if connection.execute(change.values(values)).rowcount != 1:
        return False
    if not job.spec.waits_for_all_data:
        states.enqueue(connection, job.id)
    return True


def grow(connection: Connection, job_id: str, received: int) -> bool:
    """Note the bytes staged so far; the number never goes back."""
    mine = sa.and_(jobs.c.id == job_id, jobs.c.state.in_(_LIVE), jobs.c.upload_state == UploadState.RUNNING)
    return _set(connection, mine, received, UploadState.RUNNING)


def finish(connection: Connection, job_id: str, received: int) -> bool:
    """Note that the upload is whole, and put the job in line if it is not there yet.

    A small job may be completed before; an aborted one wants no data.
    """
    mine = sa.and_(
        jobs.c.id == job_id,
        jobs.c.state != JobState.ABORTED,
        jobs.c.upload_state.in_((UploadState.RUNNING, UploadState.DONE)),
    )
    if not _set(connection, mine, received, UploadState.DONE):
        return False
    states.enqueue(connection, job_id)
    return True


def give_up(connection: Connection, job_id: str, reason: str, received: int | None) -> bool:
    """Note that the upload will never be whole, and abort the job if it is not over."""
    mine = sa.and_(jobs.c.id == job_id, jobs.c.upload_state.in_((UploadState.WAITING, UploadState.RUNNING)))
    if not _set(connection, mine, received or 0, UploadState.BROKEN):
        return False
    states.abort(connection, job_id, reason)
    return True


def _set(connection: Connection, mine: sa.ColumnElement[bool], received: int, state: UploadState) -> bool:
    values = {
        "upload_bytes": states.larger(jobs.c.upload_bytes, received),
        "upload_beat": jobs.c.upload_beat + 1,
        "upload_state": state,
    }
    return connection.execute(jobs.update().where(mine).values(values)).rowcount == 1


@dataclass(frozen=True, slots=True)
class Running:
    """An upload under way. in_line: its job has a place in the queue, or runs. beat: changes while the upload lives."""

    job_id: str
    in_parts: bool
    in_line: bool
    beat: int


def running(connection: Connection) -> list[Running]:
    """Return the uploads that run for jobs that are not over and do not rest."""
    query = sa.select(jobs.c.id, jobs.c.spec, jobs.c.queued_at, jobs.c.upload_beat).where(
        jobs.c.state.in_(_LIVE), jobs.c.paused_at.is_(None), jobs.c.upload_state == UploadState.RUNNING
    )
    return [
        Running(
            row.id,
            row.spec["intakeSettings"].get("multipart") is True,
            row.queued_at is not None,
            row.upload_beat,
        )
        for row in connection.execute(query)
    ]
