"""The caller of a request, and what it may see and change. All decisions about access are taken here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from scoreline.errors import Forbidden

ROLES = ("admin", "user", "observer")
"""admin: all of the organisation; user: own objects and the organisation's models; observer: sees, changes nothing."""

RIGHTS = {
    "code": "register model artefacts that run code when they are loaded",
    "servers": "have jobs send rows to prediction servers outside of the installation",
    "predictor": "act as a prediction server: introspect tokens, read every deployment and artefact",
    "inspect": "ask a prediction server what an artefact says about itself",
}
"""Rights beyond a role. Those not in USER_RIGHTS belong to tokens that the installation mints."""

USER_RIGHTS = frozenset({"code", "servers"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a user through one of their tokens, or a part of the installation.

    kind: "user"; "run" (a job's token, good for prediction servers only); "service" (a part of the installation).
    package_ids: the model packages that the token is good for, None for all that the user may use.
    """

    user_id: str
    username: str
    org_id: str
    role: str
    rights: frozenset[str] = frozenset()
    kind: str = "user"
    package_ids: tuple[str, ...] | None = None
    token_id: str | None = None
    expires_at: datetime | None = None

    @property
    def is_predictor(self) -> bool:
        """True for a prediction server of this installation, which serves every organisation."""
        return self.kind == "service" and "predictor" in self.rights


def visible(caller: Caller, table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return the WHERE clause that every read of an owned table uses; what it hides does not exist for the caller.

    Users see their own rows, and all rows of their organisation in tables of shared objects (models, deployments);
    admins and observers see their organisation's rows. Rows marked `everyone` are seen by all users. A prediction
    server sees all rows; tokens of runs and of other services see none.
    """
    if caller.is_predictor:
        return sa.true()
    if caller.kind != "user":
        return sa.false()
    clause: sa.ColumnElement[bool] = table.c.org_id == caller.org_id
    shared = isinstance(table, sa.Table) and bool(table.info.get("shared"))
    if caller.role == "user" and not shared:
        clause = sa.and_(clause, table.c.owner_id == caller.user_id)
    if "everyone" in table.c:
        clause = sa.or_(clause, table.c.everyone)
    return clause


def require_write(caller: Caller) -> None:
    """Raise Forbidden for who may not create anything: observers, and tokens that are not a user's."""
    if caller.kind != "user":
        raise Forbidden(f"A token of kind {caller.kind!r} cannot create or change anything: use a user's API token.")
    if caller.role not in ("admin", "user"):
        raise Forbidden(f"User {caller.username!r} is an observer and cannot create or change anything: ask an admin.")


def require_change(caller: Caller, owner_id: str, what: str) -> None:
    """Raise Forbidden unless the caller may change this object, which it is known to see.

    `what` names it, for instance "deployment 'flights'". Owners may, and admins of the organisation.
    """
    require_write(caller)
    if caller.role != "admin" and caller.user_id != owner_id:
        raise Forbidden(f"User {caller.username!r} does not own {what}: ask its owner or an admin to change it.")


def require_admin(caller: Caller) -> None:
    """Raise Forbidden for everyone but admins."""
    require_write(caller)
    if caller.role != "admin":
        raise Forbidden(f"User {caller.username!r} is not an admin: ask one.")


def require_right(caller: Caller, right: str) -> None:
    """Raise Forbidden unless the caller holds the right, one of RIGHTS."""
    if right not in caller.rights:
        # The command sets all rights: those the user has stay.
        wanted = " ".join(f"--right {one}" for one in sorted({*caller.rights, right}))
        raise Forbidden(
            f"User {caller.username!r} lacks the right {right!r}, needed to {RIGHTS[right]}: an admin grants it with "
            f"`scoreline user update {caller.username} {wanted}`."
        )
