"""Every change of a job's state, each by compare-and-set: the state expected before stands in the WHERE clause.

    INITIALIZING --claim--> RUNNING --complete--> COMPLETED
         |  ^--pause, let rest-+
         +----- abort ---------+--- fail, abort ---> ABORTED

A job that is paused is INITIALIZING, and out of the line until it is resumed. So is one whose data broke off, until the
data is sent again (`jobs.uploads`), and one that waits for space.

Once its output is being put in place a job can be neither paused nor aborted: what others see of it then cannot be
taken back.

A worker's changes name its run, too (`Run`): once another run has the job, or the job is over, they change nothing and
say so. Functions take the transaction's connection; they return whether (or what) they changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline import faults
from scoreline.jobs import outbox, outcomes, store
from scoreline.jobs.model import JobState, UploadState, clock
from scoreline.store import now
from scoreline.store.tables import BigInt
from scoreline.store.tables.jobs import jobs
from scoreline.store.tables.registry import prediction_servers
from scoreline.types import Counts, Snapshot

MOST_SILENT_RUNS = 5
"""Runs that end without adding to the ledger (their workers died) before the job is given up."""

_LIVE = (JobState.INITIALIZING, JobState.RUNNING)
_BEFORE_THE_END = 99.0


@dataclass(frozen=True, slots=True)
class Run:
    """One worker's hold on a job. `fence` numbers the holds; a write for an older one is refused."""

    job_id: str
    fence: int
    owner: str


def enqueue(connection: Connection, job_id: str) -> bool:
    """Put a job in line, once. Its log says how many jobs are ahead."""
    change = jobs.update().where(jobs.c.id == job_id, jobs.c.state == JobState.INITIALIZING, jobs.c.queued_at.is_(None))
    moment = now()
    if not _changed(connection, change.values(queued_at=_not_before(jobs.c.created_at, moment))):
        return False
    ahead = store.ahead(connection, job_id) or 0
    store.add_log(connection, job_id, [f"Job submitted to the queue at {clock(moment)}: {ahead} job(s) ahead"])
    return True


def due_server(connection: Connection) -> str | None:
    """Return the server with a free slot whose first waiting job waits longest. One cheap query."""
    return connection.scalar(_DUE)


def claim(connection: Connection, server_id: str, owner: str) -> Run | None:
    """Start the first job in the server's line, if a slot is free. The row lock on the server keeps claimers apart."""
    lock = sa.select(prediction_servers.c.slots).where(prediction_servers.c.id == server_id).with_for_update()
    slots = connection.scalar(lock) or 0
    here = jobs.c.server_id == server_id
    running = sa.select(sa.func.count()).select_from(jobs).where(here, jobs.c.state == JobState.RUNNING)
    if (connection.scalar(running) or 0) >= slots:
        return None
    first = sa.select(jobs.c.id).where(here, _WAITING).order_by(*_LINE).limit(1).scalar_subquery()
    row = connection.execute(sa.select(jobs.c.id, jobs.c.fence, jobs.c.started_at).where(jobs.c.id == first)).first()
    if row is None:
        return None
    moment = now()
    change = jobs.update().where(jobs.c.id == row.id, _WAITING, jobs.c.fence == row.fence)
    values = _taken(owner) | {
        "state": JobState.RUNNING,
        "started_at": sa.func.coalesce(jobs.c.started_at, _not_before(jobs.c.queued_at, moment)),
        "silent_runs": 0,
    }
    if not _changed(connection, change.values(values)):
        return None
    again = f"Job goes on at {clock(moment)} as run {row.fence + 1}"
    begins = f"Job started processing at {clock(moment)}"
    store.add_log(connection, row.id, [begins if row.started_at is None else again])
    if row.started_at is None:
        outbox.note(connection, row.id, "started")
    faults.at("job.claiming")
    return Run(row.id, row.fence + 1, owner)


def pause(connection: Connection, job_id: str, username: str) -> bool:
    """Let a live job rest: its run ends, its slot is free, and what is in its ledger stays done."""
    moment = now()
    awake = sa.and_(jobs.c.id == job_id, _OPEN, jobs.c.paused_at.is_(None))
    values = {"state": JobState.INITIALIZING, "paused_at": moment, "lease_owner": None}
    if not _changed(connection, jobs.update().where(awake).values(values)):
        return False
    store.add_log(connection, job_id, [f"Job paused by {username} at {clock(moment)}"])
    return True


def let_rest(connection: Connection, job_id: str) -> bool:
    """End a job's run because its data breaks off: it waits, and what is in its ledger stays done."""
    running = jobs.update().where(jobs.c.id == job_id, _OPEN, jobs.c.state == JobState.RUNNING)
    return _changed(connection, running.values(state=JobState.INITIALIZING, lease_owner=None))


