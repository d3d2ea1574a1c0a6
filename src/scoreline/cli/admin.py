"""`scoreline token` and `scoreline user`: accounts, changed in the installation's database itself.

Whoever may read and write the database is its administrator: no token is asked for, and no server need run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from scoreline.cli import options
from scoreline.cli.output import moment, show_json, show_note, show_table
from scoreline.errors import NotFound, SetupError

if TYPE_CHECKING:
    from scoreline.access import Caller
    from scoreline.access.tokens import Token
    from scoreline.access.users import User
    from scoreline.store import Store
    from scoreline.types import JsonObject

tokens_app = typer.Typer(help="Make, list and revoke API tokens.", no_args_is_help=True)
users_app = typer.Typer(help="Make, list, change and disable users.", no_args_is_help=True)

_ADMIN = "admin"
Username = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.", show_default=False)]
Role = Annotated[str | None, typer.Option(help="admin, user or observer.")]


@tokens_app.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="What the token is for.", show_default=False)],
    user: Annotated[str, typer.Option(help="Whose token it is.")] = _ADMIN,
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires. [default: never]")] = None,
    predictor: Annotated[
        bool, typer.Option("--predictor", help="For a prediction server that runs alone, not for a user.")
    ] = False,
    json: options.Json = False,
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
) -> None:
    """Make a token and show its secret, this once."""
    from scoreline import access  # noqa: PLC0415 -- start-up time
    from scoreline.access import tokens, users  # noqa: PLC0415 -- as above

    with _store(data_dir, database_url) as store:
        if predictor:
            secret = access.service_token(store, f"predictor {name}", ["predictor"])
            document: JsonObject = {"name": name, "token": secret}
        else:
            expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
            token, secret = tokens.create(store, users.get(store, user).id, name, expires=expires)
            document = {**_token(token), "token": secret}
    if json:
        show_json(document)
        return
    typer.echo(secret)
    show_note("Keep it: it is not shown again.")


@tokens_app.command("list")
def list_tokens(
    json: options.Json = False, data_dir: options.DataDir = None, database_url: options.DatabaseUrl = None
) -> None:
    """List tokens, newest first; never their secrets."""
    from scoreline.access import tokens  # noqa: PLC0415 -- start-up time

    with _store(data_dir, database_url) as store:
        found = [token for admin in _admins(store) for token in tokens.list_tokens(store, admin)]
    if json:
        show_json([_token(token) for token in found])
        return
    show_table(
        ("ID", "NAME", "USER", "KIND", "CREATED", "LAST USED", "STATE"),
        (
            (
                token.id,
                token.name,
                token.username,
                token.kind,
                moment(token.created_at),
                moment(token.last_used_at),
                _token(token)["state"],
            )
            for token in found
        ),
    )


@tokens_app.command("revoke")
def revoke_token(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id, from the list.", show_default=False)],
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
) -> None:
    """End a token at once."""
    from scoreline.access import tokens  # noqa: PLC0415 -- start-up time

    with _store(data_dir, database_url) as store:
        known = {token.id for admin in _admins(store) for token in tokens.list_tokens(store, admin)}
        if token_id not in known:
            raise NotFound(f"There is no token {token_id!r}: see `scoreline token list`.")
        tokens.end(store, token_id)
    show_note(f"Token {token_id} is revoked.")


@users_app.command("create")
def create_user(
    name: Username,
    role: Role = None,
    right: Annotated[
        list[str] | None,
        typer.Option(
            help="A right beyond the role: code (deploy models that run code when loaded) or servers (register "
            "servers of other makers). May be given again."
        ),
    ] = None,
    organisation: Annotated[
        str | None, typer.Option(help="Organisation; made if there is none. [default: default]")
    ] = None,
    full_name: Annotated[str | None, typer.Option(help="The name as people write it.")] = None,
    json: options.Json = False,
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
) -> None:
    """Make a user. Their tokens are made with `scoreline token create NAME --user USER`."""
    from scoreline.access import users  # noqa: PLC0415 -- start-up time

    with _store(data_dir, database_url) as store:
        user = users.create(
            store,
            name,
            role=role or "user",
            rights=right or (),
            organisation=organisation or users.DEFAULT_ORGANISATION,
            full_name=full_name,
        )
    _show_user(user, json=json)


@users_app.command("list")
def list_users(
    json: options.Json = False, data_dir: options.DataDir = None, database_url: options.DatabaseUrl = None
) -> None:
    """List users, oldest first."""
    from scoreline.access import users  # noqa: PLC0415 -- start-up time

    with _store(data_dir, database_url) as store:
        found = users.list_users(store)
    if json:
        show_json([_user(user) for user in found])
        return
    show_table(
        ("NAME", "ROLE", "RIGHTS", "ORGANISATION", "CREATED", "STATE"),
        (
            (
                user.username,
                user.role,
                ",".join(sorted(user.rights)),
                user.organisation,
                moment(user.created_at),
                _user(user)["state"],
            )
            for user in found
        ),
    )


@users_app.command("update")
def update_user(
    name: Username,
    role: Role = None,
    right: Annotated[
        list[str] | None, typer.Option(help="The rights from now on, all of them; `none` takes them away.")
    ] = None,
    json: options.Json = False,
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
) -> None:
    """Change a user's role or rights."""
    from scoreline.access import users  # noqa: PLC0415 -- start-up time

    rights = None if right is None else [one for one in right if one != "none"]
    with _store(data_dir, database_url) as store:
        user = users.update(store, name, role=role, rights=rights)
    _show_user(user, json=json)


