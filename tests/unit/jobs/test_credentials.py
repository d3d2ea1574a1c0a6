"""Jobs that name stored credentials: who may name which, how a run opens them, and what becomes of them meanwhile."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType

import pytest
import sqlalchemy as sa

from scoreline import adapters, redact
from scoreline.access import credentials as stored
from scoreline.access import users
from scoreline.access.vault import Vault
from scoreline.adapters import localfile
from scoreline.credentials import S3Secret
from scoreline.errors import Conflict, Forbidden, InvalidRequest, NotFound, OutputError
from scoreline.jobs import cleaning, credentials, service, ticket, uploading
from scoreline.jobs.model import JobState
from scoreline.jobs.presence import Presence
from scoreline.jobs.spec import JobSpec
from scoreline.settings import Settings
from scoreline.store import new_id
from scoreline.store.tables import registry as registry_tables
from scoreline.store.tables.jobs import job_parts
from tests.unit.jobs.test_whole_run import HalfScorer, Working
from tests.unit.jobs.working import Engine, settings, staged, working
from tests.unit.jobs.world import wait_for


@pytest.fixture
def opened(monkeypatch):
    """Let s3 be an adapter that stages its output in the spool and takes a key; what it is handed is kept."""
    handed = []

    def open_output(ticket, spool, keys):
        handed.append((ticket, keys("credentialId")))
        if isinstance(handed[-1][1], S3Secret) and handed[-1][1].access_key_id == "wrong":
            raise OutputError(f"Output: the store refused {handed[-1][1].secret_access_key}.")
        return localfile.open_output(ticket, spool)

    module = ModuleType("scoreline.adapters.tested")
    module.open_output = open_output
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(adapters.REGISTRY, "s3", replace(adapters.REGISTRY["s3"], module="tested"))
    return handed


@pytest.fixture
def vault(world, tmp_path):
    return Vault(world.store, Settings(data_dir=tmp_path))


def make(world, vault, caller=None, kind="s3", **parts):
    parts = parts or {"awsAccessKeyId": "AKIDEXAMPLE12", "awsSecretAccessKey": "wJalrXUtnFEMI"}
    return stored.create(world.store, vault, caller or world.caller, kind, parts, name=f"my {kind}")


def create(world, credential_id, **more):
    output = {"type": "s3", "url": "s3://bucket/out.csv", "credentialId": credential_id}
    document = {"deploymentId": world.deployment_id, "outputSettings": output, **more}
    return service.create(world.store, world.caller, JobSpec.from_document(document))


def test_only_an_own_credential_of_a_fitting_type_can_be_named(world, vault, opened):
    mine, basic = make(world, vault), make(world, vault, kind="basic", user="u", password="p")
    other = replace(users.create(world.store, "bob").caller(), org_id=world.org_id)
    theirs = make(world, vault, other)
    assert create(world, mine.id).spec.output["credentialId"] == mine.id
    with pytest.raises(InvalidRequest) as refused:
        create(world, basic.id)
    assert refused.value.field == "outputSettings.credentialId"
    assert refused.value.message == (
        "outputSettings.credentialId names the credential 'my basic' of type basic, but output of type s3 takes a "
        "credential of type s3."
    )
    for unknown in (theirs.id, "0" * 24, "x"):
        with pytest.raises(NotFound, match=r"outputSettings\.credentialId: There is no credential '.*' that ada may"):
            create(world, unknown)
    for wrong, words in (("[redacted]", "masked here"), (7, "must be a text"), ("", "must be a text")):
        with pytest.raises(InvalidRequest, match=words) as refused:
            create(world, wrong)
        assert refused.value.field == "outputSettings.credentialId"
    # None is absent: a public bucket, or the machine's own rights.
    create(world, None)


def test_a_run_opens_the_credential_as_it_is_then_and_shows_it_nowhere(sqlite_world, spool, opened, tmp_path):
    world = sqlite_world
    vault = Vault(world.store, Settings(data_dir=tmp_path))
    mine = make(world, vault)
    job = create(world, mine.id)
    stored.update(world.store, vault, world.caller, mine.id, {"awsSecretAccessKey": "changed-secret"})
    uploading.begins(world.store, world.caller, job.id, "0")
    engine, seen = Engine(), []

    def run(ticket, ledger, progress, keys, partitions):
        seen.extend((keys.intake("credentialId"), keys.output("cloudStorageCredentialId"), keys.output("credentialId")))
        seen.append((redact.mask("changed-secret"), redact.mask("once-more")))
        # What a user changes while the job runs is there when the adapter asks again.
        stored.update(world.store, vault, world.caller, mine.id, {"awsSecretAccessKey": "once-more"})
        seen.append(keys.output("credentialId"))
        seen.append((redact.mask("changed-secret"), redact.mask("once-more")))
        return engine(ticket, ledger, progress, keys, partitions)

    with working(world, spool, run, data_dir=tmp_path):
        wait_for(lambda: service.get(world.store, world.caller, job.id).state.final, 60)
    assert service.get(world.store, world.caller, job.id).state is JobState.COMPLETED
    assert seen == [
        None,
        None,
        S3Secret("AKIDEXAMPLE12", "changed-secret"),
        ("[redacted]", "once-more"),
        S3Secret("AKIDEXAMPLE12", "once-more"),
        ("[redacted]", "[redacted]"),
    ]
    [ticket] = engine.tickets
    assert "credentialId" not in ticket.output
    assert redact.mask("changed-secret") == "changed-secret"  # over with the run


def test_a_reason_hides_what_was_opened(sqlite_world, spool, opened, tmp_path):
    world = sqlite_world
    vault = Vault(world.store, Settings(data_dir=tmp_path))
    wrong = make(world, vault, awsAccessKeyId="wrong", awsSecretAccessKey="wJalrXUtnFEMI")
    job = create(world, wrong.id)
    uploading.begins(world.store, world.caller, job.id, "0")
    with Working(world, spool, HalfScorer(), "w1", data_dir=tmp_path):
        wait_for(lambda: service.get(world.store, world.caller, job.id).state.final, 60)
    assert service.get(world.store, world.caller, job.id).status_details.endswith("the store refused [redacted].")


def test_a_credential_stays_while_a_job_needs_it(world, vault, opened, spool, tmp_path):
    mine = make(world, vault)
    job = create(world, mine.id)
    with pytest.raises(Conflict, match=f"'my s3' is used by job {job.id}"):
        credentials.delete(world.store, world.caller, mine.id)
    service.abort(world.store, world.caller, job.id)
    credentials.delete(world.store, world.caller, mine.id)
    with pytest.raises(NotFound):
        credentials.delete(world.store, world.caller, mine.id)
    # What the job had begun to write cannot be reached any more; that does not keep it from being swept up.
    with world.store.begin() as connection:
        connection.execute(job_parts.insert().values(job_id=job.id, part=0, output_state={"stream": "s"}, next_chunk=0))
    here = settings(world, data_dir=tmp_path)
    assert cleaning.sweep(world.store, spool, here) == 1
    assert world.column(job.id, "cleaned_at") is not None


def test_what_an_aborted_job_wrote_is_removed_with_its_credential(world, vault, opened, spool, tmp_path):
    job = create(world, make(world, vault).id)
    service.abort(world.store, world.caller, job.id)
    spool.put_segment(f"results/{job.id}", "0000000000-0000000000.1", b"x\n")
    state = {"stream": f"results/{job.id}"}
    with world.store.begin() as connection:
        connection.execute(job_parts.insert().values(job_id=job.id, part=0, output_state=state, next_chunk=0))
    assert cleaning.sweep(world.store, spool, settings(world, data_dir=tmp_path)) == 1
    assert opened[0][1] == S3Secret("AKIDEXAMPLE12", "wJalrXUtnFEMI")
    assert not staged(spool, job.id)


def database(world):
    """Where the database answers, if it does."""
    return set() if world.store.sqlite else {f"{world.store.url.host}:{world.store.url.port}"}


def test_a_run_knows_how_far_addresses_may_lead(world, tmp_path):
    table = registry_tables.prediction_servers
    far = users.create(world.store, "far", organisation="far").org_id
    with world.store.begin() as connection:
        row = dict(connection.execute(sa.select(table)).mappings().one())
        for kind, reach, url, org_id in (
            ("drum", "any", "http://10.1.2.3:6789/base", world.org_id),
            ("v2", "any", "https://[fd12::1]", world.org_id),
            ("v2", "allowed", "http://10.1.2.4", world.org_id),
            ("v2", "any", "http://10.1.2.5", far),
        ):
            changes = {"id": new_id(), "name": url, "kind": kind, "reach": reach, "url": url, "org_id": org_id}
            connection.execute(table.insert().values(row | changes))
    url = world.store.url.render_as_string(hide_password=False)
    opened = "10.9.0.0/16 minio:9000"
    here = Settings(data_dir=tmp_path, database_url=url, port=8123, predictor_port=0, allowed_networks=opened)
    living, dead = Presence(tmp_path), Presence(tmp_path)
    for process, place in ((living, "127.0.0.1:41234"), (dead, "127.0.0.1:41235")):
        process.open()
        process.answers_at(place)
    dead.close()
    made = ticket.for_removal(world.store, "spool", world.get(world.job()), here)
    assert made.reach.allowed == ("10.9.0.0/16", "minio:9000")
    assert made.reach.known == ("10.1.2.3:6789", "[fd12::1]:443")
    living.close()
    assert set(made.reach.own) == {"127.0.0.1:8123", "127.0.0.1:41234", "127.0.0.1:9"} | database(world)
    with pytest.raises(Forbidden, match="part of this installation"):
        made.reach.check_url("http://localhost:8123/api/v2/", "it")
    made.reach.check_url("http://10.1.2.3:6789/other", "it")
    with pytest.raises(Forbidden, match="private"):
        made.reach.check_url("http://10.1.2.4/", "it")
