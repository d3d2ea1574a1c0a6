"""Prediction servers: where models run."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.access import Caller, require_admin, visible
from scoreline.errors import InvalidRequest, NotFound
from scoreline.network import place_of
from scoreline.registry.records import Server
from scoreline.store import Store, new_id, now
from scoreline.store.tables.access import users
from scoreline.store.tables.registry import prediction_servers as table

DEFAULT_NAME = "default"
OWN = "scoreline"
ANYWHERE, ALLOWED = "any", "allowed"  # values of `Server.reach`

_COLUMNS = [table.c[name] for name in Server.__slots__]
# The one named "default" comes first, then the oldest.
_PREFERENCE = (sa.case((table.c.name == DEFAULT_NAME, 0), else_=1), table.c.created_at, table.c.id)


def upsert(store: Store, caller: Caller, name: str, url: str, concurrency: int, *, slots: int) -> Server:
    """Add a server, or note the address under which a known one (by name) is reached now.

    slots: jobs at once on a new server (`settings.instance_slots`); a known server keeps its own. A server that says
    so itself, with a prediction server's token, serves everyone; an admin's serves the organisation.
    Raises Forbidden, InvalidRequest.
    """
    if not caller.is_predictor:
        require_admin(caller)
    if not name.strip() or len(name) > 128:
        raise InvalidRequest("A prediction server's name is 1 to 128 characters.", "name")
    if concurrency < 1:
        raise InvalidRequest("A prediction server takes at least one request at once.", "concurrency")
    address = checked_url(url)
    with store.exclusive("prediction servers") as connection:
        known = connection.scalar(sa.select(table.c.id).where(table.c.org_id == caller.org_id, table.c.name == name))
        moment = now()
        server_id = known or new_id()
        if known is not None:
            change = table.update().where(table.c.id == known)
            connection.execute(change.values(url=address, concurrency=concurrency, seen_at=moment))
        else:
            connection.execute(
                table.insert().values(
                    id=server_id,
                    owner_id=caller.user_id,
                    org_id=caller.org_id,
                    name=name,
                    url=address,
                    datarobot_key=secrets.token_hex(16),
                    slots=slots,
                    concurrency=concurrency,
                    everyone=caller.is_predictor,
                    created_at=moment,
                    seen_at=moment,
                )
            )
        return Server(*connection.execute(sa.select(*_COLUMNS).where(table.c.id == server_id)).one())


def list_servers(store: Store, caller: Caller) -> list[Server]:
    """Return the servers that the caller may use, the default one first."""
    with store.read() as connection:
        rows = connection.execute(sa.select(*_COLUMNS).where(visible(caller, table)).order_by(*_PREFERENCE))
        return [Server(*row) for row in rows]


def get(store: Store, caller: Caller, server_id: str) -> Server:
    """Return a server; raises NotFound."""
    with store.read() as connection:
        return get_in(connection, caller, server_id)


def get_in(connection: Connection, caller: Caller, server_id: str) -> Server:
    """Do what `get` does, in a transaction of the caller's."""
    row = connection.execute(sa.select(*_COLUMNS).where(visible(caller, table), table.c.id == server_id)).first()
    if row is None:
        raise NotFound(f"There is no prediction server {server_id!r}.")
    return Server(*row)


def default_in(connection: Connection, caller: Caller) -> Server | None:
    """Return the server for deployments that name none; None while no server is known."""
    own = table.c.kind == OWN
    query = sa.select(*_COLUMNS).where(visible(caller, table), own).order_by(*_PREFERENCE).limit(1)
    row = connection.execute(query).first()
    return None if row is None else Server(*row)


def resolve(store: Store, server_id: str) -> Server:
    """Return a server for the installation's own work (a run that was accepted before); raises NotFound."""
    with store.read() as connection:
        return resolve_in(connection, server_id)


def resolve_in(connection: Connection, server_id: str) -> Server:
    """Do what `resolve` does, in a transaction of the caller's."""
    row = connection.execute(sa.select(*_COLUMNS).where(table.c.id == server_id)).first()
    if row is None:
        raise NotFound(f"There is no prediction server {server_id!r}.")
    return Server(*row)


def server_from(values: Mapping[str, Any]) -> Server:
    """Build a Server from the columns of its table."""
    return Server(**{name: values[name] for name in Server.__slots__})


def checked_url(url: str) -> str:
    """Return an address without its last slash; raises InvalidRequest for what is none."""
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        port_ok = False
    if not port_ok or parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InvalidRequest("A prediction server's address is like `http://host:port`.", "url")
    if parts.username is not None or parts.password is not None:
        raise InvalidRequest("A prediction server's address holds no user or password.", "url")
    return url.rstrip("/")


def places(store: Store, user_id: str) -> tuple[list[str], list[str]]:
    """Return places (`host:port`) of the installation's own servers, and of those that admins of a user's named."""
    org_id = sa.select(users.c.org_id).where(users.c.id == user_id).scalar_subquery()
    mine = sa.and_(table.c.kind != OWN, table.c.org_id == org_id, table.c.reach == ANYWHERE)
    query = sa.select(table.c.url, table.c.kind).where(sa.or_(table.c.kind == OWN, mine))
    with store.read() as connection:
        rows = connection.execute(query).all()
    own, known = (sorted({place_of(row.url) for row in rows if (row.kind == OWN) is mine}) for mine in (True, False))
    return own, known


def known_foreign(store: Store, caller: Caller, kind: str, url: str) -> str | None:
    """Return how far the address leads of a foreign server that the organisation has registered; None for no such."""
    with store.read() as connection:
        row = connection.execute(_foreign_query(caller, kind, url)).first()
    return None if row is None else str(row.reach)


def register_foreign_in(
    connection: Connection, caller: Caller, kind: str, url: str, concurrency: int, *, anywhere: bool
) -> str:
    """Return the id of a foreign server, noting it if it is new; one job at a time runs on it, as on any new server.

    Who may is for the caller of this function to ask. `anywhere`: an admin named the address. Runs in a transaction
    that holds a lock.
    """
    known = connection.execute(_foreign_query(caller, kind, url)).first()
    reach = ANYWHERE if anywhere else ALLOWED
    if known is not None:
        change = table.update().where(table.c.id == known.id)
        connection.execute(change.values(concurrency=concurrency, reach=reach, seen_at=now()))
        return str(known.id)
    server_id, moment = new_id(), now()
    connection.execute(
        table.insert().values(
            id=server_id,
            owner_id=caller.user_id,
            org_id=caller.org_id,
            name=f"{kind} {url}",
            kind=kind,
            url=url,
            reach=reach,
            datarobot_key=secrets.token_hex(16),
            slots=1,
            concurrency=concurrency,
            everyone=False,
            created_at=moment,
            seen_at=moment,
        )
    )
    return server_id


def _foreign_query(caller: Caller, kind: str, url: str) -> sa.Select[tuple[str, str]]:
    mine = sa.and_(table.c.org_id == caller.org_id, table.c.kind == kind, table.c.url == url)
    return sa.select(table.c.id, table.c.reach).where(mine).limit(1)
