"""What a job definition remembers of its runs, noted in the transactions that make and end them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.store import Store
from scoreline.store.tables.definitions import job_definitions as table
from scoreline.store.tables.jobs import jobs


@dataclass(frozen=True, slots=True)
class Origin:
    """The definition that a job is made from. scheduled_for: the due time of a run by schedule.

    asked_by: who asked for a run out of turn. note: what the job's log says about the run. claim: takes the run in the
    transaction that makes its job, and raises what it likes for there to be none.
    """

    definition_id: str
    name: str
    scheduled_for: datetime | None = None
    asked_by: str | None = None
    note: str | None = None
    claim: Callable[[Connection], None] | None = None


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """What a job shows of the definition that it was made from, which may be gone by now. owner_id: a user's."""

    id: str
    name: str
    owner_id: str


def made(store: Store, connection: Connection, origin: Origin) -> str | None:
    """Return the job of a due run that was made before, None for a new one; nobody else decides this meanwhile."""
    store.lock(connection, f"job definition {origin.definition_id}")
    if origin.scheduled_for is None:
        return None
    same = sa.and_(jobs.c.definition_id == origin.definition_id, jobs.c.scheduled_for == origin.scheduled_for)
    return connection.scalar(sa.select(jobs.c.id).where(same))


def started(connection: Connection, origin: Origin, job_id: str, moment: datetime) -> None:
    """Note that a job was made."""
    change = table.update().where(table.c.id == origin.definition_id)
    connection.execute(change.values(last_job_id=job_id, last_started_at=moment))


def succeeded(connection: Connection, job_id: str, moment: datetime) -> None:
    """Note that a job was completed."""
    change = table.update().where(_made(job_id))
    connection.execute(change.values(last_succeeded_at=moment, failures=0, trouble=None))


def failed(connection: Connection, job_id: str, moment: datetime, why: str) -> None:
    """Note that a job ended for a fault; so many in a row disable its definition, if it says so."""
    connection.execute(table.update().where(_made(job_id)).values(_failure(moment, why)))


def refused(connection: Connection, definition_id: str, moment: datetime, why: str) -> None:
    """Note that a run failed before there was a job."""
    connection.execute(table.update().where(table.c.id == definition_id).values(_failure(moment, why)))


def _made(job_id: str) -> sa.ColumnElement[bool]:
    return table.c.id == sa.select(jobs.c.definition_id).where(jobs.c.id == job_id).scalar_subquery()


def _failure(moment: datetime, why: str) -> dict[str, Any]:
    enough = sa.and_(table.c.disable_after.is_not(None), table.c.failures + 1 >= table.c.disable_after)
    return {
        "last_failed_at": moment,
        "failures": table.c.failures + 1,
        "trouble": why,
        "enabled": sa.case((enough, sa.false()), else_=table.c.enabled),
        "next_run_at": sa.case((enough, sa.null()), else_=table.c.next_run_at),
        "waiting_for": sa.case((enough, sa.null()), else_=table.c.waiting_for),
        "version": sa.case((enough, table.c.version + 1), else_=table.c.version),
    }
