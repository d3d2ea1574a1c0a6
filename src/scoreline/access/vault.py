"""Secrets at rest: documents of passwords and keys, sealed with the installation's master key.

AES-256-GCM with a random nonce for every record. A record is bound to its id, its kind, its owner and their
organisation: it cannot be opened as another one. What comes in is never shown again; only a run that needs it opens it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from scoreline.access.masterkey import Key, MasterKeys, new_key
from scoreline.errors import InvalidRequest, NotFound, SetupError
from scoreline.settings import Settings
from scoreline.store import Store, new_id, now
from scoreline.store.tables.access import secrets as table
from scoreline.store.tables.access import users
from scoreline.types import JsonObject

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_LOCK = "secrets"
_NONCE_BYTES = 12
_MOST_BYTES = 1 << 20
_AT_ONCE = 100  # records of one transaction when keys change


class Vault:
    """Seals and opens the secrets of one installation."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """Read nothing yet. Raises SetupError for a master key in the settings that is none."""
        self._store = store
        self._keys = MasterKeys(settings)

    def prepare(self) -> None:
        """Make the master key of an installation that has none. Raises SetupError."""
        self._keys.current()

    def seal(self, owner_id: str, kind: str, document: JsonObject) -> str:
        """Store a secret document of a user's; return its id. `kind` says what it is, for instance "server key".

        Raises NotFound for an unknown user, InvalidRequest for a document that is too large, SetupError, StoreError.
        """
        return self._store.run(lambda connection: self.seal_in(connection, owner_id, kind, document))

    def seal_in(self, connection: Connection, owner_id: str, kind: str, document: JsonObject) -> str:
        """Do what `seal` does, in a write transaction of the caller's."""
        org_id = connection.scalar(sa.select(users.c.org_id).where(users.c.id == owner_id))
        if org_id is None:
            raise NotFound(f"There is no user {owner_id!r}.")
        content = json.dumps(document).encode()
        if len(content) > _MOST_BYTES:
            raise InvalidRequest(f"A secret of {len(content)} bytes is too large: at most {_MOST_BYTES} are stored.")
        # Under the lock that a change of keys holds: what is sealed with a key is there to be sealed anew.
        self._store.lock(connection, _LOCK)
        key, secret_id = self._keys.current(), new_id()
        connection.execute(
            table.insert().values(
                id=secret_id,
                owner_id=owner_id,
                org_id=org_id,
                kind=kind,
                key_id=key.id,
                sealed=_sealed(key, content, _bound(secret_id, kind, owner_id, org_id)),
                created_at=now(),
            )
        )
        return secret_id

    def open(self, secret_id: str, owner_id: str, kind: str) -> JsonObject:
        """Return a secret document. Use `redact.hiding` for as long as it is in hand.

        Raises NotFound when the owner has no such secret, SetupError when this process lacks the key that it was
        sealed with, or the record was changed.
        """
        row = self._row(secret_id, owner_id, kind)
        if self._keys.get(row.key_id) is None:
            # The keys may have changed since it was read, and the old one may be dropped already.
            row = self._row(secret_id, owner_id, kind)
        found: JsonObject = json.loads(self._opened(row))
        return found

    @staticmethod
    def delete_in(connection: Connection, secret_id: str) -> None:
        """Forget a secret; doing it again is harmless."""
        connection.execute(table.delete().where(table.c.id == secret_id))

    def rotate(self) -> int:
        """Seal all secrets anew, with a new key unless an earlier change of keys was broken off; return how many.

        Old keys of the file are dropped at the end. With keys from the environment the first of them is the new one.
        Servers may run meanwhile. Calling it again after a crash goes on. Raises SetupError, StoreError.
        """
        with self._store.exclusive(_LOCK) as connection:
            key = self._next_key(connection)
        count = 0
        while moved := self._store.run(lambda connection: self._reseal_some(connection, key)):
            count += moved
        if not self._keys.in_environment:
            with self._store.exclusive(_LOCK):
                self._keys.store((key,))
        return count

    def _row(self, secret_id: str, owner_id: str, kind: str) -> Row[Any]:
        mine = sa.and_(table.c.id == secret_id, table.c.owner_id == owner_id, table.c.kind == kind)
        with self._store.read() as connection:
            row = connection.execute(sa.select(table).where(mine)).first()
        if row is None:
            raise NotFound(f"The secret {secret_id!r} ({kind}) is not stored any more: give it again.")
        return row

    def _next_key(self, connection: Connection) -> Key:
        """Return the key to seal all with. Runs under the lock: nobody seals with an older one afterwards."""
        current, *older = self._keys.current(), *self._keys.all()[1:]
        behind = connection.scalar(sa.select(sa.func.count()).where(table.c.key_id != current.id)) or 0
        if older or behind:
            return current
        if self._keys.in_environment:
            raise SetupError(
                "SCORELINE_MASTER_KEY holds one key only: put a new one and a comma before it (`openssl rand -base64 "
                "32`) on every machine, start Scoreline again, and repeat this command."
            )
        fresh = new_key()
        self._keys.store((fresh, current))
        return fresh

    def _reseal_some(self, connection: Connection, key: Key) -> int:
        self._store.lock(connection, _LOCK)
        rows = connection.execute(sa.select(table).where(table.c.key_id != key.id).limit(_AT_ONCE)).all()
        for row in rows:
            sealed = _sealed(key, self._opened(row), _bound(row.id, row.kind, row.owner_id, row.org_id))
            connection.execute(table.update().where(table.c.id == row.id).values(key_id=key.id, sealed=sealed))
        return len(rows)

    def _opened(self, row: sa.Row[tuple[object, ...]]) -> bytes:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 -- start-up time of commands without secrets

        key = self._keys.get(row.key_id)
        if key is None:
            raise SetupError(
                f"A stored secret ({row.kind}) cannot be opened: it was sealed with the master key {row.key_id}, which "
                f"this process does not find in {self._keys.where}; give every machine with an API or a worker the "
                "same SCORELINE_MASTER_KEY, or the same key file."
            )
        bound = _bound(row.id, row.kind, row.owner_id, row.org_id)
        try:
            return _cipher(key).decrypt(row.sealed[:_NONCE_BYTES], row.sealed[_NONCE_BYTES:], bound)
        except InvalidTag:
            raise SetupError(
                f"A stored secret ({row.kind}, record {row.id}) cannot be opened: the record was changed after it was "
                "sealed; give the secret again."
            ) from None


def _sealed(key: Key, content: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + _cipher(key).encrypt(nonce, content, bound)


def _cipher(key: Key) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 -- as above

    return AESGCM(key.value)


def _bound(secret_id: str, kind: str, owner_id: str, org_id: str) -> bytes:
    """Return what a record is tied to; none of the parts holds a NUL."""
    return f"scoreline secret\0{org_id}\0{owner_id}\0{kind}\0{secret_id}".encode()
