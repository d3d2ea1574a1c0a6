"""Tokens and users, on the database of an installation that does not run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scoreline import access
from scoreline.access import tokens, users
from scoreline.access.vault import Vault
from scoreline.cli import app as program
from scoreline.errors import NotAuthenticated, ScorelineError
from scoreline.settings import Settings
from scoreline.store import Store

runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = Store(Settings(data_dir=tmp_path).store_url)
    store.migrate()
    access.bootstrap(store, Settings(data_dir=tmp_path))
    store.dispose()
    return tmp_path


def call(folder: Path, *words: str, fails: bool = False) -> Result:
    result = runner.invoke(program.app, [*words, "--data-dir", str(folder)])
    assert (result.exit_code != 0) == fails, result.output
    return result


def holder(folder: Path, secret: str) -> access.Caller:
    store = Store(Settings(data_dir=folder).store_url)
    try:
        return tokens.authenticate(store, secret)
    finally:
        store.dispose()


def test_a_token_works_until_it_is_revoked(folder: Path) -> None:
    secret = call(folder, "token", "create", "laptop").stdout.strip()
    assert holder(folder, secret).username == "admin"
    listed = json.loads(call(folder, "token", "list", "--json").stdout)
    assert [token["name"] for token in listed] == ["laptop", "first token"]
    assert secret not in json.dumps(listed)
    call(folder, "token", "revoke", listed[0]["id"])
    with pytest.raises(NotAuthenticated, match="revoked"):
        holder(folder, secret)
    assert "revoked" in call(folder, "token", "list").stdout


def test_a_token_can_expire(folder: Path) -> None:
    made = json.loads(call(folder, "token", "create", "short", "--days", "1", "--json").stdout)
    assert made["expires"] is not None
    assert holder(folder, made["token"]).expires_at is not None


def test_a_user_gets_a_token_of_their_own(folder: Path) -> None:
    call(folder, "user", "create", "ann", "--role", "user", "--right", "code")
    secret = call(folder, "token", "create", "hers", "--user", "ann").stdout.strip()
    ann = holder(folder, secret)
    assert (ann.username, ann.role, ann.rights) == ("ann", "user", frozenset({"code"}))
    call(folder, "user", "disable", "ann")
    with pytest.raises(NotAuthenticated):
        holder(folder, secret)
    assert "disabled" in call(folder, "user", "list").stdout
    call(folder, "user", "enable", "ann")
    assert holder(folder, secret).username == "ann"


def test_a_user_can_be_changed(folder: Path) -> None:
    call(folder, "user", "create", "bob", "--right", "code")
    changed = json.loads(
        call(folder, "user", "update", "bob", "--role", "observer", "--right", "none", "--json").stdout
    )
    assert (changed["role"], changed["rights"]) == ("observer", [])


def test_users_of_all_organisations_are_listed(folder: Path) -> None:
    call(folder, "user", "create", "eve", "--organisation", "elsewhere", "--role", "admin")
    call(folder, "token", "create", "eves", "--user", "eve")
    listed = json.loads(call(folder, "user", "list", "--json").stdout)
    assert [(user["username"], user["organisation"]) for user in listed] == [("admin", "default"), ("eve", "elsewhere")]
    assert {token["user"] for token in json.loads(call(folder, "token", "list", "--json").stdout)} == {"admin", "eve"}


def test_tokens_of_an_organisation_without_an_admin_can_be_listed_and_revoked(folder: Path) -> None:
    call(folder, "user", "create", "eve", "--organisation", "elsewhere")
    secret = call(folder, "token", "create", "eves", "--user", "eve").stdout.strip()
    found = {token["user"]: token for token in json.loads(call(folder, "token", "list", "--json").stdout)}
    assert set(found) == {"admin", "eve"}
    call(folder, "token", "revoke", found["eve"]["id"])
    with pytest.raises(NotAuthenticated, match="revoked"):
        holder(folder, secret)


def test_a_token_for_a_prediction_server(folder: Path) -> None:
    secret = call(folder, "token", "create", "east", "--predictor").stdout.strip()
    assert holder(folder, secret).is_predictor


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("user", "disable", "admin"), "last admin"),
        (("user", "create", "a b"), "user name"),
        (("user", "create", "x", "--role", "king"), "king"),
        (("token", "create", "x", "--user", "nobody"), "nobody"),
        (("token", "revoke", "ffff"), "ffff"),
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, words: tuple[str, ...], part: str) -> None:
    result = call(folder, *words, fails=True)
    assert isinstance(result.exception, ScorelineError)
    assert part in result.exception.message


def test_a_wrong_folder_is_not_made(tmp_path: Path) -> None:
    result = call(tmp_path / "nowhere", "token", "list", fails=True)
    assert isinstance(result.exception, ScorelineError)
    assert "--data-dir" in result.exception.message
    assert not (tmp_path / "nowhere").exists()


def test_the_master_key_is_changed(folder: Path) -> None:
    settings = Settings(data_dir=folder)
    store = Store(settings.store_url)
    ann = users.create(store, "ann").id
    secret = Vault(store, settings).seal(ann, "k", {"apiKey": "x"})
    before = (folder / "master.key").read_text()
    assert json.loads(call(folder, "secrets", "rotate", "--json").output) == {"resealed": 1}
    assert (folder / "master.key").read_text() != before
    assert Vault(store, settings).open(secret, ann, "k") == {"apiKey": "x"}
    store.dispose()
