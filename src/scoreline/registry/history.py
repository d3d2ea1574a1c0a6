"""Which package a deployment has served since when, who deployed it and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.access import Caller
from scoreline.registry.records import Owner, owner_from, prefixed, unprefixed
from scoreline.store.tables.access import users
from scoreline.store.tables.registry import deployment_models as table
from scoreline.store.tables.registry import packages

REASONS = ("ACCURACY", "DATA_DRIFT", "ERRORS", "SCHEDULED_REFRESH", "SCORING_SPEED", "OTHER")
"""Why a model is replaced, as the client names it."""


@dataclass(frozen=True, slots=True)
class Served:
    """One model of a deployment: the `number`-th. until: None for the one that it has. reason: None for the first."""

    number: int
    package_id: str
    package_name: str
    version: int
    registered_model_id: str
    model_id: str
    since: datetime
    until: datetime | None
    by: Owner
    reason: str | None


def add_in(
    connection: Connection,
    caller: Caller,
    deployment_id: str,
    package_id: str,
    *,
    moment: datetime,
    reason: str | None = None,
) -> None:
    """Note the package that a deployment has from `moment` on; the transaction holds the lock "deployments"."""
    last = connection.scalar(sa.select(sa.func.max(table.c.number)).where(table.c.deployment_id == deployment_id))
    connection.execute(
        table.insert().values(
            deployment_id=deployment_id,
            number=(last or 0) + 1,
            package_id=package_id,
            user_id=caller.user_id,
            at=moment,
            reason=reason,
        )
    )


def list_in(connection: Connection, deployment_id: str) -> list[Served]:
    """Return all models of a deployment that the caller has been given, the newest first."""
    query = (
        sa.select(
            table,
            packages.c.name,
            packages.c.version,
            packages.c.registered_model_id,
            packages.c.model_id,
            *prefixed(users, "u_"),
        )
        .join(packages, packages.c.id == table.c.package_id)
        .join(users, users.c.id == table.c.user_id)
        .where(table.c.deployment_id == deployment_id)
        .order_by(table.c.number.desc())
    )
    found: list[Served] = []
    for row in connection.execute(query).mappings():
        found.append(
            Served(
                number=row["number"],
                package_id=row["package_id"],
                package_name=row["name"],
                version=row["version"],
                registered_model_id=row["registered_model_id"],
                model_id=row["model_id"],
                since=row["at"],
                until=found[-1].since if found else None,
                by=owner_from(unprefixed(row, "u_")),
                reason=row["reason"],
            )
        )
    return found


def find_in(connection: Connection, deployment_id: str, model_id: str) -> str | None:
    """Return the package of a deployment, present or past, that has this model id or is named by it; else None.

    Of several with the same model id it is the one that was deployed last.
    """
    query = (
        sa.select(table.c.package_id)
        .join(packages, packages.c.id == table.c.package_id)
        .where(table.c.deployment_id == deployment_id)
        .where(sa.or_(packages.c.model_id == model_id, packages.c.id == model_id))
        .order_by(table.c.number.desc())
        .limit(1)
    )
    found: str | None = connection.scalar(query)
    return found
