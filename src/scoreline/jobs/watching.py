"""How jobs are at this moment, for those who watch several: one short read for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from scoreline.jobs import store as rows
from scoreline.jobs.model import Job
from scoreline.store import Store
from scoreline.store.tables.jobs import job_logs


@dataclass(frozen=True, slots=True)
class Seen:
    """A job and its log, both of one moment."""

    job: Job
    lines: tuple[str, ...] = ()


def look(store: Store, before: Mapping[str, Seen | None]) -> dict[str, Seen]:
    """Return jobs, by id, as they are now; `before` is how they were seen last, None for the first time.

    A job that is not there is left out. For callers who were given the jobs. Raises StoreError.
    """
    job_ids = list(before)
    counted = sa.select(job_logs.c.job_id, sa.func.count().label("lines")).where(job_logs.c.job_id.in_(job_ids))
    with store.read() as connection:
        found = rows.find_many(connection, job_ids)
        counts = {row.job_id: row.lines for row in connection.execute(counted.group_by(job_logs.c.job_id))}
        lines = {job_id: seen.lines for job_id, seen in before.items() if seen is not None}
        # Lines are only ever added.
        changed = [job.id for job in found if len(lines.get(job.id, ())) != counts.get(job.id, 0)]
        if changed:
            lines |= {job_id: tuple(log) for job_id, log in rows.logs(connection, changed).items()}
    return {job.id: Seen(job, lines.get(job.id, ())) for job in found}
