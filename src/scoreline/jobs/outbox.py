"""The outbox: messages to webhooks, stored in the transaction that changes the job's state and sent later.

What is stored is sent at least once: who sends a message claims it first, by moving the time when it is due past the
longest call, and notes the outcome after it. When the sender dies in between, the message is due again.

Functions take the transaction's connection.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from scoreline.jobs import store as rows
from scoreline.jobs import webhooks
from scoreline.jobs.model import clock
from scoreline.network import place_of
from scoreline.store import new_id, now
from scoreline.store.tables.definitions import job_definitions
from scoreline.store.tables.jobs import jobs
from scoreline.store.tables.jobs import webhook_messages as table
from scoreline.types import JsonObject


class MessageState(StrEnum):
    """WAITING is sent, again if need be; DELIVERED and FAILED are final."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one webhook of a job, its number in the job's list.

    place: the receiver's `host:port`. about: what it tells. due_at: when it is sent, or was claimed until. status: of
    the receiver's last answer. trouble: what went wrong last.
    """

    id: str
    job_id: str
    hook: int
    place: str
    event: Literal["started", "completed", "aborted"]
    about: JsonObject
    state: MessageState
    tries: int
    created_at: datetime
    due_at: datetime
    settled_at: datetime | None
    status: int | None
    trouble: str | None


def note(connection: Connection, job_id: str, event: str) -> None:
    """Store what is to be told about a job, as it is in this transaction, to those webhooks that want the event."""
    spec = connection.scalar(sa.select(jobs.c.spec).where(jobs.c.id == job_id)) or {}
    wanted = [
        (number, hook) for number, hook in enumerate(spec.get(webhooks.FIELD) or ()) if webhooks.wants(hook, event)
    ]
    if not wanted:
        return
    moment, about = now(), _about(connection, job_id)
    connection.execute(
        table.insert(),
        [
            {
                "id": new_id(),
                "job_id": job_id,
                "hook": number,
                "place": place_of(hook["url"]),
                "event": event,
                "about": about,
                "state": MessageState.WAITING,
                "tries": 0,
                "created_at": moment,
                "due_at": moment,
            }
            for number, hook in wanted
        ],
    )


def due(connection: Connection, moment: datetime, busy: Collection[str], limit: int) -> list[Message]:
    """Return messages that are due, the longest overdue first, but none to `busy` places."""
    query = sa.select(table).where(table.c.state == MessageState.WAITING, table.c.due_at <= moment)
    if busy:
        query = query.where(table.c.place.not_in(busy))
    return _messages(connection.execute(query.order_by(table.c.due_at, table.c.id).limit(limit)).all())


def claim(connection: Connection, message: Message, until: datetime) -> bool:
    """Take a message as it was seen, for one try that is over by `until`; False when another sender has it."""
    seen = sa.and_(_waiting(message), table.c.tries == message.tries, table.c.due_at == message.due_at)
    return _changed(connection, table.update().where(seen).values(tries=table.c.tries + 1, due_at=until))


def delivered(connection: Connection, message: Message, status: int) -> bool:
    """Note that the receiver took a message, whichever try it was."""
    values = {"state": MessageState.DELIVERED, "settled_at": now(), "status": status, "trouble": None}
    return _changed(connection, table.update().where(_waiting(message)).values(values))


def again(connection: Connection, claimed: Message, at: datetime, status: int | None, trouble: str) -> bool:
    """Let a claimed message be sent again at a time, unless another sender has it by now."""
    mine = sa.and_(_waiting(claimed), table.c.tries == claimed.tries)
    return _changed(connection, table.update().where(mine).values(due_at=at, status=status, trouble=trouble))


def give_up(connection: Connection, claimed: Message, status: int | None, trouble: str) -> bool:
    """Give a claimed message up, unless another sender has it by now; the job's log says so."""
    moment = now()
    mine = sa.and_(_waiting(claimed), table.c.tries == claimed.tries)
    values = {"state": MessageState.FAILED, "settled_at": moment, "status": status, "trouble": trouble}
    if not _changed(connection, table.update().where(mine).values(values)):
        return False
    times = "once" if claimed.tries == 1 else f"{claimed.tries} times"
    line = (
        f"Webhook {claimed.hook + 1} was not told that the job {_SAID[claimed.event]}: given up at {clock(moment)}, "
        f"sent {times} to {claimed.place}: {trouble}"
    )
    rows.add_log(connection, claimed.job_id, [line])
    return True


def of_job(connection: Connection, job_id: str) -> list[Message]:
    """Return the messages of a job, the oldest first."""
    query = sa.select(table).where(table.c.job_id == job_id).order_by(table.c.created_at, table.c.hook, table.c.id)
    return _messages(connection.execute(query).all())


def forget(connection: Connection, before: datetime) -> int:
    """Delete messages that were settled before a time; return how many."""
    return int(connection.execute(table.delete().where(table.c.settled_at < before)).rowcount)


def waits(job_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return the clause that is true of a job that has messages still to be sent."""
    return sa.exists().where(table.c.job_id == job_id, table.c.state == MessageState.WAITING)


def end_of(message: Message, hours: float) -> datetime:
    """Return until when a message is tried."""
    return message.created_at + timedelta(hours=hours)


_SAID = {"started": "started", "completed": "was completed", "aborted": "was aborted"}


def _about(connection: Connection, job_id: str) -> JsonObject:
    """Return what a message says of a job: fields that are called as in the job's own document."""
    name = job_definitions.c.name.label("definition_name")
    both = jobs.outerjoin(job_definitions, job_definitions.c.id == jobs.c.definition_id)
    row = connection.execute(sa.select(jobs, name).select_from(both).where(jobs.c.id == job_id)).one()
    definition = None if row.definition_id is None else {"id": row.definition_id, "name": row.definition_name}
    return {
        "id": row.id,
        "status": row.state,
        "statusDetails": row.reason,
        "created": _iso(row.created_at),
        "started": _iso(row.started_at),
        "finished": _iso(row.finished_at),
        "percentageCompleted": row.percentage,
        "scoredRows": row.rows_scored,
        "failedRows": row.rows_failed,
        "skippedRows": row.rows_skipped,
        "jobIntakeSize": row.bytes_in,
        "jobOutputSize": row.bytes_out,
        "deploymentId": row.deployment_id,
        "modelPackageId": row.package_id,
        "intakeType": row.intake_type,
        "outputType": row.output_type,
        "source": row.source,
        "batchPredictionJobDefinition": definition,
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _messages(found: Sequence[Row[Any]]) -> list[Message]:
    return [Message(**{**row._mapping, "state": MessageState(row.state)}) for row in found]  # noqa: SLF001 -- its public name


def _waiting(message: Message) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.id == message.id, table.c.state == MessageState.WAITING)


def _changed(connection: Connection, change: sa.Update) -> bool:
    return connection.execute(change).rowcount == 1
