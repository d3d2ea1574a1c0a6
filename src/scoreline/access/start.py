"""An installation's first start: the first admin and their token, and the tokens of its own parts."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.access import tokens, users
from scoreline.access.callers import USER_RIGHTS
from scoreline.errors import SetupError
from scoreline.settings import Settings
from scoreline.store import Store
from scoreline.store.tables import access as tables

FIRST_ADMIN = "admin"
_FROM_ENVIRONMENT = "SCORELINE_ADMIN_TOKEN"
_SHORTEST = 16


def bootstrap(store: Store, settings: Settings) -> str | None:
    """Make the first admin if there is no user yet; return the new token's secret, to be shown once.

    With `settings.admin_token`, that secret is the admin's token (and replaces the one that was set before), and None
    is returned. Several processes may call it at once. Raises SetupError for a secret that is too short or revoked.
    """
    wanted = None if settings.admin_token is None else settings.admin_token.get_secret_value()
    if wanted is not None and (len(wanted) < _SHORTEST or wanted != wanted.strip()):
        raise SetupError(
            f"SCORELINE_ADMIN_TOKEN is too easy to guess or has blanks around it: set at least {_SHORTEST} random "
            "characters, for instance from `openssl rand -hex 24`."
        )
    with store.exclusive("users") as connection:
        admin_id = _first_admin(connection)
        if admin_id is not None and wanted is None:
            return None
        if admin_id is None:
            admin_id = users.create_in(connection, FIRST_ADMIN, role="admin", rights=USER_RIGHTS).id
        if wanted is not None:
            _accept(connection, admin_id, wanted)
            return None
        secret = tokens.new_secret()
        tokens.create_in(connection, admin_id, "first token", secret)
        return secret


def service_token(store: Store, name: str, rights: Iterable[str]) -> str:
    """Return a new secret for a part of this installation, for instance its prediction server.

    `name` says which part and where ("predictor of host:folder"); an earlier token of that name ends. Raises SetupError
    before `bootstrap`.
    """
    secret = tokens.new_secret()
    with store.exclusive("users") as connection:
        admin_id = _first_admin(connection)
        if admin_id is None:
            raise SetupError("The installation has no admin yet: start it once with `scoreline serve`.")
        tokens.create_in(connection, admin_id, name, secret, kind="service", rights=rights, replace=True)
    return secret


def _first_admin(connection: Connection) -> str | None:
    """Return the id of the oldest admin who is not locked out."""
    query = (
        sa.select(tables.users.c.id)
        .where(tables.users.c.role == "admin", tables.users.c.disabled_at.is_(None))
        .order_by(tables.users.c.created_at, tables.users.c.id)
        .limit(1)
    )
    return connection.scalar(query)


def _accept(connection: Connection, admin_id: str, secret: str) -> None:
    """Make `secret` the admin's token from the environment, if it is not that already."""
    known = connection.execute(
        sa.select(tables.tokens.c.revoked_at).where(tables.tokens.c.secret_hash == tokens.secret_hash(secret))
    ).first()
    if known is None:
        tokens.create_in(connection, admin_id, _FROM_ENVIRONMENT, secret, replace=True)
    elif known.revoked_at is not None:
        raise SetupError("SCORELINE_ADMIN_TOKEN is a token that has been revoked: set another one.")
