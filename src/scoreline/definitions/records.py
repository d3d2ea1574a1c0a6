"""A job definition as it is stored: rows in, records out.

Functions take the transaction's connection; what the caller may see is decided by the clause that is handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from scoreline.access import Caller, visible
from scoreline.jobs.model import JobState
from scoreline.registry.records import Owner, Page, fetch_page, owner_from, prefixed, unprefixed
from scoreline.store.tables.access import users
from scoreline.store.tables.definitions import job_definitions as table
from scoreline.store.tables.jobs import jobs
from scoreline.types import JsonObject


class Overlap(StrEnum):
    """What becomes of a run that is due while the one before is not over.

    QUEUE: it is made when the other one ends, one at most. SKIP: it is left out. REPLACE: the other one is aborted.
    """

    QUEUE = "queue"
    SKIP = "skip"
    REPLACE = "replace"


class CatchUp(StrEnum):
    """What becomes of runs that were due while no scheduler was there: the last one is made, or none."""

    ONCE = "once"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Definition:
    """One job definition.

    body: the fields of a job as they were given, keys among them masked (`secret_id` names the sealed ones).
    concurrency: shown where the body has no `numConcurrent`. schedule: the five lists as given. disable_after: failed
    runs in a row that disable it. next_run_at: when it is due, None unless it is enabled. waiting_for: the time of a
    due run that waits for the end of another. last_...: of its runs; `scheduled` says when one was due, whatever became
    of it. last_job_state: where the job that was made last is now. failures: failed runs in a row; trouble: why the
    last one failed or was left out. version grows with each change by a user.
    """

    id: str
    owner: Owner
    name: str
    enabled: bool
    body: JsonObject
    secret_id: str | None
    deployment_id: str | None
    concurrency: int
    schedule: JsonObject | None
    time_zone: str
    overlap: Overlap
    catch_up: CatchUp
    disable_after: int | None
    next_run_at: datetime | None
    waiting_for: datetime | None
    last_scheduled_at: datetime | None
    last_started_at: datetime | None
    last_succeeded_at: datetime | None
    last_failed_at: datetime | None
    last_skipped_at: datetime | None
    last_job_id: str | None
    last_job_state: JobState | None
    failures: int
    trouble: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    updated_by: Owner

    @property
    def message(self) -> str | None:
        """What there is to know about its last runs, in words; None when there is nothing."""
        if self.trouble and not self.enabled and self.disable_after is not None and self.failures >= self.disable_after:
            return f"Disabled, because {self.failures} runs in a row failed; the last one: {self.trouble}"
        return self.trouble


_editors = users.alias("editors")
_QUERY = (
    sa.select(
        *prefixed(table, "d_"), *prefixed(users, "u_"), *prefixed(_editors, "e_"), jobs.c.state.label("last_job_state")
    )
    .select_from(table)
    .join(users, users.c.id == table.c.owner_id)
    .join(_editors, _editors.c.id == table.c.updated_by)
    .outerjoin(jobs, jobs.c.id == table.c.last_job_id)
    .where(table.c.deleted_at.is_(None))
)
_ONE = _QUERY.where(table.c.id == sa.bindparam("definition_id"))


def find(connection: Connection, definition_id: str, *clauses: sa.ColumnElement[bool]) -> Definition | None:
    """Return a definition, None when there is none that the clauses let through."""
    query = _ONE.where(*clauses) if clauses else _ONE
    row = connection.execute(query, {"definition_id": definition_id}).mappings().first()
    return None if row is None else _definition(row)


def select(
    connection: Connection, *clauses: sa.ColumnElement[bool], order: sa.ColumnElement[Any], limit: int
) -> list[Definition]:
    """Return the first definitions of all organisations that the clauses let through."""
    rows = connection.execute(_QUERY.where(*clauses).order_by(order, table.c.id).limit(limit)).mappings()
    return [_definition(row) for row in rows]


def page(
    connection: Connection,
    caller: Caller,
    *,
    search: str | None = None,
    deployment_id: str | None = None,
    offset: int = 0,
    limit: int | None = 100,
) -> Page[Definition]:
    """Return one page of the definitions that the caller may see, the newest first. search: a part of names."""
    query = _QUERY.where(visible(caller, table))
    if search is not None:
        query = query.where(table.c.name.icontains(search, autoescape=True))
    if deployment_id is not None:
        query = query.where(table.c.deployment_id == deployment_id)
    order = [table.c.created_at.desc(), table.c.id.desc()]
    rows, total = fetch_page(connection, query, order, offset=offset, limit=limit)
    return Page(tuple(_definition(row) for row in rows), total)


def insert(connection: Connection, values: dict[str, Any]) -> None:
    """Add a definition's row."""
    connection.execute(table.insert().values(values))


def change(connection: Connection, definition_id: str, version: int, values: dict[str, Any]) -> bool:
    """Change a definition for a user unless somebody changed it since it was seen; say whether it was."""
    same = sa.and_(table.c.id == definition_id, table.c.version == version, table.c.deleted_at.is_(None))
    return connection.execute(table.update().where(same).values(version=version + 1, **values)).rowcount == 1


def taken(connection: Connection, org_id: str, name: str) -> str | None:
    """Return the definition of an organisation that has the name."""
    same = sa.and_(table.c.org_id == org_id, table.c.name == name, table.c.deleted_at.is_(None))
    return connection.scalar(sa.select(table.c.id).where(same))


def _definition(row: RowMapping) -> Definition:
    values: dict[str, Any] = unprefixed(row, "d_")
    state = row["last_job_state"]
    for name in ("owner_id", "org_id", "deleted_at"):
        del values[name]
    values |= {
        "owner": owner_from(unprefixed(row, "u_")),
        "updated_by": owner_from(unprefixed(row, "e_")),
        "overlap": Overlap(values["overlap"]),
        "catch_up": CatchUp(values["catch_up"]),
        "last_job_state": None if state is None else JobState(state),
    }
    return Definition(**values)