def wait_for_space(connection: Connection, run: Run, wanted: int, reason: str) -> bool:
    """Let the run's job rest until `wanted` bytes can be staged; what is in its ledger stays done."""
    values = {"state": JobState.INITIALIZING, "space_wanted": wanted, "lease_owner": None}
    if not _changed(connection, jobs.update().where(held(run)).values(values)):
        return False
    store.add_log(connection, run.job_id, [f"Job waits for space since {clock(now())}: {reason}"])
    return True


def has_space(connection: Connection, job_id: str) -> bool:
    """Let a job go on that waited for space; in the line it has the place that it had."""
    resting = sa.and_(jobs.c.id == job_id, jobs.c.state.in_(_LIVE), jobs.c.space_wanted.is_not(None))
    if not _changed(connection, jobs.update().where(resting).values(space_wanted=None)):
        return False
    store.add_log(connection, job_id, [f"There is space for the job at {clock(now())}"])
    return True


def resume(connection: Connection, job_id: str, username: str) -> bool:
    """Let a job that rests go on; in the line it has the place that it had."""
    resting = sa.and_(jobs.c.id == job_id, jobs.c.state == JobState.INITIALIZING, jobs.c.paused_at.is_not(None))
    if not _changed(connection, jobs.update().where(resting).values(paused_at=None)):
        return False
    store.add_log(connection, job_id, [f"Job resumed by {username} at {clock(now())}"])
    return True


def unowned(connection: Connection) -> tuple[str, int] | None:
    """Return a running job (and its fence) whose lease was given back: it waits for a worker to go on with it."""
    row = connection.execute(_UNOWNED).first()
    return None if row is None else (row.id, row.fence)


def adopt(connection: Connection, job_id: str, fence: int, beat: int | None, owner: str) -> Run | None:
    """Take over a running job as it was seen: with this fence and, if it has an owner, this beat of its lease.

    None when it has changed since, or when it is given up: too many runs of it ended without any progress.
    """
    seen = jobs.c.lease_owner.is_(None) if beat is None else jobs.c.lease_beat == beat
    mine = sa.and_(jobs.c.id == job_id, jobs.c.state == JobState.RUNNING, jobs.c.fence == fence, seen)
    row = connection.execute(sa.select(jobs.c.silent_runs, jobs.c.lease_owner).where(mine)).first()
    if row is None:
        return None
    if row.silent_runs + 1 >= MOST_SILENT_RUNS:
        reason = (
            f"Running the job failed: {MOST_SILENT_RUNS} workers in a row died with it before they got any further; "
            "look at the workers' logs and memory, then create the job again."
        )
        _end(connection, mine, job_id, JobState.ABORTED, reason, lease_owner=None)
        return None
    silent = row.silent_runs + 1
    if not _changed(connection, jobs.update().where(mine).values(_taken(owner) | {"silent_runs": silent})):
        return None
    how = "taken up again" if row.lease_owner is None else "taken over from a worker that was silent"
    store.add_log(connection, job_id, [f"Job {how} at {clock(now())} as run {fence + 1}"])
    return Run(job_id, fence + 1, owner)


def renew(connection: Connection, run: Run, snapshot: Snapshot | None, seconds: float = 0.0) -> bool:
    """Show that the run's worker lives, and how far the run is. Counters never go back.

    seconds: how long the run took since this was last told.
    """
    values: dict[str, Any] = {"lease_beat": jobs.c.lease_beat + 1, "ran_seconds": jobs.c.ran_seconds + seconds}
    if snapshot is not None:
        values |= grown(snapshot.counts, snapshot.bytes_in, snapshot.bytes_out, snapshot.bytes_total)
        values |= {"live_concurrency": snapshot.concurrency, "live_chunk_bytes": snapshot.chunk_bytes}
    return _changed(connection, jobs.update().where(held(run)).values(values))


def let_go(connection: Connection, run: Run, *, fault: bool = False) -> bool:
    """Give the job back while it still runs, for the next worker to go on at once.

    fault: the run counts as one that died, so that a job which always ends like this is given up after some runs.
    """
    # The taker counts one more silent run; after an orderly end that evens out.
    values = {"lease_owner": None, "silent_runs": jobs.c.silent_runs - (0 if fault else 1)}
    return _changed(connection, jobs.update().where(held(run)).values(values))


def let_go_all(connection: Connection, owner: str) -> int:
    """Give back all that a worker held which is known to be dead; return how many jobs that were."""
    result = connection.execute(jobs.update().where(jobs.c.lease_owner == owner).values(lease_owner=None))
    return int(result.rowcount)


