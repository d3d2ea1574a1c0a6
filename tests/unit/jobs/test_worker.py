"""The worker's loop: what it takes, in which order, and how a run ends."""

import contextlib
import os
import threading
import time

import pytest
import sqlalchemy as sa

from scoreline.access import tokens
from scoreline.engines import memory
from scoreline.errors import NotAuthenticated, SourceError
from scoreline.jobs.model import JobState
from scoreline.store.tables.access import tokens as token_table
from scoreline.types import Counts
from tests.unit.jobs.working import Done, Engine, ended, stage, staged, working
from tests.unit.jobs.world import wait_for


def test_a_job_is_run_to_its_end_and_its_upload_is_deleted(world, spool):
    engine = Engine()
    job_id = world.job(upload_bytes=1000)
    stage(spool, job_id)
    with working(world, spool, engine):
        wait_for(ended(world, job_id))
        wait_for(lambda: staged(spool, job_id) == {"results"})
    job = world.get(job_id)
    assert job.state is JobState.COMPLETED
    assert (job.counts, job.bytes_in, job.bytes_out, job.percentage) == (Counts(100, 100), 1000, 55, 100.0)
    assert job.lease_owner is None
    assert [line.split(" at ")[0] for line in world.logs(job_id)] == [
        "Job submitted to the queue",
        "Job started processing",
        "Job done processing",
    ]
    [ticket] = engine.tickets
    assert (ticket.job_id, ticket.fence, ticket.spool, ticket.package_hash) == (job_id, 1, spool.url, "ab" * 32)
    assert (ticket.server.url, ticket.server.package_id) == ("http://127.0.0.1:9", world.package_id)
    assert ticket.server.token not in repr(ticket)


def test_a_runs_token_is_good_for_its_package_and_only_while_it_runs(world, spool):
    seen = []

    def hook(number, ticket, _progress):
        if number == 5:
            seen.append(tokens.authenticate(world.store, ticket.server.token))

    engine = Engine(hook)
    job_id = world.job()
    with working(world, spool, engine):
        wait_for(ended(world, job_id))
    [caller] = seen
    assert (caller.kind, caller.package_ids, caller.rights) == ("run", (world.package_id,), frozenset())
    with pytest.raises(NotAuthenticated):
        tokens.authenticate(world.store, engine.tickets[0].server.token)
    with world.store.read() as connection:
        assert connection.scalar(sa.select(token_table.c.expires_at)) is not None


def test_what_killed_processes_left_half_written_is_deleted(sqlite_world, spool):
    folder = spool.blobs.root / "uploads"
    folder.mkdir(parents=True)
    old, new = folder / ".tmp-old", folder / ".tmp-new"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    with working(sqlite_world, spool, Engine()):
        wait_for(lambda: not old.exists())
    assert new.exists()  # somebody may still be writing it


def test_a_due_job_starts_at_once(sqlite_world, spool):
    world = sqlite_world
    with working(world, spool, Engine()):
        time.sleep(0.3)
        waits = []
        for _ in range(3):
            begun = time.monotonic()
            job_id = world.job()
            wait_for(lambda job_id=job_id: world.get(job_id).state is not JobState.INITIALIZING)
            waits.append(time.monotonic() - begun)
        assert min(waits) < 0.5  # 0.06 on a quiet machine


def test_memory_goes_back_after_each_run(sqlite_world, spool, monkeypatch):
    given_back = []
    monkeypatch.setattr(memory, "give_back", lambda: given_back.append(True))
    with working(sqlite_world, spool, Engine()):
        job_id = sqlite_world.job()
        wait_for(lambda: sqlite_world.get(job_id).state is JobState.COMPLETED)
        wait_for(lambda: given_back)


def test_jobs_of_one_server_run_one_after_the_other_in_their_order(world, spool):
    order, at_once, most = [], [0], [0]
    lock = threading.Lock()

    def hook(number, ticket, _progress):
        with lock:
            if number == 0:
                order.append(ticket.job_id)
                at_once[0] += 1
                most[0] = max(most[0], at_once[0])
            if number == 10:
                at_once[0] -= 1

    ids = [world.job() for _ in range(4)]
    with contextlib.ExitStack() as stack:
        for name in ("w1", "w2"):
            stack.enter_context(working(world, spool, Engine(hook), name))
        for job_id in ids:
            wait_for(ended(world, job_id))
    assert order == sorted(ids, key=lambda job_id: (world.get(job_id).queued_at, job_id))
    assert most == [1]


def test_jobs_of_different_servers_run_side_by_side(sqlite_world, spool):
    world = sqlite_world
    together = threading.Barrier(3, timeout=10)

    def hook(number, *_):
        if number == 5:
            together.wait()

    ids = [world.job(server_id=world.server()) for _ in range(3)]
    with working(world, spool, Engine(hook)):
        for job_id in ids:
            wait_for(ended(world, job_id))
    assert {world.get(job_id).state for job_id in ids} == {JobState.COMPLETED}


def test_a_worker_takes_no_more_jobs_than_it_may(sqlite_world, spool):
    world = sqlite_world
    go = threading.Event()
    ids = [world.job(server_id=world.server()) for _ in range(3)]
    with working(world, spool, Engine(lambda *_: go.wait(10)), worker_jobs=2):
        wait_for(lambda: sum(world.get(job_id).state is JobState.RUNNING for job_id in ids) == 2)
        time.sleep(0.3)
        assert sum(world.get(job_id).state is JobState.RUNNING for job_id in ids) == 2
        go.set()
        for job_id in ids:
            wait_for(ended(world, job_id))


def test_an_error_of_the_run_is_the_jobs_reason_and_nothing_stays_staged(world, spool):
    def hook(number, *_):
        if number == 4:
            raise SourceError("Reading the intake failed: the\nupload is broken; send it again.")

    job_id = world.job()
    stage(spool, job_id)
    with working(world, spool, Engine(hook)):
        wait_for(ended(world, job_id))
        wait_for(lambda: staged(spool, job_id) == set())
    job = world.get(job_id)
    assert job.state is JobState.ABORTED
    assert job.status_details == "Reading the intake failed: the upload is broken; send it again."
    assert world.logs(job_id)[-1].endswith(job.status_details)
    assert job.counts == Counts(30, 30)


def test_a_fault_of_the_program_aborts_the_job_without_showing_its_inside(world, spool, caplog):
    def hook(number, *_):
        if number == 4:
            raise ZeroDivisionError("the secret inside")

    first, second = world.job(), world.job()
    with working(world, spool, Engine(hook)):
        wait_for(ended(world, first))
        wait_for(ended(world, second))  # the worker lives
    job = world.get(first)
    assert job.state is JobState.ABORTED
    assert "internal error" in job.status_details
    assert first in job.status_details
    assert "secret" not in job.status_details + "".join(world.logs(first))


@pytest.mark.parametrize(
    "wrong", [Done(Counts(100, 99), 1, 55), Done(Counts(99, 99), 1, 55), Done(Counts(100, 100), 1, 5)]
)
def test_a_job_whose_counts_do_not_add_up_is_not_completed(sqlite_world, spool, wrong):
    world, engine = sqlite_world, Engine()

    def liar(*arguments):
        engine(*arguments)
        return wrong

    job_id = world.job()
    stage(spool, job_id)
    with working(world, spool, liar):
        wait_for(ended(world, job_id))
        wait_for(lambda: staged(spool, job_id) == set())
    assert world.get(job_id).state is JobState.ABORTED
