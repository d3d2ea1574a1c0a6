"""The watch over uploads that every API process keeps, and how it knows that another one is dead."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scoreline.jobs import states, uploads
from scoreline.jobs.interrupted import UploadKeeper
from scoreline.jobs.model import JobState, UploadState
from scoreline.jobs.presence import Presence, places
from scoreline.jobs.spec import JobSpec
from scoreline.spool import finalise, part_writer

GRACE, PARTS = 5.0, 60.0
TROUBLE = "the client broke the connection after 12 bytes"


class Watched:
    """A world with a watch, whose clock stands until it is set."""

    def __init__(self, world, spool, folder: Path) -> None:
        self.world, self.spool, self.folder = world, spool, folder
        self.presence = Presence(folder)
        self.presence.open()
        self.now = 0.0
        self.keeper = UploadKeeper(
            world.store, spool, self.presence, grace_seconds=GRACE, parts_seconds=PARTS, clock=lambda: self.now
        )

    def look(self, later: float = 0.0):
        self.now += later
        return self.keeper.look()

    def begin(self, sender: str, **settings) -> str:
        spec = JobSpec.from_document({"intakeSettings": {"type": "localFile", **settings}})
        job_id = self.world.job(queued=False, spec=spec)
        job = self.world.get(job_id)
        assert self.world.store.run(lambda c: uploads.begin(c, job, None, sender))
        return job_id

    def state(self, job_id: str) -> tuple[JobState, UploadState]:
        job = self.world.get(job_id)
        return job.state, job.upload_state


@pytest.fixture
def watched(sqlite_world, spool, tmp_path):
    made = Watched(sqlite_world, spool, tmp_path)
    yield made
    made.presence.close()


def dead(folder: Path) -> str:
    """Return a sender of a process that was killed."""
    code = (
        "import os, signal, sys; from pathlib import Path; from scoreline.jobs.presence import Presence\n"
        "one = Presence(Path(sys.argv[1])); one.open(); print(one.sender(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    return done.stdout.strip()


def test_a_full_disk_is_waited_for_to_show_that_a_process_lives(tmp_path, monkeypatch):
    one = Presence(tmp_path)

    def full(*arguments, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", full)
        one.open()
        one.answers_at("127.0.0.1:41234")
        assert places(tmp_path) == []
    one.show()
    one.show()
    assert places(tmp_path) == ["127.0.0.1:41234"]
    one.close()
    assert places(tmp_path) == []


def test_a_process_is_dead_when_the_system_has_let_go_of_its_lock(tmp_path):
    mine, other = Presence(tmp_path), Presence(tmp_path)
    for one in (mine, other):
        one.open()
    assert mine.sender() != mine.sender()
    assert not other.gone(mine.sender())
    assert not other.gone(other.sender())
    assert not other.gone("unknown.1")
    killed = dead(tmp_path)
    assert other.gone(killed)
    last = mine.sender()
    mine.close()
    assert other.gone(last)
    later = dead(tmp_path)
    known = other.dead()
    after = dead(tmp_path)  # it may have begun something that nobody has looked for
    other.forget(known, [last])
    assert other.gone(last)
    assert other.gone(after)
    for one in (killed, later):
        assert not other.gone(one)  # nothing is known of it any more
    other.forget(other.dead(), [last])
    assert len(list((tmp_path / "apis").iterdir())) == 2
    other.close()


def test_an_interrupted_upload_is_given_up_after_its_grace_on_the_keepers_clock(watched):
    single, parts = watched.begin("gone.1"), watched.begin("gone.2", multipart=True)
    for job_id, sender in ((single, "gone.1"), (parts, "gone.2")):
        watched.world.store.run(
            lambda c, job_id=job_id, sender=sender: uploads.interrupt(c, job_id, TROUBLE, sender=sender)
        )
    watched.look()
    watched.look(GRACE - 0.1)
    assert watched.state(single) == (JobState.INITIALIZING, UploadState.INTERRUPTED)
    watched.look(0.2)
    assert watched.state(single) == (JobState.ABORTED, UploadState.BROKEN)
    assert watched.world.get(single).status_details == (
        "Receiving the upload failed: the client broke the connection after 12 bytes, and it was not sent again within "
        "5 s; create the job again and send all of the data."
    )
    assert watched.state(parts) == (JobState.INITIALIZING, UploadState.INTERRUPTED)
    watched.look(PARTS - GRACE)
    assert watched.state(parts) == (JobState.ABORTED, UploadState.BROKEN)
    assert "no part of it came within 60 s" in watched.world.get(parts).status_details


def test_an_upload_that_is_sent_again_is_not_given_up(watched):
    job_id = watched.begin("gone.1")
    for number in (1, 2, 3):
        watched.world.store.run(lambda c, n=number: uploads.interrupt(c, job_id, "it broke", sender=f"gone.{n}"))
        watched.look(GRACE - 1)
        watched.look(GRACE - 1)
        job = watched.world.get(job_id)
        assert watched.world.store.run(lambda c, j=job, n=number: uploads.begin(c, j, None, f"gone.{n + 1}"))
    watched.look(100)
    assert watched.state(job_id) == (JobState.INITIALIZING, UploadState.RUNNING)


def test_the_upload_of_a_dead_process_is_interrupted_with_the_bytes_that_are_durable(watched):
    sender = dead(watched.folder)
    job_id, living = watched.begin(sender), watched.begin(watched.presence.sender())
    writer = watched.spool.writer(f"uploads/{job_id}/{sender}", segment_bytes=10)
    writer.write(b"x" * 25)
    writer.close()
    watched.look()
    assert watched.state(job_id) == (JobState.INITIALIZING, UploadState.INTERRUPTED)
    job = watched.world.get(job_id)
    assert (job.upload_bytes, job.upload_sender) == (25, None)
    assert job.status_details.endswith("the API server that received it ended after 25 bytes")
    assert watched.state(living) == (JobState.INITIALIZING, UploadState.RUNNING)


def test_the_upload_of_a_dead_process_is_whole_when_all_of_it_came(watched):
    sender = dead(watched.folder)
    job_id = watched.begin(sender)
    with watched.spool.writer(f"uploads/{job_id}/{sender}") as writer:
        writer.write(b"x\n1\n")
        writer.finish()
    watched.look()
    assert watched.state(job_id) == (JobState.INITIALIZING, UploadState.DONE)
    assert watched.world.get(job_id).upload_bytes == 4


def test_parts_outlive_the_process_that_took_them(watched):
    sender = dead(watched.folder)
    waits = watched.begin(sender, multipart=True, **{"async": False})
    streams = watched.begin(sender, multipart=True)
    watched.look()
    assert watched.state(waits) == (JobState.INITIALIZING, UploadState.RUNNING)
    assert watched.world.get(waits).upload_sender is None
    assert watched.state(streams) == (JobState.INITIALIZING, UploadState.INTERRUPTED)
    assert "a part broke off" in watched.world.get(streams).status_details


def test_an_upload_that_was_finalised_in_the_last_breath_is_whole(watched):
    job_id = watched.begin("gone.1", multipart=True, **{"async": False})
    with part_writer(watched.spool, job_id, 0) as writer:
        writer.write(b"x\n1\n")
        writer.finish(replace=True)
    finalise(watched.spool, job_id)
    watched.look()
    assert watched.state(job_id) == (JobState.INITIALIZING, UploadState.RUNNING)
    watched.look(1.1)
    assert watched.state(job_id) == (JobState.INITIALIZING, UploadState.DONE)
    assert watched.world.get(job_id).queue_position == 0


def test_the_bytes_of_an_aborted_job_may_go_once_its_api_is_dead(watched):
    sender = dead(watched.folder)
    job_id = watched.begin(sender)
    watched.world.store.run(lambda c: states.abort(c, job_id, "Cancelled"))
    watched.look()
    assert watched.state(job_id) == (JobState.ABORTED, UploadState.BROKEN)
    assert watched.world.get(job_id).status_details == "Cancelled"


def test_the_data_of_a_job_that_was_aborted_meanwhile_is_given_up_at_once(watched):
    """All of it had come when its API process died, and nobody had noted that."""
    sender = dead(watched.folder)
    job_id = watched.begin(sender)
    with watched.spool.writer(f"uploads/{job_id}/{sender}") as writer:
        writer.write(b"a,b\n1,2\n")
        writer.finish()
    assert watched.world.store.run(lambda c: states.abort(c, job_id, "Cancelled by ada"))
    watched.look()
    assert watched.state(job_id) == (JobState.ABORTED, UploadState.BROKEN)
    assert watched.world.get(job_id).status_details == "Cancelled by ada"
