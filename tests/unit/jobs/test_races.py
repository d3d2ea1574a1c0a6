"""Users who abort and pause at the very moments of a run: every job ends true, whole or without a trace."""

from __future__ import annotations

import random
import threading
from contextlib import suppress

import pytest

from scoreline import faults
from scoreline.errors import Conflict
from scoreline.jobs import service, uploading
from scoreline.jobs.model import JobState
from scoreline.jobs.spec import JobSpec
from scoreline.spool import open_spool
from scoreline.store.tables.jobs import ledger
from scoreline.types import Counts
from tests.unit.jobs.test_whole_run import EXPECTED, ROWS, SOURCE, HalfScorer, Working, create, result, send
from tests.unit.jobs.world import wait_for

# The moment, how often it passes before something happens, whether it is inside a write transaction, and whether the
# job can still be stopped then.
MOMENTS = [
    ("job.claiming", 0, True, True),
    ("job.claimed", 0, False, True),
    ("output.prepared", 0, False, True),
    ("output.begun", 0, False, True),
    ("chunk.asking", 3, False, True),
    ("output.writing", 1, False, True),
    ("file.written", 1, False, True),
    ("output.written", 1, False, True),
    ("ledger.recording", 1, True, True),
    ("ledger.recorded", 1, False, True),
    ("file.renaming", 0, False, False),
    ("file.renamed", 0, False, False),
    ("job.completing", 0, False, False),
]


class Moment:
    """Calls `then` at a named moment, once: in the run's own thread, or beside its transaction."""

    def __init__(self, monkeypatch) -> None:
        self._name = ""
        self._lock = threading.Lock()
        self.errors: list[Exception] = []
        self.thread: threading.Thread | None = None
        monkeypatch.setattr(faults, "at", self._at)

    def arm(self, name, skip, inside, then):
        self.errors, self.thread, self.happened = [], None, threading.Event()
        self._skip, self._inside, self._then = skip, inside, then
        self._name = name

    def _at(self, name):
        with self._lock:
            if name != self._name:
                return
            self._skip -= 1
            if self._skip >= 0:
                return
            self._name = ""
        self.thread = threading.Thread(target=self._call)
        self.thread.start()
        if not self._inside:
            self.thread.join()

    def _call(self):
        try:
            self._then()
        except Exception as error:  # noqa: BLE001 -- for the test to look at
            self.errors.append(error)
        self.happened.set()


@pytest.fixture
def spool(tmp_path):
    return open_spool(tmp_path / "spool")


@pytest.fixture
def moment(monkeypatch):
    return Moment(monkeypatch)


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "in.csv").write_bytes(SOURCE)
    return folder


def from_file(world):
    """A job that reads and writes files; the target holds what an earlier one wrote."""
    document = {
        "deploymentId": world.deployment_id,
        "passthroughColumns": ["id"],
        "predictionThreshold": 0.25,
        "chunkSize": 4000,
        "numConcurrent": 2,
        "intakeSettings": {"type": "filesystem", "path": "in.csv"},
        "outputSettings": {"type": "filesystem", "path": "out.csv"},
    }
    return service.create(world.store, world.caller, JobSpec.from_document(document), files_open=True)


@pytest.mark.parametrize("action", ["abort", "pause", "shutdown"])
def test_whatever_comes_at_whatever_moment_of_a_run(world, spool, moment, files, action):
    target = files / "out.csv"
    for name, skip, inside, open_still in MOMENTS:
        target.write_bytes(b"old")
        with Working(world, spool, HalfScorer(), "w1", files_dir=files) as first:
            known = {}

            def act(known=known, first=first):
                wait_for(lambda: "id" in known)
                if action == "shutdown":
                    first.stop.set()
                    for _, run in first.worker._runs:
                        run.shut_down()
                else:
                    getattr(service, action)(world.store, world.caller, known["id"])

            moment.arm(name, skip, inside, act)
            known["id"] = job_id = from_file(world).id
            assert moment.happened.wait(20), name
            moment.thread.join()
            if action == "pause" and open_still:
                assert service.get(world.store, world.caller, job_id).paused_at, name
                assert target.read_bytes() == b"old"
                service.resume(world.store, world.caller, job_id)
            elif action == "shutdown":
                wait_for(lambda: not first.thread.is_alive())
        with Working(world, spool, HalfScorer(), "w2", files_dir=files):
            wait_for(lambda job_id=job_id: service.state(world.store, job_id).final, 20)
            wait_for(lambda job_id=job_id: world.column(job_id, "cleaned_at"), 20)
        job = service.get(world.store, world.caller, job_id)
        refused = [type(error) for error in moment.errors]
        assert refused == ([Conflict] if action != "shutdown" and not open_still else []), name
        if action == "abort" and open_still:
            assert (job.state, target.read_bytes()) == (JobState.ABORTED, b"old"), name
            assert job.reason.startswith("Cancelled by ada"), name
        else:
            assert (job.state, job.counts) == (JobState.COMPLETED, Counts(ROWS, ROWS)), (name, job.reason)
            assert target.read_bytes() == EXPECTED, name
        assert world.column(job_id, "lease_owner") is None, name
        assert sorted(path.name for path in files.iterdir()) == ["in.csv", "out.csv"], name


