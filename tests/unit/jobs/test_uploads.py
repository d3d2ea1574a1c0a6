import pytest

from scoreline.jobs import cleaning, lease, states, uploads
from scoreline.jobs.model import JobState, UploadState
from scoreline.jobs.spec import JobSpec


def spec(**settings):
    return JobSpec.from_document({"intakeSettings": {"type": "localFile", **settings}})


def begin(world, job_id, expected=None):
    job = world.get(job_id)
    return world.store.run(lambda c: uploads.begin(c, job, expected))


def finish(world, job_id, received):
    return world.store.run(lambda c: uploads.finish(c, job_id, received))


def grow(world, job_id, received):
    return world.store.run(lambda c: uploads.grow(c, job_id, received))


def give_up(world, job_id, received=None):
    return world.store.run(lambda c: uploads.give_up(c, job_id, "The upload broke off.", received))


def test_a_job_enters_the_queue_when_its_data_begins_to_arrive(world):
    job_id = world.job(queued=False)
    assert begin(world, job_id, 500)
    job = world.get(job_id)
    assert (job.upload_state, job.upload_expected, job.queue_position) == (UploadState.RUNNING, 500, 0)
    assert not begin(world, job_id)
    assert grow(world, job_id, 100)
    assert grow(world, job_id, 50)
    assert world.get(job_id).upload_bytes == 100
    assert finish(world, job_id, 500)
    assert finish(world, job_id, 500)
    assert not grow(world, job_id, 600)
    assert not begin(world, job_id)
    assert world.get(job_id).upload_bytes == 500
    assert sum("submitted to the queue" in line for line in world.logs(job_id)) == 1


@pytest.mark.parametrize("multipart", [False, True])
def test_without_async_it_waits_for_all_of_it(world, multipart):
    job_id = world.job(queued=False, spec=spec(multipart=multipart, **{"async": False}))
    assert begin(world, job_id)
    assert world.get(job_id).queue_position is None
    grow(world, job_id, 77)
    assert world.get(job_id).status_details.startswith("Waiting for CSV data to be pushed: 77 bytes so far")
    assert finish(world, job_id, 100)
    assert world.get(job_id).queue_position == 0


def test_parts_of_a_multipart_upload_may_each_begin_until_it_is_done(world):
    job_id = world.job(queued=False, spec=spec(multipart=True))
    assert begin(world, job_id)
    assert begin(world, job_id)
    assert finish(world, job_id, 10)
    assert not begin(world, job_id)


def test_a_broken_upload_aborts_a_job_that_waits_or_runs(world):
    for claimed in (False, True):
        job_id = world.job(queued=False, server_id=(server := world.server()))
        begin(world, job_id)
        if claimed:
            assert lease.claim(world.store, server, "w1")
        assert give_up(world, job_id, 42)
        job = world.get(job_id)
        assert (job.state, job.status_details) == (JobState.ABORTED, "The upload broke off.")
        assert (job.upload_state, job.upload_bytes) == (UploadState.BROKEN, 42)
        assert not grow(world, job_id, 43)
        assert not finish(world, job_id, 43)
        assert not give_up(world, job_id)


def test_an_upload_that_is_whole_cannot_break(world):
    job_id = world.job(queued=False)
    begin(world, job_id)
    finish(world, job_id, 5)
    assert not give_up(world, job_id)
    assert world.get(job_id).state is JobState.INITIALIZING


def test_an_aborted_job_wants_no_data(world):
    job_id = world.job(queued=False)
    begin(world, job_id)
    world.store.run(lambda c: states.abort(c, job_id, "Cancelled"))
    assert not grow(world, job_id, 1)
    assert not finish(world, job_id, 1)
    assert give_up(world, job_id)  # its bytes may be deleted now
    assert world.get(job_id).status_details == "Cancelled"
    other = world.job(queued=False)
    world.store.run(lambda c: states.abort(c, other, "Cancelled"))
    assert not begin(world, other)


def test_a_job_may_be_completed_before_the_end_of_its_upload_is_noted(world):
    job_id = world.job(queued=False)
    begin(world, job_id)
    run = lease.claim(world.store, world.server_id, "w1")
    assert world.store.run(lambda c: states.complete(c, run, states.Counts(), 0, 0))
    assert finish(world, job_id, 5)
    assert world.get(job_id).upload_state is UploadState.DONE
    assert world.get(job_id).state is JobState.COMPLETED


def test_uploads_that_show_no_sign_of_life_end_their_jobs(sqlite_world):
    world, now = sqlite_world, [0.0]
    watch = cleaning.UploadWatch(world.store, 60.0, clock=lambda: now[0])
    alive, dead, parts, waiting = (
        world.job(queued=False, spec=spec(multipart=many)) for many in (False, False, True, False)
    )
    for job_id in (alive, dead, parts):
        begin(world, job_id)
    for _ in range(100):
        watch.look()
        now[0] += 1
        grow(world, alive, 0)
    states_now = {job_id: world.get(job_id).state for job_id in (alive, dead, parts, waiting)}
    assert states_now == {
        alive: JobState.INITIALIZING,
        dead: JobState.ABORTED,
        parts: JobState.INITIALIZING,
        waiting: JobState.INITIALIZING,
    }
    assert "nothing came for 90 s" in world.get(dead).status_details
    now[0] += 400
    watch.look()
    assert world.get(parts).state is JobState.ABORTED
