"""Secrets at rest: what seals them, what opens them, and how keys change."""

from __future__ import annotations

import base64
import threading

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.access import users
from scoreline.access.masterkey import MasterKeys, new_key
from scoreline.access.vault import Vault
from scoreline.errors import InvalidRequest, NotFound, SetupError
from scoreline.settings import Settings
from scoreline.store.tables.access import secrets as table
from tests.support.fixtures import one_database

DOCUMENT = {"apiKey": "top-secret-value", "more": ["ü", 1]}


@pytest.fixture
def ann(store):
    return users.create(store, "ann").id


@pytest.fixture
def bob(store):
    return users.create(store, "bob").id


def vault(store, tmp_path, **settings) -> Vault:
    return Vault(store, Settings(data_dir=tmp_path, **settings))


def records(store):
    with store.read() as connection:
        return connection.execute(sa.select(table).order_by(table.c.id)).all()


def text_of(*keys) -> str:
    return ",".join(base64.b64encode(key.value).decode() for key in keys)


def test_what_is_sealed_opens_for_its_owner_only(store, tmp_path, ann, bob):
    here = vault(store, tmp_path)
    secret = here.seal(ann, "server key", DOCUMENT)
    assert here.open(secret, ann, "server key") == DOCUMENT
    assert vault(store, tmp_path).open(secret, ann, "server key") == DOCUMENT
    for owner, kind in ((bob, "server key"), (ann, "credential")):
        with pytest.raises(NotFound, match="give it again"):
            here.open(secret, owner, kind)
    (row,) = records(store)
    assert b"top-secret" not in row.sealed
    with store.begin() as connection:
        here.delete_in(connection, secret)
        here.delete_in(connection, secret)
    with pytest.raises(NotFound):
        here.open(secret, ann, "server key")


def test_the_same_secret_never_looks_the_same(store, tmp_path, ann):
    here = vault(store, tmp_path)
    for _ in range(3):
        here.seal(ann, "k", DOCUMENT)
    assert len({row.sealed[:12] for row in records(store)}) == 3
    assert len({row.sealed[12:] for row in records(store)}) == 3


@one_database
@pytest.mark.parametrize("column", ["owner_id", "kind", "sealed", "id"])
def test_a_record_that_was_changed_does_not_open(store, tmp_path, ann, bob, column):
    """Whoever writes to the database cannot have one user's secret opened as another's."""
    here = vault(store, tmp_path)
    mine, theirs = here.seal(ann, "k", DOCUMENT), here.seal(bob, "k", {"apiKey": "other"})
    known = {row.id: row for row in records(store)}
    owner, kind, wanted = ann, "k", mine
    with store.begin() as connection:
        mend = table.update().where(table.c.id == mine)
        if column == "owner_id":
            connection.execute(mend.values(owner_id=bob))
            owner = bob
        elif column == "kind":
            connection.execute(mend.values(kind="other"))
            kind = "other"
        elif column == "sealed":
            connection.execute(mend.values(sealed=known[theirs].sealed))
        else:
            connection.execute(mend.values(id="f" * 24))
            wanted = "f" * 24
    with pytest.raises(SetupError, match="was changed"):
        here.open(wanted, owner, kind)


def test_the_key_file_is_made_once_for_its_owner_only(store, tmp_path, ann):
    made = []

    def make():
        here = vault(store, tmp_path)
        here.prepare()
        made.append(here)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file = tmp_path / "master.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if "key" in path.name] == ["master.key"]
    secret = made[0].seal(ann, "k", DOCUMENT)
    assert all(each.open(secret, ann, "k") == DOCUMENT for each in made)
    file.chmod(0o644)
    with pytest.raises(SetupError, match="chmod 600"):
        vault(store, tmp_path).open(secret, ann, "k")


def test_another_machine_without_the_key_says_what_it_lacks(store, tmp_path, ann):
    secret = vault(store, tmp_path).seal(ann, "k", DOCUMENT)
    for there in (vault(store, tmp_path / "elsewhere"), vault(store, tmp_path, master_key=text_of(new_key()))):
        with pytest.raises(SetupError, match="same SCORELINE_MASTER_KEY"):
            there.open(secret, ann, "k")
    key = (tmp_path / "master.key").read_text().splitlines()[-1]
    assert vault(store, tmp_path / "elsewhere", master_key=key).open(secret, ann, "k") == DOCUMENT
    named = tmp_path / "copy"
    named.write_text(key)
    named.chmod(0o600)
    assert vault(store, tmp_path / "elsewhere", master_key_file=named).open(secret, ann, "k") == DOCUMENT


@one_database
@pytest.mark.parametrize("text", ["", "short", "x" * 64, base64.b64encode(b"a" * 31).decode(), "ü" * 44])
def test_what_is_no_key(store, tmp_path, text):
    with pytest.raises(SetupError, match="openssl rand") as caught:
        vault(store, tmp_path, master_key=text)
    assert not text or text not in caught.value.message


def test_keys_in_hexadecimal_and_in_both_kinds_of_base64(tmp_path):
    key = new_key()
    shapes = [key.value.hex(), base64.b64encode(key.value).decode(), base64.urlsafe_b64encode(key.value).decode()]
    found = [MasterKeys(Settings(data_dir=tmp_path, master_key=shape)).current() for shape in [*shapes, shapes[2][:43]]]
    assert {each.value for each in found} == {key.value}
    assert key.value.hex() not in repr(found)


