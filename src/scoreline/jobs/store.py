"""Reading and creating jobs: their rows, their lists, their logs. What changes a job's state is in `jobs.states`.

Functions take the transaction's connection; what the caller may see is decided by the clause that is handed in.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from scoreline.access import Caller, visible
from scoreline.jobs.model import Job, JobState, UploadState
from scoreline.jobs.outcomes import MadeFrom
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.target import Target
from scoreline.jobs.templates import Moments
from scoreline.registry.records import (
    Page,
    extra_from_json,
    extra_to_json,
    features_from_json,
    features_to_json,
    owner_from,
    prefixed,
    unprefixed,
)
from scoreline.store import now
from scoreline.store.tables.access import users
from scoreline.store.tables.definitions import job_definitions
from scoreline.store.tables.jobs import job_logs, jobs
from scoreline.store.tables.registry import packages, prediction_servers
from scoreline.types import Boundaries, Counts, JsonObject, TargetType

ORDERS = ("created", "-created", "status", "-status")


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a list shows; an empty or absent field hides nothing. Hidden jobs are never listed.

    sources: a leading `-` excludes. start wins over cutoff_hours; start and end are inclusive.
    """

    states: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    deployment_id: str | None = None
    model_id: str | None = None
    job_id: str | None = None
    cutoff_hours: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    definition_id: str | None = None
    hostnames: tuple[str, ...] = ()
    batch_job_types: tuple[str, ...] = ()
    intake_types: tuple[str, ...] = ()
    output_types: tuple[str, ...] = ()


def insert(connection: Connection, values: dict[str, Any]) -> None:
    """Add a job's row."""
    connection.execute(jobs.insert().values(values))


def find(connection: Connection, job_id: str, *clauses: sa.ColumnElement[bool]) -> Job | None:
    """Return a job, None when there is none that the clauses let through."""
    row = connection.execute(_query().where(jobs.c.id == job_id, *clauses)).mappings().first()
    return None if row is None else _job(row)


def find_many(connection: Connection, job_ids: Sequence[str]) -> list[Job]:
    """Return those of the jobs that there are, for callers who were given them."""
    return [_job(row) for row in connection.execute(_query().where(jobs.c.id.in_(job_ids))).mappings()]


def ahead(connection: Connection, job_id: str) -> int | None:
    """Return the number of jobs ahead of one, None when it does not wait in line."""
    found: int | None = connection.scalar(_ahead(), {"job_id": job_id})
    return found


def live_on(connection: Connection, deployment_id: str, limit: int) -> Page[Job]:
    """Return the oldest `limit` jobs of a deployment that are not over, and how many there are in all."""
    live = sa.and_(jobs.c.deployment_id == deployment_id, jobs.c.state.in_((JobState.INITIALIZING, JobState.RUNNING)))
    total = connection.scalar(sa.select(sa.func.count()).select_from(jobs).where(live)) or 0
    rows = connection.execute(_query().where(live).order_by(jobs.c.created_at, jobs.c.id).limit(limit)).mappings()
    return Page(tuple(_job(row) for row in rows), total)


def page(
    connection: Connection, caller: Caller, which: JobFilter, *, order: str, offset: int, limit: int | None
) -> Page[Job]:
    """Return one page of the jobs that the caller may see. `order` is one of ORDERS."""
    clauses = [visible(caller, jobs), jobs.c.hidden_at.is_(None), *_clauses(which)]
    source = jobs.join(packages, packages.c.id == jobs.c.package_id).join(
        prediction_servers, prediction_servers.c.id == jobs.c.server_id
    )
    total = connection.scalar(sa.select(sa.func.count()).select_from(source).where(*clauses)) or 0
    query = _query().where(*clauses).order_by(*_order(order)).offset(offset).limit(limit)
    rows = connection.execute(query).mappings().all()
    return Page(tuple(_job(row) for row in rows), total)


def add_log(connection: Connection, job_id: str, messages: Iterable[str]) -> None:
    """Append lines to a job's log."""
    lines = [{"job_id": job_id, "at": now(), "message": message} for message in messages]
    if lines:
        connection.execute(job_logs.insert(), lines)


