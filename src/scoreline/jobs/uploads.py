"""The client's upload as the job's row knows it. The bytes are in the spool.

    WAITING --begin--> RUNNING --finish--> DONE
                        |   ^
                interrupt   begin, when no row is recorded yet: what came before is forgotten
                        v   |
                    INTERRUPTED --give up--> BROKEN, and the job is aborted
                        |   ^
      begin, when rows are  interrupt
             recorded   v   |
                      REPEATED --finish--> DONE

Each request that sends data is a sender with a name of its own, which is also the name of the stream that it writes. A
sender's changes name it: once another one has taken its place they change nothing. An upload in parts has many senders
at once; the name of the latest says which API process to watch.

No run begins while an upload is INTERRUPTED or REPEATED, and one that is under way ends. With rows in the ledger, what
is sent again must begin with all that was staged before (`spool.Matching`), and takes its place when it is whole: so no
run ever reads bytes of two attempts. Changes are by compare-and-set, as in `jobs.states`; functions return whether (or
what) they changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.jobs import states, store
from scoreline.jobs.model import Job, JobState, UploadState, clock
from scoreline.store import now
from scoreline.store.tables.jobs import jobs, ledger

_LIVE = (JobState.INITIALIZING, JobState.RUNNING)
_SENDING = (UploadState.RUNNING, UploadState.REPEATED)
_OPEN = (*_SENDING, UploadState.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Begun:
    """What a sender may do. reference: the stream that its bytes must begin with. left: a stream nobody needs now."""

    reference: str | None = None
    left: str | None = None


def begin(connection: Connection, job: Job, expected: int | None, sender: str) -> Begun | None:
    """Begin the upload, or begin it again after a break; parts may each say so. None when it is not the time for it."""
    values: dict[str, Any] = {"upload_expected": expected, "upload_sender": sender, "upload_trouble": None}
    if job.spec.multipart:
        before = (UploadState.WAITING, UploadState.RUNNING, UploadState.INTERRUPTED)
        begun = Begun() if _change(connection, job.id, before, UploadState.RUNNING, values) else None
    else:
        values |= {"upload_bytes": 0}
        whole = values | {"upload_stream": sender}
        if _change(connection, job.id, [UploadState.WAITING], UploadState.RUNNING, whole):
            begun = Begun()
        else:
            begun = _begin_again(connection, job.id, values, sender)
    if begun is not None and begun.reference is None and not job.spec.waits_for_all_data:
        states.enqueue(connection, job.id)
    return begun


def _begin_again(connection: Connection, job_id: str, values: dict[str, Any], sender: str) -> Begun | None:
    if not _change(connection, job_id, [UploadState.INTERRUPTED], UploadState.REPEATED, values):
        return None
    before = connection.scalar(sa.select(jobs.c.upload_stream).where(jobs.c.id == job_id))
    store.add_log(connection, job_id, [f"Upload begins again at {clock(now())}"])
    if connection.scalar(sa.select(sa.func.count()).select_from(ledger).where(ledger.c.job_id == job_id)):
        return Begun(reference=before)
    anew = {"upload_stream": sender}
    _change(connection, job_id, [UploadState.REPEATED], UploadState.RUNNING, anew)
    return Begun(left=before)


def grow(connection: Connection, job_id: str, received: int, sender: str | None = None) -> bool:
    """Note the bytes staged so far; the number never goes back. sender: None for parts, any of which may say it."""
    if sender is None:
        # Any part that comes shows that the client goes on.
        live = sa.and_(jobs.c.id == job_id, jobs.c.state.in_(_LIVE), jobs.c.upload_state.in_(_OPEN))
        return _set(connection, live, received, {"upload_state": UploadState.RUNNING})
    mine = sa.and_(jobs.c.state.in_(_LIVE), jobs.c.upload_state.in_(_SENDING), _sent_by(job_id, sender))
    return _set(connection, mine, received, {})


def end_part(connection: Connection, job_id: str, received: int, sender: str) -> bool:
    """Note that a part is whole: its API process need not live on for it."""
    done = grow(connection, job_id, received)
    connection.execute(jobs.update().where(_sent_by(job_id, sender)).values(upload_sender=None))
    return done


def finish(connection: Connection, job_id: str, received: int, sender: str | None = None) -> bool:
    """Note that the upload is whole, and put the job in line if it is not there yet.

    A small job may be completed before; an aborted one wants no data. sender: None for parts.
    """
    mine = sa.and_(jobs.c.id == job_id, jobs.c.state != JobState.ABORTED)
    values: dict[str, Any] = {"upload_state": UploadState.DONE, "upload_trouble": None}
    if sender is None:
        mine = sa.and_(mine, jobs.c.upload_state.in_((*_OPEN, UploadState.DONE)))
    else:
        mine = sa.and_(mine, jobs.c.upload_state.in_((*_SENDING, UploadState.DONE)), _sent_by(job_id, sender))
        values |= {"upload_stream": sender}
    if not _set(connection, mine, received, values):
        return False
    states.enqueue(connection, job_id)
    return True


def interrupt(
    connection: Connection,
    job_id: str,
    trouble: str,
    *,
    sender: str,
    received: int | None = None,
    beat: int | None = None,
) -> bool:
    """Note that a sender will send no more, though data is missing: the job waits for a while to get it again.

    trouble: what happened, the end of a sentence. received: bytes staged, None to keep the number. beat: only if it is
    the upload's still. Of a job with parts that waits for all of them nothing changes but that the sender is gone.
    """
    # A run that puts its result in place has all of the data, whatever its sender has said of it.
    mine = sa.and_(jobs.c.upload_state.in_(_SENDING), _sent_by(job_id, sender), jobs.c.committing_at.is_(None))
    if beat is not None:
        mine = sa.and_(mine, jobs.c.upload_beat == beat)
    job = store.find(connection, job_id, mine)
    if job is None:
        return False
    after = UploadState.INTERRUPTED
    if job.state.final:
        after = UploadState.BROKEN
    elif job.spec.multipart and job.spec.waits_for_all_data:
        after = job.upload_state
    values: dict[str, Any] = {
        "upload_state": after,
        "upload_sender": None,
        "upload_trouble": trouble,
        "upload_beat": jobs.c.upload_beat + 1,
    }
    if received is not None:
        values["upload_bytes"] = received
    if connection.execute(jobs.update().where(mine).values(values)).rowcount != 1:
        return False
    if after is UploadState.INTERRUPTED:
        states.let_rest(connection, job_id)
        store.add_log(connection, job_id, [f"Upload interrupted at {clock(now())}: {trouble}"])
    return True


def give_up(
    connection: Connection,
    job_id: str,
    reason: str,
    received: int | None,
    *,
    sender: str | None = None,
    beat: int | None = None,
) -> bool:
    """Note that the upload will never be whole, and abort the job if it is not over.

    sender, beat: only if they are the upload's still.
    """
    mine = sa.and_(jobs.c.id == job_id, jobs.c.upload_state.in_((UploadState.WAITING, *_OPEN)))
    if sender is not None:
        mine = sa.and_(mine, _sent_by(job_id, sender))
    if beat is not None:
        mine = sa.and_(mine, jobs.c.upload_beat == beat)
    if not _set(connection, mine, received or 0, {"upload_state": UploadState.BROKEN}):
        return False
    states.abort(connection, job_id, reason)
    return True


@dataclass(frozen=True, slots=True)
class Open:
    """An upload that is not whole.

    in_parts: it comes in numbered parts. in_line: its job has a place in the queue, or runs. rests: a user paused the
    job. over: the job is. beat: changes while the upload lives, and with every change of its state. sender: who sends,
    None when nobody does. received: bytes. trouble: how it was interrupted.
    """

    job_id: str
    state: UploadState
    in_parts: bool
    in_line: bool
    rests: bool
    over: bool
    beat: int
    sender: str | None
    received: int
    trouble: str | None


def unfinished(connection: Connection) -> list[Open]:
    """Return the uploads that have begun and are not whole, of jobs that are not cleaned up."""
    query = sa.select(
        *(jobs.c.id, jobs.c.spec, jobs.c.state, jobs.c.queued_at, jobs.c.paused_at, jobs.c.upload_state),
        *(jobs.c.upload_beat, jobs.c.upload_sender, jobs.c.upload_bytes, jobs.c.upload_trouble),
    ).where(jobs.c.cleaned_at.is_(None), jobs.c.upload_state.in_(_OPEN))
    return [
        Open(
            job_id=row.id,
            state=UploadState(row.upload_state),
            in_parts=row.spec["intakeSettings"].get("multipart") is True,
            in_line=row.queued_at is not None,
            rests=row.paused_at is not None,
            over=JobState(row.state).final,
            beat=row.upload_beat,
            sender=row.upload_sender,
            received=row.upload_bytes,
            trouble=row.upload_trouble,
        )
        for row in connection.execute(query)
    ]


def _sent_by(job_id: str, sender: str) -> sa.ColumnElement[bool]:
    return sa.and_(jobs.c.id == job_id, jobs.c.upload_sender == sender)


def _change(
    connection: Connection, job_id: str, before: Sequence[UploadState], after: UploadState, values: dict[str, Any]
) -> bool:
    change = jobs.update().where(jobs.c.id == job_id, jobs.c.state.in_(_LIVE), jobs.c.upload_state.in_(before))
    values = values | {"upload_state": after, "upload_beat": jobs.c.upload_beat + 1}
    return connection.execute(change.values(values)).rowcount == 1


def _set(connection: Connection, mine: sa.ColumnElement[bool], received: int, more: dict[str, Any]) -> bool:
    values = {
        "upload_bytes": states.larger(jobs.c.upload_bytes, received),
        "upload_beat": jobs.c.upload_beat + 1,
    } | more
    return connection.execute(jobs.update().where(mine).values(values)).rowcount == 1