def test_an_output_whose_rows_do_not_add_up_never_comes_to_its_place(world, spool, moment, files):
    target = files / "out.csv"
    target.write_bytes(b"old")

    def lose():
        with world.store.begin() as connection:
            connection.execute(ledger.delete().where(ledger.c.first_chunk == 1))

    with Working(world, spool, HalfScorer(), "w1", files_dir=files):
        moment.arm("ledger.recorded", 1, False, lose)
        job_id = from_file(world).id
        wait_for(lambda: world.column(job_id, "cleaned_at"), 30)
    job = service.get(world.store, world.caller, job_id)
    assert job.state is JobState.ABORTED
    assert f"the run counted {ROWS} rows read, {ROWS} scored, 0 failed, 0 skipped" in job.reason
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in files.iterdir()) == ["in.csv", "out.csv"]


class Hands:
    """Users who send data, abort, pause and resume at random, each in a thread, until `stop`."""

    def __init__(self, world, spool, jobs, seed):
        self._world, self._spool, self._jobs = world, spool, jobs
        self._over = threading.Event()
        self.sent = []
        self._senders = [threading.Thread(target=self._send, args=(job,)) for job in jobs[1:]]
        self._meddlers = [threading.Thread(target=self._meddle, args=(f"{seed} {n}",)) for n in range(2)]
        for thread in (*self._senders, *self._meddlers):
            thread.start()

    def _send(self, job):
        try:
            send(self._world, self._spool, job)
            self.sent.append(job.id)
        except Conflict as conflict:
            uploading.broken(self._world.store, job.id, conflict.message)

    def _meddle(self, seed):
        wild = random.Random(seed)
        while not self._over.wait(wild.uniform(0, 0.05)):
            what = wild.choice([service.pause, service.resume] * 6 + [service.abort])
            self.do(what, wild.choice(self._jobs))

    def do(self, what, job):
        with suppress(Conflict):
            what(self._world.store, self._world.caller, job.id)

    def stop(self):
        """Let all go on that rests; the first job's data never came."""
        for thread in self._senders:
            thread.join()
        self._over.wait(1.5)
        self._over.set()
        for thread in self._meddlers:
            thread.join()
        for job in self._jobs:
            self.do(service.resume, job)
        self.do(service.abort, self._jobs[0])


@pytest.mark.parametrize("seed", [1])
def test_many_hands_on_the_same_jobs(world, spool, seed):
    jobs = [create(world, chunkSize=2000) for _ in range(6)]
    with Working(world, spool, HalfScorer(), "w1"), Working(world, spool, HalfScorer(), "w2"):
        hands = Hands(world, spool, jobs, seed)
        hands.stop()
        for job in jobs:
            wait_for(lambda job=job: world.column(job.id, "cleaned_at"), 30)
    for job in jobs:
        after = service.get(world.store, world.caller, job.id)
        assert after.lease_owner is None
        assert not spool.blobs.list(f"uploads/{job.id}")
        if after.state is JobState.COMPLETED:
            assert job.id in hands.sent
            assert after.counts == Counts(ROWS, ROWS)
            assert result(world, spool, job) == EXPECTED
        else:
            assert after.reason.startswith("Cancelled by ada")
            assert not spool.blobs.list(f"results/{job.id}")
        log = world.logs(job.id)
        words = [line.split(" by ")[0] for line in log if line.startswith(("Job paused", "Job resumed"))]
        assert words == ["Job paused", "Job resumed"] * (len(words) // 2) + ["Job paused"] * (len(words) % 2)
        assert sum(line.startswith("Aborted") for line in log) == (after.state is JobState.ABORTED)
