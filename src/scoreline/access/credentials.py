"""Stored credentials: keys to other systems, each its owner's alone. What they hold is sealed and never shown again.

Nobody but the owner can use or change a credential, or have jobs use it. Admins see that credentials of their
organisation exist, and can delete them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from scoreline import credentials, redact
from scoreline.access.callers import Caller, require_change, require_write, visible
from scoreline.access.vault import Vault
from scoreline.credentials import Secret
from scoreline.errors import Conflict, Forbidden, InvalidRequest, NotFound
from scoreline.store import Store, new_id, now
from scoreline.store.tables.access import credentials as table

KIND = "credential"  # kind of secret
LOCK = "credentials"
_LONGEST_NAME = 255
_LONGEST_DESCRIPTION = 10_000


@dataclass(frozen=True, slots=True)
class Credential:
    """What can be seen of a credential."""

    id: str
    owner_id: str
    name: str
    type: str
    description: str
    created_at: datetime


def create(
    store: Store,
    vault: Vault,
    caller: Caller,
    kind: str,
    parts: Mapping[str, Any],
    *,
    name: str,
    description: str = "",
) -> Credential:
    """Store a credential of the caller's; `parts` are its fields with the API's names, see `credentials.KINDS`.

    Raises InvalidRequest, naming the field, for what does not make a credential of this type; Conflict for a name that
    the caller has given to another one; Forbidden, SetupError.
    """
    require_write(caller)
    document = credentials.read(kind, parts)
    values = {"name": _checked_name(name), "description": _checked_description(description)}
    credential_id = new_id()

    def work(connection: Connection) -> Credential:
        store.lock(connection, LOCK)
        _check_free(connection, caller.user_id, name)
        secret_id = vault.seal_in(connection, caller.user_id, KIND, document)
        connection.execute(
            table.insert().values(
                id=credential_id,
                owner_id=caller.user_id,
                org_id=caller.org_id,
                type=kind,
                secret_id=secret_id,
                created_at=now(),
                **values,
            )
        )
        return usable_in(connection, caller, credential_id)

    return store.run(work)


def list_credentials(
    store: Store, caller: Caller, *, kinds: Sequence[str] = (), everyone: bool = False
) -> list[Credential]:
    """Return the caller's credentials by name, of these types or of all.

    everyone: for an admin, those of the organisation. Raises Forbidden for others who ask for these, InvalidRequest.
    """
    for kind in kinds:
        credentials.parts(kind)
    if everyone and caller.role != "admin":
        raise Forbidden(f"User {caller.username!r} is not an admin and sees own credentials only.")
    query = sa.select(table).where(visible(caller, table)).order_by(table.c.name, table.c.created_at, table.c.id)
    if not everyone:
        query = query.where(table.c.owner_id == caller.user_id)
    if kinds:
        query = query.where(table.c.type.in_(kinds))
    with store.read() as connection:
        return [_credential(row) for row in connection.execute(query)]


def get(store: Store, caller: Caller, credential_id: str) -> Credential:
    """Return a credential of the caller's, for an admin also one of the organisation's. Raises NotFound."""
    with store.read() as connection:
        return get_in(connection, caller, credential_id)


def get_in(connection: Connection, caller: Caller, credential_id: str) -> Credential:
    """Do what `get` does, in a transaction of the caller's."""
    found = _find(connection, sa.and_(table.c.id == credential_id, visible(caller, table)))
    if found is None or (caller.role != "admin" and found.owner_id != caller.user_id):
        raise NotFound(f"There is no credential {credential_id[:100]!r}.")
    return found


def usable_in(connection: Connection, caller: Caller, credential_id: str) -> Credential:
    """Return a credential that the caller may have jobs use: an own one. Raises NotFound for any other."""
    found = _find(connection, sa.and_(table.c.id == credential_id, table.c.owner_id == caller.user_id))
    if found is None:
        raise NotFound(f"There is no credential {credential_id[:100]!r} that {caller.username} may use.")
    return found


