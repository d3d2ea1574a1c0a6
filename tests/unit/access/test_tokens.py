import hashlib
from datetime import timedelta

import pytest
import sqlalchemy as sa

from scoreline.access import tokens, users
from scoreline.errors import Forbidden, InvalidRequest, NotAuthenticated, NotFound, StoreBusy
from scoreline.store import now
from scoreline.store.tables.access import tokens as table
from tests.support.fixtures import one_database


@pytest.fixture
def ann(store):
    return users.create(store, "ann", rights=["code"])


@pytest.fixture
def boss(store):
    return users.create(store, "boss", role="admin")


@pytest.fixture
def eve(store):
    return users.create(store, "eve", role="admin", organisation="theirs")


def test_a_secret_opens_once_made_and_the_database_never_holds_it(store, ann):
    token, secret = tokens.create(store, ann.id, "laptop")
    caller = tokens.authenticate(store, secret)
    assert (caller.user_id, caller.username, caller.org_id, caller.role) == (ann.id, "ann", ann.org_id, "user")
    assert (caller.rights, caller.kind, caller.package_ids) == ({"code"}, "user", None)
    assert (caller.token_id, caller.expires_at) == (token.id, None)
    with store.read() as connection:
        row = connection.execute(sa.select(table)).one()
    assert row.secret_hash == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in repr(tuple(row))
    assert secret not in repr(token)


