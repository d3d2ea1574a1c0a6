"""Users and their organisations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from scoreline.access.callers import ROLES, USER_RIGHTS, Caller
from scoreline.errors import Conflict, InvalidRequest, NotFound
from scoreline.store import Store, new_id, now
from scoreline.store.tables.access import organisations, users

DEFAULT_ORGANISATION = "default"
_USERNAME = re.compile(r"[\w.@+-]{1,128}")


@dataclass(frozen=True, slots=True)
class User:
    """A person or a program with an account."""

    id: str
    username: str
    full_name: str | None
    org_id: str
    organisation: str
    role: str
    rights: frozenset[str]
    created_at: datetime
    disabled_at: datetime | None

    def caller(self) -> Caller:
        """Return the caller that this user is without any token, with all their rights."""
        return Caller(self.id, self.username, self.org_id, self.role, self.rights)


_SELECT = sa.select(users, organisations.c.name.label("organisation")).join(organisations)


def create(
    store: Store,
    username: str,
    *,
    role: str = "user",
    rights: Iterable[str] = (),
    organisation: str = DEFAULT_ORGANISATION,
    full_name: str | None = None,
) -> User:
    """Make a user; an organisation that does not exist yet is made, too.

    Raises InvalidRequest for a name, role or right that is not possible, Conflict when the name is taken.
    """
    with store.exclusive("users") as connection:
        return create_in(connection, username, role=role, rights=rights, organisation=organisation, full_name=full_name)


def create_in(
    connection: Connection,
    username: str,
    *,
    role: str,
    rights: Iterable[str] = (),
    organisation: str = DEFAULT_ORGANISATION,
    full_name: str | None = None,
) -> User:
    """Do what `create` does, in a transaction that holds the lock "users"."""
    if not _USERNAME.fullmatch(username):
        raise InvalidRequest("A user name is 1 to 128 letters, digits or characters of `.@+-_`.", "username")
    if not organisation.strip() or len(organisation) > 128:
        raise InvalidRequest("An organisation's name is 1 to 128 characters.", "organisation")
    if connection.scalar(sa.select(users.c.id).where(users.c.username == username)):
        raise Conflict(f"There is a user {username!r} already: choose another name.")
    org_id = connection.scalar(sa.select(organisations.c.id).where(organisations.c.name == organisation))
    if org_id is None:
        org_id = new_id()
        connection.execute(organisations.insert().values(id=org_id, name=organisation, created_at=now()))
    user_id = new_id()
    connection.execute(
        users.insert().values(
            id=user_id,
            org_id=org_id,
            username=username,
            full_name=full_name,
            role=_checked_role(role),
            rights=_checked_rights(rights),
            created_at=now(),
        )
    )
    return _get(connection, users.c.id == user_id, username)


def get(store: Store, name_or_id: str) -> User:
    """Return a user by name or id; raises NotFound."""
    with store.read() as connection:
        return _get(connection, sa.or_(users.c.username == name_or_id, users.c.id == name_or_id), name_or_id)


def list_users(store: Store, *, org_id: str | None = None) -> list[User]:
    """Return the users of one organisation, or all, oldest first, disabled ones too."""
    query = _SELECT.order_by(users.c.created_at, users.c.id)
    if org_id is not None:
        query = query.where(users.c.org_id == org_id)
    with store.read() as connection:
        return [_user(row) for row in connection.execute(query)]


def caller_of(store: Store, user_id: str) -> Caller:
    """Return what the user may do, for work done in their name; raises NotFound when unknown or disabled."""
    user = get(store, user_id)
    if user.disabled_at is not None:
        raise NotFound(f"User {user.username!r} is disabled: an admin enables them with `scoreline user enable`.")
    return user.caller()


def update(store: Store, name_or_id: str, *, role: str | None = None, rights: Iterable[str] | None = None) -> User:
    """Change a user's role or set of rights. Raises NotFound, InvalidRequest; Conflict for the last admin."""
    values: dict[str, Any] = {}
    if role is not None:
        values["role"] = _checked_role(role)
    if rights is not None:
        values["rights"] = _checked_rights(rights)
    return _change(store, name_or_id, values)


def disable(store: Store, name_or_id: str) -> User:
    """Lock a user out: none of their tokens works any more. Raises NotFound; Conflict for the last admin."""
    return _change(store, name_or_id, {"disabled_at": now()})


def enable(store: Store, name_or_id: str) -> User:
    """Let a disabled user in again, with the tokens that are still good. Raises NotFound."""
    return _change(store, name_or_id, {"disabled_at": None})


def _change(store: Store, name_or_id: str, values: dict[str, Any]) -> User:
    with store.exclusive("users") as connection:
        same = sa.or_(users.c.username == name_or_id, users.c.id == name_or_id)
        user = _get(connection, same, name_or_id)
        if values:
            connection.execute(users.update().where(users.c.id == user.id).values(values))
        changed = _get(connection, users.c.id == user.id, name_or_id)
        if _acts_as_admin(user) and not _acts_as_admin(changed) and not _has_admin(connection):
            raise Conflict(f"User {user.username!r} is the last admin: make another one first.")
        return changed


def _acts_as_admin(user: User) -> bool:
    return user.role == "admin" and user.disabled_at is None


def _has_admin(connection: Connection) -> bool:
    query = sa.select(users.c.id).where(users.c.role == "admin", users.c.disabled_at.is_(None)).limit(1)
    return connection.scalar(query) is not None


def _get(connection: Connection, clause: sa.ColumnElement[bool], name: str) -> User:
    row = connection.execute(_SELECT.where(clause)).first()
    if row is None:
        raise NotFound(f"There is no user {name!r}.")
    return _user(row)


def _user(row: Row[Any]) -> User:
    return User(
        row.id,
        row.username,
        row.full_name,
        row.org_id,
        row.organisation,
        row.role,
        frozenset(row.rights),
        row.created_at,
        row.disabled_at,
    )


def _checked_role(role: str) -> str:
    if role not in ROLES:
        raise InvalidRequest(f"There is no role {role!r}: a user is one of {', '.join(ROLES)}.", "role")
    return role


def _checked_rights(rights: Iterable[str]) -> list[str]:
    wanted = set(rights)
    if unknown := wanted - USER_RIGHTS:
        raise InvalidRequest(
            f"A user cannot have the right {min(unknown)!r}: possible is {', '.join(sorted(USER_RIGHTS))}.", "rights"
        )
    return sorted(wanted)
