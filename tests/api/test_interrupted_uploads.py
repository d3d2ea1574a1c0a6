"""Uploads that break off: for some seconds they may be sent again, and never are bytes of two attempts mixed."""

from __future__ import annotations

import threading
import time

import pytest

from scoreline.jobs import store as rows
from scoreline.jobs import uploading
from scoreline.jobs.presence import Presence
from tests.api.uploading import CSV, aborted, put, stored, stream
from tests.support.api import SlowUpload, running_api, wait_for

GRACE = 2.0
OTHER = b"x,carrier\n7,ZZ\n8,YY\n9,XX\n"
LONG = CSV + b"3,CC\n4,DD\n"
ASYNC = {"type": "localFile", "multipart": True}


@pytest.fixture(scope="module")
def module_api(tmp_path_factory, migrated_sqlite):
    with running_api(tmp_path_factory.mktemp("api"), migrated_sqlite, upload_grace_seconds=GRACE) as api:
        yield api


def break_off(api, job_id, data=CSV, path="csvUpload/"):
    """Send some of an upload and go away; return when all of that is staged, before the break may be noticed."""
    slow = SlowUpload(api, f"{job_id}/{path}", "Content-Length: 1000")
    slow.send(data)
    if path == "csvUpload/":
        wait_for(lambda: stream(api, job_id) != f"uploads/{job_id}/0")
        wait_for(lambda: api.spool.staged_bytes(stream(api, job_id)) == len(data))
    return slow


def interrupted(api, job_id):
    return wait_for(lambda: "sent again: the client broke" in api.status(job_id)["statusDetails"])


def begun_run(api, job_id):
    """Let a worker take the job and record what it has of the result."""
    run = api.run(job_id)
    api.rows(run, b"late_1\n")
    return run


def test_it_may_be_sent_anew_and_only_the_new_bytes_count(api):
    job_id = api.job()["id"]
    break_off(api, job_id).close()
    interrupted(api, job_id)
    document = api.status(job_id)
    assert (document["status"], document["queued"]) == ("INITIALIZING", False)
    assert f"after {len(CSV)} bytes" in document["statusDetails"]
    assert put(api, f"{job_id}/csvUpload/", OTHER).status_code == 202
    assert stored(api, job_id) == OTHER
    assert len(api.spool.blobs.list(f"uploads/{job_id}")) == 2  # one segment, one manifest
    assert api.status(job_id)["queued"] is True
    time.sleep(GRACE + 1)
    assert api.status(job_id)["status"] == "INITIALIZING"
    assert put(api, f"{job_id}/csvUpload/", OTHER).status_code == 409


def test_without_that_the_job_is_aborted_with_the_byte_count(api):
    job_id = api.job()["id"]
    break_off(api, job_id).close()
    interrupted(api, job_id)
    start = time.monotonic()
    reason = aborted(api, job_id)
    assert GRACE - 0.3 < time.monotonic() - start < GRACE + 30
    assert reason == (
        f"Receiving the upload failed: the client broke the connection after {len(CSV)} bytes, and it was not sent "
        "again within 2 s; create the job again and send all of the data."
    )
    assert put(api, f"{job_id}/csvUpload/").status_code == 409


def test_a_client_that_sends_again_at_once_need_not_wait_for_the_break_to_be_noticed(api):
    job_id = api.job()["id"]
    slow, answers = break_off(api, job_id), []
    thread = threading.Thread(target=lambda: answers.append(put(api, f"{job_id}/csvUpload/", OTHER).status_code))
    thread.start()
    time.sleep(0.3)
    slow.close()
    thread.join()
    assert answers == [202]
    assert stored(api, job_id) == OTHER


def test_with_rows_done_the_same_bytes_are_taken_and_a_run_goes_on_when_all_are_there(api):
    job_id = api.job()["id"]
    slow = break_off(api, job_id)
    begun_run(api, job_id)
    assert api.status(job_id)["status"] == "RUNNING"
    slow.close()
    interrupted(api, job_id)
    first = stream(api, job_id)
    again = SlowUpload(api, f"{job_id}/csvUpload/", "Content-Length: 1000")
    again.send(LONG[:9])
    wait_for(lambda: "pushed again" in api.status(job_id)["statusDetails"])
    assert api.status(job_id)["queued"] is False
    assert stream(api, job_id) == first
    again.close()  # and breaks off again, with less than before
    interrupted(api, job_id)
    assert put(api, f"{job_id}/csvUpload/", iter([LONG[:30], LONG[30:]])).status_code == 202
    assert stream(api, job_id) != first
    assert stored(api, job_id) == LONG
    assert api.spool.segment_names(first) == []
    assert api.status(job_id)["queued"] is True
    api.run(job_id)


