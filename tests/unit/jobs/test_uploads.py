import pytest

from scoreline.jobs import cleaning, lease, states, uploads
from scoreline.jobs.ledger import StoreLedger
from scoreline.jobs.model import JobState, UploadState
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.uploads import Begun
from scoreline.types import Counts
from tests.unit.jobs.world import flush

ONE, TWO, THREE = "api.1", "api.2", "other.1"


def spec(**settings):
    return JobSpec.from_document({"intakeSettings": {"type": "localFile", **settings}})


def begin(world, job_id, expected=None, sender=ONE):
    job = world.get(job_id)
    return world.store.run(lambda c: uploads.begin(c, job, expected, sender))


def finish(world, job_id, received, sender=ONE):
    return world.store.run(lambda c: uploads.finish(c, job_id, received, sender))


def grow(world, job_id, received, sender=ONE):
    return world.store.run(lambda c: uploads.grow(c, job_id, received, sender))


def give_up(world, job_id, received=None, **seen):
    return world.store.run(lambda c: uploads.give_up(c, job_id, "The upload broke off.", received, **seen))


def interrupt(world, job_id, received=None, sender=ONE, **seen):
    trouble = "the client went away"
    return world.store.run(lambda c: uploads.interrupt(c, job_id, trouble, sender=sender, received=received, **seen))


def score(world, run):
    """Record a first block of a run's result."""
    ledger = StoreLedger(world.store, run)
    ledger.begin({})
    ledger.record(flush(0, 0))


def test_a_job_enters_the_queue_when_its_data_begins_to_arrive(world):
    job_id = world.job(queued=False)
    assert begin(world, job_id, 500) == Begun()
    job = world.get(job_id)
    assert (job.upload_state, job.upload_expected, job.queue_position) == (UploadState.RUNNING, 500, 0)
    assert job.upload_stream == ONE
    assert not begin(world, job_id, sender=TWO)
    assert grow(world, job_id, 100)
    assert grow(world, job_id, 50)
    assert world.get(job_id).upload_bytes == 100
    assert finish(world, job_id, 500)
    assert finish(world, job_id, 500)
    assert not grow(world, job_id, 600)
    assert not begin(world, job_id, sender=TWO)
    assert world.get(job_id).upload_bytes == 500
    assert sum("submitted to the queue" in line for line in world.logs(job_id)) == 1


@pytest.mark.parametrize("multipart", [False, True])
def test_without_async_it_waits_for_all_of_it(world, multipart):
    job_id = world.job(queued=False, spec=spec(multipart=multipart, **{"async": False}))
    assert begin(world, job_id)
    assert world.get(job_id).queue_position is None
    grow(world, job_id, 77)
    assert world.get(job_id).status_details.startswith("Waiting for CSV data to be pushed: 77 bytes so far")
    assert finish(world, job_id, 100, None if multipart else ONE)
    assert world.get(job_id).queue_position == 0


def test_parts_of_a_multipart_upload_may_each_begin_until_it_is_done(world):
    job_id = world.job(queued=False, spec=spec(multipart=True))
    assert begin(world, job_id)
    assert begin(world, job_id, sender=TWO)
    assert world.store.run(lambda c: uploads.end_part(c, job_id, 5, ONE))
    assert world.get(job_id).upload_sender == TWO
    assert world.store.run(lambda c: uploads.end_part(c, job_id, 10, TWO))
    assert world.get(job_id).upload_sender is None
    assert finish(world, job_id, 10, None)
    assert not begin(world, job_id)


def test_a_broken_upload_aborts_a_job_that_waits_or_runs(world):
    for claimed in (False, True):
        job_id = world.job(queued=False, server_id=(server := world.server()))
        begin(world, job_id)
        if claimed:
            assert lease.claim(world.store, server, "w1")
        assert not give_up(world, job_id, 42, sender=TWO)
        assert give_up(world, job_id, 42, sender=ONE)
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
    assert not interrupt(world, job_id)
    assert world.get(job_id).state is JobState.INITIALIZING


def test_an_aborted_job_wants_no_data(world):
    job_id = world.job(queued=False)
    begin(world, job_id)
    world.store.run(lambda c: states.abort(c, job_id, "Cancelled"))
    assert not grow(world, job_id, 1)
    assert not finish(world, job_id, 1)
    assert interrupt(world, job_id)  # its bytes may be deleted now
    job = world.get(job_id)
    assert (job.status_details, job.upload_state) == ("Cancelled", UploadState.BROKEN)
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


def test_a_job_whose_upload_broke_off_rests_and_gives_its_slot_back(world):
    job_id = world.job(queued=False)
    begin(world, job_id)
    grow(world, job_id, 50)
    run = lease.claim(world.store, world.server_id, "w1")
    assert interrupt(world, job_id, 42)
    job = world.get(job_id)
    assert (job.state, job.upload_state, job.upload_bytes) == (JobState.INITIALIZING, UploadState.INTERRUPTED, 42)
    assert job.status_details == "Waiting for the upload to be sent again: the client went away"
    assert not lease.renew(world.store, run)
    assert job.queue_position is None
    assert lease.next_run(world.store, "w1") is None
    other = world.job()
    assert world.get(other).queue_position == 0
    assert lease.claim(world.store, world.server_id, "w1").job_id == other
    assert not interrupt(world, job_id)