@users_app.command("disable")
def disable_user(name: Username, data_dir: options.DataDir = None, database_url: options.DatabaseUrl = None) -> None:
    """Lock a user out: none of their tokens works any more."""
    from scoreline.access import users  # noqa: PLC0415 -- start-up time

    with _store(data_dir, database_url) as store:
        users.disable(store, name)
    show_note(f"User {name} is disabled.")


@users_app.command("enable")
def enable_user(name: Username, data_dir: options.DataDir = None, database_url: options.DatabaseUrl = None) -> None:
    """Let a disabled user in again."""
    from scoreline.access import users  # noqa: PLC0415 -- start-up time

    with _store(data_dir, database_url) as store:
        users.enable(store, name)
    show_note(f"User {name} is enabled.")


@contextmanager
def _store(data_dir: object, database_url: str | None) -> Iterator[Store]:
    """Open the installation's database. Raises SetupError where there is none: a typing error must not make one."""
    from scoreline.store import Store  # noqa: PLC0415 -- start-up time

    settings = options.settings(data_dir=data_dir, database_url=database_url)
    if settings.database_url is None and not (settings.data_dir / "scoreline.db").is_file():
        raise SetupError(
            f"There is no installation in {settings.data_dir}: name its folder with --data-dir, or start it with "
            "`scoreline serve`."
        )
    store = Store(settings.store_url)
    try:
        store.migrate()
        yield store
    finally:
        store.dispose()


def _admins(store: Store) -> list[Caller]:
    """Return a caller for each organisation, who sees all that is in it, whether it has an admin or not."""
    from scoreline.access import Caller, users  # noqa: PLC0415 -- start-up time

    organisations = dict.fromkeys(user.org_id for user in users.list_users(store))
    return [Caller("", "operator", org_id, "admin") for org_id in organisations]


def _show_user(user: User, *, json: bool) -> None:
    if json:
        show_json(_user(user))
    else:
        rights = f", rights: {', '.join(sorted(user.rights))}" if user.rights else ""
        show_note(f"User {user.username} has the role {user.role}{rights}.")


def _user(user: User) -> JsonObject:
    return {
        "id": user.id,
        "username": user.username,
        "fullName": user.full_name,
        "role": user.role,
        "rights": sorted(user.rights),
        "organisation": user.organisation,
        "created": user.created_at.isoformat(),
        "state": "disabled" if user.disabled_at else "active",
    }


def _token(token: Token) -> JsonObject:
    ended = token.expires_at is not None and token.expires_at <= datetime.now(UTC)
    return {
        "id": token.id,
        "name": token.name,
        "user": token.username,
        "kind": token.kind,
        "created": token.created_at.isoformat(),
        "expires": token.expires_at.isoformat() if token.expires_at else None,
        "lastUsed": token.last_used_at.isoformat() if token.last_used_at else None,
        "state": "revoked" if token.revoked_at else "expired" if ended else "active",
    }
