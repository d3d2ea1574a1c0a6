"""The worker's loop with an engine of the tests' own: what it does with jobs, whatever happens in their runs."""

import contextlib
import os
import threading
import time
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from scoreline import adapters
from scoreline.access import tokens
from scoreline.errors import Cancelled, NotAuthenticated, RunStopped, SourceError, StoreError
from scoreline.jobs import cleaning, lease, states, ticket
from scoreline.jobs import store as rows
from scoreline.jobs.ledger import StoreLedger
from scoreline.jobs.model import JobState
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.worker import Worker
from scoreline.settings import Settings
from scoreline.spool import open_spool
from scoreline.store.tables.access import tokens as token_table
from scoreline.store.tables.registry import prediction_servers
from scoreline.types import Counts, Flush, Position, Receipt, ScoredChunk, Snapshot
from tests.unit.jobs.world import wait_for


@dataclass
class Done:
    counts: Counts
    bytes_in: int
    bytes_out: int
    sha256: str | None = None


class Engine:
    """Writes a header and ten chunks of ten rows, going on where the ledger ends; `hook(n)` runs before each chunk."""

    def __init__(self, hook=lambda *_: None):
        self.hook = hook
        self.tickets = []
        self.starts = []

    def __call__(self, ticket, ledger, progress):
        self.tickets.append(ticket)
        if ledger.output_state() is None:
            ledger.begin({"stream": f"results/{ticket.job_id}"})
        done = list(ledger.flushes())
        self.starts.append(len(done))
        for number in range(len(done), 11):
            progress.stop_requested()
            self.hook(number, ticket, progress)
            rows = 10 if number else 0
            one = Flush(
                number, number, Position(100 * number, number + 1, 10 * number), Counts(rows, rows), Receipt({}), 5
            )
            ledger.record(one)
            progress.report(Snapshot(Counts(10 * number, 10 * number), 100 * number, 5 * (number + 1)))
        return Done(Counts(100, 100), 1000, 55)


@pytest.fixture
def spool(tmp_path):
    return open_spool(tmp_path / "spool")


def settings(world, **values):
    return Settings(database_url=world.store.url.render_as_string(hide_password=False), lease_seconds=1.5, **values)


@contextlib.contextmanager
def working(world, spool, engine, name="w1", **values):
    """A worker in a thread, for as long as the block lasts."""
    stop = threading.Event()
    worker = Worker(settings(world, **values), world.store, spool, worker_id=name, engine=engine)
    thread = threading.Thread(target=worker.work, args=(stop,))
    thread.start()
    try:
        yield worker
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def ended(world, job_id):
    return lambda: world.get(job_id).state.final


def stage(spool, job_id, body=b"hour\n1\n"):
    writer = spool.writer(f"uploads/{job_id}/0")
    writer.write(body)
    writer.finish()
    spool.put_segment(f"results/{job_id}", "0000000000-0000000000.1", b"x\n")


def staged(spool, job_id):
    return {place for place in ("uploads", "results") if spool.blobs.list(f"{place}/{job_id}")}


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
        begun = time.monotonic()
        job_id = world.job()
        wait_for(lambda: world.get(job_id).state is not JobState.INITIALIZING)
        assert time.monotonic() - begun < 0.5  # 0.06 on a quiet machine


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


def test_an_abort_ends_the_run_within_seconds_and_leaves_nothing(world, spool):
    reached, ends = threading.Event(), []

    def hook(number, _ticket, progress):
        if number == 5:
            reached.set()
            try:
                while not progress.stop_requested():
                    time.sleep(0.01)
            except RunStopped as exc:
                ends.append((type(exc), time.monotonic()))
                raise

    job_id = world.job()
    stage(spool, job_id)
    with working(world, spool, Engine(hook)):
        assert reached.wait(10)
        begun = time.monotonic()
        assert world.store.run(lambda c: states.abort(c, job_id, "Cancelled by ada"))
        assert world.get(job_id).state is JobState.ABORTED
        wait_for(lambda: staged(spool, job_id) == set())
    [(kind, moment)] = ends
    assert kind is Cancelled
    assert moment - begun < 2
    assert world.get(job_id).status_details == "Cancelled by ada"
    assert world.column(job_id, "lease_owner") is None


def test_a_waiting_job_that_is_aborted_is_swept_up_too(world, spool):
    job_id = world.job(queued=False)
    stage(spool, job_id)
    world.store.run(lambda c: states.abort(c, job_id, "Cancelled"))
    assert cleaning.sweep(world.store, spool, Settings()) == 1
    assert "uploads" not in staged(spool, job_id)
    assert cleaning.sweep(world.store, spool, Settings()) == 0


def test_what_a_dead_run_had_written_to_a_file_is_removed_when_its_job_is_aborted(world, spool, tmp_path):
    (tmp_path / "open").mkdir()
    settings = Settings(files_dir=tmp_path / "open")
    spec = JobSpec(output={"type": "filesystem", "path": "out.csv"})
    job_id = world.job(spec=spec)
    run = lease.claim(world.store, world.server_id, "w1")
    with world.store.read() as connection:
        job = rows.find(connection, job_id)
    output = adapters.open_output(ticket.for_removal(spool.url, job, settings), spool)
    state = output.prepare()
    StoreLedger(world.store, run).begin(state)
    output.open(state)
    output.write(ScoredChunk(0, 0, b"half\n", 0))
    output.close()
    assert list((tmp_path / "open").iterdir())
    world.store.run(lambda c: states.abort(c, job_id, "Cancelled"))
    assert lease.release_owner(world.store, "w1") == 1
    assert cleaning.sweep(world.store, spool, settings) == 1
    assert list((tmp_path / "open").iterdir()) == []


