"""Uploads in parts: numbered, sent again, cut, finished."""

from __future__ import annotations

import gzip
import time

import pytest

from scoreline.spool import parts
from tests.api.uploading import CSV, aborted, put
from tests.support.api import SlowUpload, running_api

OFFICIAL = "DataRobotPythonClient/3.20.0 (Linux) Python-3.11"
PARTS = {"type": "localFile", "multipart": True, "async": False}
ASYNC = {"type": "localFile", "multipart": True}


@pytest.fixture(scope="module")
def module_api(tmp_path_factory, migrated_sqlite):
    with running_api(tmp_path_factory.mktemp("api"), migrated_sqlite, upload_idle_seconds=1.0) as api:
        yield api


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