def forget_owner(connection: Connection, job_id: str, fence: int) -> bool:
    """Note that the worker of this run is done with a job that is over, or gone: it can be cleaned up."""
    change = jobs.update().where(jobs.c.id == job_id, jobs.c.state.in_(_FINAL), jobs.c.fence == fence)
    return _changed(connection, change.values(lease_owner=None))


def unclean(connection: Connection, abandoned: datetime, quiet: datetime) -> list[tuple[str, JobState]]:
    """Return jobs that are over and whose staged bytes nobody uses any more.

    An upload that still runs is left alone, unless its job ended before `abandoned`; one in parts of which none is
    being sent, unless it ended before `quiet`.
    """
    sending = jobs.c.upload_state.in_((UploadState.RUNNING, UploadState.REPEATED))
    between_parts = sa.and_(jobs.c.upload_sender.is_(None), jobs.c.finished_at < quiet)
    done = sa.or_(sa.not_(sending), jobs.c.finished_at < abandoned, between_parts)
    query = sa.select(jobs.c.id, jobs.c.state).where(
        jobs.c.state.in_(_FINAL), jobs.c.cleaned_at.is_(None), jobs.c.lease_owner.is_(None), done
    )
    return [(row.id, JobState(row.state)) for row in connection.execute(query.limit(100))]


def cleaned(connection: Connection, job_id: str) -> bool:
    """Note that a job's staged bytes are deleted, those of its result excepted if it was completed."""
    change = jobs.update().where(jobs.c.id == job_id, jobs.c.cleaned_at.is_(None))
    return _changed(connection, change.values(cleaned_at=now()))


def clean_again(connection: Connection, job_id: str) -> bool:
    """Let a job that is over be swept once more: a run that did not know of its end has written since."""
    change = jobs.update().where(jobs.c.id == job_id, jobs.c.state.in_(_FINAL))
    return _changed(connection, change.values(cleaned_at=None))


def complete(
    connection: Connection, run: Run, counts: Counts, bytes_in: int, bytes_out: int, *, sha256: str | None = None
) -> bool:
    """End the run's job well, with its final counts and the digest of its output."""
    moment = now()
    reason = (
        f"Job done processing at {clock(moment)}: "
        f"{counts.scored} rows scored, {counts.failed} failed, {counts.skipped} skipped"
    )
    values: dict[str, Any] = {
        "rows_read": counts.read,
        "rows_scored": counts.scored,
        "rows_failed": counts.failed,
        "rows_skipped": counts.skipped,
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
        "result_sha256": sha256,
        "percentage": 100.0,
        "lease_owner": None,
    }
    return _end(connection, held(run), run.job_id, JobState.COMPLETED, reason, **values)


def fail(connection: Connection, run: Run, reason: str) -> bool:
    """End the run's job for a fault."""
    return _end(connection, held(run), run.job_id, JobState.ABORTED, reason, lease_owner=None)


def abort(connection: Connection, job_id: str, reason: str, *, cancelled: bool = False) -> bool:
    """End a live job from outside, unless its output is being put in place.

    Its worker, if it has one, keeps its name in the row until it has cleaned up. cancelled: nobody wants it any more,
    so that its end is no fault.
    """
    here = sa.and_(jobs.c.id == job_id, _OPEN)
    return _end(connection, here, job_id, JobState.ABORTED, reason, fault=not cancelled)


def hide(connection: Connection, job_id: str, moment: datetime | None) -> bool:
    """Take a finished job from the lists, or (None) show it again."""
    change = jobs.update().where(jobs.c.id == job_id, jobs.c.state.in_(_FINAL))
    return _changed(connection, change.values(hidden_at=moment))


def held(run: Run) -> sa.ColumnElement[bool]:
    """Return the clause that is true as long as the run has its job."""
    return sa.and_(
        jobs.c.id == run.job_id,
        jobs.c.state == JobState.RUNNING,
        jobs.c.fence == run.fence,
        jobs.c.lease_owner == run.owner,
    )


def server_of_job(connection: Connection, job_id: str, holds: sa.ColumnElement[bool]) -> str | None:
    """Return the present address of the server that a running job uses; None when `holds` is not true any more."""
    query = sa.select(prediction_servers.c.url).join(jobs, jobs.c.server_id == prediction_servers.c.id)
    return connection.scalar(query.where(jobs.c.id == job_id, jobs.c.state == JobState.RUNNING, holds))


