"""Where the versions of a registered model are or were deployed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from scoreline.access import Caller, visible
from scoreline.errors import InvalidRequest
from scoreline.registry.records import Owner, Page, fetch_page, owner_from, prefixed, unprefixed
from scoreline.store import Store
from scoreline.store.tables.access import users
from scoreline.store.tables.registry import deployment_models, deployments, packages


@dataclass(frozen=True, slots=True)
class Use:
    """A version in a deployment. current: it is the deployment's model now; else it was. owner: the deployment's."""

    deployment_id: str
    label: str
    status: str
    version: int
    current: bool
    first_at: datetime
    first_by: Owner
    owner: Owner


_owners = users.alias("owners")
_ORDER = {"createdAt": deployments.c.created_at, "label": deployments.c.label}


def list_uses(
    store: Store,
    caller: Caller,
    *,
    registered_model_id: str | None = None,
    package_id: str | None = None,
    search: str | None = None,
    sort_key: str = "createdAt",
    descending: bool = True,
    offset: int = 0,
    limit: int | None = 100,
) -> Page[Use]:
    """Return the deployments of a registered model's versions, or of one package, also where it was replaced since.

    search: in labels. sort_key: createdAt or label, of the deployment (InvalidRequest).
    """
    if sort_key not in _ORDER:
        raise InvalidRequest(f"`sortKey` is one of {', '.join(_ORDER)}, not {sort_key!r}.", "sortKey")
    first = (
        sa.select(
            deployment_models.c.deployment_id,
            deployment_models.c.package_id,
            sa.func.min(deployment_models.c.number).label("number"),
        )
        .group_by(deployment_models.c.deployment_id, deployment_models.c.package_id)
        .subquery("first")
    )
    query = (
        sa.select(
            deployments.c.id,
            deployments.c.label,
            deployments.c.status,
            deployments.c.package_id.label("current_id"),
            packages.c.id.label("package_id"),
            packages.c.version,
            deployment_models.c.at,
            *prefixed(users, "u_"),
            *prefixed(_owners, "o_"),
        )
        .select_from(first)
        .join(
            deployment_models,
            sa.and_(
                deployment_models.c.deployment_id == first.c.deployment_id,
                deployment_models.c.number == first.c.number,
            ),
        )
        .join(deployments, deployments.c.id == first.c.deployment_id)
        .join(packages, packages.c.id == first.c.package_id)
        .join(users, users.c.id == deployment_models.c.user_id)
        .join(_owners, _owners.c.id == deployments.c.owner_id)
        .where(visible(caller, deployments), deployments.c.deleted_at.is_(None))
    )
    if registered_model_id is not None:
        query = query.where(packages.c.registered_model_id == registered_model_id)
    if package_id is not None:
        query = query.where(packages.c.id == package_id)
    if search:
        query = query.where(deployments.c.label.icontains(search, autoescape=True))
    columns = (_ORDER[sort_key], deployments.c.id, packages.c.version)
    order = [column.desc() if descending else column.asc() for column in columns]
    with store.read() as connection:
        rows, total = fetch_page(connection, query, order, offset=offset, limit=limit)
    found = (
        Use(
            deployment_id=row["id"],
            label=row["label"],
            status=row["status"],
            version=row["version"],
            current=row["current_id"] == row["package_id"],
            first_at=row["at"],
            first_by=owner_from(unprefixed(row, "u_")),
            owner=owner_from(unprefixed(row, "o_")),
        )
        for row in rows
    )
    return Page(tuple(found), total)