def test_secrets_are_long_and_different(store):
    made = {tokens.new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(secret.startswith("scl_") and len(secret) >= 4 + 43 for secret in made)  # 43 base-64 digits: 256 bits


@one_database
@pytest.mark.parametrize("wrong", ["", "scl_", "x" * 10_000, "scl_\0", "\udc80", "ключ"])
def test_a_wrong_secret_does_not_open(store, ann, wrong):
    tokens.create(store, ann.id, "laptop")
    with pytest.raises(NotAuthenticated, match="not known") as caught:
        tokens.authenticate(store, wrong)
    assert not wrong or wrong not in caught.value.message or wrong == "scl_"


def test_tokens_end_by_time_by_hand_and_with_their_user(store, ann):
    _, expired = tokens.create(store, ann.id, "short", expires=now() - timedelta(seconds=1))
    _, later = tokens.create(store, ann.id, "long", expires=now() + timedelta(hours=1))
    token, revoked = tokens.create(store, ann.id, "lost")
    tokens.revoke(store, ann.caller(), token.id)
    tokens.revoke(store, ann.caller(), token.id)
    with pytest.raises(NotAuthenticated, match="expired"):
        tokens.authenticate(store, expired)
    with pytest.raises(NotAuthenticated, match="revoked"):
        tokens.authenticate(store, revoked)
    assert tokens.authenticate(store, later).expires_at is not None
    users.create(store, "other-admin", role="admin")
    users.disable(store, "ann")
    with pytest.raises(NotAuthenticated):
        tokens.authenticate(store, later)
    users.enable(store, "ann")
    tokens.authenticate(store, later)


def test_rights_of_user_tokens_are_at_most_the_users(store, ann):
    _, narrow = tokens.create(store, ann.id, "narrow", rights=[])
    _, wide = tokens.create(store, ann.id, "wide", rights=["code", "predictor"])
    assert tokens.authenticate(store, narrow).rights == frozenset()
    assert tokens.authenticate(store, wide).rights == {"code"}
    users.update(store, "ann", rights=[])
    assert tokens.authenticate(store, wide).rights == frozenset()


def test_run_and_service_tokens_have_only_what_they_are_given(store, ann):
    _, run = tokens.create(store, ann.id, "job 1", kind="run", package_ids=["p1", "p2"])
    _, service = tokens.create(store, ann.id, "predictor", kind="service", rights=["predictor"])
    caller = tokens.authenticate(store, run)
    assert (caller.kind, caller.rights, caller.package_ids) == ("run", frozenset(), ("p1", "p2"))
    caller = tokens.authenticate(store, service)
    assert (caller.kind, caller.rights, caller.is_predictor) == ("service", {"predictor"}, True)


def test_last_use_is_noted_at_most_once_a_minute(store, ann, monkeypatch):
    token, secret = tokens.create(store, ann.id, "laptop")
    begun = now()

    def used_at(offset):
        monkeypatch.setattr(tokens, "now", lambda: begun + timedelta(seconds=offset))
        tokens.authenticate(store, secret)
        return next(item for item in tokens.list_tokens(store, ann.caller()) if item.id == token.id).last_used_at

    assert [(used_at(offset) - begun).total_seconds() for offset in (1, 30, 60, 61, 120, 200)] == [1, 1, 1, 61, 61, 200]


def test_a_busy_database_does_not_keep_anyone_out(store, ann, monkeypatch, caplog):
    _, secret = tokens.create(store, ann.id, "laptop")

    def busy():
        raise StoreBusy("busy")

    monkeypatch.setattr(store, "begin", busy)
    assert tokens.authenticate(store, secret).username == "ann"
    assert secret not in caplog.text


def test_everybody_lists_and_ends_their_own_and_admins_their_organisations(store, ann, boss, eve):
    made = {user.username: tokens.create(store, user.id, user.username)[0] for user in (ann, boss, eve)}
    tokens.create(store, ann.id, "job 1", kind="run")
    listed = {user.username: [t.name for t in tokens.list_tokens(store, user.caller())] for user in (ann, boss, eve)}
    assert listed == {"ann": ["ann"], "boss": ["boss", "ann"], "eve": ["eve"]}
    for user in (ann, eve):
        with pytest.raises(NotFound):
            tokens.revoke(store, user.caller(), made["boss"].id)
    tokens.revoke(store, boss.caller(), made["ann"].id)
    assert next(t for t in tokens.list_tokens(store, ann.caller()) if t.name == "ann").revoked_at is not None


def test_observers_see_only_their_own_tokens_and_may_end_them(store, ann):
    watcher = users.create(store, "watcher", role="observer").caller()
    tokens.create(store, ann.id, "ann's")
    own, _ = tokens.create(store, watcher.user_id, "own")
    assert [token.name for token in tokens.list_tokens(store, watcher)] == ["own"]
    tokens.revoke(store, watcher, own.id)
    with pytest.raises(Forbidden):
        tokens.issue(store, watcher, "more")


def test_who_may_ask_for_tokens(store, ann, boss, eve):
    _, secret = tokens.issue(store, ann.caller(), "mine")
    assert tokens.authenticate(store, secret).rights == {"code"}
    _, secret = tokens.issue(store, boss.caller(), "for ann", user_id=ann.id)
    assert tokens.authenticate(store, secret).username == "ann"
    with pytest.raises(Forbidden):
        tokens.issue(store, ann.caller(), "more power", user_id=boss.id)
    with pytest.raises(NotFound):
        tokens.issue(store, eve.caller(), "another organisation", user_id=ann.id)


def test_a_narrow_token_cannot_make_a_wide_one(store, ann):
    _, narrow = tokens.create(store, ann.id, "narrow", rights=[])
    _, secret = tokens.issue(store, tokens.authenticate(store, narrow), "wider")
    assert tokens.authenticate(store, secret).rights == frozenset()


def test_old_tokens_of_runs_are_forgotten(store, ann):
    tokens.create(store, ann.id, "yesterday", kind="run", expires=now() - timedelta(days=2))
    tokens.create(store, ann.id, "just over", kind="run", expires=now() - timedelta(minutes=2))
    tokens.create(store, ann.id, "old but a person's", expires=now() - timedelta(days=2))
    tokens.create(store, ann.id, "new", kind="run")
    with store.read() as connection:
        names = set(connection.scalars(sa.select(table.c.name)))
    assert names == {"just over", "old but a person's", "new"}


def test_what_the_installation_ended_is_over(store, ann):
    token, secret = tokens.create(store, ann.id, "job 1", kind="run")
    tokens.end(store, token.id)
    with pytest.raises(NotAuthenticated):
        tokens.authenticate(store, secret)


@one_database
@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"name": " "}, InvalidRequest),
        ({"kind": "god"}, InvalidRequest),
        ({"rights": ["fly"]}, InvalidRequest),
        ({"user_id": "0" * 24}, NotFound),
    ],
)
def test_impossible_tokens_are_refused(store, ann, values, error):
    with pytest.raises(error):
        tokens.create(store, **({"user_id": ann.id, "name": "x"} | values))
