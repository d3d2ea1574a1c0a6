"""Which job definitions name an object, so that it is not deleted under them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.store.tables.definitions import job_definitions as table


def naming(connection: Connection, object_id: str, *, enabled: bool = False) -> str | None:
    """Return the name of a definition of anybody's that names the object in its body, None when there is none.

    enabled: only those that run by schedule.
    """
    named = sa.cast(table.c.body, sa.Text).contains(object_id, autoescape=True)
    query = sa.select(table.c.name).where(table.c.deleted_at.is_(None), named).order_by(table.c.name).limit(1)
    return connection.scalar(query.where(table.c.enabled) if enabled else query)
