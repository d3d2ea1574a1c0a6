"""Which deployments a list shows, and in which order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from scoreline.access import Caller
from scoreline.errors import InvalidRequest
from scoreline.registry.environments import FOREIGN_PLATFORM, OWN_PLATFORM
from scoreline.registry.records import Server
from scoreline.store.tables import registry as tables
from scoreline.store.tables.registry import deployment_tags as tags
from scoreline.store.tables.registry import deployments as table

IMPORTANCE = ("CRITICAL", "HIGH", "MODERATE", "LOW")

_IMPORTANCE_RANK = sa.case({name: -rank for rank, name in enumerate(IMPORTANCE)}, value=table.c.importance, else_=-9)
_ORDER: dict[str, sa.ColumnElement[Any]] = {
    "label": table.c.label,
    "createdAtTimestamp": table.c.created_at,
    "currentModelDeployedTimestamp": table.c.model_deployed_at,
    "importance": _IMPORTANCE_RANK,
}


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions on deployments, all of which hold; None or empty: all. `search` looks in labels and descriptions.

    external: whether the model is on another maker's server. platforms: of the environment. tag_names, tag_values: of
    any tag.
    """

    search: str | None = None
    status: str | None = None
    importance: tuple[str, ...] = ()
    server_id: str | None = None
    created_by_me: bool = False
    external: bool | None = None
    platforms: tuple[str, ...] = ()
    tag_names: tuple[str, ...] = ()
    tag_values: tuple[str, ...] = ()


def order(by: str) -> list[sa.ColumnElement[Any]]:
    """Return an order: label, createdAtTimestamp, currentModelDeployedTimestamp or importance, `-` in front for down.

    Raises InvalidRequest for anything else.
    """
    key = by.removeprefix("-")
    if key not in _ORDER:
        raise InvalidRequest(f"`orderBy` is one of {', '.join(_ORDER)}, perhaps with `-` in front.", "orderBy")
    return [column.desc() if by.startswith("-") else column.asc() for column in (_ORDER[key], table.c.id)]


def clauses(caller: Caller, filters: Filters, default: Server | None) -> Iterable[sa.ColumnElement[bool]]:
    """Return a clause for each condition, for a query that joins deployments with their packages and environments.

    default: the server of deployments that name none.
    """
    if filters.search:
        yield sa.or_(
            table.c.label.icontains(filters.search, autoescape=True),
            table.c.description.icontains(filters.search, autoescape=True),
        )
    for column, value in (
        (table.c.status, filters.status),
        (table.c.owner_id, caller.user_id if filters.created_by_me else None),
    ):
        if value is not None:
            yield column == value
    for values, clause in (
        (filters.importance, table.c.importance.in_(filters.importance)),
        (filters.platforms, _platform().in_(filters.platforms)),
        (filters.tag_names, _tagged(tags.c.name, filters.tag_names)),
        (filters.tag_values, _tagged(tags.c.value, filters.tag_values)),
    ):
        if values:
            yield clause
    if filters.server_id is not None:
        by_default = default is not None and filters.server_id == default.id
        named = table.c.server_id == filters.server_id
        yield sa.or_(named, table.c.server_id.is_(None)) if by_default else named
    if filters.external is not None:
        artifact = tables.packages.c.artifact
        yield artifact.is_(None) if filters.external else artifact.is_not(None)


def _platform() -> sa.ColumnElement[str]:
    """Where nobody made the environment it is the server: another maker's, or one of our own, the default one too."""
    of_server = sa.case((tables.packages.c.artifact.is_(None), FOREIGN_PLATFORM), else_=OWN_PLATFORM)
    return sa.func.coalesce(tables.prediction_environments.c.platform, of_server)


def _tagged(column: sa.ColumnElement[str], wanted: tuple[str, ...]) -> sa.ColumnElement[bool]:
    return sa.exists().where(tags.c.deployment_id == table.c.id, column.in_(wanted))
