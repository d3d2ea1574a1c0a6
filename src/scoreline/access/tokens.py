"""API tokens: made once, shown once, kept as a hash.

A secret is `scl_` and 256 random bits. The database holds its SHA-256 only; that is enough, because such a secret
cannot be guessed from its hash, unlike a password.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from scoreline.access.callers import RIGHTS, Caller, require_write, visible
from scoreline.errors import Forbidden, InvalidRequest, NotAuthenticated, NotFound, StoreError
from scoreline.store import Store, new_id, now
from scoreline.store.tables.access import tokens, users

KINDS = ("user", "run", "service")
_PREFIX = "scl_"
_USED_EVERY = timedelta(minutes=1)
_KEEP_EXPIRED = timedelta(days=1)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Token:
    """What is known about a token; never its secret."""

    id: str
    name: str
    kind: str
    user_id: str
    username: str
    rights: frozenset[str] | None
    package_ids: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


_SELECT = sa.select(tokens, users.c.username).join(users, users.c.id == tokens.c.owner_id)


def create(
    store: Store,
    user_id: str,
    name: str,
    *,
    kind: str = "user",
    expires: datetime | None = None,
    package_ids: Sequence[str] | None = None,
    rights: Iterable[str] | None = None,
) -> tuple[Token, str]:
    """Make a token of the user's and return it with its secret, which cannot be had again.

    For the installation itself and its operator; requests of others go through `issue`. rights: for kind "user", what
    remains of the user's rights (None: all of them); for the other kinds, the rights the token has (None: none).
    Raises NotFound for an unknown user, InvalidRequest for a wrong kind, name or right.
    """
    secret = new_secret()
    with store.begin() as connection:
        token = create_in(
            connection, user_id, name, secret, kind=kind, expires=expires, package_ids=package_ids, rights=rights
        )
    return token, secret


def issue(
    store: Store, caller: Caller, name: str, *, user_id: str | None = None, expires: datetime | None = None
) -> tuple[Token, str]:
    """Make a user's token at the caller's request: users for themselves, admins for anyone of their organisation.

    Raises Forbidden, NotFound for a user the caller may not see, InvalidRequest.
    """
    require_write(caller)
    owner = user_id or caller.user_id
    if owner != caller.user_id and caller.role != "admin":
        raise Forbidden("A user makes tokens for themselves only: ask an admin.")
    with store.read() as connection:
        query = sa.select(users.c.rights).where(users.c.id == owner, users.c.org_id == caller.org_id)
        rights = connection.scalar(query)
    if rights is None:
        raise NotFound(f"There is no user {owner!r}.")
    # A token that was narrowed cannot make itself a wider one; others follow the user's rights as these change.
    narrowed = owner == caller.user_id and caller.rights != frozenset(rights)
    return create(store, owner, name, expires=expires, rights=caller.rights if narrowed else None)


def authenticate(store: Store, secret: str) -> Caller:
    """Return who holds this secret. Raises NotAuthenticated: unknown, expired, revoked, or its user is disabled."""
    digest = secret_hash(secret)
    query = (
        sa.select(tokens, users.c.username, users.c.role, users.c.rights.label("user_rights"), users.c.disabled_at)
        .join(users, users.c.id == tokens.c.owner_id)
        .where(tokens.c.secret_hash == digest)
    )
    with store.read() as connection:
        row = connection.execute(query).first()
    if row is None or not hmac.compare_digest(row.secret_hash, digest):
        raise NotAuthenticated("The API token is not known: make one with `scoreline token create`.")
    moment = now()
    if row.revoked_at is not None or row.disabled_at is not None:
        raise NotAuthenticated("The API token has been revoked: make another with `scoreline token create`.")
    if row.expires_at is not None and row.expires_at <= moment:
        raise NotAuthenticated("The API token has expired: make another with `scoreline token create`.")
    if row.kind != "run" and (row.last_used_at is None or moment - row.last_used_at >= _USED_EVERY):
        _note_use(store, row.id, moment)
    return _caller(row)


def list_tokens(store: Store, caller: Caller) -> list[Token]:
    """Return the tokens the caller may see, newest first: their own, an admin those of the organisation."""
    clause = visible(caller, tokens)
    if caller.role != "admin":
        clause = sa.and_(clause, tokens.c.owner_id == caller.user_id)
    query = _SELECT.where(clause, tokens.c.kind != "run").order_by(tokens.c.created_at.desc(), tokens.c.id.desc())
    with store.read() as connection:
        return [_token(row) for row in connection.execute(query)]


def revoke(store: Store, caller: Caller, token_id: str) -> None:
    """End a token at once; doing it again is harmless. Raises NotFound when the caller may not see it.

    Observers may end their own: that takes access away and gives none.
    """
    clause = sa.and_(visible(caller, tokens), tokens.c.id == token_id)
    if caller.role != "admin":
        clause = sa.and_(clause, tokens.c.owner_id == caller.user_id)
    with store.begin() as connection:
        if connection.scalar(sa.select(tokens.c.id).where(clause)) is None:
            raise NotFound(f"There is no token {token_id!r}.")
        _end(connection, tokens.c.id == token_id)


def end(store: Store, token_id: str) -> None:
    """End a token that the installation itself made, for instance a run's when the run is over."""
    with store.begin() as connection:
        _end(connection, tokens.c.id == token_id)


