import threading

import pytest

from scoreline.errors import LostLease
from scoreline.jobs import lease, states
from scoreline.jobs.ledger import StoreLedger
from scoreline.jobs.model import JobState
from tests.unit.jobs.world import flush

LEASE = 6.0


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def watcher(world, clock, name="w2"):
    return lease.Watcher(world.store, name, LEASE, clock)


def look_for(found, clock, seconds, step=1.0):
    """Look once a second for some seconds; return what the last look found."""
    silent = []
    for _ in range(round(seconds / step)):
        clock.now += step
        silent = found.look()
    return silent


def running(world, owner="w1"):
    world.job()
    return lease.claim(world.store, world.server_id, owner)


def test_a_silent_worker_loses_its_job_after_the_lease_length_and_not_before(world, clock):
    run = running(world)
    found = watcher(world, clock)
    assert found.look() == []
    assert look_for(found, clock, 5) == []
    [silent] = look_for(found, clock, 1)
    assert (silent.job_id, silent.fence, silent.state) == (run.job_id, 1, JobState.RUNNING)
    taken = found.take(silent)
    assert taken == states.Run(run.job_id, 2, "w2")
    assert not lease.renew(world.store, run)
    assert lease.renew(world.store, taken)
    assert "taken over" in world.logs(run.job_id)[-1]
    assert world.get(run.job_id).fence == 2


def test_a_worker_that_renews_is_left_alone_whatever_the_wall_clock_says(world, clock):
    run = running(world)
    found = watcher(world, clock)
    for _ in range(30):
        clock.now += 1
        assert found.look() == []
        assert lease.renew(world.store, run)


def test_a_renewal_between_look_and_take_saves_the_lease(world, clock):
    run = running(world)
    found = watcher(world, clock)
    found.look()
    [silent] = look_for(found, clock, 6)
    assert lease.renew(world.store, run)
    assert found.take(silent) is None
    assert lease.renew(world.store, run)


def test_a_watcher_that_was_frozen_itself_does_not_take_at_once(world, clock):
    run = running(world)
    found = watcher(world, clock)
    found.look()
    clock.now += 3600  # the watcher was stopped, or the database away: the owner could not renew either
    assert found.look() == []
    assert lease.renew(world.store, run)
    assert look_for(found, clock, 5) == []


def test_of_two_takers_one_gets_the_job(world, clock):
    for _ in range(15):
        run = running(world)
        takers = [watcher(world, clock, name) for name in ("w2", "w3")]
        for taker in takers:
            taker.look()
        found = []
        for _ in range(6):
            clock.now += 1
            found = [taker.look() for taker in takers]
        gate = threading.Barrier(2)
        taken = []

        def take(taker, silent, gate=gate, taken=taken):
            gate.wait()
            taken.append(taker.take(silent))

        threads = [
            threading.Thread(target=take, args=(taker, silent)) for taker, [silent] in zip(takers, found, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [winner] = [one for one in taken if one]
        assert winner.fence == 2
        assert world.store.run(lambda c, winner=winner: states.fail(c, winner, "enough"))
        assert run.job_id == winner.job_id


def test_own_jobs_are_not_watched(world, clock):
    running(world, owner="w2")
    found = watcher(world, clock)
    found.look()
    assert look_for(found, clock, 60) == []


def test_a_dead_workers_leases_are_given_back_at_once(world):
    run = running(world)
    other = world.job(server_id=(server := world.server()))
    kept = lease.claim(world.store, server, "w9")
    assert lease.release_owner(world.store, "w1") == 1
    assert world.get(run.job_id).state is JobState.RUNNING
    assert lease.next_run(world.store, "w2") == states.Run(run.job_id, 2, "w2")
    assert lease.next_run(world.store, "w2") is None
    assert lease.renew(world.store, kept)
    assert kept.job_id == other


def test_a_released_job_goes_on_before_new_ones_begin(world):
    run = running(world)
    world.job(server_id=world.server())
    assert lease.release(world.store, run)
    assert not lease.renew(world.store, run)
    assert lease.next_run(world.store, "w2").job_id == run.job_id


def test_a_job_that_kills_its_workers_is_given_up(world):
    run = running(world)
    for number in range(2, states.MOST_SILENT_RUNS + 1):
        lease.release_owner(world.store, run.owner)
        run = lease.next_run(world.store, "w1")
        assert run.fence == number
    lease.release_owner(world.store, "w1")
    assert lease.next_run(world.store, "w1") is None
    job = world.get(run.job_id)
    assert job.state is JobState.ABORTED
    assert "5 workers in a row" in job.status_details
    assert world.column(run.job_id, "lease_owner") is None


def test_progress_between_deaths_keeps_a_job_alive(world):
    run = running(world)
    StoreLedger(world.store, run).begin({})
    for number in range(12):
        StoreLedger(world.store, run).record(flush(number, number, 1))
        lease.release_owner(world.store, "w1")
        run = lease.next_run(world.store, "w1")
        assert run is not None


def test_workers_that_go_down_in_order_may_do_so_as_often_as_they_like(world):
    run = running(world)
    for _ in range(12):
        assert lease.release(world.store, run)
        run = lease.next_run(world.store, "w1")
        assert run is not None
    for _ in range(states.MOST_SILENT_RUNS):
        assert lease.release(world.store, run, fault=True)
        run = lease.next_run(world.store, "w1")
    assert run is None


def test_an_aborted_job_whose_worker_died_is_freed_for_cleaning(world, clock):
    run = running(world)
    assert world.store.run(lambda c: states.abort(c, run.job_id, "Cancelled"))
    found = watcher(world, clock)
    found.look()
    [silent] = look_for(found, clock, 6)
    assert silent.state is JobState.ABORTED
    assert found.take(silent) is None
    assert world.column(run.job_id, "lease_owner") is None
    assert found.look() == []


def test_a_worker_that_wakes_after_its_lease_writes_nothing_more(world, clock):
    run = running(world)
    ledger = StoreLedger(world.store, run)
    ledger.begin({"stream": "results/x"})
    ledger.record(flush(0, 0))
    found = watcher(world, clock)
    found.look()
    [silent] = look_for(found, clock, 6)
    successor = StoreLedger(world.store, found.take(silent))
    assert [item.first for item in successor.flushes()] == [0]
    with pytest.raises(LostLease):
        ledger.record(flush(1, 5, 50))
    with pytest.raises(LostLease):
        ledger.output_state()
    successor.record(flush(1, 3, 30))
    assert [(item.first, item.last) for item in successor.flushes()] == [(0, 0), (1, 3)]


def test_worker_names_differ():
    assert lease.new_worker_id() != lease.new_worker_id()
