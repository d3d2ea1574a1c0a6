from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scoreline.access import Caller, users
from scoreline.errors import Conflict, Forbidden, InvalidRequest, NotFound
from scoreline.jobs import lease, service, states, uploading
from scoreline.jobs.ledger import StoreLedger
from scoreline.jobs.model import JobState, UploadState
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.store import JobFilter
from scoreline.store import new_id, now
from scoreline.store.tables import registry as tables
from scoreline.types import Counts, Receipt
from tests.unit.jobs.world import TARGET, flush

SENDER = "api.1"


def begins(store, caller, job_id, **more):
    return uploading.begins(store, caller, job_id, SENDER, **more)[0]


def spec(world, **document):
    return JobSpec.from_document({"deploymentId": world.deployment_id, **document})


def create(world, **document):
    return service.create(world.store, world.caller, spec(world, **document))


def other(world, role="user", org_id=None):
    """Another person of the same organisation."""
    name = f"{role}-{new_id()}"
    made = users.create(world.store, name, role=role).caller()
    return replace(made, org_id=org_id or world.org_id)


def change_row(world, table, row_id, **values):
    with world.store.begin() as connection:
        connection.execute(table.update().where(table.c.id == row_id).values(values))


def test_a_new_job_holds_all_that_it_will_score_with(world):
    job = create(world, passthroughColumns=["id"])
    assert (job.state, job.upload_state, job.queue_position) == (JobState.INITIALIZING, UploadState.WAITING, None)
    assert job.target == TARGET
    assert (job.package_id, job.package_hash, job.server_id) == (world.package_id, "ab" * 32, world.server_id)
    assert (job.deployment_id, job.source) == (world.deployment_id, "api")
    assert job.spec.num_concurrent == 4  # the server's own number
    assert job.spec.passthrough == ("id",)
    assert (job.percentage, job.elapsed_seconds, job.counts) == (0.0, 0, Counts())
    assert job.owner.username == "ada"
    [line] = service.logs(world.store, world.caller, job.id)
    assert line.startswith("Job created by ada at 20")
    # What happens to the deployment later changes nothing.
    change_row(world, tables.packages, world.package_id, threshold=0.9, class_labels=["a", "b"])
    change_row(world, tables.deployments, world.deployment_id, status="inactive", deleted_at=now())
    again = service.get(world.store, world.caller, job.id)
    assert (again.target, again.spec) == (TARGET, job.spec)


