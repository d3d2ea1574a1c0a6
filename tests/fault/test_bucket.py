"""An installation whose parts share no disk: a database and a bucket are all that they have in common."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from scoreline.jobs.parts import PartState
from scoreline.store.tables.jobs import job_partitions, ledger
from tests.fault.conftest import Case
from tests.support import spools, stores, tiny
from tests.support.api import SlowUpload
from tests.support.cluster import Cluster, cluster
from tests.support.misbehaving import Fault, Misbehaving, misbehaving
from tests.support.served import until
from tests.support.server import ADMIN_TOKEN

pytestmark = pytest.mark.slow

ROWS = 20_000
PART_BYTES = 100_000
HALF = 90_000
SLOW_DOWN = b"<Error><Code>SlowDown</Code></Error>"
MULTIPART = {"type": "localFile", "multipart": True}


@pytest.fixture(scope="module")
def large() -> Case:
    return Case(*tiny.scored(ROWS))


@pytest.fixture(scope="module")
def between(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Misbehaving]:
    """The store, and what may stand between it and all parts."""
    with (
        stores.s3(tmp_path_factory.mktemp("s3")) as server,
        misbehaving(server.url) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in spools.environment("s3", server, proxy.url).items():
            patch.setenv(name, value)
        yield proxy


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, postgres, migrated_postgres, between: Misbehaving
) -> Iterator[Cluster]:
    url = postgres.create("bucket", template=migrated_postgres)
    postgres.keep("bucket")
    with cluster(
        tmp_path_factory.mktemp("apart"),
        url,
        workers=2,
        spool_url="s3://box/spool/of-tests",
        SCORELINE_PARTITION_BYTES=str(PART_BYTES),
        SCORELINE_MASTER_KEY=os.urandom(32).hex(),
    ) as made:
        yield made
    postgres.drop("bucket")


@pytest.fixture
def apart(running: Cluster, between: Misbehaving) -> Iterator[Cluster]:
    yield running
    between.clear()
    running.mend()
    found = [path for path in running.folder.glob("data-*/**/*") if "spool" in path.parts or path.suffix == ".seg"]
    assert found == []


def _rows(apart: Cluster, job_id: str) -> int:
    with apart.store() as store, store.read() as connection:
        query = sa.select(sa.func.coalesce(sa.func.sum(ledger.c.rows_read), 0)).where(ledger.c.job_id == job_id)
        return int(connection.scalar(query) or 0)


def _begin(apart: Cluster, job_id: str, data: bytes, total: int) -> SlowUpload:
    api = SimpleNamespace(url=apart.url, token=ADMIN_TOKEN)
    slow = SlowUpload(api, f"{job_id}/csvUpload/", f"Content-Length: {total}")
    slow.send(data)
    return slow


def _whole(apart: Cluster, job_id: str, case: Case) -> None:
    assert apart.ended(job_id) == "COMPLETED", apart.document(job_id)["statusDetails"]
    apart.check_whole(job_id, case.clean)


def test_an_upload_is_scored_and_downloaded_while_it_comes(apart: Cluster, case: Case) -> None:
    job_id = apart.job()
    slow = _begin(apart, job_id, case.data[:HALF], len(case.data))
    until(lambda: _rows(apart, job_id) > 500, 30, "rows before the upload is whole")
    with apart.http() as http, http.stream("GET", f"batchPredictions/{job_id}/download/") as answer:
        first = next(answer.iter_raw())
    assert case.clean.startswith(first)
    got: list[bytes] = []
    follow = threading.Thread(target=lambda: got.append(apart.download(job_id, Range=f"bytes={len(first)}-")))
    follow.start()
    slow.send(case.data[HALF:])
    assert slow.answer()[0] == 202
    slow.close()
    follow.join(30)
    assert first + got[0] == case.clean
    _whole(apart, job_id, case)
    assert apart.download(job_id, Range="bytes=100-299") == case.clean[100:300]


def test_an_upload_in_parts(apart: Cluster, case: Case) -> None:
    head, _, rows = case.data.partition(b"\n")
    lines = rows.splitlines(keepends=True)
    for whole_first in (True, False):
        job_id = apart.job(intakeSettings=MULTIPART | {"async": not whole_first})
        for number in (1, 0, 2) if whole_first else (0, 1, 2):
            part = head + b"\n" + b"".join(lines[number * 2_000 : (number + 1) * 2_000])
            assert apart.put(job_id, part, f"part/{number}/").status_code == 202
        with apart.http() as http:
            assert http.post(f"batchPredictions/{job_id}/csvUpload/finalizeMultipart/").status_code == 202
        _whole(apart, job_id, case)


def test_a_dataset_is_stored_scored_and_read_back(apart: Cluster, case: Case) -> None:
    with apart.http(follow_redirects=True) as http:
        made = http.post("datasets/fromFile/", files={"file": ("rows.csv", case.data)})
        assert made.status_code == 202, made.text
        dataset = made.json()["catalogId"]
        until(lambda: http.get(f"datasets/{dataset}/").json().get("processingState") == "COMPLETED", 30, "the dataset")
        assert http.get(f"datasets/{dataset}/file/").content == case.data
    job_id = apart.job(intakeSettings={"type": "dataset", "datasetId": dataset}, outputSettings={"type": "localFile"})
    _whole(apart, job_id, case)
    with apart.http() as http:
        assert http.delete(f"datasets/{dataset}/").status_code == 204


def test_failed_rows_are_listed(apart: Cluster) -> None:
    data = b"id,age,income\n" + b"".join(b"%d,%s,3000\n" % (n, b"old" if n % 50 == 7 else b"30") for n in range(1000))
    job_id = apart.job(abortOnError=False, includePredictionStatus=True)
    assert apart.put(job_id, data).status_code == 202
    assert apart.ended(job_id) == "COMPLETED"
    with apart.http() as http:
        listed = http.get(f"batchPredictions/{job_id}/errors/").content
    assert apart.document(job_id)["failedRows"] == 20
    assert len(listed.splitlines()) == 21


def test_two_workers_share_a_job(apart: Cluster, large: Case) -> None:
    for name, known in apart.worker_ids.items():
        until(lambda name=name, known=known: known in (apart.folder / f"{name}.log").read_text(), 60, name)
    job_id = apart.job(intakeSettings={"type": "localFile", "async": False})
    assert apart.put(job_id, large.data).status_code == 202
    _whole(apart, job_id, large)
    query = sa.select(job_partitions).where(job_partitions.c.job_id == job_id)
    with apart.store() as store, store.read() as connection:
        found = list(connection.execute(query))
    assert {part.state for part in found} == {PartState.TAKEN}
    assert any(part.scored is not None for part in found)


MOMENTS = [("output.written", 1), ("spool.renamed", 2), ("output.committing", 0), ("output.committed", 0)]


@pytest.mark.parametrize(("point", "skip"), MOMENTS, ids=[name for name, _ in MOMENTS])
def test_a_worker_is_killed(apart: Cluster, case: Case, point: str, skip: int) -> None:
    apart.faults.arm(point, skip=skip, part="worker")
    job_id = apart.job()
    assert apart.put(job_id, case.data).status_code == 202
    apart.reaped(point)
    _whole(apart, job_id, case)


def test_the_api_is_killed_while_data_comes_and_it_is_sent_again(apart: Cluster, case: Case) -> None:
    job_id = apart.job()
    slow = _begin(apart, job_id, case.data[:HALF], len(case.data))
    until(lambda: _rows(apart, job_id) > 500, 30, "rows")
    apart.restart("api")
    slow.close()
    until(lambda: "API server that received it ended after" in apart.document(job_id)["statusDetails"], 5)
    assert apart.put(job_id, case.data).status_code == 202
    _whole(apart, job_id, case)


@pytest.mark.parametrize(
    ("calls", "fault"),
    [
        ("PUT .*results", {"status": 503, "body": SLOW_DOWN, "times": 6}),
        ("PUT .*results", {"lost": True, "times": 2}),
        ("GET .*uploads.*seg", {"cut": 1000, "times": 3}),
        ("PUT .*uploads.*seg", {"unsent": True, "times": 3}),
    ],
    ids=["results", "answers", "reading", "uploads"],
)
def test_a_store_that_is_away_for_a_moment_makes_the_job_wait(
    apart: Cluster, between: Misbehaving, case: Case, calls: str, fault: dict[str, Any]
) -> None:
    job_id = apart.job()
    made = Fault(calls, **fault)
    between.faults.append(made)
    assert apart.put(job_id, case.data).status_code == 202
    _whole(apart, job_id, case)
    assert made.times == 0


def test_a_store_that_is_away_for_seconds_makes_all_wait(apart: Cluster, between: Misbehaving, case: Case) -> None:
    running, coming = apart.job(), apart.job()
    slow = _begin(apart, running, case.data[:HALF], len(case.data))
    until(lambda: _rows(apart, running) > 500, 30, "rows")
    between.faults.append(Fault(".", unsent=True, times=100_000))
    threading.Timer(4, between.clear).start()
    slow.send(case.data[HALF:])
    assert apart.put(coming, case.data).status_code == 202
    assert slow.answer()[0] == 202
    slow.close()
    for job_id in (running, coming):
        _whole(apart, job_id, case)


def test_a_store_that_stays_away_ends_the_job_in_words(apart: Cluster, between: Misbehaving, case: Case) -> None:
    apart.env["SCORELINE_PATIENCE_SECONDS"] = "2"
    for name in ("worker", "worker2"):
        apart.restart(name)
    job_id = apart.job()
    between.faults.append(Fault("PUT .*results", unsent=True, times=100_000))
    assert apart.put(job_id, case.data).status_code == 202
    assert apart.ended(job_id) == "ABORTED"
    between.clear()
    apart.check_aborted(job_id, "cannot write results/", "s3://box does not answer as it should")
    del apart.env["SCORELINE_PATIENCE_SECONDS"]
    for name in ("worker", "worker2"):
        apart.restart(name)


def test_what_an_aborted_job_has_in_the_bucket_is_deleted(apart: Cluster, case: Case) -> None:
    job_id = apart.job()
    slow = _begin(apart, job_id, case.data[:HALF], len(case.data))
    until(lambda: _rows(apart, job_id) > 500, 30, "rows")
    with apart.http() as http:
        assert http.delete(f"batchPredictions/{job_id}/").status_code == 202
    slow.close()
    assert apart.ended(job_id) == "ABORTED"
    until(lambda: not apart.staged(job_id), 15, "what was staged is deleted")
    kinds = {key.split("/")[0] for key in apart.spool().blobs.list("")}
    assert kinds <= {"results", "errors", "artifacts", "datasets", "pieces"}, kinds
