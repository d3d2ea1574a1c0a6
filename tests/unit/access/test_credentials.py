"""Stored credentials: whose they are, what of them can be seen, and what they hold for a run."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from scoreline.access import credentials, users
from scoreline.access.vault import Vault
from scoreline.credentials import BasicSecret, S3Secret
from scoreline.errors import Conflict, Forbidden, InvalidRequest, NotFound
from scoreline.settings import Settings
from scoreline.store.tables.access import credentials as table
from scoreline.store.tables.access import secrets

S3 = {"awsAccessKeyId": "AKIDEXAMPLE12", "awsSecretAccessKey": "wJalrXUtnFEMI"}


@pytest.fixture
def vault(store, tmp_path):
    return Vault(store, Settings(data_dir=tmp_path))


@pytest.fixture
def people(store):
    return {
        name: users.create(store, name, role=role, organisation=organisation).caller()
        for name, role, organisation in (
            ("ann", "user", "default"),
            ("bob", "user", "default"),
            ("adm", "admin", "default"),
            ("obs", "observer", "default"),
            ("far", "admin", "other"),
        )
    }


def make(store, vault, caller, name="s3", kind="s3", parts=None, **more):
    return credentials.create(store, vault, caller, kind, parts or S3, name=name, **more)


def sealed(store):
    with store.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(secrets))


def delete(store, caller, credential_id):
    with store.begin() as connection:
        credentials.delete_in(connection, caller, credential_id)


def test_a_credential_is_its_owners_alone(store, vault, people):
    ann, bob, adm, obs, far = people.values()
    made = make(store, vault, ann, description="for reports")
    assert (made.name, made.type, made.description, made.owner_id) == ("s3", "s3", "for reports", ann.user_id)
    assert credentials.get(store, ann, made.id) == made == credentials.get(store, adm, made.id)
    assert credentials.open_secret(store, vault, ann.user_id, made.id) == S3Secret("AKIDEXAMPLE12", "wJalrXUtnFEMI")
    for other in (bob, obs, far):
        assert credentials.list_credentials(store, other) == []
        with pytest.raises(NotFound, match="no credential"):
            credentials.get(store, other, made.id)
        with pytest.raises(NotFound):
            credentials.open_secret(store, vault, other.user_id, made.id)
        with pytest.raises((NotFound, Forbidden)):
            credentials.update(store, vault, other, made.id, {"name": "x"})
        with pytest.raises((NotFound, Forbidden)):
            delete(store, other, made.id)
    # An admin manages what is not to be used.
    assert credentials.list_credentials(store, adm) == []
    assert credentials.list_credentials(store, adm, everyone=True) == [made]
    assert credentials.list_credentials(store, far, everyone=True) == []
    with pytest.raises(Forbidden, match="not an admin"):
        credentials.list_credentials(store, ann, everyone=True)
    with pytest.raises(Forbidden, match="only its owner"):
        credentials.update(store, vault, adm, made.id, {"awsSecretAccessKey": "mine"})
    with store.read() as connection, pytest.raises(NotFound, match="that adm may use"):
        credentials.usable_in(connection, adm, made.id)
    with pytest.raises(Forbidden, match="observer"):
        make(store, vault, obs)
    delete(store, adm, made.id)
    assert credentials.list_credentials(store, ann) == []
    assert sealed(store) == 0
    with pytest.raises(NotFound, match="store it again"):
        credentials.open_secret(store, vault, ann.user_id, made.id)


def test_names_are_unique_for_each_owner(store, vault, people):
    ann, bob, *_ = people.values()
    first = make(store, vault, ann, "one")
    assert make(store, vault, bob, "one").name == "one"
    with pytest.raises(Conflict, match="'one' already"):
        make(store, vault, ann, "one", "basic", {"user": "u", "password": "p"})
    second = make(store, vault, ann, "two")
    with pytest.raises(Conflict, match="'one' already"):
        credentials.update(store, vault, ann, second.id, {"name": "one"})
    assert credentials.update(store, vault, ann, first.id, {"name": "one"}).name == "one"
    for name in ("", "  ", "x" * 256, "a\nb"):
        with pytest.raises(InvalidRequest, match="1 to 255"):
            make(store, vault, ann, name)
    basic = make(store, vault, ann, "a basic one", "basic", {"user": "u", "password": "p"})
    assert [found.name for found in credentials.list_credentials(store, ann)] == ["a basic one", "one", "two"]
    assert credentials.list_credentials(store, ann, kinds=["basic", "gcp"]) == [basic]
    with pytest.raises(InvalidRequest, match="not known"):
        credentials.list_credentials(store, ann, kinds=["jdbc"])
    assert sealed(store) == 4


def test_a_change_keeps_the_rest_and_is_what_the_next_run_opens(store, vault, people):
    ann = people["ann"]
    made = make(store, vault, ann, "b", "basic", {"username": "u", "password": "p"}, description="d")
    changed = credentials.update(store, vault, ann, made.id, {"name": "c", "credentialType": "basic"})
    assert (changed.name, changed.description, changed.id) == ("c", "d", made.id)
    assert credentials.update(store, vault, ann, made.id, {"description": "", "password": "q"}).description == ""
    assert credentials.open_secret(store, vault, ann.user_id, made.id) == BasicSecret("u", "q")
    for change, error in (
        ({"credentialType": "s3"}, "stays so"),
        ({"awsAccessKeyId": "x"}, "no field 'awsAccessKeyId'"),
        ({"password": 1, "name": "lost"}, "must be a text"),
    ):
        with pytest.raises(InvalidRequest, match=error):
            credentials.update(store, vault, ann, made.id, change)
    assert credentials.get(store, ann, made.id).name == "c"
    assert sealed(store) == 1
    # Sealed anew with another key, it is the same.
    assert vault.rotate() == 1
    assert credentials.open_secret(store, vault, ann.user_id, made.id) == BasicSecret("u", "q")
    with store.read() as connection:
        [row] = connection.execute(sa.select(table)).all()
    assert "q" not in {str(value) for value in row}


def test_a_change_while_a_run_opens_the_credential(store, vault, people, monkeypatch):
    ann = people["ann"]
    made = credentials.create(store, vault, ann, "basic", {"user": "u", "password": "old"}, name="changing")
    plain = vault.open

    def late(*words):
        monkeypatch.setattr(vault, "open", plain)
        credentials.update(store, vault, ann, made.id, {"password": "new"})
        return plain(*words)

    monkeypatch.setattr(vault, "open", late)
    assert credentials.open_secret(store, vault, ann.user_id, made.id).password == "new"
