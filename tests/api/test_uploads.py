"""Uploads: stored as they come, refused in words, and a broken one never looks whole."""

from __future__ import annotations

import gzip
import threading
import time

import httpx2
import pytest

from scoreline.errors import SpoolFull
from scoreline.spool import parts
from tests.support.api import SlowUpload, running_api, wait_for

CSV = b"x,carrier\n1,AA\n2,BB\n"
OFFICIAL = "DataRobotPythonClient/3.20.0 (Linux) Python-3.11"


@pytest.fixture(scope="module")
def module_api(tmp_path_factory, migrated_sqlite):
    with running_api(tmp_path_factory.mktemp("api"), migrated_sqlite, upload_idle_seconds=1.0) as api:
        yield api


def put(api, path, content=CSV, kind="text/csv", **headers):
    given = {} if kind is None else {"Content-Type": kind}
    with api.client() as client:
        return client.put(f"batchPredictions/{path}", content=content, headers=given | headers)


def stored(api, job_id):
    return b"".join(api.spool.reader(f"uploads/{job_id}/0").blocks())


def aborted(api, job_id):
    """Return the reason once the job is aborted."""
    wait_for(lambda: api.status(job_id)["status"] == "ABORTED")
    return api.status(job_id)["statusDetails"]


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
    job_id = api.job()["id"]
    slow = SlowUpload(api, f"{job_id}/csvUpload/", f"Content-Length: {len(CSV)}")
    slow.send(CSV[:5])
    wait_for(lambda: api.status(job_id)["queued"])
    assert put(api, f"{job_id}/csvUpload/").status_code == 409
    assert put(api, f"{job_id}/csvUpload/", content=b"").status_code == 409
    slow.send(CSV[5:])
    assert slow.answer() == (202, b"")
    slow.close()
    assert stored(api, job_id) == CSV


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
    first = next(api.spool.reader(f"uploads/{job_id}/0").blocks())  # readable while the upload runs
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
    reason = aborted(api, job_id)
    assert f"after {len(CSV)} bytes" in reason
    assert api.spool.reader(f"uploads/{job_id}/0").manifest() is None


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
    assert api.spool.segment_names(f"uploads/{job_id}/0") == []


def test_a_full_disk_ends_the_job_with_507(api, monkeypatch):
    job_id = api.job()["id"]

    def full(*_args, **_options):
        raise SpoolFull("Spool: 1 MiB more are refused: 0 MiB are free; make space on the disk of the data folder.")

    monkeypatch.setattr(api.spool.blobs, "put", full)
    response = put(api, f"{job_id}/csvUpload/")
    assert response.status_code == 507
    assert response.headers["content-type"] == "application/json"
    assert "make space" in response.json()["message"]
    assert "make space" in aborted(api, job_id)


def test_no_space_at_the_start_ends_the_job_with_507(api, monkeypatch):
    job_id = api.job()["id"]
    monkeypatch.setattr(api.spool.blobs, "free_bytes", lambda: 10)
    monkeypatch.setattr(api.spool, "min_free", 1000)
    assert put(api, f"{job_id}/csvUpload/").status_code == 507
    assert "make space" in aborted(api, job_id)


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

PARTS = {"type": "localFile", "multipart": True, "async": False}
ASYNC = {"type": "localFile", "multipart": True}


def finalise(api, job_id):
    with api.client() as client:
        return client.post(f"batchPredictions/{job_id}/csvUpload/finalizeMultipart/")


def part_bytes(api, job_id):
    return {
        number: b"".join(api.spool.reader(part.stream).blocks()) for number, part in parts(api.spool, job_id).items()
    }


def test_parts_in_any_order_are_replaced_when_sent_again(api):
    job_id = api.job(intakeSettings=PARTS)["id"]
    assert put(api, f"{job_id}/csvUpload/part/1/", b"x\r\n3\r\n").status_code == 202
    assert put(api, f"{job_id}/csvUpload/part/0/", b"x\r\n1\r\n").status_code == 202
    assert put(api, f"{job_id}/csvUpload/part/1", b"x\r\n2\r\n").status_code == 202
    assert put(api, f"{job_id}/csvUpload/part/1/", b"x\r\n2\r\n").status_code == 202
    assert api.status(job_id)["queued"] is False
    assert finalise(api, job_id).status_code == 202
    assert part_bytes(api, job_id) == {0: b"x\r\n1\r\n", 1: b"x\r\n2\r\n"}
    assert api.status(job_id)["queued"] is True
    assert finalise(api, job_id).status_code == 202  # said twice
    assert put(api, f"{job_id}/csvUpload/part/2/", b"x\r\n9\r\n").status_code == 409


def test_missing_parts_are_named_and_can_still_be_sent(api):
    job_id = api.job(intakeSettings=PARTS)["id"]
    for number in (0, 2, 4):
        put(api, f"{job_id}/csvUpload/part/{number}/", b"x\n1\n")
    response = finalise(api, job_id)
    assert response.status_code == 422
    assert "1, 3" in response.json()["message"]
    assert api.status(job_id)["status"] == "INITIALIZING"
    for number in (1, 3):
        put(api, f"{job_id}/csvUpload/part/{number}/", b"x\n1\n")
    assert finalise(api, job_id).status_code == 202


def test_an_end_without_any_part_ends_the_job(api):
    job_id = api.job(intakeSettings=ASYNC)["id"]
    response = finalise(api, job_id)
    assert response.status_code == 422
    assert "No data" in response.json()["message"]
    assert "No data" in aborted(api, job_id)
    assert finalise(api, job_id).status_code == 409