@pytest.mark.parametrize("claimed", [False, True])
def test_before_a_row_is_recorded_it_may_be_sent_anew(world, claimed):
    job_id = world.job(queued=False)
    begin(world, job_id, 500)
    if claimed:
        assert lease.claim(world.store, world.server_id, "w1")
    interrupt(world, job_id, 42)
    assert begin(world, job_id, 300, TWO) == Begun(left=ONE)
    job = world.get(job_id)
    assert (job.upload_state, job.upload_stream, job.upload_bytes) == (UploadState.RUNNING, TWO, 0)
    assert job.upload_expected == 300
    # The first sender, which woke up, changes nothing.
    assert not grow(world, job_id, 1000)
    assert not finish(world, job_id, 1000)
    assert not interrupt(world, job_id)
    assert not give_up(world, job_id, sender=ONE)
    assert lease.claim(world.store, world.server_id, "w1").job_id == job_id
    assert finish(world, job_id, 300, TWO)
    assert world.get(job_id).upload_bytes == 300


def test_with_rows_recorded_no_run_begins_before_all_of_it_is_there_again(world):
    job_id = world.job(queued=False)
    begin(world, job_id)
    score(world, lease.claim(world.store, world.server_id, "w1"))
    interrupt(world, job_id, 42)
    assert begin(world, job_id, None, TWO) == Begun(reference=ONE)
    assert not begin(world, job_id, None, THREE)
    job = world.get(job_id)
    assert (job.state, job.upload_state, job.upload_stream) == (JobState.INITIALIZING, UploadState.REPEATED, ONE)
    assert grow(world, job_id, 7, TWO)
    assert world.get(job_id).status_details.startswith("Waiting for CSV data to be pushed again: 7 bytes so far")
    assert world.get(job_id).queue_position is None
    assert lease.next_run(world.store, "w1") is None
    assert interrupt(world, job_id, 30, TWO)  # broken off again: what counts is still the first attempt
    assert begin(world, job_id, None, THREE) == Begun(reference=ONE)
    assert not finish(world, job_id, 500, TWO)
    assert finish(world, job_id, 500, THREE)
    job = world.get(job_id)
    assert (job.upload_state, job.upload_stream, job.queue_position) == (UploadState.DONE, THREE, 0)
    assert lease.claim(world.store, world.server_id, "w1").job_id == job_id


def test_what_was_seen_of_an_upload_must_hold_still_when_it_is_ended(world):
    job_id = world.job(queued=False)
    begin(world, job_id)
    seen = world.get(job_id).upload_beat
    grow(world, job_id, 1)
    assert not interrupt(world, job_id, beat=seen)
    assert not give_up(world, job_id, beat=seen)
    assert interrupt(world, job_id, beat=seen + 1)
    assert give_up(world, job_id, beat=seen + 2)


def test_a_job_that_a_user_paused_is_interrupted_and_ended_as_any_other(world):
    job_id = world.job(queued=False)
    begin(world, job_id)
    world.store.run(lambda c: states.pause(c, job_id, "ada"))
    assert interrupt(world, job_id)
    assert begin(world, job_id, sender=TWO)
    assert world.get(job_id).paused_at is not None
    assert lease.next_run(world.store, "w1") is None


def test_a_part_that_broke_off_leaves_its_job_open(world):
    waits = world.job(queued=False, spec=spec(multipart=True, **{"async": False}))
    streams = world.job(queued=False, spec=spec(multipart=True))
    for job_id in (waits, streams):
        begin(world, job_id)
        assert interrupt(world, job_id)
    assert world.get(waits).upload_state is UploadState.RUNNING
    assert world.get(streams).upload_state is UploadState.INTERRUPTED
    assert lease.next_run(world.store, "w1") is None
    assert grow(world, streams, 5, None)  # another part is on its way
    assert world.get(streams).upload_state is UploadState.RUNNING
    assert lease.claim(world.store, world.server_id, "w1").job_id == streams
    begin(world, streams, sender=TWO)
    interrupt(world, streams, sender=TWO)
    assert world.get(streams).state is JobState.INITIALIZING
    for job_id in (waits, streams):
        assert finish(world, job_id, 9, None)


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


def test_a_run_that_puts_its_result_in_place_has_all_of_the_data(world):
    job_id = world.job(queued=False)
    begin(world, job_id)
    run = lease.claim(world.store, world.server_id, "w1")
    StoreLedger(world.store, run).seal(Counts(), 0)
    assert not interrupt(world, job_id)
    assert world.get(job_id).state is JobState.RUNNING
    assert finish(world, job_id, 5)
