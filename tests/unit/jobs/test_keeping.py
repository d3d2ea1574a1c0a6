"""How long results, waiting jobs and staged bytes are kept."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scoreline.access.outside import Outside
from scoreline.errors import Conflict, NotFound
from scoreline.jobs import cleaning, keeping, keyring, lease, service, states
from scoreline.jobs.model import JobState, UploadState
from scoreline.jobs.spec import JobSpec
from scoreline.redact import MASK
from scoreline.settings import Settings
from scoreline.store import new_id, now
from scoreline.types import Counts
from tests.support.fixtures import one_database


def completed(world, spool, hours_ago, **values):
    job_id = world.job(**values)
    run = lease.claim(world.store, world.server_id, "w1")
    assert run.job_id == job_id
    spool.put_segment(f"results/{job_id}", "a", b"rows")
    assert world.store.run(lambda connection: states.complete(connection, run, Counts(), 0, 4))
    world.set(job_id, finished_at=now() - timedelta(hours=hours_ago))
    return job_id


def test_results_go_after_their_time(world, spool):
    old, young = completed(world, spool, 48.1), completed(world, spool, 47.9)
    assert keeping.expire_results(world.store, spool, 48) == 1
    assert world.get(old).results_deleted
    assert not spool.blobs.list(f"results/{old}")
    assert "it was kept for 48 h" in world.logs(old)[-1]
    assert not world.get(young).results_deleted
    assert spool.blobs.list(f"results/{young}")
    assert keeping.expire_results(world.store, spool, 48) == 0


def test_a_job_may_say_how_long_its_result_is_kept(world, spool):
    longer = completed(world, spool, 100, retention_hours=200.0)
    shorter = completed(world, spool, 1, retention_hours=0.5)
    at_once = completed(world, spool, 0, retention_hours=0.0)
    assert keeping.expire_results(world.store, spool, 48) == 2
    assert [world.get(job_id).results_deleted for job_id in (longer, shorter, at_once)] == [False, True, True]


def test_results_elsewhere_are_nobody_elses_business(world, spool):
    job_id = completed(world, spool, 1000, output_type="filesystem")
    assert keeping.expire_results(world.store, spool, 48) == 0
    assert not world.get(job_id).results_deleted


def test_the_list_of_failed_rows_of_any_job_goes_with_the_rest(world, spool):
    aborted, whole = world.job(), world.job()
    past = now() - timedelta(hours=49)
    world.set(aborted, state=JobState.ABORTED, finished_at=past, rows_failed=3)
    world.set(whole, state=JobState.ABORTED, finished_at=past)
    spool.put_segment(f"errors/{aborted}", "a", b"rows")
    assert keeping.expire_results(world.store, spool, 48) == 1
    assert not spool.blobs.list(f"errors/{aborted}")
    assert world.get(aborted).results_deleted


def test_keys_of_a_job_go_with_its_results_and_not_before(world, spool, tmp_path):
    outside = Outside.of(world.store, Settings(data_dir=tmp_path))

    def keyed(hours, **values):
        secret_id = outside.vault.seal(world.user_id, keyring.KIND, {"apiKey": "s3cret"})
        instance = {"hostName": "elsewhere", "apiKey": MASK}
        spec = JobSpec(prediction_instance=instance)
        return completed(world, spool, hours, secret_id=secret_id, cleaned_at=now(), spec=spec, **values), secret_id

    old, young, shorter, held = keyed(48.1), keyed(47.9), keyed(1, retention_hours=0.5), keyed(49)
    world.set(held[0], cleaned_at=None)
    assert keeping.expire_keys(world.store, 48) == 2
    assert keeping.expire_keys(world.store, 48) == 0
    for job_id, secret_id in (old, shorter):
        with pytest.raises(NotFound, match="not stored any more"):
            outside.vault.open(secret_id, world.user_id, keyring.KIND)
        with pytest.raises(Conflict, match="deleted with its results: create a job with its settings and the keys"):
            service.repeated(world.store, world.caller, job_id, outside)
        assert world.get(job_id).spec.prediction_instance["hostName"] == "elsewhere"
        assert "Keys among the settings deleted" in world.logs(job_id)[-1]
    for job_id, _ in (young, held):
        again = service.repeated(world.store, world.caller, job_id, outside)
        assert again.prediction_instance["apiKey"] == "s3cret"


def test_a_job_whose_data_never_comes_is_aborted(world):
    late = world.job(queued=False, created_at=now() - timedelta(hours=25))
    patient = world.job(queued=False, created_at=now() - timedelta(hours=23))
    paused = world.job(queued=False, created_at=now() - timedelta(hours=25), paused_at=now())
    sent = world.job(queued=False, created_at=now() - timedelta(hours=25), upload_state=UploadState.RUNNING)
    assert keeping.expire_waiting(world.store, 24) == 1
    job = world.get(late)
    assert job.state is JobState.ABORTED
    assert "nothing came for 24 h" in job.reason
    for other in (patient, paused, sent):
        assert world.get(other).state is JobState.INITIALIZING


def test_bytes_without_a_job_are_deleted_and_others_are_not(world, spool):
    nobody, ended, fresh = new_id(), world.job(), world.job()
    aborted, deleted = world.job(), world.job()
    past = now() - timedelta(hours=1)
    world.set(ended, state=JobState.COMPLETED, cleaned_at=past, finished_at=past)
    world.set(fresh, state=JobState.COMPLETED, cleaned_at=now(), finished_at=now())
    world.set(aborted, state=JobState.ABORTED, cleaned_at=past, finished_at=past)
    world.set(deleted, state=JobState.COMPLETED, cleaned_at=past, finished_at=past, results_deleted_at=past)
    live = world.job()
    for job_id in (nobody, ended, fresh, aborted, deleted, live):
        for kind in ("uploads", "results", "errors"):
            spool.put_segment(f"{kind}/{job_id}", "a", b"bytes")
    for job_id in (nobody, live):
        spool.put_marker(f"staged/{job_id}-upload", b"{}")
    cleaning.tidy(world.store, spool)
    assert spool.blobs.list("staged") == [f"staged/{live}-upload"]
    kinds = ("uploads", "results", "errors")
    left = {tuple(key.split("/")[:2]) for kind in kinds for key in spool.blobs.list(kind)}
    all_of_these = {(kind, job_id) for kind in kinds for job_id in (fresh, live)}
    assert left == all_of_these | {("results", ended), ("errors", ended), ("errors", aborted)}


@one_database
@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ({"multipart": False}, 40),
        ({"multipart": True}, 200),
        ({"multipart": True, "async": False}, 1000),
    ],
)
def test_a_silent_upload_is_waited_for_by_its_kind(world, values, seconds):
    from scoreline.jobs.spec import JobSpec

    spec = JobSpec(intake={"type": "localFile", **values})
    job_id = world.job(spec=spec, queued=values.get("async", True), upload_state=UploadState.RUNNING)
    moment = 0.0
    watch = cleaning.UploadWatch(world.store, 10, 1000, clock=lambda: moment)
    watch.look()
    moment = seconds - 1
    watch.look()
    assert world.get(job_id).state is JobState.INITIALIZING
    moment = seconds + 1
    watch.look()
    assert world.get(job_id).state is JobState.ABORTED
