"""Jobs whose result has no space: they rest, keep what is done, and go on in their turn when there is some."""

import pytest

from scoreline.errors import SpoolFull
from scoreline.jobs import cleaning, lease, states
from scoreline.jobs.model import JobState
from scoreline.spool import open_spool
from tests.unit.jobs.working import Engine, ended, working
from tests.unit.jobs.world import wait_for

WORDS = "Spool: results are refused: make space."


def rest(world, wanted=1000):
    """Let a job run and find no space."""
    job_id = world.job(server_id=(server := world.server()))
    run = lease.claim(world.store, server, "w1")
    assert world.store.run(lambda c: states.wait_for_space(c, run, wanted, WORDS))
    return job_id, run


def test_a_job_that_waits_for_space_holds_no_slot_and_no_place_in_the_line(world):
    job_id, run = rest(world)
    job = world.get(job_id)
    assert (job.state, job.space_wanted, job.lease_owner) == (JobState.INITIALIZING, 1000, None)
    assert job.status_details == "Waiting for space: the job goes on when 1000 bytes more can be stored"
    assert job.queue_position is None
    assert lease.next_run(world.store, "w1") is None
    assert not lease.renew(world.store, run)
    assert not world.store.run(lambda c: states.wait_for_space(c, run, 1, WORDS))
    assert WORDS in world.logs(job_id)[-1]
    assert world.store.run(lambda c: states.has_space(c, job_id))
    assert not world.store.run(lambda c: states.has_space(c, job_id))
    assert lease.claim(world.store, job.server_id, "w1").job_id == job_id


def test_it_can_be_paused_and_aborted_as_any_other(world):
    paused, _ = rest(world)
    assert world.store.run(lambda c: states.pause(c, paused, "ada"))
    assert world.store.run(lambda c: states.has_space(c, paused))
    assert lease.next_run(world.store, "w1") is None
    aborted, _ = rest(world)
    assert world.store.run(lambda c: states.abort(c, aborted, "Cancelled"))
    assert not world.store.run(lambda c: states.has_space(c, aborted))


def test_jobs_go_on_in_their_turn_as_far_as_the_space_reaches(sqlite_world, tmp_path):
    world = sqlite_world
    spool = open_spool(tmp_path / "bounded", most=100_000)
    found = [rest(world, wanted)[0] for wanted in (30_000, 40_000, 20_000)]
    spool.put_segment("results/other", "x", b"1" * 75_000)
    assert cleaning.let_go_on(world.store, spool) == 0
    spool.delete_stream("results/other")
    spool.put_segment("results/other", "x", b"1" * 20_000)
    assert cleaning.let_go_on(world.store, spool) == 2
    assert [world.get(job_id).space_wanted for job_id in found] == [None, None, 20_000]
    spool.delete_stream("results/other")
    assert cleaning.let_go_on(world.store, spool) == 1


def test_a_run_that_finds_no_space_rests_and_goes_on_after_its_last_block(sqlite_world, spool):
    world, tries = sqlite_world, []

    def hook(number, *_):
        if number == 5 and len(tries) < 2:
            tries.append(number)
            raise SpoolFull(WORDS, size=10, wanted=20, capacity=10**9)

    engine = Engine(hook)
    job_id = world.job()
    with working(world, spool, engine):
        wait_for(ended(world, job_id), 20)
    assert world.get(job_id).state is JobState.COMPLETED
    assert engine.starts == [0, 5, 5]
    assert world.column(job_id, "silent_runs") == 0
    assert sum("waits for space" in line for line in world.logs(job_id)) == 2


@pytest.mark.parametrize(("capacity", "ends"), [(10_000, True), (10_030, False)])
def test_a_job_that_alone_needs_more_than_there_can_ever_be_is_aborted(
    sqlite_world, spool, monkeypatch, capacity, ends
):
    """The upload has 10,000 bytes, the result 25 so far."""
    world = sqlite_world
    monkeypatch.setattr(cleaning, "let_go_on", lambda *_: 0)

    def hook(number, *_):
        if number == 5:
            raise SpoolFull(WORDS, size=5, wanted=1000, capacity=capacity)

    job_id = world.job(upload_bytes=10_000)
    with working(world, spool, Engine(hook)):
        wait_for(lambda: world.get(job_id).state.final or world.get(job_id).space_wanted)
    job = world.get(job_id)
    if ends:
        assert job.state is JobState.ABORTED
        assert job.status_details == f"{WORDS} The job alone needs more than all {capacity} bytes that can be stored."
    else:
        assert job.space_wanted == 5