@pytest.mark.parametrize(
    ("data", "words"), [(OTHER, "differs"), (CSV[:-5], "is shorter")], ids=["other bytes", "fewer bytes"]
)
def test_with_rows_done_other_bytes_are_refused_in_words(api, data, words):
    job_id = api.job()["id"]
    slow = break_off(api, job_id)
    begun_run(api, job_id)
    slow.close()
    interrupted(api, job_id)
    response = put(api, f"{job_id}/csvUpload/", data)
    assert response.status_code == 409
    assert words in response.json()["message"]
    assert words in aborted(api, job_id)


class Frozen:
    """Another API process that has begun to receive a job's data, and does nothing more."""

    def __init__(self, api, job_id, data) -> None:
        self.presence = Presence(api.settings.data_dir)
        self.presence.open()
        self.sender, self.store, self.job_id = self.presence.sender(), api.store, job_id
        uploading.begins(api.store, api.user, job_id, self.sender)
        self.writer = api.spool.writer(f"uploads/{job_id}/{self.sender}")
        self.writer.write(data)
        self.writer.seal()
        wait_for(lambda: api.spool.staged_bytes(f"uploads/{job_id}/{self.sender}") == len(data))

    def wakes(self) -> None:
        """Go on as if nothing had happened: that is refused."""
        self.writer.write(b"1000,AA\n")
        self.writer.finish()
        for work in (uploading.progress, uploading.done):
            with pytest.raises(uploading.Replaced):
                work(self.store, self.job_id, 1000, self.sender)
        assert not uploading.interrupted(self.store, self.job_id, "it broke", sender=self.sender)


@pytest.mark.parametrize("rows_done", [False, True])
def test_an_api_process_that_is_frozen_does_not_stand_in_the_way_and_changes_nothing_later(api, rows_done):
    job_id = api.job()["id"]
    frozen = Frozen(api, job_id, CSV)
    if rows_done:
        begun_run(api, job_id)
    data = LONG if rows_done else OTHER
    start = time.monotonic()
    assert put(api, f"{job_id}/csvUpload/", data).status_code == 202
    assert 1.5 < time.monotonic() - start < 15
    frozen.wakes()
    frozen.presence.close()
    assert stored(api, job_id) == data
    assert api.status(job_id)["status"] == "INITIALIZING"


def test_an_api_process_that_died_is_noticed_within_a_second(api):
    job_id = api.job()["id"]
    Frozen(api, job_id, CSV).presence.close()
    wait_for(lambda: f"ended after {len(CSV)} bytes" in api.status(job_id)["statusDetails"], 1.0)
    assert put(api, f"{job_id}/csvUpload/", LONG).status_code == 202
    assert stored(api, job_id) == LONG


def test_a_part_that_broke_off_may_be_sent_again_and_is_missed_at_the_end(api):
    job_id = api.job(intakeSettings=ASYNC)["id"]
    assert put(api, f"{job_id}/csvUpload/part/0/", CSV).status_code == 202
    wait_for(lambda: api.status(job_id)["queued"])
    break_off(api, job_id, b"x,carrier\n3,", "csvUpload/part/1/").close()
    wait_for(lambda: "part 1 broke off (the client" in api.status(job_id)["statusDetails"])
    with api.client() as client:
        response = client.post(f"batchPredictions/{job_id}/csvUpload/finalizeMultipart/")
        assert response.status_code == 422
        assert "missing from the upload: 1;" in response.json()["message"]
        time.sleep(GRACE + 1)
        assert api.status(job_id)["status"] == "INITIALIZING"
        assert put(api, f"{job_id}/csvUpload/part/1/", b"x,carrier\n3,CC\n").status_code == 202
        assert api.status(job_id)["queued"] is True
        assert client.post(f"batchPredictions/{job_id}/csvUpload/finalizeMultipart/").status_code == 202
    with api.store.read() as connection:
        assert rows.find(connection, job_id).upload_bytes == len(CSV) + 15
