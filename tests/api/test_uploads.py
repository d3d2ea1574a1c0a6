"""Uploads: stored as they come, refused in words, and a broken one never looks whole."""

from __future__ import annotations

import gzip
import threading
import time

import httpx2
import pytest

from scoreline.errors import SpoolFull, StoreError
from scoreline.jobs import uploading
from scoreline.spool.space import Limits
from tests.api.uploading import CSV, aborted, put, stored, stream
from tests.support.api import SlowUpload, running_api, wait_for

TIMES = {"upload_idle_seconds": 1.0, "upload_grace_seconds": 0.6}


@pytest.fixture(scope="module")
def module_api(tmp_path_factory, migrated_sqlite):
    with running_api(tmp_path_factory.mktemp("api"), migrated_sqlite, **TIMES) as api:
        yield api


@pytest.mark.parametrize("kind", ["text/csv", "text/csv; encoding=utf-8", "TEXT/CSV;charset=latin-1"])
def test_an_upload_with_a_length(api, kind):
    job_id = api.job()["id"]
    response = put(api, f"{job_id}/csvUpload/", kind=kind)
    assert (response.status_code, response.content) == (202, b"")
    assert stored(api, job_id) == CSV


def test_a_chunked_upload_without_slash(api):
    job_id = api.job()["id"]
    response = put(api, f"{job_id}/csvUpload", content=iter([CSV[:3], CSV[3:]]))
    assert response.status_code == 202
    assert stored(api, job_id) == CSV


def test_a_large_upload_is_stored_byte_for_byte(api):
    job_id = api.job()["id"]
    data = b"x,carrier\n" + b"".join(b"%d,AA\n" % n for n in range(3_000_000))
    assert put(api, f"{job_id}/csvUpload/", content=data).status_code == 202
    assert stored(api, job_id) == data


def test_compressed_data_is_kept_as_it_is(api):
    job_id = api.job()["id"]
    data = gzip.compress(CSV)
    response = put(api, f"{job_id}/csvUpload/", content=data, **{"Content-Encoding": "gzip"})
    assert response.status_code == 202
    assert stored(api, job_id) == data


@pytest.mark.parametrize(
    ("kind", "coding"), [("application/json", ""), (None, ""), ("text/plain", ""), ("text/csv", "br")]
)
def test_another_type_is_refused_and_the_job_stays_open(api, kind, coding):
    job_id = api.job()["id"]
    response = put(api, f"{job_id}/csvUpload/", kind=kind, **({"Content-Encoding": coding} if coding else {}))
    assert response.status_code == 406
    assert response.headers["content-type"] == "application/json"
    assert api.status(job_id)["status"] == "INITIALIZING"
    assert put(api, f"{job_id}/csvUpload/").status_code == 202


def test_unknown_jobs_and_second_uploads_are_refused(api):
    job_id = api.job()["id"]
    assert put(api, "0000/csvUpload/").status_code == 404
    assert put(api, f"{job_id}/csvUpload/").status_code == 202
    again = put(api, f"{job_id}/csvUpload/", content=b"other\n")
    assert again.status_code == 409
    assert stored(api, job_id) == CSV
    assert api.status(job_id)["status"] == "INITIALIZING"


def test_a_second_upload_does_not_hurt_one_under_way(api):
    job_id, answers = api.job()["id"], []
    data = CSV + b"3,CC\n" * 10
    slow = SlowUpload(api, f"{job_id}/csvUpload/", f"Content-Length: {len(data)}")
    slow.send(data[:5])
    wait_for(lambda: api.status(job_id)["queued"])

    def others():
        answers.extend(put(api, f"{job_id}/csvUpload/", content=body).status_code for body in (CSV, b""))

    thread = threading.Thread(target=others)
    thread.start()
    sent = 5
    while thread.is_alive():  # it goes on slowly
        slow.send(data[sent : sent + 1])
        sent += 1
        thread.join(0.2)
    assert sent < len(data)
    slow.send(data[sent:])
    assert slow.answer() == (202, b"")
    slow.close()
    assert answers == [409, 409]
    assert stored(api, job_id) == data


@pytest.mark.parametrize("content", [b"", iter([])], ids=["length", "chunked"])
def test_an_empty_upload_ends_the_job(api, content):
    job_id = api.job()["id"]
    response = put(api, f"{job_id}/csvUpload/", content=content)
    assert response.status_code == 422
    assert "empty" in response.json()["message"]
    assert "empty" in aborted(api, job_id)