def end_runs(store: Store, job_id: str) -> None:
    """End the tokens that were made for runs of a job, should some of them have died. Raises StoreError."""
    mine = sa.or_(tokens.c.name == f"job {job_id}", tokens.c.name.startswith(f"job {job_id} ", autoescape=True))
    store.run(lambda connection: _end(connection, sa.and_(tokens.c.kind == "run", mine)))


def new_secret() -> str:
    """Return a fresh secret of 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def secret_hash(secret: str) -> str:
    """Return what the database keeps of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def create_in(
    connection: Connection,
    user_id: str,
    name: str,
    secret: str,
    *,
    kind: str = "user",
    expires: datetime | None = None,
    package_ids: Sequence[str] | None = None,
    rights: Iterable[str] | None = None,
    replace: bool = False,
) -> Token:
    """Do what `create` does for a given secret, in a transaction of the caller's.

    replace: end the user's tokens of the same name and kind.
    """
    _check(name, kind, rights)
    org_id = connection.scalar(sa.select(users.c.org_id).where(users.c.id == user_id))
    if org_id is None:
        raise NotFound(f"There is no user {user_id!r}.")
    if replace:
        _end(connection, sa.and_(tokens.c.owner_id == user_id, tokens.c.name == name, tokens.c.kind == kind))
    if kind != "user":
        _forget_old(connection)
    token_id = new_id()
    connection.execute(
        tokens.insert().values(
            id=token_id,
            owner_id=user_id,
            org_id=org_id,
            name=name,
            kind=kind,
            secret_hash=secret_hash(secret),
            rights=None if rights is None else sorted(set(rights)),
            package_ids=None if package_ids is None else list(package_ids),
            created_at=now(),
            expires_at=expires,
        )
    )
    return _token(connection.execute(_SELECT.where(tokens.c.id == token_id)).one())


def _check(name: str, kind: str, rights: Iterable[str] | None) -> None:
    if not name.strip() or len(name) > 128:
        raise InvalidRequest("A token's name is 1 to 128 characters.", "name")
    if kind not in KINDS:
        raise InvalidRequest(f"There is no kind of token {kind!r}: it is one of {', '.join(KINDS)}.", "kind")
    if unknown := set(rights or ()) - set(RIGHTS):
        raise InvalidRequest(f"There is no right {min(unknown)!r}: rights are {', '.join(RIGHTS)}.", "rights")


def _end(connection: Connection, clause: sa.ColumnElement[bool]) -> None:
    connection.execute(tokens.update().where(clause, tokens.c.revoked_at.is_(None)).values(revoked_at=now()))


def _forget_old(connection: Connection) -> None:
    """Drop tokens of runs and services that ended long ago; there is one for every run."""
    limit = now() - _KEEP_EXPIRED
    over = sa.or_(tokens.c.expires_at < limit, tokens.c.revoked_at < limit)
    connection.execute(tokens.delete().where(tokens.c.kind.in_(("run", "service")), over))


def _note_use(store: Store, token_id: str, moment: datetime) -> None:
    """Write down when a token was used; a database that is too busy for that must not keep its holder out."""
    old = sa.or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at <= moment - _USED_EVERY)
    try:
        with store.begin() as connection:
            connection.execute(tokens.update().where(tokens.c.id == token_id, old).values(last_used_at=moment))
    except StoreError as exc:
        _log.warning("The time of a token's use could not be stored: %s", exc)


def _caller(row: Row[Any]) -> Caller:
    own = frozenset(row.user_rights)
    given = None if row.rights is None else frozenset(row.rights)
    if row.kind != "user":
        own = given or frozenset()
    return Caller(
        row.owner_id,
        row.username,
        row.org_id,
        row.role,
        own if given is None else own & given,
        row.kind,
        None if row.package_ids is None else tuple(row.package_ids),
        row.id,
        row.expires_at,
    )


def _token(row: Row[Any]) -> Token:
    return Token(
        row.id,
        row.name,
        row.kind,
        row.owner_id,
        row.username,
        None if row.rights is None else frozenset(row.rights),
        None if row.package_ids is None else tuple(row.package_ids),
        row.created_at,
        row.expires_at,
        row.last_used_at,
        row.revoked_at,
    )