def test_an_upload_under_way_is_not_swept_from_under_its_writer(world, spool):
    job_id = world.job(queued=False, upload_state="running")
    stage(spool, job_id)
    world.store.run(lambda c: states.abort(c, job_id, "Cancelled"))
    assert cleaning.sweep(world.store, spool, Settings()) == 0
    world.set(job_id, upload_state="broken")
    assert cleaning.sweep(world.store, spool, Settings()) == 1


def test_a_shutdown_gives_the_job_back_and_the_next_worker_goes_on(world, spool):
    reached = threading.Event()

    def hook(number, _ticket, progress):
        if number == 5 and not reached.is_set():
            reached.set()
            while not progress.stop_requested():
                time.sleep(0.01)

    first, second = Engine(hook), Engine()
    job_id = world.job()
    stage(spool, job_id)
    with working(world, spool, first, "w1"):
        assert reached.wait(10)
    job = world.get(job_id)
    assert (job.state, job.lease_owner, job.counts) == (JobState.RUNNING, None, Counts(40, 40))
    assert staged(spool, job_id) == {"uploads", "results"}
    with working(world, spool, second, "w2"):
        wait_for(ended(world, job_id))
    assert world.get(job_id).state is JobState.COMPLETED
    assert second.starts == [5]
    assert second.tickets[0].fence == 2
    assert second.tickets[0].server.token != first.tickets[0].server.token


def test_a_server_that_comes_up_elsewhere_is_found_there(world, spool):
    reached = threading.Event()

    def hook(number, ticket, progress):
        if number == 5 and ticket.server.url.endswith(":9"):
            reached.set()
            while not progress.stop_requested():
                time.sleep(0.01)

    engine = Engine(hook)
    job_id = world.job()
    with working(world, spool, engine):
        assert reached.wait(10)
        with world.store.begin() as connection:
            connection.execute(prediction_servers.update().values(url="http://127.0.0.1:10"))
        wait_for(ended(world, job_id))
    assert world.get(job_id).state is JobState.COMPLETED
    assert [ticket.server.url[-3:] for ticket in engine.tickets] == ["1:9", ":10"]
    assert engine.starts == [0, 5]


def test_a_frozen_worker_loses_its_job_and_leaves_quietly_when_it_wakes(world, spool):
    frozen, wake = threading.Event(), threading.Event()

    def hook(number, _ticket, progress):
        if number == 5:
            progress._over.set()  # its heartbeat stops, as the whole process would
            frozen.set()
            assert wake.wait(20)

    second = Engine()
    job_id = world.job()
    stage(spool, job_id)
    with working(world, spool, Engine(hook), "w1"):
        assert frozen.wait(10)
        with working(world, spool, second, "w2"):
            wait_for(ended(world, job_id), 20)
            wake.set()
            time.sleep(0.3)
    job = world.get(job_id)
    assert (job.state, job.counts) == (JobState.COMPLETED, Counts(100, 100))
    assert second.starts == [5]
    assert staged(spool, job_id) == {"results"}


def test_a_database_that_is_away_ends_neither_worker_nor_jobs(sqlite_world, spool, monkeypatch):
    world = sqlite_world
    reached, go = threading.Event(), threading.Event()

    def hook(number, *_):
        if number == 5:
            reached.set()
            assert go.wait(20)

    job_id = world.job()
    with working(world, spool, Engine(hook)):
        assert reached.wait(10)
        with monkeypatch.context() as patched:

            def away(*_):
                raise StoreError("away")

            patched.setattr(world.store, "run", away)
            patched.setattr(world.store, "read", away)
            go.set()
            time.sleep(1.0)
        wait_for(ended(world, job_id), 20)
        second = world.job()
        wait_for(ended(world, second), 20)
    assert world.get(job_id).state is JobState.COMPLETED
    assert world.get(job_id).fence == 1


def test_a_locked_sqlite_file_is_waited_for(sqlite_world, spool):
    world = sqlite_world
    import sqlite3

    job_id = world.job()
    other = sqlite3.connect(world.store.url.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with working(world, spool, Engine()):
        time.sleep(1.0)
        assert world.get(job_id).state is JobState.INITIALIZING
        other.execute("ROLLBACK")
        wait_for(ended(world, job_id), 20)
    other.close()


def test_a_server_that_is_gone_is_a_reason(sqlite_world, spool, monkeypatch):
    world = sqlite_world
    from scoreline.errors import NotFound
    from scoreline.registry import servers

    def gone(*_):
        raise NotFound("There is no prediction server 's'.")

    monkeypatch.setattr(servers, "resolve", gone)
    job_id = world.job()
    with working(world, spool, Engine()):
        wait_for(ended(world, job_id))
    assert world.get(job_id).status_details == "There is no prediction server 's'."


def test_run_worker_starts_on_an_empty_folder_and_stops_when_told(tmp_path, monkeypatch):
    from scoreline.jobs import worker

    monkeypatch.setattr(worker.logs, "configure", lambda *_: None)  # the log is the test run's own
    stop = threading.Event()
    thread = threading.Thread(target=worker.run_worker, args=(Settings(data_dir=tmp_path / "data"), stop))
    thread.start()
    wait_for((tmp_path / "data" / "spool").exists, 20)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
