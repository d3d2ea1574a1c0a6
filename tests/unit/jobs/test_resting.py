"""Jobs that are paused and resumed, their place in the line, and the time that jobs may take."""

from __future__ import annotations

import threading
import time

import pytest

from scoreline.errors import Cancelled, Conflict, Forbidden, LostLease, Paused, TimeLimit
from scoreline.jobs import lease, service, states
from scoreline.jobs.ledger import StoreLedger
from scoreline.jobs.model import JobState
from scoreline.jobs.progress import RunProgress
from scoreline.types import Counts, Flush, Position, Receipt, Snapshot
from tests.unit.jobs.test_whole_run import EXPECTED, ROWS, HalfScorer, Working, create, result, send
from tests.unit.jobs.world import wait_for


def test_a_paused_job_gives_its_slot_to_the_next_and_gets_its_place_back(world):
    first, second = world.job(), world.job()
    run = lease.claim(world.store, world.server_id, "w1")
    assert run.job_id == first
    service.pause(world.store, world.caller, first)
    job = world.get(first)
    assert (job.state, job.queue_position, job.lease_owner) == (JobState.INITIALIZING, None, None)
    assert job.status_details.startswith("Paused since")
    assert world.get(second).queue_position == 0
    other = lease.claim(world.store, world.server_id, "w1")
    assert other.job_id == second
    third = world.job()
    service.resume(world.store, world.caller, first)
    assert (world.get(first).queue_position, world.get(third).queue_position) == (1, 2)
    assert world.store.run(lambda connection: states.complete(connection, other, Counts(), 0, 0))
    again = lease.claim(world.store, world.server_id, "w2")
    assert (again.job_id, again.fence) == (first, run.fence + 1)
    assert world.get(first).started_at == job.started_at
    assert [line.split(" at ")[0] for line in world.logs(first)[-4:]] == [
        "Job started processing",
        "Job paused by ada",
        "Job resumed by ada",
        "Job goes on",
    ]


def test_a_run_whose_job_is_paused_writes_nothing_more(world):
    job_id = world.job()
    run = lease.claim(world.store, world.server_id, "w1")
    ledger = StoreLedger(world.store, run)
    ledger.begin({})
    with RunProgress(world.store, run, beat_seconds=0.02) as link:
        service.pause(world.store, world.caller, job_id)
        with pytest.raises(LostLease):
            ledger.record(Flush(0, 0, Position(), Counts(), Receipt({}), 0))
        wait_for(lambda: isinstance(link.reason, Paused))
        with pytest.raises(Paused):
            link.stop_requested()
    assert not lease.renew(world.store, run, Snapshot(Counts(1, 1), 1, 1))
    assert not lease.release(world.store, run)


def test_pausing_twice_and_resuming_twice_change_nothing(world):
    job_id = world.job()
    paused = service.pause(world.store, world.caller, job_id)
    assert service.pause(world.store, world.caller, job_id).paused_at == paused.paused_at
    assert service.resume(world.store, world.caller, job_id).paused_at is None
    service.resume(world.store, world.caller, job_id)
    assert sum("paused" in line for line in world.logs(job_id)) == 1


def test_a_paused_job_can_be_aborted_and_then_not_resumed(world):
    job_id = world.job()
    service.pause(world.store, world.caller, job_id)
    assert service.abort(world.store, world.caller, job_id).state is JobState.ABORTED
    for change in (service.pause, service.resume):
        with pytest.raises(Conflict, match="ABORTED already"):
            change(world.store, world.caller, job_id)


def test_others_may_not_pause(world):
    from dataclasses import replace

    from scoreline.store import new_id

    job_id = world.job()
    observer = replace(world.caller, user_id=new_id(), role="observer")
    with pytest.raises(Forbidden):
        service.pause(world.store, observer, job_id)


def test_a_job_that_is_paused_in_its_middle_gives_the_same_bytes(world, spool):
    job = create(world)
    halted = HalfScorer(threading.Event(), after=4)
    with Working(world, spool, halted, "w1"):
        send(world, spool, job)
        wait_for(lambda: halted.calls > 4, 30)
        wait_for(lambda: service.get(world.store, world.caller, job.id).counts.read > 0, 30)
        service.pause(world.store, world.caller, job.id)
        wait_for(halted.go.is_set, 10)  # the run closed its scorer
    between = service.get(world.store, world.caller, job.id)
    assert 0 < between.counts.read < ROWS
    early = result(world, spool, job)
    with Working(world, spool, HalfScorer(), "w2"):
        time.sleep(0.5)
        assert service.get(world.store, world.caller, job.id).counts == between.counts
        service.resume(world.store, world.caller, job.id)
        wait_for(lambda: service.state(world.store, job.id).final, 30)
    after = service.get(world.store, world.caller, job.id)
    assert (after.state, after.counts) == (JobState.COMPLETED, Counts(ROWS, ROWS))
    assert result(world, spool, job) == EXPECTED
    assert EXPECTED.startswith(early)


def test_larger_priorities_come_first_and_equal_ones_in_their_order(world):
    jobs = [world.job(priority=priority) for priority in (0, -5, 7, 0, 7)]
    order = [2, 4, 0, 3, 1]
    assert [world.get(jobs[index]).queue_position for index in order] == [0, 1, 2, 3, 4]
    for index in order:
        run = lease.claim(world.store, world.server_id, "w1")
        assert run.job_id == jobs[index]
        world.store.run(lambda connection, run=run: states.complete(connection, run, Counts(), 0, 0))


def test_hundreds_of_jobs_in_line_keep_their_order(world):
    jobs = [world.job() for _ in range(300)]
    assert [world.get(job_id).queue_position for job_id in jobs[::50]] == list(range(0, 300, 50))
    assert lease.claim(world.store, world.server_id, "w1").job_id == jobs[0]


def test_the_time_of_all_runs_counts_against_the_limit(world):
    job_id = world.job()
    run = lease.claim(world.store, world.server_id, "w1")
    with RunProgress(world.store, run, beat_seconds=0.02) as link:
        wait_for(lambda: world.get(job_id).ran_seconds > 0.1)
        assert link.stop_requested() is False
    ran = world.get(job_id).ran_seconds
    with RunProgress(world.store, run, beat_seconds=0.02) as link:
        link.limit(ran + 0.3, ran)
        assert link.stop_requested() is False
        time.sleep(0.4)
        with pytest.raises(TimeLimit, match="SCORELINE_MAX_RUN_SECONDS"):
            link.stop_requested()
        service.abort(world.store, world.caller, job_id)
        wait_for(lambda: link.reason is not None)
        with pytest.raises(Cancelled):
            link.stop_requested()


def test_a_job_that_takes_too_long_is_aborted_in_words(world, spool):
    job = create(world)
    halted = HalfScorer(threading.Event(), after=2)
    with Working(world, spool, halted, "w1", max_run_seconds=1.0):
        send(world, spool, job)
        wait_for(lambda: world.column(job.id, "cleaned_at"), 30)
    ended = service.get(world.store, world.caller, job.id)
    assert ended.state is JobState.ABORTED
    assert "has run for 1 s" in ended.reason
    assert not spool.blobs.list(f"results/{job.id}")
