"""What breaks into a worker's runs: aborts, shutdowns, frozen workers, databases and servers that are away."""

import socket
import threading
import time

from scoreline import adapters
from scoreline.errors import Cancelled, RunStopped, StoreError
from scoreline.jobs import cleaning, lease, states, ticket
from scoreline.jobs import store as rows
from scoreline.jobs.ledger import StoreLedger
from scoreline.jobs.model import JobState
from scoreline.jobs.spec import JobSpec
from scoreline.settings import Settings
from scoreline.store.tables.registry import prediction_servers
from scoreline.types import Counts, ScoredChunk
from tests.unit.jobs.working import Engine, ended, stage, staged, working
from tests.unit.jobs.world import wait_for


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
    output = adapters.open_output(ticket.for_removal(world.store, spool.url, job, settings), spool)
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


def test_what_lies_in_a_store_that_is_away_is_removed_later(world, spool, tmp_path):
    settings = Settings(data_dir=tmp_path, allowed_networks="127.0.0.1/32")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        output = {"type": "s3", "url": "s3://box/out.csv", "endpointUrl": endpoint}
        job_id = world.job(spec=JobSpec(output=output))
        run = lease.claim(world.store, world.server_id, "w1")
        upload = {"key": "out.csv", "id": "u", "mark": "m"}
        StoreLedger(world.store, run).begin({"key": "out.csv", "upload": upload})
        spool.put_segment(f"staged/{job_id}", "0000000000-0000000000.1", b"half")
        world.store.run(lambda c: states.abort(c, job_id, "Cancelled"))
        lease.release_owner(world.store, "w1")
        moment = [0.0]
        later = cleaning.Later(lambda: moment[0])
        due = []
        for moment[0] in (100.0, 101.0, 102.5, 105.0, 107.0):
            assert cleaning.sweep(world.store, spool, settings, later) == 0
            due.append(later._due[job_id][0])
        assert due == [102.0, 102.0, 106.5, 106.5, 115.0]
        assert spool.segment_names(f"staged/{job_id}") == []


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
            spool.put_segment(f"staged/{job_id}", "late", b"what nobody knows of")

    second = Engine()
    job_id = world.job()
    stage(spool, job_id)
    with working(world, spool, Engine(hook), "w1"):
        assert frozen.wait(10)
        with working(world, spool, second, "w2"):
            wait_for(lambda: world.column(job_id, "cleaned_at"), 20)
            wake.set()
            time.sleep(0.3)
            wait_for(lambda: world.column(job_id, "cleaned_at"), 20)
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
