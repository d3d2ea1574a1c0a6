"""Tags of deployments: names with values, to find deployments by."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.access import Caller, require_change
from scoreline.errors import InvalidRequest, NotFound
from scoreline.registry import deployments
from scoreline.registry.request import required, text
from scoreline.store import Store, new_id
from scoreline.store.tables.registry import deployment_tags as table
from scoreline.types import JsonObject

MOST = 100


def add(store: Store, caller: Caller, deployment_id: str, name: str, value: str) -> JsonObject:
    """Add a tag; return its id, name and value. Raises NotFound, Forbidden, InvalidRequest; also for too many."""
    values = _checked(name, value)
    with store.exclusive("deployments") as connection:
        _changeable(connection, caller, deployment_id)
        count = sa.select(sa.func.count()).select_from(table).where(table.c.deployment_id == deployment_id)
        if (connection.scalar(count) or 0) >= MOST:
            raise InvalidRequest(f"A deployment has at most {MOST} tags: delete one first.", "name")
        tag_id = new_id()
        connection.execute(table.insert().values(id=tag_id, deployment_id=deployment_id, **values))
    return {"id": tag_id, **values}


def change(store: Store, caller: Caller, deployment_id: str, tag_id: str, *, name: str, value: str) -> JsonObject:
    """Give a tag another name and value. Raises as `add`, NotFound also for a tag that does not exist."""
    values = _checked(name, value)
    with store.exclusive("deployments") as connection:
        _changeable(connection, caller, deployment_id)
        changed = connection.execute(table.update().where(*_mine(deployment_id, tag_id)).values(values)).rowcount
    if not changed:
        raise _absent(tag_id)
    return {"id": tag_id, **values}


def remove(store: Store, caller: Caller, deployment_id: str, tag_id: str) -> None:
    """Delete a tag. Raises NotFound, Forbidden."""
    with store.exclusive("deployments") as connection:
        _changeable(connection, caller, deployment_id)
        removed = connection.execute(table.delete().where(*_mine(deployment_id, tag_id))).rowcount
    if not removed:
        raise _absent(tag_id)


def _checked(name: str, value: str) -> dict[str, str]:
    given = {"name": name, "value": value}
    return {key: required(text(given, key), key) for key in given}


def _changeable(connection: Connection, caller: Caller, deployment_id: str) -> None:
    deployment = deployments.get_in(connection, caller, deployment_id)
    require_change(caller, deployment.owner.id, f"deployment {deployment.label!r}")


def _mine(deployment_id: str, tag_id: str) -> Iterable[sa.ColumnElement[bool]]:
    return table.c.id == tag_id, table.c.deployment_id == deployment_id


def _absent(tag_id: str) -> NotFound:
    return NotFound(f"The deployment has no tag {tag_id[:100]!r}.")
