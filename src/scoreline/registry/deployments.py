"""Deployments: named places where a package is served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from scoreline.access import Caller, require_change, require_write, visible
from scoreline.errors import Conflict, InvalidRequest, NotFound
from scoreline.registry import environments, history, packages, selection, servers, settings
from scoreline.registry.records import (
    Deployment,
    Environment,
    Package,
    Page,
    Server,
    fetch_page,
    owner_from,
    prefixed,
    unprefixed,
)
from scoreline.registry.request import metadata, text
from scoreline.registry.selection import IMPORTANCE, Filters
from scoreline.store import Store, new_id, now
from scoreline.store.tables import registry as tables
from scoreline.store.tables.access import users
from scoreline.store.tables.registry import deployments as table
from scoreline.types import JsonObject

STATUSES = ("active", "inactive")

_package_owner, _environment_owner = users.alias("package_owner"), users.alias("environment_owner")
_QUERY = (
    sa.select(
        *prefixed(table, "d_"),
        *packages.COLUMNS,
        *prefixed(users, "u_"),
        *prefixed(_package_owner, "o_"),
        *prefixed(tables.prediction_servers, "s_"),
        *prefixed(tables.prediction_environments, "e_"),
        *prefixed(_environment_owner, "eo_"),
    )
    .select_from(table)
    .join(tables.packages, tables.packages.c.id == table.c.package_id)
    .join(tables.registered_models, tables.registered_models.c.id == tables.packages.c.registered_model_id)
    .join(users, users.c.id == table.c.owner_id)
    .join(_package_owner, _package_owner.c.id == tables.packages.c.owner_id)
    .outerjoin(tables.prediction_servers, tables.prediction_servers.c.id == table.c.server_id)
    .outerjoin(tables.prediction_environments, tables.prediction_environments.c.id == table.c.environment_id)
    .outerjoin(_environment_owner, _environment_owner.c.id == tables.prediction_environments.c.owner_id)
    .where(table.c.deleted_at.is_(None))
)


def create(
    store: Store,
    caller: Caller,
    package_id: str,
    label: str,
    *,
    description: str | None = None,
    server_id: str | None = None,
    environment_id: str | None = None,
    importance: str | None = None,
    user_provided_id: str | None = None,
    additional_metadata: list[JsonObject] | None = None,
    status: str = "active",
) -> Deployment:
    """Deploy a package; it can be used at once. Without a server, the installation's default one is used.

    environment_id: a prediction server's, which means the server, or one that somebody made.
    Raises Forbidden, NotFound; InvalidRequest for a wrong field or a package that cannot be scored with; Conflict for
    an archived package or a user-provided id that is taken.
    """
    require_write(caller)
    values = _checked(
        {
            "label": label,
            "description": description,
            "importance": importance,
            "user_provided_id": user_provided_id,
            "additional_metadata": additional_metadata,
        }
    )
    _check_status(status)
    with store.exclusive("deployments") as connection:
        package = packages.get_in(connection, caller, package_id)
        server_id, environment_id = _place(connection, caller, package, server_id, environment_id)
        if package.archived_at is not None:
            raise Conflict(f"Model package {package.name!r} is archived: deploy another version.")
        _check_free(connection, caller, user_provided_id)
        values |= {"status": status, "server_id": server_id, "environment_id": environment_id}
        return get_in(connection, caller, _insert(connection, caller, package_id, values))


def get(store: Store, caller: Caller, deployment_id: str) -> Deployment:
    """Return a deployment; raises NotFound."""
    with store.read() as connection:
        return get_in(connection, caller, deployment_id)


def get_in(connection: Connection, caller: Caller, deployment_id: str) -> Deployment:
    """Do what `get` does, in a transaction of the caller's."""
    row = connection.execute(_QUERY.where(visible(caller, table), table.c.id == deployment_id)).mappings().first()
    if row is None:
        raise NotFound(f"There is no deployment {deployment_id!r}.")
    found = _tagged(connection, [row])
    return _deployment(row, servers.default_in(connection, caller) if row["s_id"] is None else None, found)


