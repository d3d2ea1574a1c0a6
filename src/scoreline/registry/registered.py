"""Registered models: names under which the versions of a model are kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from scoreline.access import Caller, require_change, visible
from scoreline.errors import Conflict, InvalidRequest, NotFound
from scoreline.registry.records import Page, RegisteredModel, fetch_page, owner_from, prefixed, unprefixed
from scoreline.registry.request import LONGEST_NAME, PackageRequest
from scoreline.registry.versions import VersionFilters, clauses
from scoreline.store import Store, new_id, now
from scoreline.store.tables.access import users
from scoreline.store.tables.registry import deployments, packages
from scoreline.store.tables.registry import registered_models as table
from scoreline.types import TargetType

Span = tuple[datetime | None, datetime | None]

_QUERY = sa.select(*prefixed(table, "m_"), *prefixed(users, "u_")).join(users, users.c.id == table.c.owner_id)
_ORDER = {"createdAt": table.c.created_at, "modifiedAt": table.c.modified_at, "name": table.c.name}


def list_models(
    store: Store,
    caller: Caller,
    *,
    search: str | None = None,
    target_name: str | None = None,
    target_type: str | None = None,
    created_by: str | None = None,
    created: Span = (None, None),
    modified: Span = (None, None),
    versions: VersionFilters | None = None,
    sort_key: str = "createdAt",
    descending: bool = True,
    offset: int = 0,
    limit: int | None = 100,
) -> Page[RegisteredModel]:
    """Return registered models, archived ones left out. sort_key: createdAt, modifiedAt or name (InvalidRequest).

    search: in names, descriptions and target names. created_by: a user's name. created, modified: from the first moment
    on, before the second one. versions: those that have such a version.
    """
    if sort_key not in _ORDER:
        raise InvalidRequest(f"`sortKey` is one of {', '.join(_ORDER)}, not {sort_key!r}.", "sortKey")
    query = _QUERY.where(visible(caller, table), table.c.archived_at.is_(None))
    if search:
        places = (table.c.name, table.c.description, table.c.target_name)
        query = query.where(sa.or_(*(place.icontains(search, autoescape=True) for place in places)))
    for column, value in (
        (table.c.target_name, target_name),
        (table.c.target_type, target_type),
        (users.c.username, created_by),
    ):
        if value is not None:
            query = query.where(column == value)
    query = query.where(*_within(table.c.created_at, created), *_within(table.c.modified_at, modified))
    if wanted := list(clauses(versions or VersionFilters())):
        mine = sa.and_(packages.c.registered_model_id == table.c.id, packages.c.archived_at.is_(None))
        query = query.where(sa.exists().where(mine, *wanted))
    order = [column.desc() if descending else column.asc() for column in (_ORDER[sort_key], table.c.id)]
    with store.read() as connection:
        rows, total = fetch_page(connection, query, order, offset=offset, limit=limit)
    return Page(tuple(_model(row) for row in rows), total)


def _within(column: sa.ColumnElement[datetime], span: Span) -> Iterable[sa.ColumnElement[bool]]:
    start, end = span
    if start is not None:
        yield column >= start
    if end is not None:
        yield column < end


def get(store: Store, caller: Caller, model_id: str) -> RegisteredModel:
    """Return a registered model, archived or not; raises NotFound."""
    with store.read() as connection:
        return get_in(connection, caller, model_id)


def get_in(connection: Connection, caller: Caller, model_id: str) -> RegisteredModel:
    """Do what `get` does, in a transaction of the caller's."""
    row = connection.execute(_QUERY.where(visible(caller, table), table.c.id == model_id)).mappings().first()
    if row is None:
        raise NotFound(f"There is no registered model {model_id!r}.")
    return _model(row)


def rename(store: Store, caller: Caller, model_id: str, name: str) -> RegisteredModel:
    """Change a registered model's name. Raises NotFound, Forbidden, InvalidRequest; Conflict when it is taken."""
    if not name.strip() or len(name) > LONGEST_NAME:
        raise InvalidRequest(f"`name` is a text of 1 to {LONGEST_NAME} characters.", "name")
    with store.exclusive("registered models") as connection:
        model = get_in(connection, caller, model_id)
        require_change(caller, model.owner.id, f"registered model {model.name!r}")
        other = _named(connection, caller, name)
        if other is not None and other.id != model_id:
            raise Conflict(f"There is a registered model {name!r} already: choose another name.")
        connection.execute(table.update().where(table.c.id == model_id).values(name=name, modified_at=now()))
        return get_in(connection, caller, model_id)


