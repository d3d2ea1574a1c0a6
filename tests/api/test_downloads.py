"""Downloads: rows as they are scored, an end only for what is whole, a break for what is not."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.api import running_api, wait_for

OFFICIAL = "DataRobotPythonClient/3.20.0 (Linux) Python-3.11"
HEADER, FIRST, SECOND = b"late_PREDICTION\n", b"0.5\n" * 3, b"0.25\n" * 2


class Download:
    """A download that is read in a thread, so that a test can look at what has come."""

    def __init__(self, api, job_id, agent="curl/8", token=None, timeout=20):
        self.connection = http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=timeout)
        headers = {
            "Authorization": f"Token {token or api.token}",
            "User-Agent": agent,
            "Accept-Encoding": "gzip, deflate",
        }
        self.connection.request("GET", f"/api/v2/batchPredictions/{job_id}/download/", headers=headers)
        self.response = self.connection.getresponse()
        self.body = b""
        self.error = None
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            while piece := self.response.read1(1 << 16):
                self.body += piece
        except http.client.HTTPException as error:
            self.error = error
        except OSError as error:
            self.error = error

    def end(self):
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.connection.close()
        return self.body


def begun(api, **values):
    """Return a job that runs."""
    job_id = api.job(**values)["id"]
    api.upload(job_id)
    return job_id, api.run(job_id)


def test_headers_come_at_once_and_rows_as_they_are_scored(api):
    job_id = api.job(csvSettings={"encoding": "latin-1"})["id"]
    download = Download(api, job_id)
    assert download.response.status == 200
    headers = download.response.headers
    assert headers["content-type"] == "text/csv; charset=latin-1"
    assert headers["content-disposition"] == f"attachment;filename=result-{job_id}.csv"
    assert headers["transfer-encoding"] == "chunked"
    assert "content-encoding" not in headers
    assert "content-length" not in headers
    api.upload(job_id)
    run = api.run(job_id)
    api.rows(run, HEADER)
    wait_for(lambda: download.body == HEADER, 2)
    api.rows(run, FIRST, 3)
    wait_for(lambda: download.body == HEADER + FIRST, 2)
    assert download.thread.is_alive()
    api.rows(run, SECOND, 2)
    api.complete(run)
    assert download.end() == HEADER + FIRST + SECOND
    assert download.error is None
    assert Download(api, job_id).end() == HEADER + FIRST + SECOND  # again


def test_new_rows_arrive_within_a_fraction_of_a_second(api):
    job_id, run = begun(api)
    download = Download(api, job_id)
    time.sleep(1)  # long enough for the stream to look rarely
    waits = []
    for number in range(5):
        before = len(download.body)
        api.rows(run, b"%d\n" % number, 1)
        start = time.monotonic()
        wait_for(lambda before=before: len(download.body) > before)
        waits.append(time.monotonic() - start)
    assert sorted(waits)[1] < 0.4  # the others may have come while the machine did other things
    api.complete(run)
    download.end()


def test_the_final_state_is_visible_before_the_stream_ends(api):
    job_id, run = begun(api)
    api.rows(run, HEADER)
    states = []

    def look():
        Download(api, job_id).end()
        states.append(api.status(job_id)["status"])

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    api.rows(run, FIRST, 3)
    time.sleep(0.2)
    api.complete(run)
    for thread in threads:
        thread.join(20)
    assert states == ["COMPLETED"] * 4


def test_a_result_of_many_large_segments(api):
    job_id, run = begun(api)
    blocks = [bytes([97 + n]) * 3_000_000 + b"\n" for n in range(6)]
    for block in blocks:
        api.rows(run, block, 1)
    api.complete(run)
    assert Download(api, job_id).end() == b"".join(blocks)


@pytest.mark.parametrize(
    ("agent", "passthrough", "breaks"),
    [
        (OFFICIAL, ["id"], False),
        (OFFICIAL, None, False),
        (OFFICIAL, ["id", "__DR_index__"], True),
        ("curl/8", ["id"], True),
        ("scoreline/0.1", None, True),
    ],
)
@pytest.mark.parametrize("how", ["user", "fault"])
def test_an_abort_ends_the_stream_as_the_client_needs_it(api, agent, passthrough, breaks, how):
    job_id, run = begun(api, passthroughColumns=passthrough)
    api.rows(run, HEADER)
    download = Download(api, job_id, agent)
    wait_for(lambda: download.body == HEADER)
    if how == "user":
        with api.client() as client:
            assert client.delete(f"batchPredictions/{job_id}/").status_code == 202
    else:
        api.fail(run, "Scoring failed: the model is broken.")
    download.end()
    assert (download.error is not None) is breaks
    with api.client() as client:
        later = client.get(f"batchPredictions/{job_id}/download/")
    assert later.status_code == 422
    assert api.status(job_id)["statusDetails"] in later.json()["message"]


def test_the_deleted_result_of_an_aborted_job_does_not_look_whole(api):
    job_id, run = begun(api)
    api.rows(run, HEADER)
    download = Download(api, job_id)
    wait_for(lambda: download.body == HEADER)
    api.rows(run, FIRST, 3)
    api.spool.delete_stream(f"results/{job_id}")
    api.fail(run, "Scoring failed.")
    download.end()
    assert download.error is not None


def test_a_result_that_is_deleted_just_before_the_abort_ends_as_an_abort(api, caplog):
    job_id, run = begun(api)
    api.rows(run, HEADER)
    api.spool.delete_stream(f"results/{job_id}")
    download = Download(api, job_id, OFFICIAL)
    time.sleep(0.3)
    api.fail(run, "Scoring failed.")
    assert download.end() == b""
    assert download.error is None
    assert "broke" not in caplog.text


def test_a_damaged_segment_breaks_the_stream(api, caplog):
    job_id, run = begun(api)
    api.rows(run, HEADER)
    api.rows(run, FIRST, 3)
    api.complete(run)
    file = next((api.settings.spool_dir / "results" / job_id).glob("000001*"))
    file.write_bytes(file.read_bytes().replace(b"0.5", b"0.7", 1))
    download = Download(api, job_id)
    assert download.end() == HEADER
    assert download.error is not None
    assert "damaged" in caplog.text


def test_the_patience_with_a_database_that_is_away(api, monkeypatch):
    from scoreline.errors import StoreError
    from scoreline.jobs import service

    job_id, run = begun(api)
    api.rows(run, HEADER)
    real, calls = service.result_since, []

    def flaky(*arguments):
        calls.append(1)
        if len(calls) % 2:
            raise StoreError("The database is away.")
        return real(*arguments)

    monkeypatch.setattr(service, "result_since", flaky)
    download = Download(api, job_id)
    wait_for(lambda: download.body == HEADER)
    api.complete(run)
    assert download.end() == HEADER
    assert download.error is None


def test_unknown_jobs_have_no_download(api):
    with api.client() as client:
        assert client.get("batchPredictions/0000/download/").status_code == 404


def test_a_deleted_result_is_not_found(api):
    import sqlalchemy as sa

    from scoreline.store import now
    from scoreline.store.tables.jobs import jobs

    job_id, run = begun(api)
    api.rows(run, HEADER)
    api.complete(run)
    with api.store.begin() as connection:
        connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(results_deleted_at=now()))
    with api.client() as client:
        response = client.get(f"batchPredictions/{job_id}/download/")
    assert response.status_code == 404
    assert "not kept" in response.json()["message"]
    assert api.status(job_id)["resultsDeleted"] is True


def test_blocked_downloads_leave_the_api_free(api):
    """More waiting downloads than there are threads, and everything else still answers at once."""
    job_id = api.job()["id"]
    downloads = [Download(api, job_id) for _ in range(80)]
    times = []
    with api.client() as client:
        for _ in range(30):
            start = time.monotonic()
            assert client.get(f"batchPredictions/{job_id}/").status_code == 200
            times.append(time.monotonic() - start)
    assert sorted(times)[-2] < 0.5
    api.upload(job_id)
    run = api.run(job_id)
    api.rows(run, HEADER)
    api.complete(run)
    assert {download.end() for download in downloads} == {HEADER}


def test_a_downloader_that_leaves_stops_nothing(api):
    job_id, run = begun(api)
    api.rows(run, HEADER)
    gone = Download(api, job_id)
    wait_for(lambda: gone.body == HEADER)
    gone.connection.sock.shutdown(socket.SHUT_RDWR)
    gone.end()
    api.rows(run, FIRST, 3)
    api.complete(run)
    assert Download(api, job_id).end() == HEADER + FIRST


def test_a_reader_that_is_slow_does_not_hold_the_others(api):
    job_id, run = begun(api)
    block = b"x" * 4_000_000
    for _ in range(8):
        api.rows(run, block, 1)
    headers = {"Authorization": f"Token {api.token}"}
    with httpx2.stream("GET", f"{api.endpoint}/batchPredictions/{job_id}/download/", headers=headers) as slow:
        pieces = slow.iter_raw(1000)
        next(pieces)
        api.complete(run)
        assert len(Download(api, job_id).end()) == 8 * len(block)
        assert 1000 + sum(map(len, pieces)) == 8 * len(block)


def test_a_server_that_goes_down_breaks_its_downloads(tmp_path, migrated_sqlite):
    with running_api(tmp_path, migrated_sqlite) as api:
        job_id, run = begun(api)
        api.rows(run, HEADER)
        downloads = [Download(api, job_id, agent) for agent in (OFFICIAL, "curl/8")]
        wait_for(lambda: all(download.body == HEADER for download in downloads))
        start = time.monotonic()
    assert time.monotonic() - start < 4
    for download in downloads:
        download.end()
        assert download.error is not None


def failed_rows(api, job_id, token=None):
    with api.client(token) as client:
        return client.get(f"batchPredictions/{job_id}/errors/")


def test_failed_rows_are_there_while_the_job_runs_and_afterwards(api):
    job = api.job()
    assert job["links"]["errors"] == f"{api.endpoint}/batchPredictions/{job['id']}/errors/"
    head = b"row_number,reason,source_row\n"
    waiting = failed_rows(api, job["id"])
    assert (waiting.status_code, waiting.content) == (200, head)
    api.upload(job["id"])
    run = api.run(job["id"])
    api.rows(run, HEADER)
    api.rows(run, FIRST, 3, failed=b'2,"no number","x,y"\n')
    assert failed_rows(api, job["id"]).content == head + b'2,"no number","x,y"\n'
    api.rows(run, SECOND, 2)
    api.rows(run, SECOND, 2, failed='7,"…","é"\n'.encode())
    api.complete(run)
    done = failed_rows(api, job["id"])
    assert done.content == head + '2,"no number","x,y"\n7,"…","é"\n'.encode()
    assert done.headers["content-type"] == "text/csv; charset=utf-8"
    assert done.headers["content-disposition"] == f"attachment;filename=errors-{job['id']}.csv"
    assert int(done.headers["content-length"]) == len(done.content)
    # What was lost is not passed over.
    api.spool.delete_stream(f"errors/{job['id']}")
    with pytest.raises(httpx2.RemoteProtocolError):
        failed_rows(api, job["id"])


def test_failed_rows_are_for_those_who_may_see_the_job(api):
    job_id = api.job()["id"]
    assert failed_rows(api, job_id, api.other("failed-rows-stranger", organisation="elsewhere")).status_code == 404
    assert failed_rows(api, "0" * 24).status_code == 404
