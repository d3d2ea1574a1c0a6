import time

import pytest

from scoreline.errors import Cancelled, LostLease, ShuttingDown, StoreError
from scoreline.jobs import lease, states
from scoreline.jobs.progress import RunProgress
from scoreline.store.tables.registry import prediction_servers
from scoreline.types import Counts, Snapshot
from tests.unit.jobs.world import wait_for


@pytest.fixture
def run(world):
    world.job(upload_bytes=100)
    return lease.claim(world.store, world.server_id, "w1")


def progress(world, run):
    return RunProgress(world.store, run, beat_seconds=0.02)


def test_the_lease_is_renewed_and_the_counters_stored_while_it_lasts(world, run):
    beat = world.column(run.job_id, "lease_beat")
    with progress(world, run) as link:
        link.report(Snapshot(Counts(5, 4, 1, 0), 50, 70))
        wait_for(lambda: world.get(run.job_id).counts == Counts(5, 4, 1, 0))
        wait_for(lambda: world.column(run.job_id, "lease_beat") >= beat + 3)
        assert link.stop_requested() is False
        assert world.get(run.job_id).percentage == 50.0
    last = world.column(run.job_id, "lease_beat")
    time.sleep(0.1)
    assert world.column(run.job_id, "lease_beat") == last


def test_lines_appear_once_each_and_in_order(world, run):
    with progress(world, run) as link:
        for number in range(30):
            link.log(f"line {number}")
            if number % 10 == 9:
                link.flush()
        wait_for(lambda: len(world.logs(run.job_id)) >= 32)
    assert world.logs(run.job_id)[2:] == [f"line {number}" for number in range(30)]


def test_a_flood_of_lines_is_cut(world, run):
    link = progress(world, run)
    for number in range(2000):
        link.log(f"line {number}")
    link.flush()
    lines = world.logs(run.job_id)[2:]
    assert len(lines) == 501
    assert "left out" in lines[-1]


def test_an_abort_reaches_the_run(world, run):
    with progress(world, run) as link:
        world.store.run(lambda c: states.abort(c, run.job_id, "Cancelled"))
        wait_for(lambda: link.reason is not None)
        with pytest.raises(Cancelled):
            link.stop_requested()
        link.log("too late")
        link.flush()
    assert "too late" not in world.logs(run.job_id)


def test_an_abort_is_noticed_soon_at_the_usual_pace(sqlite_world):
    sqlite_world.job()
    run = lease.claim(sqlite_world.store, sqlite_world.server_id, "w1")
    with RunProgress(sqlite_world.store, run) as link:
        time.sleep(0.3)
        begun = time.monotonic()
        sqlite_world.store.run(lambda c: states.abort(c, run.job_id, "Cancelled"))
        wait_for(lambda: link.reason is not None)
        assert time.monotonic() - begun < 5  # 1 on a quiet machine


def test_a_server_that_moves_ends_the_run_for_a_new_one(world, run):
    def move(url):
        with world.store.begin() as connection:
            connection.execute(prediction_servers.update().values(url=url))

    with progress(world, run) as link:
        link.watch_server("http://127.0.0.1:9")
        time.sleep(0.1)
        assert link.reason is None
        move("http://127.0.0.1:10")
        wait_for(lambda: link.reason is not None)
        with pytest.raises(ShuttingDown):
            link.stop_requested()
        link.flush()
    assert (
        world.logs(run.job_id)[-1] == "The prediction server has moved to http://127.0.0.1:10; the job goes on there."
    )


def test_a_lost_lease_reaches_the_run(world, run):
    with progress(world, run) as link:
        lease.release_owner(world.store, "w1")
        wait_for(lambda: link.reason is not None)
        with pytest.raises(LostLease):
            link.stop_requested()


def test_what_the_database_says_weighs_more_than_a_shutdown(world, run):
    link = progress(world, run)
    link.stop(ShuttingDown("down"))
    with pytest.raises(ShuttingDown):
        link.stop_requested()
    link.stop(LostLease("lost"))
    link.stop(ShuttingDown("down"))
    with pytest.raises(LostLease):
        link.stop_requested()


def test_a_database_that_is_away_loses_no_line_and_no_counter(world, run, monkeypatch):
    link = progress(world, run)
    link.log("kept")
    link.report(Snapshot(Counts(1, 1, 0, 0), 1, 1))
    real = world.store.run

    def away(_work):
        raise StoreError("away")

    monkeypatch.setattr(world.store, "run", away)
    with pytest.raises(StoreError):
        link.flush()
    with link:
        time.sleep(0.1)
        monkeypatch.setattr(world.store, "run", real)
        wait_for(lambda: world.get(run.job_id).counts.read == 1)
    assert world.logs(run.job_id).count("kept") == 1