def archive(store: Store, caller: Caller, model_id: str) -> None:
    """Put a model away with all its versions, for good. Raises NotFound, Forbidden; Conflict while it is deployed."""
    with store.exclusive("registered models") as connection:
        model = get_in(connection, caller, model_id)
        require_change(caller, model.owner.id, f"registered model {model.name!r}")
        used = sa.select(deployments.c.label).join(packages, packages.c.id == deployments.c.package_id)
        label = connection.scalar(
            used.where(packages.c.registered_model_id == model_id, deployments.c.deleted_at.is_(None)).limit(1)
        )
        if label is not None:
            raise Conflict(f"Registered model {model.name!r} is deployed as {label!r}: delete that deployment first.")
        for each, clause in ((table, table.c.id), (packages, packages.c.registered_model_id)):
            mine = sa.and_(clause == model_id, each.c.archived_at.is_(None))
            connection.execute(each.update().where(mine).values(archived_at=now()))


def next_version(
    connection: Connection, caller: Caller, request: PackageRequest, target_name: str, target_type: TargetType
) -> tuple[str, int]:
    """Return the registered model that a new package belongs to and the package's version number in it.

    By id: that model. By name: a new model of that name. Neither: the model with the package's name, made if there is
    none. Runs in a transaction that holds the lock "registered models". Raises NotFound, Forbidden, Conflict for a name
    that is taken, InvalidRequest for another target than the model's.
    """
    model = None
    if request.registered_model_id is not None:
        model = get_in(connection, caller, request.registered_model_id)
    else:
        model = _named(connection, caller, request.registered_model_name or request.name)
        if model is not None and request.registered_model_name is not None:
            raise Conflict(
                f"There is a registered model {model.name!r} already: add a version to it with "
                f"`registeredModelId` {model.id}, or choose another name."
            )
    if model is None:
        return _create(connection, caller, request, target_name, target_type), 1
    require_change(caller, model.owner.id, f"registered model {model.name!r}")
    if model.archived_at is not None:
        raise Conflict(f"Registered model {model.name!r} is archived: register under another name.")
    if (model.target_name, model.target_type) != (target_name, target_type):
        raise InvalidRequest(
            f"Registered model {model.name!r} predicts {model.target_name!r} ({model.target_type}), not "
            f"{target_name!r} ({target_type}): register under another name.",
            "target",
        )
    version = model.last_version + 1
    connection.execute(table.update().where(table.c.id == model.id).values(last_version=version, modified_at=now()))
    return model.id, version


def _create(
    connection: Connection, caller: Caller, request: PackageRequest, target_name: str, target_type: TargetType
) -> str:
    model_id, moment = new_id(), now()
    connection.execute(
        table.insert().values(
            id=model_id,
            owner_id=caller.user_id,
            org_id=caller.org_id,
            name=request.registered_model_name or request.name,
            description=request.registered_model_description,
            target_name=target_name,
            target_type=target_type,
            tags=with_ids(request.registered_model_tags),
            last_version=1,
            created_at=moment,
            modified_at=moment,
        )
    )
    return model_id


def with_ids(tags: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    """Return tags with the ids that the client expects on what it reads back."""
    return [{"id": new_id(), **tag} for tag in tags]


def _named(connection: Connection, caller: Caller, name: str) -> RegisteredModel | None:
    mine = sa.and_(visible(caller, table), table.c.name == name, table.c.archived_at.is_(None))
    row = connection.execute(_QUERY.where(mine).order_by(table.c.id).limit(1)).mappings().first()
    return None if row is None else _model(row)


def _model(row: RowMapping) -> RegisteredModel:
    values = unprefixed(row, "m_")
    return RegisteredModel(
        id=values["id"],
        name=values["name"],
        description=values["description"],
        target_name=values["target_name"],
        target_type=TargetType(values["target_type"]),
        tags=tuple(values["tags"]),
        last_version=values["last_version"],
        created_at=values["created_at"],
        modified_at=values["modified_at"],
        archived_at=values["archived_at"],
        owner=owner_from(unprefixed(row, "u_")),
    )