def test_the_job_is_queued_with_the_first_bytes_not_before(api):
    job_id = api.job()["id"]
    slow = SlowUpload(api, f"{job_id}/csvUpload/", "Transfer-Encoding: chunked")
    time.sleep(0.3)
    assert api.status(job_id)["queued"] is False
    slow.chunk(CSV[:4])
    wait_for(lambda: api.status(job_id)["queued"])
    first = next(api.spool.reader(stream(api, job_id)).blocks())  # readable while the upload runs
    assert CSV.startswith(first)
    slow.chunk(CSV[4:])
    slow.send(b"0\r\n\r\n")
    assert slow.answer()[0] == 202
    slow.close()


def test_with_async_false_the_job_is_queued_when_all_is_there(api):
    job_id = api.job(intakeSettings={"type": "localFile", "async": False})["id"]
    slow = SlowUpload(api, f"{job_id}/csvUpload/", f"Content-Length: {len(CSV)}")
    slow.send(CSV[:5])
    wait_for(lambda: "bytes so far" in api.status(job_id)["statusDetails"])
    assert api.status(job_id)["queued"] is False
    slow.send(CSV[5:])
    assert slow.answer()[0] == 202
    slow.close()
    assert api.status(job_id)["queued"] is True


@pytest.mark.parametrize("header", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_client_that_breaks_off_ends_the_job_with_the_byte_count(api, header):
    job_id = api.job()["id"]
    slow = SlowUpload(api, f"{job_id}/csvUpload/", header)
    (slow.chunk if "chunked" in header else slow.send)(CSV)
    wait_for(lambda: api.status(job_id)["queued"])
    slow.close()
    wait_for(lambda: "sent again" in api.status(job_id)["statusDetails"])
    assert api.status(job_id)["status"] == "INITIALIZING"
    assert api.status(job_id)["queued"] is False
    reason = aborted(api, job_id)
    assert f"after {len(CSV)} bytes" in reason
    assert api.spool.reader(stream(api, job_id)).manifest() is None


def test_a_client_that_breaks_off_before_the_first_byte_ends_the_job(api):
    job_id = api.job()["id"]
    SlowUpload(api, f"{job_id}/csvUpload/", "Content-Length: 1000").close()
    assert "after 0 bytes" in aborted(api, job_id)


def test_a_client_that_falls_silent_ends_the_job(api):
    job_id = api.job()["id"]
    slow = SlowUpload(api, f"{job_id}/csvUpload/", "Content-Length: 1000")
    slow.send(CSV)
    status, body = slow.answer()
    slow.close()
    assert status == 422
    assert b"sent nothing for 1 s" in body
    assert f"after {len(CSV)} bytes" in aborted(api, job_id)


def test_an_upload_of_a_job_that_is_aborted_meanwhile_is_drained_and_told_why(api):
    job_id = api.job()["id"]
    block = b"1,AA\n" * 20_000
    sent = threading.Event()

    def blocks():
        yield b"x,carrier\n"
        for number in range(40):
            yield block
            if number == 5:
                sent.set()
            time.sleep(0.05)

    answers = []
    thread = threading.Thread(target=lambda: answers.append(put(api, f"{job_id}/csvUpload/", content=blocks())))
    thread.start()
    assert sent.wait(10)
    with api.client() as client:
        assert client.delete(f"batchPredictions/{job_id}/").status_code == 202
    thread.join(20)
    assert answers[0].status_code == 422
    assert "Cancelled by ann" in answers[0].json()["message"]
    assert "Cancelled by ann" in api.status(job_id)["statusDetails"]
    assert api.spool.segment_names(stream(api, job_id)) == []


def full(*_args, **_options):
    raise SpoolFull("Spool: 1 MiB more are refused: 0 MiB are free; make space on the disk of the data folder.")


def test_a_full_disk_ends_the_job_with_507(api, monkeypatch):
    job_id = api.job()["id"]

    monkeypatch.setattr(api.spool.blobs, "put", full)
    response = put(api, f"{job_id}/csvUpload/")
    assert response.status_code == 507
    assert response.headers["content-type"] == "application/json"
    assert "make space" in response.json()["message"]
    assert "make space" in aborted(api, job_id)


def test_a_database_that_lacks_the_space_of_the_upload_is_told_the_reason_once_it_has_it(api, monkeypatch):
    job_id = api.job()["id"]
    monkeypatch.setattr("scoreline.spool.writer.SegmentWriter.finish", full)
    tell = uploading.broken

    def told(*args, **options):
        if api.spool.segment_names(stream(api, job_id)):
            raise StoreError("The database does not do its work (database or disk is full).")
        return tell(*args, **options)

    monkeypatch.setattr(uploading, "broken", told)
    slow = SlowUpload(api, f"{job_id}/csvUpload/", f"Content-Length: {len(CSV)}")
    slow.send(CSV[:10])
    wait_for(lambda: api.spool.segment_names(stream(api, job_id)))
    slow.send(CSV[10:])
    assert slow.answer()[0] == 507
    slow.close()
    assert "make space" in aborted(api, job_id)


def test_no_space_at_the_start_ends_the_job_with_507(api, monkeypatch):
    job_id, waits = api.job()["id"], api.job()["id"]
    monkeypatch.setattr(api.spool.blobs._space, "limits", Limits(min_free=1 << 60))
    assert put(api, f"{job_id}/csvUpload/").status_code == 507
    assert "make space" in aborted(api, job_id)
    with api.client() as client:
        refused = client.post("batchPredictions/", json={"deploymentId": api.deployment_id})
    assert (refused.status_code, refused.headers["content-type"]) == (507, "application/json")
    assert "No job is made now, because there is no space for it." in refused.json()["message"]
    monkeypatch.undo()
    assert put(api, f"{waits}/csvUpload/").status_code == 202
    api.job()


def test_uploads_and_results_of_all_jobs_share_a_space(api, monkeypatch):
    """A body that says that it is too large is refused before a byte of it is stored, another one when it is."""
    used = sum(api.spool.blobs.size(key) for key in api.spool.blobs.list("uploads"))
    monkeypatch.setattr(api.spool.blobs._space, "limits", Limits(most=used + 100_000))
    jobs = [api.job()["id"] for _ in range(3)]
    assert put(api, f"{jobs[0]}/csvUpload/", content=CSV * 6_000).status_code == 507
    assert api.spool.blobs.list(f"uploads/{jobs[0]}") == []
    for blocks in (4, 1):  # the second one fits, because the first one has given its space back
        response = put(api, f"{jobs[blocks % 2 + 1]}/csvUpload/", content=iter([b"x\n", *[b"1\n" * 20_000] * blocks]))
        assert response.status_code == (507 if blocks == 4 else 202)
        if blocks == 4:
            assert "SCORELINE_MAX_SPOOL_BYTES" in response.json()["message"]
            assert "what is staged takes" in aborted(api, jobs[1])


def test_an_upload_may_have_so_many_bytes(api, monkeypatch):
    monkeypatch.setattr(api.settings, "max_upload_bytes", 100)
    parts = {"type": "localFile", "multipart": True, "async": False}
    whole, chunked, in_parts, fits = (
        api.job(**more)["id"] for more in ({}, {}, {"intakeSettings": parts}, {"intakeSettings": parts})
    )
    for job_id, content in ((whole, b"x\n" * 51), (chunked, iter([b"x\n", b"1\n" * 50]))):
        response = put(api, f"{job_id}/csvUpload/", content=content)
        assert response.status_code == 422
        assert "more than the 100 bytes" in response.json()["message"]
        assert "SCORELINE_MAX_UPLOAD_BYTES" in aborted(api, job_id)
    codes = [put(api, f"{in_parts}/csvUpload/part/{n}/", content=b"x\n" * 30).status_code for n in (0, 1)]
    assert codes == [202, 422]
    codes = [put(api, f"{fits}/csvUpload/part/{n}/", content=b"x\n" * 25).status_code for n in (0, 1, 1)]
    assert codes == [202, 202, 202]


def test_a_failure_inside_ends_the_job(api, monkeypatch, caplog):
    job_id = api.job()["id"]
    monkeypatch.setattr("scoreline.spool.writer.SegmentWriter.finish", lambda _self: 1 / 0)
    assert put(api, f"{job_id}/csvUpload/").status_code == 500
    assert "failed inside" in aborted(api, job_id)
    assert "ZeroDivisionError" in caplog.text


def test_an_expected_continue_is_sent_only_when_the_body_is_wanted(api):
    job_id = api.job()["id"]
    slow = SlowUpload(api, f"{job_id}/csvUpload/", f"Content-Length: {len(CSV)}", "Expect: 100-continue")
    assert slow.sock.recv(100).startswith(b"HTTP/1.1 100")
    slow.send(CSV)
    assert slow.answer()[0] == 202
    slow.close()
    second = SlowUpload(api, "0000/csvUpload/", "Content-Length: 5", "Expect: 100-continue")
    assert second.answer()[0] == 404
    second.close()


# In parts


def test_a_client_is_never_made_to_wait_by_scoring(api):
    """Nobody reads the upload, and no result is fetched: it is taken all the same."""
    job_id = api.job()["id"]
    with httpx2.Client(timeout=httpx2.Timeout(5.5)) as client:
        response = client.put(
            f"{api.endpoint}/batchPredictions/{job_id}/csvUpload/",
            content=iter([b"x\n"] + [b"1\n" * 500_000] * 60),
            headers={"Authorization": f"Token {api.token}", "Content-Type": "text/csv"},
        )
    assert response.status_code == 202
