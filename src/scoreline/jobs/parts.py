"""Changes of the parts of jobs that are scored ahead, each by compare-and-set.

    open --claim--> ahead --scored--> scored
     ^               |                   |
     +--- let go ----+                   |
     +-------------- reach, leave -------+--> taken

The run that writes the output takes the parts in order (`reach`): those that are open it scores by itself, those that
were scored it takes as they are. Whoever scores one ahead holds it by a lease of its own, as a run holds its job; the
loss of a part, or of who scored it, costs time alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from scoreline import faults
from scoreline.jobs.model import JobState
from scoreline.store.tables.jobs import job_partitions, jobs
from scoreline.types import Counts, JsonObject, ScoredAhead

MOST_AHEAD = 32
"""Parts of a job that are staged or scored ahead at once."""

MOST_CLAIMS = 3
"""Times that a part is scored ahead; then it is left to the run that writes."""


class PartState(StrEnum):
    """OPEN: nobody has it. AHEAD: a worker scores it before its turn. SCORED: it waits for its turn. TAKEN: written."""

    OPEN = "open"
    AHEAD = "ahead"
    SCORED = "scored"
    TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class Claim:
    """One worker's hold on a part; a write for an older fence is refused."""

    job_id: str
    number: int
    begins: int
    ends: int | None
    fence: int
    owner: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part as it is shown. counts: of one that was scored ahead."""

    number: int
    state: PartState
    owner: str | None
    counts: Counts | None


def plan(connection: Connection, job_id: str, borders: Sequence[int], most_runs: int) -> list[int]:
    """Store the borders of a job's parts and how many runs it may have; return those that are stored first."""
    known = sa.select(job_partitions.c.begins).where(job_partitions.c.job_id == job_id, job_partitions.c.number > 0)
    found = list(connection.scalars(known.order_by(job_partitions.c.number)))
    if found:
        return found
    ends = [*borders, None]
    rows = [
        {"job_id": job_id, "number": number, "begins": begins, "ends": ends[number], "state": PartState.OPEN}
        for number, begins in enumerate([0, *borders])
    ]
    connection.execute(job_partitions.insert(), rows)
    connection.execute(jobs.update().where(jobs.c.id == job_id).values(most_runs=most_runs, partitions=len(rows)))
    return list(borders)


def reach(connection: Connection, job_id: str, number: int) -> None:
    """Let the run that writes have all parts up to one."""
    mine = sa.and_(job_partitions.c.job_id == job_id, job_partitions.c.number <= number)
    connection.execute(
        job_partitions.update()
        .where(mine, job_partitions.c.state != PartState.TAKEN)
        .values(state=PartState.TAKEN, owner=None, fence=job_partitions.c.fence + 1)
    )


def take(connection: Connection, job_id: str, number: int) -> bool:
    """Let the run that writes have a part that nobody scores ahead, or did; say whether it has."""
    change = job_partitions.update().where(_is(job_id, number), job_partitions.c.state == PartState.OPEN)
    connection.execute(change.values(state=PartState.TAKEN))
    return look(connection, job_id, number)[0] is PartState.TAKEN


def look(connection: Connection, job_id: str, number: int) -> tuple[PartState, ScoredAhead | None]:
    """Return the state of a part, and what is staged of it."""
    query = sa.select(job_partitions.c.state, job_partitions.c.scored).where(_is(job_id, number))
    row = connection.execute(query).one()
    return PartState(row.state), None if row.scored is None else _scored(row.scored)


def runs(connection: Connection, job_id: str) -> int:
    """Return how many runs score for a job, the one that writes included."""
    ahead = sa.select(sa.func.count()).where(
        job_partitions.c.job_id == job_id, job_partitions.c.state == PartState.AHEAD
    )
    return 1 + (connection.scalar(ahead) or 0)


def helped(connection: Connection, owner: str, waiting: Collection[str] = ()) -> list[str]:
    """Return jobs that a worker could score a part of ahead: those that others write, and its own that are waiting."""
    query = _HELPED.where(sa.or_(sa.func.coalesce(jobs.c.lease_owner, "") != owner, jobs.c.id.in_(waiting)))
    return list(connection.scalars(query))


def due(connection: Connection, job_id: str, owner: str) -> Claim | None:
    """Return the part of a job that a worker could score ahead, as it would hold it.

    The first one that nobody has is left to the run that writes: it comes to it soon, and would have to wait.
    """
    rows = connection.execute(_DUE.where(job_partitions.c.job_id == job_id)).all()
    return _claim(rows[-1], owner) if rows else None


def claim(connection: Connection, wanted: Claim) -> bool:
    """Hold a part that is due; false when another one has it by now, or enough runs are at work on the job."""
    lock = sa.select(jobs.c.most_runs).where(jobs.c.id == wanted.job_id, _LIVE).with_for_update()
    most = connection.scalar(lock) or 0
    at_work = sa.select(job_partitions.c.state, sa.func.count()).where(job_partitions.c.job_id == wanted.job_id)
    found = {state: int(count) for state, count in connection.execute(at_work.group_by(job_partitions.c.state))}
    ahead, scored = found.get(PartState.AHEAD, 0), found.get(PartState.SCORED, 0)
    if 1 + ahead >= most or ahead + scored >= MOST_AHEAD:
        return False
    change = job_partitions.update().where(
        _is(wanted.job_id, wanted.number),
        job_partitions.c.state == PartState.OPEN,
        job_partitions.c.fence == wanted.fence - 1,
    )
    values = {"state": PartState.AHEAD, "owner": wanted.owner, "fence": wanted.fence, "beat": job_partitions.c.beat + 1}
    if connection.execute(change.values(values)).rowcount != 1:
        return False
    faults.at("partition.claiming")
    return True


