"""Job definitions on both databases: what is stored, what is refused, and what holds on to what it names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scoreline.access import credentials as stored
from scoreline.access import users
from scoreline.access.outside import Outside
from scoreline.definitions import records, service
from scoreline.definitions.service import Rules
from scoreline.errors import Conflict, Forbidden, InvalidRequest, NotFound, SetupError
from scoreline.jobs import credentials, kept
from scoreline.jobs import service as jobs
from scoreline.settings import Settings

DAILY = {"minute": [0], "hour": [2], "dayOfMonth": ["*"], "month": ["*"], "dayOfWeek": ["*"]}
S3 = {"type": "s3", "url": "s3://bucket/in.csv"}
SIGNED = "https://files.example.com/in.csv?sig=n0b0dy-sees-this"


@pytest.fixture
def rules(world, tmp_path):
    return Rules(Outside.of(world.store, Settings(data_dir=tmp_path)))


def body(world, **values):
    return {"deploymentId": world.deployment_id, "intakeSettings": S3, "outputSettings": S3} | values


def create(world, rules, caller=None, **values):
    return service.create(world.store, caller or world.caller, body(world, **values), rules)


def test_what_is_saved_is_found_and_goes(world, rules):
    made = create(world, rules, name="nightly", enabled=True, schedule=DAILY, timeZone="Europe/Berlin")
    assert service.get(world.store, world.caller, made.id) == made
    assert (made.next_run_at.minute, made.deployment_id, made.concurrency) == (0, world.deployment_id, 4)
    with pytest.raises(Conflict, match="'nightly'"):
        create(world, rules, name="nightly")
    changed = service.update(world.store, world.caller, made.id, {"enabled": False, "chunkSize": 9}, rules)
    assert (changed.body, changed.version) == (made.body | {"chunkSize": 9}, 2)
    assert (changed.next_run_at, changed.schedule) == (None, DAILY)
    service.delete(world.store, world.caller, made.id)
    with pytest.raises(NotFound):
        service.get(world.store, world.caller, made.id)
    assert service.list_definitions(world.store, world.caller).total == 0
    create(world, rules, name="nightly")


def test_two_changes_at_once_do_not_mix(world, rules, monkeypatch):
    made = create(world, rules, name="a")
    real = records.change

    def slow(connection, definition_id, version, values):
        # Somebody else was first, between the look and the change.
        real(connection, definition_id, version, {"name": "b"})
        return real(connection, definition_id, version, values)

    monkeypatch.setattr(records, "change", slow)
    with pytest.raises(Conflict, match="somebody else"):
        service.update(world.store, world.caller, made.id, {"overlap": "skip"}, rules)
    with pytest.raises(Conflict, match="somebody else"):
        service.delete(world.store, world.caller, made.id)
    monkeypatch.undo()
    assert service.get(world.store, world.caller, made.id).overlap == "queue"


def test_enabling_it_again_begins_a_new_count(world, rules):
    made = create(world, rules, enabled=True, schedule=DAILY)
    with world.store.begin() as connection:
        records.change(connection, made.id, 1, {"failures": 3, "trouble": "it rained", "enabled": False})
    seen = service.update(world.store, world.caller, made.id, {"name": "still off"}, rules)
    assert (seen.failures, seen.message) == (3, "it rained")
    seen = service.update(world.store, world.caller, made.id, {"enabled": True}, rules)
    assert (seen.failures, seen.message) == (0, None)


def test_a_credential_that_it_names_stays(world, rules):
    vault = rules.outside.vault
    parts = {"awsAccessKeyId": "AKID", "awsSecretAccessKey": "secret"}
    key = stored.create(world.store, vault, world.caller, "s3", parts, name="key")
    made = create(world, rules, name="nightly", outputSettings=S3 | {"credentialId": key.id})
    with pytest.raises(Conflict, match="used by job definition 'nightly'"):
        credentials.delete(world.store, world.caller, key.id)
    stranger = replace(users.create(world.store, "bob").caller(), org_id=world.org_id)
    with pytest.raises(NotFound, match=r"outputSettings\.credentialId"):
        create(world, rules, stranger, outputSettings=S3 | {"credentialId": key.id})
    service.delete(world.store, world.caller, made.id)
    credentials.delete(world.store, world.caller, key.id)


def test_what_runs_by_schedule_holds_on_to_its_deployment(world, rules):
    made = create(world, rules, name="nightly", enabled=True, schedule=DAILY)
    with pytest.raises(InvalidRequest, match="in use by job definition 'nightly'"):
        jobs.check_unused(world.store, world.deployment_id, "flights")
    service.update(world.store, world.caller, made.id, {"enabled": False}, rules)
    jobs.check_unused(world.store, world.deployment_id, "flights")
    with world.store.read() as connection:
        assert kept.naming(connection, world.deployment_id) == "nightly"
        assert kept.naming(connection, world.deployment_id, enabled=True) is None
        assert kept.naming(connection, "%") is None


def test_keys_are_sealed_again_with_each_change_of_the_body_and_only_then(world, rules, tmp_path):
    made = create(world, rules, intakeSettings={"type": "http", "url": SIGNED})
    assert "n0b0dy" not in str(made.body)
    assert service.spec_of(made, rules.outside).intake["url"] == SIGNED
    renamed = service.update(world.store, world.caller, made.id, {"name": "renamed"}, rules)
    assert renamed.secret_id == made.secret_id
    changed = service.update(world.store, world.caller, made.id, {"chunkSize": 100}, rules)
    assert changed.secret_id != made.secret_id
    assert service.spec_of(changed, rules.outside).intake["url"] == SIGNED
    with pytest.raises(NotFound):
        service.spec_of(made, rules.outside)  # nobody needs the older record
    # Without the master key it cannot run; but it can be renamed, and switched off.
    elsewhere = Rules(Outside.of(world.store, Settings(data_dir=tmp_path / "elsewhere", master_key="A" * 43 + "=")))
    with pytest.raises(SetupError):
        service.run(world.store, world.caller, made.id, elsewhere.outside)
    assert service.update(world.store, world.caller, made.id, {"name": "locked"}, elsewhere).name == "locked"


def test_an_admin_changes_when_and_whether_it_runs_not_what_it_does(world, rules):
    made = create(world, rules, name="nightly", schedule=DAILY)
    admin = replace(users.create(world.store, "adam", role="admin").caller(), org_id=world.org_id)
    assert service.update(world.store, admin, made.id, {"enabled": True}, rules).enabled
    assert service.update(world.store, admin, made.id, {"chunkSize": "auto"}, rules).body == made.body
    with pytest.raises(Forbidden, match="'ada', who alone changes what it does"):
        service.update(world.store, admin, made.id, {"outputSettings": S3 | {"url": "s3://adams/out.csv"}}, rules)
    ready = service.run(world.store, admin, made.id, rules.outside)
    assert (ready.owner.user_id, ready.origin.asked_by) == (world.user_id, "adam")
    users.disable(world.store, "ada")
    with pytest.raises(Conflict, match="'ada' is disabled"):
        service.run(world.store, admin, made.id, rules.outside)
    assert not service.update(world.store, admin, made.id, {"enabled": False}, rules).enabled
    with pytest.raises(Conflict, match="'ada' is disabled"):
        service.update(world.store, admin, made.id, {"enabled": True}, rules)