def test_a_named_file_is_never_made(store, tmp_path, ann):
    with pytest.raises(SetupError, match="no master key"):
        vault(store, tmp_path, master_key_file=tmp_path / "absent").seal(ann, "k", DOCUMENT)


def test_keys_change_while_others_run(store, tmp_path, ann):
    running = vault(store, tmp_path)
    secrets = [running.seal(ann, "k", {"n": n}) for n in range(230)]
    before = (tmp_path / "master.key").read_text()
    ids = {row.key_id for row in records(store)}
    assert vault(store, tmp_path).rotate() == 230
    assert {row.key_id for row in records(store)}.isdisjoint(ids)
    assert len([line for line in (tmp_path / "master.key").read_text().splitlines() if line[0] != "#"]) == 1
    assert (tmp_path / "master.key").read_text() != before
    assert [running.open(secret, ann, "k")["n"] for secret in secrets] == list(range(230))
    later = running.seal(ann, "k", DOCUMENT)
    assert vault(store, tmp_path).open(later, ann, "k") == DOCUMENT
    assert len({row.key_id for row in records(store)}) == 1


def test_keys_change_between_reading_a_secret_and_its_key(store, tmp_path, ann, monkeypatch):
    here, other = vault(store, tmp_path), vault(store, tmp_path)
    secret = here.seal(ann, "credential", DOCUMENT)
    plain = MasterKeys.get

    def late(keys, key_id):
        monkeypatch.setattr(MasterKeys, "get", plain)
        other.rotate()
        return plain(keys, key_id)

    monkeypatch.setattr(MasterKeys, "get", late)
    assert here.open(secret, ann, "credential") == DOCUMENT


def test_a_change_of_keys_waits_for_a_secret_that_is_not_stored_yet(store, tmp_path, ann):
    here = vault(store, tmp_path)
    here.seal(ann, "k", DOCUMENT)
    changing = threading.Thread(target=vault(store, tmp_path).rotate)
    with store.begin() as connection:
        late = here.seal_in(connection, ann, "k", {"n": 1})
        changing.start()
        changing.join(0.5)
        assert changing.is_alive()  # else the old key would be dropped, and nobody could open the late one
    changing.join(20)
    assert not changing.is_alive()
    assert vault(store, tmp_path).open(late, ann, "k") == {"n": 1}


@pytest.mark.parametrize("when", ["first batch", "second batch", "dropping the old key"])
def test_a_change_of_keys_that_was_broken_off_goes_on(store, tmp_path, ann, monkeypatch, when):
    secrets = [vault(store, tmp_path).seal(ann, "k", {"n": n}) for n in range(150)]
    calls = {"_reseal_some": 0, "store": 0}

    def broken(owner, name, fail_at):
        real = getattr(owner, name)

        def each(*arguments):
            calls[name] += 1
            if calls[name] == fail_at:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(owner, name, each)

    if when == "dropping the old key":
        broken(MasterKeys, "store", 2)
    else:
        broken(Vault, "_reseal_some", 1 if when == "first batch" else 2)
    with pytest.raises(KeyboardInterrupt):
        vault(store, tmp_path).rotate()
    monkeypatch.undo()
    assert [vault(store, tmp_path).open(secret, ann, "k")["n"] for secret in secrets] == list(range(150))
    begun = MasterKeys(Settings(data_dir=tmp_path)).current().id
    vault(store, tmp_path).rotate()
    assert {row.key_id for row in records(store)} == {begun}  # the key that was begun with, no third one
    assert [key.id for key in MasterKeys(Settings(data_dir=tmp_path)).all()] == [begun]
    assert [vault(store, tmp_path).open(secret, ann, "k")["n"] for secret in secrets] == list(range(150))


def test_keys_from_the_environment_change_by_putting_a_new_one_first(store, tmp_path, ann):
    old, new = new_key(), new_key()
    secret = vault(store, tmp_path, master_key=text_of(old)).seal(ann, "k", DOCUMENT)
    with pytest.raises(SetupError, match="comma"):
        vault(store, tmp_path, master_key=text_of(old)).rotate()
    assert vault(store, tmp_path, master_key=text_of(new, old)).rotate() == 1
    assert vault(store, tmp_path, master_key=text_of(new)).open(secret, ann, "k") == DOCUMENT
    assert not (tmp_path / "master.key").exists()


def test_what_cannot_be_sealed(store, tmp_path, ann):
    with pytest.raises(NotFound):
        vault(store, tmp_path).seal("f" * 24, "k", DOCUMENT)
    with pytest.raises(InvalidRequest, match="too large"):
        vault(store, tmp_path).seal(ann, "k", {"x": "y" * (1 << 20)})


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_any_document_comes_back_and_no_changed_byte_does(sqlite_store, tmp_path):
    here, user = vault(sqlite_store, tmp_path), users.create(sqlite_store, "ann").id

    @given(st.dictionaries(st.text(), _json, max_size=5), st.randoms(use_true_random=False))
    @settings(max_examples=25, deadline=None)
    def check(document, random):
        secret = here.seal(user, "k", document)
        assert here.open(secret, user, "k") == document
        with sqlite_store.begin() as connection:
            sealed = bytearray(connection.scalar(sa.select(table.c.sealed).where(table.c.id == secret)))
            sealed[random.randrange(len(sealed))] ^= 1 << random.randrange(8)
            connection.execute(table.update().where(table.c.id == secret).values(sealed=bytes(sealed)))
        with pytest.raises(SetupError, match="was changed"):
            here.open(secret, user, "k")

    check()