def held(claimed: Claim) -> sa.ColumnElement[bool]:
    """Return the clause that is true as long as a worker has its part, and the job runs."""
    running = sa.select(jobs.c.id).where(jobs.c.id == claimed.job_id, _LIVE)
    return sa.and_(
        sa.literal(claimed.job_id).in_(running),
        _is(claimed.job_id, claimed.number),
        job_partitions.c.state == PartState.AHEAD,
        job_partitions.c.owner == claimed.owner,
        job_partitions.c.fence == claimed.fence,
    )


def runs_on(connection: Connection, job_id: str) -> bool:
    """Say whether a job runs and is not finished yet."""
    return connection.scalar(sa.select(jobs.c.id).where(jobs.c.id == job_id, _LIVE)) is not None


def renew(connection: Connection, claimed: Claim) -> bool:
    """Show that the worker lives."""
    change = job_partitions.update().where(held(claimed)).values(beat=job_partitions.c.beat + 1)
    return connection.execute(change).rowcount == 1


def scored(connection: Connection, claimed: Claim, part: ScoredAhead) -> bool:
    """Hand a part over that is scored and staged."""
    values = {"state": PartState.SCORED, "scored": asdict(part)}
    return connection.execute(job_partitions.update().where(held(claimed)).values(values)).rowcount == 1


def let_go(connection: Connection, claimed: Claim, *, leave: bool = False) -> None:
    """Give a part back, for any worker or (`leave`) for the run that writes alone."""
    fence = MOST_CLAIMS if leave else job_partitions.c.fence
    mine = sa.and_(
        _is(claimed.job_id, claimed.number),
        job_partitions.c.state == PartState.AHEAD,
        job_partitions.c.owner == claimed.owner,
        job_partitions.c.fence == claimed.fence,
    )
    connection.execute(job_partitions.update().where(mine).values(state=PartState.OPEN, owner=None, fence=fence))


def let_go_all(connection: Connection, owner: str) -> int:
    """Give back all that a worker had which is known to be dead; return how many parts that were."""
    mine = sa.and_(job_partitions.c.owner == owner, job_partitions.c.state == PartState.AHEAD)
    return int(
        connection.execute(job_partitions.update().where(mine).values(state=PartState.OPEN, owner=None)).rowcount
    )


def others(connection: Connection, owner: str) -> list[tuple[Claim, int]]:
    """Return the parts that other workers hold, each with its beat."""
    query = sa.select(job_partitions).where(job_partitions.c.state == PartState.AHEAD, job_partitions.c.owner != owner)
    return [(_claim(row, row.owner, row.fence), row.beat) for row in connection.execute(query)]


def free(connection: Connection, claimed: Claim, beat: int) -> bool:
    """Give back a part whose worker was silent, as it was seen."""
    seen = sa.and_(
        _is(claimed.job_id, claimed.number),
        job_partitions.c.state == PartState.AHEAD,
        job_partitions.c.fence == claimed.fence,
        job_partitions.c.beat == beat,
    )
    return (
        connection.execute(job_partitions.update().where(seen).values(state=PartState.OPEN, owner=None)).rowcount == 1
    )


def parts_of(connection: Connection, job_id: str) -> list[Part]:
    """Return the parts of a job in order, none where it was not cut."""
    query = sa.select(job_partitions).where(job_partitions.c.job_id == job_id).order_by(job_partitions.c.number)
    return [
        Part(
            row.number,
            PartState(row.state),
            row.owner,
            None if row.scored is None else _scored(row.scored).counts,
        )
        for row in connection.execute(query)
    ]


def _is(job_id: str, number: int) -> sa.ColumnElement[bool]:
    return sa.and_(job_partitions.c.job_id == job_id, job_partitions.c.number == number)


def _claim(row: Row[Any], owner: str, fence: int | None = None) -> Claim:
    return Claim(row.job_id, row.number, row.begins, row.ends, row.fence + 1 if fence is None else fence, owner)


def _scored(stored: JsonObject) -> ScoredAhead:
    return ScoredAhead(**{**stored, "counts": Counts(**stored["counts"]), "segments": tuple(stored["segments"])})


_LIVE = sa.and_(jobs.c.state == JobState.RUNNING, jobs.c.committing_at.is_(None))

# Built once: idle workers ask these some times a second.
_FREE = sa.and_(job_partitions.c.state == PartState.OPEN, job_partitions.c.fence < MOST_CLAIMS)
_DUE = sa.select(job_partitions).where(_FREE).order_by(job_partitions.c.number).limit(2)
_HELPED = (
    sa.select(jobs.c.id)
    .where(_LIVE, jobs.c.most_runs > 1, jobs.c.id.in_(sa.select(job_partitions.c.job_id).where(_FREE)))
    .order_by(jobs.c.priority.desc(), jobs.c.started_at, jobs.c.id)
)