def test_parts_and_whole_uploads_are_not_mixed(api):
    whole, in_parts = api.job()["id"], api.job(intakeSettings=PARTS)["id"]
    assert put(api, f"{whole}/csvUpload/part/0/").status_code == 409
    assert finalise(api, whole).status_code == 409
    assert put(api, f"{in_parts}/csvUpload/").status_code == 409
    assert finalise(api, "0000").status_code == 404
    assert put(api, "0000/csvUpload/part/0/").status_code == 404
    for number in ("x", "-1", "1.5", "10000000"):
        assert put(api, f"{in_parts}/csvUpload/part/{number}/").status_code == 422
    for job_id in (whole, in_parts):
        assert api.status(job_id)["status"] == "INITIALIZING"


def test_with_async_a_part_that_may_be_scored_is_not_replaced(api):
    job_id = api.job(intakeSettings=ASYNC)["id"]
    assert put(api, f"{job_id}/csvUpload/part/0/", b"x\n1\n").status_code == 202
    assert api.status(job_id)["queued"] is True
    assert put(api, f"{job_id}/csvUpload/part/0/", b"x\n1\n").status_code == 202
    assert put(api, f"{job_id}/csvUpload/part/0/", b"x\n2\n").status_code == 409
    assert part_bytes(api, job_id) == {0: b"x\n1\n"}
    assert api.status(job_id)["status"] == "INITIALIZING"


CUT = [
    (b"x,y\r\n1,2\r\n3,", "middle of a row"),
    (b'x,y\r\n1,"a\r\n', "quoted field"),
    (b'x,y\r\n1,"a ""quoted"" b\r\n', "quoted field"),
    ("x,y\r\n1,é".encode()[:-1], "character"),
    (gzip.compress(b"x\r\n1\r\n", mtime=0), "compressed"),
    (b"", "empty"),
]


@pytest.mark.parametrize("intake", [PARTS, ASYNC], ids=["sync", "async"])
@pytest.mark.parametrize(("body", "words"), CUT, ids=[words for _, words in CUT])
def test_a_part_that_was_cut_ends_the_job(api, body, words, intake):
    job_id = api.job(intakeSettings=intake)["id"]
    response = put(api, f"{job_id}/csvUpload/part/0/", body)
    assert response.status_code == 422
    assert words in response.json()["message"]
    assert words in aborted(api, job_id)
    if words not in ("compressed", "empty"):
        assert "switch `multipart` off" in response.json()["message"]


@pytest.mark.parametrize("settings", [{}, {"intakeSettings": PARTS}, {"intakeSettings": ASYNC}])
def test_more_bytes_than_announced_end_the_job(api, settings):
    """The cut falls on a line end, so that only the rest tells: it looks like a request that is none."""
    job_id = api.job(**settings)["id"]
    path = f"{job_id}/csvUpload/part/0/" if settings else f"{job_id}/csvUpload/"
    slow = SlowUpload(api, path, f"Content-Length: {len(CSV)}")
    slow.send(CSV + b"3,CC\r\n")
    status, body = slow.answer()
    assert slow.sock.recv(1) == b""  # the connection is of no use any more
    slow.close()
    assert status == 422
    assert b"longer than its Content-Length" in body
    assert "switch `multipart` off" in aborted(api, job_id)


def test_utf_8_from_the_official_client_in_a_job_of_another_encoding_is_refused(api):
    settings = {"intakeSettings": PARTS, "csvSettings": {"encoding": "latin-1"}}
    good, bad, own = (api.job(**settings)["id"] for _ in range(3))
    agent = {"User-Agent": OFFICIAL}
    assert put(api, f"{good}/csvUpload/part/0/", b"x\r\n1\r\n", **agent).status_code == 202
    response = put(api, f"{bad}/csvUpload/part/0/", "x\r\né\r\n".encode(), **agent)
    assert response.status_code == 422
    assert "always sends UTF-8" in response.json()["message"]
    assert put(api, f"{own}/csvUpload/part/0/", "x\r\né\r\n".encode("latin-1")).status_code == 202


def test_a_broken_part_can_be_sent_again_without_async_only(api):
    for intake, expected in ((PARTS, "INITIALIZING"), (ASYNC, "ABORTED")):
        job_id = api.job(intakeSettings=intake)["id"]
        slow = SlowUpload(api, f"{job_id}/csvUpload/part/0/", "Content-Length: 1000")
        slow.send(CSV)
        time.sleep(0.2)
        slow.close()
        if expected == "ABORTED":
            assert f"after {len(CSV)} bytes" in aborted(api, job_id)
        else:
            assert put(api, f"{job_id}/csvUpload/part/0/").status_code == 202
            assert api.status(job_id)["status"] == expected
            assert part_bytes(api, job_id) == {0: CSV}


def test_the_size_of_an_upload_in_parts_is_counted_once(api):
    job_id = api.job(intakeSettings=PARTS)["id"]
    for number in (0, 1, 1):
        put(api, f"{job_id}/csvUpload/part/{number}/", b"x\n1\n")
    assert "8 bytes so far" in api.status(job_id)["statusDetails"]


def test_uploads_are_fast(api):
    """A coarse guard against waiting on the disk or the event loop; the bench measures."""
    job_id = api.job()["id"]
    block = b"1,AA\n" * 200_000
    start = time.monotonic()
    assert put(api, f"{job_id}/csvUpload/", content=iter([b"x,carrier\n", *[block] * 100])).status_code == 202
    assert 100 * len(block) / (time.monotonic() - start) > 30e6


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
