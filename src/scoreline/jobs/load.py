"""How busy prediction servers are."""

from __future__ import annotations

import sqlalchemy as sa

from scoreline.jobs.model import JobState
from scoreline.store import Store
from scoreline.store.tables.jobs import jobs


def by_server(store: Store) -> dict[str, tuple[int, int]]:
    """Return for each server with jobs, by its id, how many run on it and how many wait in line. Raises StoreError."""
    runs = jobs.c.state == JobState.RUNNING
    waits = sa.and_(jobs.c.state == JobState.INITIALIZING, jobs.c.queued_at.is_not(None))
    query = (
        sa.select(jobs.c.server_id, runs.label("runs"), sa.func.count().label("jobs"))
        .where(sa.or_(runs, waits))
        .group_by(jobs.c.server_id, runs)
    )
    found: dict[str, tuple[int, int]] = {}
    with store.read() as connection:
        for server_id, running, number in connection.execute(query):
            processing, queued = found.get(server_id, (0, 0))
            found[server_id] = (number, queued) if running else (processing, number)
    return found