def list_deployments(
    store: Store,
    caller: Caller,
    filters: Filters | None = None,
    *,
    order_by: str = "-createdAtTimestamp",
    offset: int = 0,
    limit: int | None = 20,
) -> Page[Deployment]:
    """Return the deployments that pass the filters.

    order_by: label, createdAtTimestamp, currentModelDeployedTimestamp or importance, with `-` in front for the other
    direction; raises InvalidRequest for anything else.
    """
    order = selection.order(order_by)
    with store.read() as connection:
        default = servers.default_in(connection, caller)
        chosen = selection.clauses(caller, filters or Filters(), default)
        query = _QUERY.where(visible(caller, table), *chosen)
        rows, total = fetch_page(connection, query, order, offset=offset, limit=limit)
        found = _tagged(connection, rows)
    return Page(tuple(_deployment(row, default, found) for row in rows), total)


def update(
    store: Store,
    caller: Caller,
    deployment_id: str,
    *,
    label: str | None = None,
    description: str | None = None,
    importance: str | None = None,
) -> Deployment:
    """Change what is given. An empty description removes it. Raises NotFound, Forbidden, InvalidRequest."""
    given = {"label": label, "description": description, "importance": importance}
    values = {name: value for name, value in given.items() if value is not None}
    return _change(store, caller, deployment_id, _checked(values) if values else {})


def set_status(store: Store, caller: Caller, deployment_id: str, status: str) -> Deployment:
    """Make a deployment active or inactive. Raises NotFound, Forbidden, InvalidRequest."""
    _check_status(status)
    return _change(store, caller, deployment_id, {"status": status})


def change_settings(store: Store, caller: Caller, deployment_id: str, wanted: Mapping[str, Any]) -> Deployment:
    """Change the settings that are given, named as `settings.document` shows them.

    Raises NotFound, Forbidden; InvalidRequest for what is unknown, wrong or not built.
    """
    with store.exclusive("deployments") as connection:
        deployment = get_in(connection, caller, deployment_id)
        require_change(caller, deployment.owner.id, f"deployment {deployment.label!r}")
        package = deployment.package
        chosen = settings.changed(deployment.settings, wanted, caller, package.target_type, package.usual)
        change = table.update().where(table.c.id == deployment_id, table.c.deleted_at.is_(None))
        connection.execute(change.values(settings=settings.to_stored(chosen), updated_at=now()))
        return get_in(connection, caller, deployment_id)


def delete(store: Store, caller: Caller, deployment_id: str) -> None:
    """Remove a deployment; its jobs stay. Raises NotFound, Forbidden.

    Whether jobs still run on it is for the caller to ask; they end well in any case, as they keep what they need.
    """
    with store.begin() as connection:
        _changeable(connection, caller, deployment_id)
        mine = sa.and_(table.c.id == deployment_id, table.c.deleted_at.is_(None))
        connection.execute(table.update().where(mine).values(deleted_at=now(), status="inactive"))


def check_place(package: Package, environment: Environment | None) -> None:
    """Raise InvalidRequest when a package cannot be scored with, or not in this environment."""
    packages.scorable(package)
    environments.check_format(environment, package)


def serving_document(deployment: Deployment) -> JsonObject:
    """Return the deployment as prediction servers read it."""
    return packages.serving_document(deployment.package) | {
        "deploymentId": deployment.id,
        "label": deployment.label,
        "status": deployment.status,
        **settings.serving_document(deployment.settings, deployment.package.usual),
    }


def _change(store: Store, caller: Caller, deployment_id: str, values: dict[str, Any]) -> Deployment:
    with store.begin() as connection:
        _changeable(connection, caller, deployment_id)
        if values:
            change = table.update().where(table.c.id == deployment_id, table.c.deleted_at.is_(None))
            connection.execute(change.values(updated_at=now(), **values))
        return get_in(connection, caller, deployment_id)


def _changeable(connection: Connection, caller: Caller, deployment_id: str) -> None:
    deployment = get_in(connection, caller, deployment_id)
    require_change(caller, deployment.owner.id, f"deployment {deployment.label!r}")


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """Check what the API's fields of these names may be; an empty description is none."""
    if "label" in values and text(values, "label") is None:
        raise InvalidRequest("`label` is missing: name the deployment.", "label")
    description = values.get("description")
    if description is not None and (not isinstance(description, str) or len(description) > 10_000):
        raise InvalidRequest("`description` is a text of at most 10000 characters.", "description")
    importance = values.get("importance")
    if importance is not None and importance not in IMPORTANCE:
        raise InvalidRequest(f"`importance` is one of {', '.join(IMPORTANCE)}, not {importance!r}.", "importance")
    text({"userProvidedId": values.get("user_provided_id")}, "userProvidedId")
    checked = dict(values)
    if "description" in values:
        checked["description"] = description or None
    if "additional_metadata" in values:
        checked["additional_metadata"] = list(metadata(values["additional_metadata"], "additionalMetadata"))
    return checked