def logs(connection: Connection, job_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the log lines of several jobs, oldest first."""
    found: dict[str, list[str]] = {job_id: [] for job_id in job_ids}
    query = sa.select(job_logs.c.job_id, job_logs.c.message).where(job_logs.c.job_id.in_(job_ids))
    for job_id, message in connection.execute(query.order_by(job_logs.c.id)):
        found[job_id].append(message)
    return found


def target_to_json(target: Target) -> JsonObject:
    """Return a target as it is stored."""
    return {
        "name": target.name,
        "type": target.type.value,
        "features": features_to_json(target.features),
        "classLabels": list(target.class_labels),
        "positiveClass": target.positive_class,
        "threshold": target.threshold,
        "labelThresholds": list(target.label_thresholds),
        "extra": extra_to_json(target.extra),
        "associationId": list(target.association_id),
        "associationRequired": target.association_required,
        "boundaries": None if target.boundaries is None else asdict(target.boundaries),
        "warn": target.warn,
        "approval": target.approval,
    }


def in_line(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return the clause that is true of a row of `jobs` (or an alias) that waits for a slot and may have one."""
    return sa.and_(
        table.c.state == JobState.INITIALIZING,
        table.c.queued_at.is_not(None),
        table.c.paused_at.is_(None),
        table.c.space_wanted.is_(None),
        table.c.upload_state.not_in((UploadState.INTERRUPTED, UploadState.REPEATED)),
    )


def position() -> sa.ColumnElement[int | None]:
    """Return the number of jobs ahead of a row of `jobs` joined with its server; NULL when it does not wait in line."""
    ahead, running = jobs.alias("ahead"), jobs.alias("running")
    earlier = sa.or_(
        ahead.c.priority > jobs.c.priority,
        sa.and_(ahead.c.priority == jobs.c.priority, ahead.c.queued_at < jobs.c.queued_at),
        sa.and_(ahead.c.priority == jobs.c.priority, ahead.c.queued_at == jobs.c.queued_at, ahead.c.id < jobs.c.id),
    )
    before = (
        sa.select(sa.func.count())
        .select_from(ahead)
        .where(ahead.c.server_id == jobs.c.server_id, in_line(ahead), earlier)
        .correlate(jobs)
        .scalar_subquery()
    )
    busy = (
        sa.select(sa.func.count())
        .select_from(running)
        .where(running.c.server_id == jobs.c.server_id, running.c.state == JobState.RUNNING)
        .correlate(jobs)
        .scalar_subquery()
    )
    in_the_way = sa.case((busy >= prediction_servers.c.slots, busy), else_=0)
    return sa.case((in_line(jobs), before + in_the_way), else_=sa.null())


@functools.cache  # to put the query together takes longer than to run it
def _ahead() -> sa.Select[Any]:
    at_its_server = jobs.join(prediction_servers, prediction_servers.c.id == jobs.c.server_id)
    return sa.select(position()).select_from(at_its_server).where(jobs.c.id == sa.bindparam("job_id"))


@functools.cache  # as above
def _query() -> sa.Select[Any]:
    return (
        sa.select(
            *prefixed(jobs, "j_"),
            *prefixed(users, "u_"),
            prediction_servers.c.name.label("server_name"),
            job_definitions.c.name.label("definition_name"),
            job_definitions.c.owner_id.label("definition_owner"),
            position().label("position"),
        )
        .join(users, users.c.id == jobs.c.owner_id)
        .join(packages, packages.c.id == jobs.c.package_id)
        .join(prediction_servers, prediction_servers.c.id == jobs.c.server_id)
        .outerjoin(job_definitions, job_definitions.c.id == jobs.c.definition_id)
    )


def _order(order: str) -> list[sa.ColumnElement[Any]]:
    column = jobs.c.created_at if order.endswith("created") else jobs.c.state
    by = [column, jobs.c.created_at, jobs.c.id]
    return [item.desc() for item in by] if order.startswith("-") else list(by)


def _clauses(which: JobFilter) -> list[sa.ColumnElement[bool]]:
    """Return a clause for each field that is set."""
    clauses: list[sa.ColumnElement[bool]] = []
    for column, values in (
        (jobs.c.state, which.states),
        (jobs.c.intake_type, which.intake_types),
        (jobs.c.output_type, which.output_types),
        (jobs.c.deployment_id, _one(which.deployment_id)),
        (jobs.c.id, _one(which.job_id)),
        (jobs.c.definition_id, _one(which.definition_id)),
    ):
        if values:
            clauses.append(column.in_(values))
    clauses += _source_clauses(which.sources)
    if which.model_id is not None:
        clauses.append(sa.or_(packages.c.model_id == which.model_id, packages.c.id == which.model_id))
    start = which.start
    if start is None and which.cutoff_hours is not None:
        start = now() - timedelta(hours=which.cutoff_hours)
    if start is not None:
        clauses.append(jobs.c.created_at >= start)
    if which.end is not None:
        clauses.append(jobs.c.created_at <= which.end)
    if which.hostnames:
        clauses.append(sa.or_(*(_on_host(name) for name in which.hostnames)))
    if which.batch_job_types and "prediction" not in which.batch_job_types:
        clauses.append(sa.false())  # no job monitors only
    return clauses


def _one(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)


def _source_clauses(sources: tuple[str, ...]) -> list[sa.ColumnElement[bool]]:
    wanted = [source for source in sources if not source.startswith("-")]
    unwanted = [source[1:] for source in sources if source.startswith("-")]
    clauses: list[sa.ColumnElement[bool]] = []
    if wanted:
        clauses.append(jobs.c.source.in_(wanted))
    if unwanted:
        clauses.append(sa.or_(jobs.c.source.is_(None), jobs.c.source.not_in(unwanted)))
    return clauses


def _on_host(name: str) -> sa.ColumnElement[bool]:
    url = prediction_servers.c.url
    return sa.or_(
        url.endswith(f"://{name}", autoescape=True),
        url.contains(f"://{name}:", autoescape=True),
        url.contains(f"://{name}/", autoescape=True),
    )


def _job(row: RowMapping) -> Job:
    values: dict[str, Any] = unprefixed(row, "j_")
    return Job(
        id=values["id"],
        owner=owner_from(unprefixed(row, "u_")),
        state=JobState(values["state"]),
        reason=values["reason"],
        spec=JobSpec.from_document(values["spec"]),
        target=_target(values["target"]),
        deployment_id=values["deployment_id"],
        package_id=values["package_id"],
        package_hash=values["package_hash"],
        server_id=values["server_id"],
        server_name=row["server_name"],
        source=values["source"],
        created_at=values["created_at"],
        queued_at=values["queued_at"],
        started_at=values["started_at"],
        finished_at=values["finished_at"],
        hidden_at=values["hidden_at"],
        paused_at=values["paused_at"],
        space_wanted=values["space_wanted"],
        upload_state=UploadState(values["upload_state"]),
        upload_bytes=values["upload_bytes"],
        upload_expected=values["upload_expected"],
        upload_stream=values["upload_stream"],
        upload_sender=values["upload_sender"],
        upload_beat=values["upload_beat"],
        upload_trouble=values["upload_trouble"],
        counts=Counts(values["rows_read"], values["rows_scored"], values["rows_failed"], values["rows_skipped"]),
        bytes_in=values["bytes_in"],
        bytes_out=values["bytes_out"],
        percentage=values["percentage"],
        queue_position=row["position"],
        fence=values["fence"],
        lease_owner=values["lease_owner"],
        results_deleted=values["results_deleted_at"] is not None,
        ran_seconds=values["ran_seconds"],
        secret_id=values["secret_id"],
        adapts=values["adapts"],
        live_concurrency=values["live_concurrency"],
        live_chunk_bytes=values["live_chunk_bytes"],
        source_identity=values["source_identity"],
        result_sha256=values["result_sha256"],
        server_model=values["server_model"],
        intake_name=values["intake_name"],
        partitions=values["partitions"],
        made_from=_made_from(values["definition_id"], row),
        moments=None if values["moments"] is None else Moments.from_json(values["moments"]),
    )


def _made_from(definition_id: str | None, row: RowMapping) -> MadeFrom | None:
    if definition_id is None:
        return None
    return MadeFrom(definition_id, row["definition_name"], row["definition_owner"])


def _target(document: JsonObject) -> Target:
    """Read a stored target; one of an earlier version lacks what came later."""
    association = document["associationId"]
    boundaries = document.get("boundaries")
    return Target(
        name=document["name"],
        type=TargetType(document["type"]),
        features=features_from_json(document["features"]),
        class_labels=tuple(document["classLabels"]),
        positive_class=document["positiveClass"],
        threshold=document["threshold"],
        label_thresholds=tuple(document.get("labelThresholds") or ()),
        extra=extra_from_json(document.get("extra") or ()),
        association_id=(association,) if isinstance(association, str) else tuple(association or ()),
        association_required=document.get("associationRequired", False),
        boundaries=None if boundaries is None else Boundaries(**boundaries),
        warn=document.get("warn", False),
        approval=document.get("approval"),
    )
