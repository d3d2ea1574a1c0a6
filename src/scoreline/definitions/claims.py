"""Taking due runs: each by compare-and-set on the definition's row, so that one scheduler among many has it.

Functions take the connection of a write transaction, that of the run's job where there is one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.definitions.records import Definition, Overlap
from scoreline.definitions.turns import Turn
from scoreline.jobs import outcomes, states
from scoreline.jobs.model import clock
from scoreline.store.tables.definitions import job_definitions as table
from scoreline.store.tables.jobs import LIVE, jobs


class Taken(Exception):
    """Another scheduler has the run, or somebody changed the definition: nothing is done."""


class Occupied(Exception):
    """An earlier run is not over: no job is made."""


def due(connection: Connection, moment: datetime) -> list[str]:
    """Return the definitions that are due or whose waiting run may be made, by id. One cheap query."""
    return list(dict.fromkeys(connection.scalars(_DUE, {"moment": moment})))


def live(connection: Connection, definition_id: str) -> list[str]:
    """Return a definition's jobs that are not over."""
    return list(connection.scalars(_LIVE_OF, {"definition_id": definition_id}))


def take(connection: Connection, seen: Definition, turn: Turn) -> None:
    """Take a run away from all other schedulers. Raises Taken."""
    if turn.waited:
        _change(connection, seen, {"waiting_for": None})
        return
    values: dict[str, Any] = {"next_run_at": turn.following, "last_scheduled_at": turn.at}
    if turn.left_out is not None:
        moment, words = turn.left_out
        values |= {"last_scheduled_at": moment, "last_skipped_at": moment, "trouble": words}
    _change(connection, seen, values)


def take_place(connection: Connection, seen: Definition, turn: Turn) -> None:
    """Take a run that is made now: with `replace`, in the place of those that are not over. Raises Taken, Occupied."""
    take(connection, seen, turn)
    for job_id in live(connection, seen.id):
        reason = f"Replaced by the run of job definition {seen.name!r} that was due at {_shown(turn)}"
        replaces = seen.overlap is Overlap.REPLACE and not turn.waited
        if not replaces or not states.abort(connection, job_id, reason, cancelled=True):
            raise Occupied


def put_off(connection: Connection, seen: Definition, turn: Turn, job_id: str) -> None:
    """Let a run wait for the end of another, or leave it out. Raises Taken."""
    take(connection, seen, turn)
    if seen.overlap is not Overlap.SKIP and seen.waiting_for is None:
        values: dict[str, Any] = {"waiting_for": turn.at}
    else:
        why = "was not over" if seen.waiting_for is None else "was not over, and another run waited for it"
        words = f"The run due at {_shown(turn)} was left out, because job {job_id} {why}."
        values = {"last_skipped_at": turn.at, "trouble": words}
    connection.execute(table.update().where(table.c.id == seen.id).values(values))


def refuse(connection: Connection, seen: Definition, turn: Turn, moment: datetime, why: str) -> None:
    """Note that a run failed before there was a job. Raises Taken."""
    take(connection, seen, turn)
    outcomes.refused(connection, seen.id, moment, why)


def disable(connection: Connection, seen: Definition, why: str) -> None:
    """Switch a definition off that can never be due. Raises Taken."""
    off = {"enabled": False, "next_run_at": None, "waiting_for": None, "trouble": why}
    _change(connection, seen, off | {"version": seen.version + 1})


def _change(connection: Connection, seen: Definition, values: dict[str, Any]) -> None:
    as_seen = {f"seen_{name}": getattr(seen, name) for name in _SEEN}
    if connection.execute(_CHANGE, as_seen | values).rowcount != 1:
        raise Taken


def _shown(turn: Turn) -> str:
    return "some time" if turn.at is None else clock(turn.at)


# Built once: they are asked all the time.
_LIVE_OF = sa.select(jobs.c.id).where(jobs.c.definition_id == sa.bindparam("definition_id"), LIVE)
_SEEN = ("id", "version", "next_run_at", "waiting_for")
_CHANGE = table.update().where(
    table.c.id == sa.bindparam("seen_id"),
    *(table.c[name].is_not_distinct_from(sa.bindparam(f"seen_{name}", type_=table.c[name].type)) for name in _SEEN[1:]),
    table.c.enabled,
    table.c.deleted_at.is_(None),
)
_LIVE_OF_IT = sa.select(sa.literal(1)).where(jobs.c.definition_id == table.c.id, LIVE).correlate(table).exists()
_DUE = sa.union_all(
    # A bound, since SQLite looks no index up for what is not null.
    sa.select(table.c.id).where(table.c.waiting_for > datetime.min.replace(tzinfo=UTC), sa.not_(_LIVE_OF_IT)),
    sa.select(table.c.id).where(table.c.next_run_at <= sa.bindparam("moment", type_=table.c.next_run_at.type)),
)