def update(store: Store, vault: Vault, caller: Caller, credential_id: str, changes: Mapping[str, Any]) -> Credential:
    """Change name, description or parts of a credential; what is not given stays. The next run to open it sees them.

    Raises NotFound, Forbidden, Conflict for a name that is taken, InvalidRequest.
    """
    require_write(caller)
    parts = dict(changes)
    name, description, kind = (parts.pop(field, None) for field in ("name", "description", "credentialType"))

    def work(connection: Connection) -> Credential:
        store.lock(connection, LOCK)
        found = get_in(connection, caller, credential_id)
        if found.owner_id != caller.user_id:
            raise Forbidden(f"User {caller.username!r} does not own credential {found.name!r}: only its owner can.")
        if kind not in (None, found.type):
            raise InvalidRequest(
                f"Credential {found.name!r} is of type {found.type} and stays so: make another one of type {kind!r}.",
                "credentialType",
            )
        values: dict[str, Any] = {}
        if name is not None and name != found.name:
            values["name"] = _checked_name(name)
            _check_free(connection, found.owner_id, name)
        if description is not None:
            values["description"] = _checked_description(description)
        if parts:
            values["secret_id"] = _resealed(connection, vault, found, parts)
        if values:
            before = connection.scalar(sa.select(table.c.secret_id).where(table.c.id == found.id))
            connection.execute(table.update().where(table.c.id == found.id).values(values))
            if parts and before is not None:
                vault.delete_in(connection, before)
        return usable_in(connection, caller, credential_id)

    return store.run(work)


def delete_in(connection: Connection, caller: Caller, credential_id: str) -> None:
    """Forget a credential and what it holds, in a write transaction that holds the lock. Raises NotFound, Forbidden."""
    found = get_in(connection, caller, credential_id)
    require_change(caller, found.owner_id, f"credential {found.name!r}")
    secret_id = connection.scalar(sa.select(table.c.secret_id).where(table.c.id == found.id))
    connection.execute(table.delete().where(table.c.id == found.id))
    if secret_id is not None:
        Vault.delete_in(connection, secret_id)


def open_secret(store: Store, vault: Vault, owner_id: str, credential_id: str) -> Secret:
    """Return what a credential of this owner's holds now. Hide it (`credentials.hidden`) for as long as it is in hand.

    Raises NotFound when the owner has no such credential any more, SetupError when it cannot be opened here.
    """
    row = _stored(store, owner_id, credential_id)
    try:
        return credentials.secret_of(row.type, vault.open(row.secret_id, owner_id, KIND))
    except NotFound:
        again = _stored(store, owner_id, credential_id)
        if again.secret_id == row.secret_id:
            raise
        # It was changed in between: what it held is gone, and there is another secret.
        return credentials.secret_of(again.type, vault.open(again.secret_id, owner_id, KIND))


def _stored(store: Store, owner_id: str, credential_id: str) -> Row[Any]:
    with store.read() as connection:
        mine = sa.and_(table.c.id == credential_id, table.c.owner_id == owner_id)
        row = connection.execute(sa.select(table).where(mine)).first()
    if row is None:
        raise NotFound(f"There is no credential {credential_id[:100]!r} any more: store it again.")
    return row


def _resealed(connection: Connection, vault: Vault, found: Credential, parts: Mapping[str, Any]) -> str:
    """Seal what the credential holds, with these parts changed; return the new secret's id."""
    secret_id = connection.scalar(sa.select(table.c.secret_id).where(table.c.id == found.id))
    before = vault.open(str(secret_id), found.owner_id, KIND)
    with redact.hiding(redact.texts(before)):
        return vault.seal_in(connection, found.owner_id, KIND, credentials.read(found.type, parts, before))


def _check_free(connection: Connection, owner_id: str, name: str) -> None:
    same = sa.and_(table.c.owner_id == owner_id, table.c.name == name)
    if connection.scalar(sa.select(table.c.id).where(same)) is not None:
        raise Conflict(f"You have a credential with the name {name!r} already: choose another name.")


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(f"name is a text of 1 to {_LONGEST_NAME} characters that can be printed.", "name")
    return name


def _checked_description(description: str) -> str:
    if len(description) > _LONGEST_DESCRIPTION:
        raise InvalidRequest(f"description is a text of up to {_LONGEST_DESCRIPTION} characters.", "description")
    return description


def _find(connection: Connection, clause: sa.ColumnElement[bool]) -> Credential | None:
    row = connection.execute(sa.select(table).where(clause)).first()
    return None if row is None else _credential(row)


def _credential(row: Row[Any]) -> Credential:
    return Credential(row.id, row.owner_id, row.name, row.type, row.description, row.created_at)