def state_of(connection: Connection, job_id: str) -> JobState | None:
    """Return a job's state; None when there is no such job."""
    state = connection.scalar(sa.select(jobs.c.state).where(jobs.c.id == job_id))
    return None if state is None else JobState(state)


def grown(counts: Counts, bytes_in: int | None, bytes_out: int, total: int | None = None) -> dict[str, Any]:
    """Return new values for the counters, none of them smaller than before.

    With `bytes_in`, the percentage, too: of `total` bytes, or of those that an upload has or was announced with.
    """
    values = {
        "rows_read": larger(jobs.c.rows_read, counts.read),
        "rows_scored": larger(jobs.c.rows_scored, counts.scored),
        "rows_failed": larger(jobs.c.rows_failed, counts.failed),
        "rows_skipped": larger(jobs.c.rows_skipped, counts.skipped),
        "bytes_out": larger(jobs.c.bytes_out, bytes_out),
    }
    if bytes_in is None:
        return values
    consumed = larger(jobs.c.bytes_in, bytes_in)
    uploaded = sa.case((jobs.c.upload_state == UploadState.DONE, jobs.c.upload_bytes), else_=jobs.c.upload_expected)
    size = uploaded if total is None else sa.literal(total, BigInt)
    share = sa.case((size > 0, sa.cast(consumed, sa.Float(53)) * 100.0 / size), else_=0.0)
    capped = sa.case((share > _BEFORE_THE_END, _BEFORE_THE_END), else_=share)
    return values | {"bytes_in": consumed, "percentage": larger(jobs.c.percentage, capped)}


_FINAL = (JobState.COMPLETED, JobState.ABORTED)
_OPEN = sa.and_(jobs.c.state.in_(_LIVE), jobs.c.committing_at.is_(None))
_WAITING = store.in_line(jobs)
_LINE = (jobs.c.priority.desc(), jobs.c.queued_at, jobs.c.id)


def _due() -> sa.Select[str]:
    """Count what runs once a server: while the slots are taken, the number of those who wait costs nothing."""
    running = jobs.alias("running")
    busy = (
        sa.select(sa.func.count())
        .select_from(running)
        .where(running.c.server_id == prediction_servers.c.id, running.c.state == JobState.RUNNING)
        .correlate(prediction_servers)
        .scalar_subquery()
    )
    free = sa.select(prediction_servers.c.id).where(busy < prediction_servers.c.slots)
    return sa.select(jobs.c.server_id).where(_WAITING, jobs.c.server_id.in_(free)).order_by(*_LINE).limit(1)


# Built once: idle workers ask these many times a second.
_DUE = _due()
_UNOWNED = (
    sa.select(jobs.c.id, jobs.c.fence)
    .where(jobs.c.state == JobState.RUNNING, jobs.c.lease_owner.is_(None))
    .order_by(jobs.c.started_at, jobs.c.id)
    .limit(1)
)


def _end(
    connection: Connection,
    expected: sa.ColumnElement[bool],
    job_id: str,
    state: JobState,
    reason: str,
    *,
    fault: bool = True,
    **more: Any,
) -> bool:
    """Make a state final where `expected` holds; `more` are further columns. fault: what ABORTED comes from."""
    moment = now()
    ended = sa.case((jobs.c.started_at.is_not(None), jobs.c.started_at), else_=jobs.c.created_at)
    change = jobs.update().where(expected)
    values = {"state": state, "reason": reason, "finished_at": _not_before(ended, moment)} | more
    if not _changed(connection, change.values(values)):
        return False
    line = reason if state is JobState.COMPLETED else f"Aborted at {clock(moment)}: {reason}"
    store.add_log(connection, job_id, [line])
    if state is JobState.COMPLETED:
        outcomes.succeeded(connection, job_id, moment)
    elif fault:
        outcomes.failed(connection, job_id, moment, reason)
    outbox.note(connection, job_id, state.lower())
    return True


def _taken(owner: str) -> dict[str, Any]:
    return {"lease_owner": owner, "fence": jobs.c.fence + 1, "lease_beat": jobs.c.lease_beat + 1}


def larger(column: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[Any]:
    """Return the larger of a column and a value, in the column's type."""
    typed = sa.literal(value, column.type) if isinstance(value, int | float) else value
    return sa.case((column >= typed, column), else_=typed)


def _not_before(column: sa.ColumnElement[Any], moment: datetime) -> sa.ColumnElement[Any]:
    """Return the moment, or the earlier event's when a clock was set back in between."""
    typed = sa.literal(moment, column.type)
    return sa.case((column > typed, column), else_=typed)


def _changed(connection: Connection, change: sa.Update) -> bool:
    return connection.execute(change).rowcount == 1
