"""API processes die, freeze and come back while data is sent: it may be sent again, and no row is lost or doubled."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
import sqlalchemy as sa

from scoreline.store.tables.jobs import ledger
from tests.fault.conftest import Case
from tests.support.api import SlowUpload
from tests.support.cluster import Cluster
from tests.support.matrix import rarely
from tests.support.served import until
from tests.support.server import ADMIN_TOKEN

HALF = 90_000  # bytes of the case's data: several chunks
NOTICED_SECONDS = 3.0  # from the moment that the API answers again
PARTS = {"type": "localFile", "multipart": True, "async": False}


@pytest.fixture(params=["sqlite", *rarely("postgres")])
def either(request: pytest.FixtureRequest) -> Cluster:
    return request.getfixturevalue({"sqlite": "here", "postgres": "there"}[request.param])


def begin(parts: Cluster, job_id: str, data: bytes, total: int, *, through: str = "api") -> SlowUpload:
    """Send some of an upload, and let the connection stand."""
    api = SimpleNamespace(url=f"http://127.0.0.1:{parts.ports[through]}", token=ADMIN_TOKEN)
    slow = SlowUpload(api, f"{job_id}/csvUpload/", f"Content-Length: {total}")
    slow.send(data)
    return slow


def rows_done(parts: Cluster, job_id: str) -> int:
    with parts.store() as store, store.read() as connection:
        query = sa.select(sa.func.coalesce(sa.func.sum(ledger.c.rows_read), 0)).where(ledger.c.job_id == job_id)
        return int(connection.scalar(query) or 0)


def staged(parts: Cluster, job_id: str) -> int:
    return sum(
        len((parts.data / "spool" / name).read_bytes()) for name in parts.staged(job_id) if name.endswith(".seg")
    )


def interrupted(parts: Cluster, job_id: str, words: str) -> None:
    until(
        lambda: words in parts.document(job_id)["statusDetails"],
        NOTICED_SECONDS,
        parts.document(job_id)["statusDetails"],
    )
    assert parts.status(job_id) == "INITIALIZING"


def test_the_api_is_killed_while_a_job_scores_what_comes_and_another_one_waits(either: Cluster, case: Case) -> None:
    parts, total = either, len(case.data)
    first, second, third = parts.job(), parts.job(), parts.job()
    sending = [begin(parts, first, case.data[:HALF], total)]
    until(lambda: rows_done(parts, first) > 500, 30, "rows of the first job")
    sending += [
        begin(parts, second, b"id,age,income\n" + b"x,1,2\n" * 50, total),
        begin(parts, third, case.data[:100], total),
    ]
    until(lambda: all(staged(parts, job_id) for job_id in (second, third)), 10, "the other uploads")
    parts.restart("api")
    for slow in sending:
        slow.close()
    interrupted(parts, first, f"the API server that received it ended after {HALF} bytes")
    interrupted(parts, third, "ended after 100 bytes")
    assert parts.put(second, case.data).status_code == 202  # other bytes: no row is done
    assert parts.put(first, case.data).status_code == 202
    for job_id in (first, second):
        assert parts.ended(job_id) == "COMPLETED"
        parts.check_whole(job_id, case.clean)
    assert parts.ended(third, 15) == "ABORTED"
    parts.check_aborted(third, "ended after 100 bytes, and it was not sent again within 5 s")


def test_other_bytes_after_rows_are_done_are_refused_and_end_the_job(here: Cluster, case: Case) -> None:
    job_id = here.job()
    slow = begin(here, job_id, case.data[:HALF], len(case.data))
    until(lambda: rows_done(here, job_id) > 500, 30, "rows")
    slow.close()
    interrupted(here, job_id, f"the client broke the connection after {HALF} bytes")
    other = bytearray(case.data)
    other[HALF - 3] ^= 1
    answer = here.put(job_id, bytes(other))
    assert answer.status_code == 409
    assert "differs from what was sent before" in answer.json()["message"]
    here.check_aborted(job_id, "differs from what was sent before")


POINTS = [
    ("spool.renamed", 1),
    ("upload.stored", 0),
    *rarely(("upload.block", 0), ("spool.written", 1), ("upload.written", 0)),
]


@pytest.mark.parametrize(("point", "skip"), POINTS)
def test_the_api_is_killed_at_a_moment_of_an_upload(here: Cluster, case: Case, point: str, skip: int) -> None:
    job_id = here.job()
    here.faults.arm(point, skip=skip, part="api")

    def body() -> Iterator[bytes]:
        yield case.data[:HALF]
        time.sleep(0.6)  # a segment of its own
        yield case.data[HALF:]

    with suppress(httpx2.HTTPError), here.http() as http:
        path = f"batchPredictions/{job_id}/csvUpload/"
        http.put(path, content=body(), headers={"Content-Type": "text/csv"})
    until(lambda: here.faults.happened(point), 30, point)
    here.start("api")
    if point != "upload.stored":  # all of it was there, and the job goes on by itself
        interrupted(here, job_id, "the API server that received it ended after")
        assert here.put(job_id, case.data).status_code == 202
    assert here.ended(job_id) == "COMPLETED"
    here.check_whole(job_id, case.clean)


def _cut(case: Case) -> list[bytes]:
    header, *lines = case.data.splitlines(keepends=True)
    third = len(lines) // 3
    return [header + b"".join(lines[start : start + third]) for start in range(0, len(lines), third)]


def finalise(parts: Cluster, job_id: str) -> httpx2.Response:
    with parts.http() as http:
        return http.post(f"batchPredictions/{job_id}/csvUpload/finalizeMultipart/")


def begin_part(parts: Cluster, job_id: str, number: int, body: bytes) -> SlowUpload:
    """Send some of a part."""
    api = SimpleNamespace(url=parts.api_url, token=ADMIN_TOKEN)
    slow = SlowUpload(api, f"{job_id}/csvUpload/part/{number}/", f"Content-Length: {len(body)}")
    slow.send(body[:1000])
    until(
        lambda: any(f"part-{number}." in name and name.endswith(".seg") for name in parts.staged(job_id)), 10, "a part"
    )
    return slow


def finish_parts(parts: Cluster, job_id: str, bodies: list[bytes]) -> None:
    """The last part is missed, sent, and some more is asked for that changes nothing."""
    answer = finalise(parts, job_id)
    assert (answer.status_code, "missing from the upload: 2;" in answer.json()["message"]) == (422, True)
    assert parts.status(job_id) in ("INITIALIZING", "RUNNING")
    assert parts.put(job_id, bodies[2], "part/2/").status_code == 202
    assert parts.put(job_id, bodies[0], "part/0/").status_code == 202  # once more
    assert finalise(parts, job_id).status_code == 202
    assert finalise(parts, job_id).status_code == 202
    assert parts.put(job_id, bodies[0], "part/3/").status_code == 409


def test_parts_that_are_scored_as_they_come_outlive_the_api(here: Cluster, case: Case) -> None:
    bodies, job_id = _cut(case), here.job(intakeSettings={"type": "localFile", "multipart": True})
    for number in (1, 0):
        assert here.put(job_id, bodies[number], f"part/{number}/").status_code == 202
    until(lambda: rows_done(here, job_id) > 500, 30, "rows")
    slow = begin_part(here, job_id, 2, bodies[2])
    here.restart("api")
    slow.close()
    interrupted(here, job_id, "a part broke off")
    finish_parts(here, job_id, bodies)
    assert here.ended(job_id) == "COMPLETED"
    here.check_whole(job_id, case.clean)


def test_every_process_is_killed_while_data_comes(there: Cluster, case: Case) -> None:
    bodies, whole, in_parts = _cut(case), there.job(), there.job(intakeSettings=PARTS)
    sending = [begin(there, whole, case.data[:HALF], len(case.data))]
    until(lambda: rows_done(there, whole) > 500, 30, "rows")
    for number in (1, 0):
        assert there.put(in_parts, bodies[number], f"part/{number}/").status_code == 202
    sending.append(begin_part(there, in_parts, 2, bodies[2]))
    for name in list(there.processes):
        there.kill(name)
    for slow in sending:
        slow.close()
    there.start(*there.processes)
    interrupted(there, whole, f"ended after {HALF} bytes")
    assert there.put(whole, case.data).status_code == 202
    finish_parts(there, in_parts, bodies)
    for job_id in (whole, in_parts):
        assert there.ended(job_id) == "COMPLETED"
        there.check_whole(job_id, case.clean)


@pytest.mark.parametrize("point", ["upload.finalising", *rarely("upload.finalised")])
def test_the_api_is_killed_while_parts_are_finalised(here: Cluster, case: Case, point: str) -> None:
    job_id = here.job(intakeSettings=PARTS)
    for number, body in enumerate(_cut(case)):
        assert here.put(job_id, body, f"part/{number}/").status_code == 202
    here.faults.arm(point, part="api")
    with suppress(httpx2.HTTPError):
        finalise(here, job_id)
    until(lambda: here.faults.happened(point), 30, point)
    here.start("api")
    if point == "upload.finalising":
        assert finalise(here, job_id).status_code == 202
    assert here.ended(job_id) == "COMPLETED"
    here.check_whole(job_id, case.clean)


@pytest.mark.parametrize("number", [signal.SIGSTOP, *rarely(signal.SIGKILL)], ids=["frozen", "killed"])
def test_one_of_two_apis_dies_or_freezes_and_the_other_one_takes_the_data(
    there: Cluster, case: Case, number: signal.Signals
) -> None:
    there.start("api2")
    try:
        job_id = there.job()
        slow = begin(there, job_id, case.data[:HALF], len(case.data), through="api2")
        until(lambda: rows_done(there, job_id) > 500, 30, "rows")
        there.kill("api2", number)
        start = time.monotonic()
        assert there.put(job_id, case.data).status_code == 202
        assert time.monotonic() - start < 20  # it does not wait until the other one is given up
        if number == signal.SIGSTOP:
            os.kill(there.processes["api2"].pid, signal.SIGCONT)
            slow.send(case.data[HALF:])
            assert slow.answer()[0] == 409
        slow.close()
        assert there.ended(job_id) == "COMPLETED"
        there.check_whole(job_id, case.clean)
    finally:
        there.kill("api2")
        del there.processes["api2"]


def test_the_memory_of_the_api_does_not_grow_with_an_upload(here: Cluster) -> None:
    job_id = here.job(intakeSettings=PARTS)
    block = b"0123456,55.5,1234.5\n" * 50_000

    def peak() -> int:
        status = Path(f"/proc/{here.processes['api'].pid}/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))

    with here.http() as http:
        path, csv = f"batchPredictions/{job_id}/csvUpload/part/0/", {"Content-Type": "text/csv"}
        assert http.put(path, content=(block for _ in range(10)), headers=csv).status_code == 202
        before = peak()
        assert http.put(path, content=(block for _ in range(200)), headers=csv).status_code == 202
        assert http.delete(f"batchPredictions/{job_id}/").status_code in {202, 204}
    assert peak() - before < 200 * len(block) // 2
    here.check_aborted(job_id)