def test_what_cannot_be_done_is_refused_before_anything_is_stored(world):
    for document, field in (
        ({"maxExplanations": 1}, "maxExplanations"),
        ({"includeProbabilitiesClasses": ["maybe"]}, "includeProbabilitiesClasses"),
        ({"outputSettings": {"type": "trino", "table": "t"}}, "outputSettings.type"),
        ({"pinnedModelId": "other"}, "pinnedModelId"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            create(world, **document)
        assert caught.value.field == field
    with pytest.raises(NotFound):
        service.create(world.store, world.caller, replace(spec(world), deployment_id=new_id()))
    change_row(world, tables.deployments, world.deployment_id, status="inactive")
    with pytest.raises(InvalidRequest, match="inactive"):
        create(world)
    change_row(world, tables.deployments, world.deployment_id, status="active")
    change_row(world, tables.packages, world.package_id, artifact=None)
    with pytest.raises(InvalidRequest):
        create(world)
    assert service.list_jobs(world.store, world.caller).total == 0


def test_without_any_prediction_server_a_job_is_refused_in_words(world):
    change_row(world, tables.deployments, world.deployment_id, server_id=None)
    assert create(world).server_id == world.server_id  # the default one
    with world.store.begin() as connection:
        connection.execute(tables.prediction_servers.update().values(org_id=_other_org(connection)))
    with pytest.raises(Conflict, match="scoreline predictor"):
        create(world)


def _other_org(connection):
    from scoreline.store.tables.access import organisations

    org_id = new_id()
    connection.execute(organisations.insert().values(id=org_id, name=org_id, created_at=now()))
    return org_id


def test_who_may_not_see_a_job_finds_none_and_who_may_not_change_it_is_told(world):
    job = create(world)
    stranger, admin, observer = other(world), other(world, "admin"), other(world, "observer")
    foreign = other(world, "admin", org_id=new_id())
    run = Caller(world.user_id, "ada", world.org_id, "user", kind="run")
    for caller in (stranger, foreign, run):
        for work in (service.get, service.abort, service.logs, begins, service.queue_position):
            with pytest.raises(NotFound):
                work(world.store, caller, job.id)
        with pytest.raises(NotFound):
            service.hide(world.store, caller, job.id, hidden=True)
        assert service.list_jobs(world.store, caller).total == 0
    for caller in (admin, observer):
        assert service.get(world.store, caller, job.id).id == job.id
        assert service.list_jobs(world.store, caller).total == 1
    for work in (service.abort, begins):
        with pytest.raises(Forbidden):
            work(world.store, observer, job.id)
    with pytest.raises(Forbidden):
        service.create(world.store, observer, spec(world))
    assert service.abort(world.store, admin, job.id).state is JobState.ABORTED


def test_an_abort_is_for_live_jobs_and_leaves_them_readable(world):
    waiting, running = create(world), create(world)
    begins(world.store, world.caller, running.id)
    run = lease.claim(world.store, world.server_id, "w1")
    for job in (waiting, running):
        ended = service.abort(world.store, world.caller, job.id)
        assert ended.state is JobState.ABORTED
        assert ended.status_details.startswith("Cancelled by ada at 20")
        assert service.get(world.store, world.caller, job.id) == ended
        assert service.logs(world.store, world.caller, job.id)[-1].startswith("Aborted at 20")
        with pytest.raises(Conflict, match="ABORTED"):
            service.abort(world.store, world.caller, job.id)
    assert not lease.renew(world.store, run)


def test_only_finished_jobs_can_be_hidden_and_hidden_ones_are_not_listed(world):
    job = create(world)
    with pytest.raises(Conflict):
        service.hide(world.store, world.caller, job.id, hidden=True)
    service.abort(world.store, world.caller, job.id)
    hidden = service.hide(world.store, world.caller, job.id, hidden=True)
    assert hidden.hidden_at is not None
    assert service.hide(world.store, world.caller, job.id, hidden=True).hidden_at == hidden.hidden_at
    assert service.list_jobs(world.store, world.caller).total == 0
    assert service.get(world.store, world.caller, job.id).id == job.id
    assert service.hide(world.store, world.caller, job.id, hidden=False).hidden_at is None
    assert service.list_jobs(world.store, world.caller).total == 1


def test_an_upload_is_taken_once(world):
    job = create(world)
    begun = begins(world.store, world.caller, job.id, expected=100)
    assert (begun.upload_state, begun.upload_expected, begun.queue_position) == (UploadState.RUNNING, 100, 0)
    with pytest.raises(Conflict, match="begun already"):
        begins(world.store, world.caller, job.id)
    uploading.progress(world.store, job.id, 60, SENDER)
    uploading.done(world.store, job.id, 100, SENDER)
    uploading.done(world.store, job.id, 100, SENDER)
    assert not uploading.broken(world.store, job.id, "broken")
    assert service.get(world.store, world.caller, job.id).upload_bytes == 100
    service.abort(world.store, world.caller, job.id)
    for work in (
        lambda: uploading.progress(world.store, job.id, 1, SENDER),
        lambda: uploading.done(world.store, job.id, 1, SENDER),
        lambda: begins(world.store, world.caller, job.id),
        lambda: uploading.progress(world.store, new_id(), 1, SENDER),
    ):
        with pytest.raises(Conflict):
            work()


def test_a_broken_upload_is_the_jobs_reason(world):
    job = create(world)
    begins(world.store, world.caller, job.id)
    assert uploading.broken(world.store, job.id, "Receiving the upload failed after 7 bytes.", received=7)
    job = service.get(world.store, world.caller, job.id)
    assert (job.state, job.upload_bytes) == (JobState.ABORTED, 7)
    assert job.status_details == "Receiving the upload failed after 7 bytes."


def test_a_job_that_reads_elsewhere_takes_no_upload(world):
    job_id = world.job(queued=False, upload_state=UploadState.NONE)
    with pytest.raises(NotFound, match="takes no upload"):
        begins(world.store, world.caller, job_id)


def test_results_are_what_the_ledger_covers(world):
    job = create(world)
    assert service.result_since(world.store, job.id) == (JobState.INITIALIZING, [])
    begins(world.store, world.caller, job.id)
    run = lease.claim(world.store, world.server_id, "w1")
    ledger = StoreLedger(world.store, run)
    ledger.begin({})
    made = [flush(0, 0), flush(1, 3, 30), flush(4, 4, 10)]
    for one in made:
        ledger.record(one)
    expected = [(one.first, Receipt(one.receipt.data), one.bytes_out) for one in made]
    assert service.result_flushes(world.store, job.id) == expected
    assert service.result_flushes(world.store, job.id, after=1) == expected[2:]
    assert service.state(world.store, job.id) is JobState.RUNNING
    world.store.run(lambda c: states.complete(c, run, Counts(40, 40), 1, 30))
    assert service.result_since(world.store, job.id, 4) == (JobState.COMPLETED, [])
    with pytest.raises(NotFound):
        service.result_since(world.store, new_id())
    with pytest.raises(NotFound):
        service.state(world.store, new_id())


def test_lists_come_in_pages_and_orders(world):
    base = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [world.job(queued=False, created_at=base + timedelta(hours=n)) for n in range(5)]
    world.set(ids[0], state=JobState.COMPLETED)
    world.set(ids[3], state=JobState.ABORTED)

    def listed(order, **window):
        page = service.list_jobs(world.store, world.caller, order=order, **window)
        assert page.total == 5
        return [ids.index(job.id) for job in page.items]

    assert listed("-created") == [4, 3, 2, 1, 0]
    assert listed("created") == [0, 1, 2, 3, 4]
    assert listed("created", offset=1, limit=2) == [1, 2]
    assert listed("created", offset=9) == []
    assert listed("status") == [3, 0, 1, 2, 4]
    assert listed("-status") == [4, 2, 1, 0, 3]
    with pytest.raises(InvalidRequest) as caught:
        listed("age")
    assert caught.value.field == "orderBy"


def test_lists_can_be_narrowed(world):
    base = now()
    server = world.server()
    change_row(world, tables.prediction_servers, server, url="https://scorer.example:8443/x")
    one = world.job(source="api", created_at=base - timedelta(hours=5))
    two = world.job(source="schedule", server_id=server, state=JobState.COMPLETED, queued=False)
    three = world.job(source=None, intake_type="s3", output_type="jdbc", queued=False)

    def found(**which):
        page = service.list_jobs(world.store, world.caller, JobFilter(**which), order="created")
        assert page.total == len(page.items)
        return {job.id for job in page.items}

    assert found() == {one, two, three}
    assert found(states=("COMPLETED", "ABORTED")) == {two}
    assert found(sources=("api", "schedule")) == {one, two}
    assert found(sources=("-schedule",)) == {one, three}
    assert found(sources=("api", "-schedule")) == {one}
    assert found(deployment_id=world.deployment_id) == {one, two, three}
    assert found(deployment_id=new_id()) == set()
    assert found(model_id="model-1") == {one, two, three}
    assert found(model_id=world.package_id) == {one, two, three}
    assert found(model_id="model-2") == set()
    assert found(job_id=two) == {two}
    assert found(cutoff_hours=1) == {two, three}
    assert found(cutoff_hours=1, start=base - timedelta(hours=9)) == {one, two, three}
    assert found(end=base - timedelta(hours=1)) == {one}
    assert found(hostnames=("127.0.0.1",)) == {one, three}
    assert found(hostnames=("scorer.example",)) == {two}
    assert found(hostnames=("127.0.0.1", "scorer.example")) == {one, two, three}
    assert found(hostnames=("scorer", "%", "127.0.0")) == set()
    assert found(intake_types=("s3",)) == {three}
    assert found(output_types=("localFile",)) == {one, two}
    assert found(batch_job_types=("prediction",)) == {one, two, three}
    assert found(batch_job_types=("monitoring",)) == set()
    assert found(definition_id=new_id()) == set()


def test_logs_of_a_page_come_in_one_go(world):
    made = [create(world) for _ in range(3)]
    service.abort(world.store, world.caller, made[1].id)
    logs = service.logs_of(world.store, made)
    assert [len(logs[job.id]) for job in made] == [1, 2, 1]
    assert service.logs_of(world.store, []) == {}
