"""Prediction environments: the places that models are deployed to.

Every prediction server is one by itself. People make others, to say where predictions are used and which kinds of
models may go there; what is deployed there is scored by the installation's prediction servers all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from scoreline.access import Caller, require_change, require_write, visible
from scoreline.errors import Conflict, InvalidRequest, NotFound
from scoreline.registry import servers
from scoreline.registry.records import Environment, Package, Server, owner_from, prefixed, unprefixed
from scoreline.registry.request import required, text
from scoreline.store import Store, new_id, now
from scoreline.store.tables.access import users
from scoreline.store.tables.registry import deployments
from scoreline.store.tables.registry import prediction_environments as table

PLATFORMS = (
    "aws",
    "gcp",
    "azure",
    "onPremise",
    "datarobot",
    "datarobotServerless",
    "openShift",
    "other",
    "snowflake",
    "sapAiCore",
)
FORMATS = ("datarobot", "datarobotScoringCode", "customModel", "externalModel")
OWN_PLATFORM = "datarobot"
FOREIGN_PLATFORM = "other"

_LONGEST_DESCRIPTION = 10_000
UPLOADED = frozenset({"datarobot", "customModel"})
ELSEWHERE = frozenset({"externalModel"})
"""What uploaded models count as, and those on servers of other makers."""


def create(
    store: Store,
    caller: Caller,
    name: str,
    platform: str,
    *,
    description: str | None = None,
    formats: Sequence[str] = (),
) -> Environment:
    """Make an environment. formats: kinds of models that may be deployed there, all when none is named.

    Raises Forbidden, InvalidRequest.
    """
    require_write(caller)
    required(text({"name": name}, "name"), "name")
    text({"description": description or None}, "description", longest=_LONGEST_DESCRIPTION)
    if platform not in PLATFORMS:
        raise InvalidRequest(f"`platform` is one of {', '.join(PLATFORMS)}, not {platform!r}.", "platform")
    if unknown := [kind for kind in formats if kind not in FORMATS]:
        raise InvalidRequest(
            f"`supportedModelFormats` holds {', '.join(FORMATS)}, not {unknown[0]!r}.", "supportedModelFormats"
        )
    environment_id = new_id()
    with store.begin() as connection:
        connection.execute(
            table.insert().values(
                id=environment_id,
                owner_id=caller.user_id,
                org_id=caller.org_id,
                name=name,
                description=description or None,
                platform=platform,
                formats=list(dict.fromkeys(formats)),
                created_at=now(),
            )
        )
        return get_in(connection, caller, environment_id)


def list_environments(store: Store, caller: Caller) -> list[Environment]:
    """Return all environments: the prediction servers, the default one first, then those that people made, by name."""
    query = _query(caller).order_by(table.c.name, table.c.id)
    with store.read() as connection:
        made = [environment_from(row, "u_") for row in connection.execute(query).mappings()]
    return [*map(of_server, servers.list_servers(store, caller)), *made]


def get(store: Store, caller: Caller, environment_id: str) -> Environment:
    """Return an environment; raises NotFound."""
    with store.read() as connection:
        return get_in(connection, caller, environment_id)


def get_in(connection: Connection, caller: Caller, environment_id: str) -> Environment:
    """Do what `get` does, in a transaction of the caller's."""
    row = connection.execute(_query(caller).where(table.c.id == environment_id)).mappings().first()
    if row is not None:
        return environment_from(row, "u_")
    try:
        return of_server(servers.get_in(connection, caller, environment_id))
    except NotFound:
        raise NotFound(f"There is no prediction environment {environment_id!r}.") from None


def delete(store: Store, caller: Caller, environment_id: str) -> None:
    """Remove an environment. Raises NotFound, Forbidden; Conflict while it is used, and for a prediction server."""
    with store.exclusive("deployments") as connection:
        environment = get_in(connection, caller, environment_id)
        if environment.owner is None:
            raise Conflict(f"Prediction environment {environment.name!r} is a prediction server: it cannot be deleted.")
        require_change(caller, environment.owner.id, f"prediction environment {environment.name!r}")
        used = sa.and_(deployments.c.environment_id == environment_id, deployments.c.deleted_at.is_(None))
        label = connection.scalar(sa.select(deployments.c.label).where(used).limit(1))
        if label is not None:
            raise Conflict(
                f"Prediction environment {environment.name!r} has the deployment {label!r}: delete that one first."
            )
        connection.execute(table.update().where(table.c.id == environment_id).values(deleted_at=now()))


def check_format(environment: Environment | None, package: Package) -> None:
    """Raise InvalidRequest when the environment does not take models of this kind."""
    if environment is None or not environment.formats:
        return
    kinds = ELSEWHERE if package.artifact is None else UPLOADED
    if not kinds & set(environment.formats):
        raise InvalidRequest(
            f"Prediction environment {environment.name!r} takes models of the formats "
            f"{', '.join(environment.formats)}; {package.name!r} is {' or '.join(sorted(kinds))}.",
            "predictionEnvironmentId",
        )


def of_server(server: Server) -> Environment:
    """Return the environment that a prediction server is."""
    return Environment(
        id=server.id,
        name=server.name,
        description=f"Prediction server at {server.url}",
        platform=OWN_PLATFORM if server.kind == servers.OWN else FOREIGN_PLATFORM,
        formats=(),
        created_at=server.created_at,
        owner=None,
    )


def environment_from(row: RowMapping, owner_prefix: str) -> Environment:
    """Build one that people made from a row that has its columns, under `e_`, and its owner's."""
    values = unprefixed(row, "e_")
    return Environment(
        id=values["id"],
        name=values["name"],
        description=values["description"],
        platform=values["platform"],
        formats=tuple(values["formats"]),
        created_at=values["created_at"],
        owner=owner_from(unprefixed(row, owner_prefix)),
    )


def _query(caller: Caller) -> sa.Select[Any]:
    return (
        sa.select(*prefixed(table, "e_"), *prefixed(users, "u_"))
        .join(users, users.c.id == table.c.owner_id)
        .where(visible(caller, table), table.c.deleted_at.is_(None))
    )