def _check_status(status: str) -> None:
    if status not in STATUSES:
        raise InvalidRequest(f"`status` is one of {', '.join(STATUSES)}, not {status!r}.", "status")


def _insert(connection: Connection, caller: Caller, package_id: str, values: dict[str, Any]) -> str:
    deployment_id, moment = new_id(), now()
    connection.execute(
        table.insert().values(
            id=deployment_id,
            owner_id=caller.user_id,
            org_id=caller.org_id,
            package_id=package_id,
            settings={},
            created_at=moment,
            updated_at=moment,
            model_deployed_at=moment,
            **values,
        )
    )
    history.add_in(connection, caller, deployment_id, package_id, moment=moment)
    return deployment_id


def _place(
    connection: Connection, caller: Caller, package: Package, server_id: str | None, environment_id: str | None
) -> tuple[str | None, str | None]:
    """Return the server and the environment of a new deployment; an environment that is a server is only that."""
    environment = None
    if environment_id is not None:
        environment = environments.get_in(connection, caller, environment_id)
        if environment.owner is None:
            environment, server_id = None, environment_id
    check_place(package, environment)
    return _server_for(connection, caller, package, server_id), None if environment is None else environment.id


def _server_for(connection: Connection, caller: Caller, package: Package, wanted: str | None) -> str | None:
    """Return the server of a new deployment: the foreign one that has the model, or one of our own; None: any."""
    if package.server is not None:  # whoever sees the package may have it asked
        if wanted not in (None, package.server["id"]):
            raise InvalidRequest(
                f"Model package {package.name!r} is on the server {package.server['url']}: name no other.",
                "defaultPredictionServerId",
            )
        return str(package.server["id"])
    if wanted is not None and servers.get_in(connection, caller, wanted).kind != servers.OWN:
        raise InvalidRequest(
            f"Model package {package.name!r} is an uploaded model: another maker's server cannot score with it.",
            "defaultPredictionServerId",
        )
    return wanted


def _check_free(connection: Connection, caller: Caller, user_provided_id: str | None) -> None:
    if user_provided_id is None:
        return
    same = sa.and_(table.c.org_id == caller.org_id, table.c.user_provided_id == user_provided_id)
    if connection.scalar(sa.select(table.c.id).where(same, table.c.deleted_at.is_(None)).limit(1)) is not None:
        raise Conflict(f"There is a deployment with the user-provided id {user_provided_id!r} already.")


def _tagged(connection: Connection, rows: Sequence[RowMapping]) -> dict[str, list[JsonObject]]:
    """Return the tags of deployments by the deployment's id, in the order of their names."""
    found: dict[str, list[JsonObject]] = {row["d_id"]: [] for row in rows}
    kept = tables.deployment_tags
    query = sa.select(kept).where(kept.c.deployment_id.in_(list(found)))
    for tag in connection.execute(query.order_by(kept.c.name, kept.c.value, kept.c.id)).mappings():
        found[tag["deployment_id"]].append({name: tag[name] for name in ("id", "name", "value")})
    return found


def _deployment(row: RowMapping, default_server: Server | None, tags: Mapping[str, Sequence[JsonObject]]) -> Deployment:
    values = unprefixed(row, "d_")
    server = default_server if row["s_id"] is None else servers.server_from(unprefixed(row, "s_"))
    return Deployment(
        id=values["id"],
        label=values["label"],
        description=values["description"],
        status=values["status"],
        importance=values["importance"],
        user_provided_id=values["user_provided_id"],
        additional_metadata=tuple(values["additional_metadata"]),
        settings=settings.from_stored(values["settings"]),
        created_at=values["created_at"],
        updated_at=values["updated_at"],
        model_deployed_at=values["model_deployed_at"],
        package=packages.package_from(row, "o_"),
        server=server,
        owner=owner_from(unprefixed(row, "u_")),
        environment=None if row["e_id"] is None else environments.environment_from(row, "eo_"),
        tags=tuple(tags[values["id"]]),
    )
