"""Datasets: API servers that are killed while one is made, and workers while one is read."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from scoreline.catalog import keeping
from scoreline.spool import open_spool
from tests.fault.conftest import Case
from tests.support.cluster import Cluster
from tests.support.served import names, until
from tests.support.server import ADMIN_TOKEN

pytestmark = pytest.mark.slow


def make(here: Cluster, body: bytes) -> Any:
    with here.http() as http:
        return http.post("datasets/fromFile/", files={"file": ("rows.csv", body)})


def all_made(here: Cluster) -> list[dict[str, Any]]:
    with here.http() as http:
        return list(http.get("datasets/").json()["data"])


def stored(here: Cluster) -> list[str]:
    return open_spool(here.data / "spool").blobs.list("datasets")


def test_an_api_killed_in_mid_upload_leaves_nothing(here: Cluster, case: Case) -> None:
    place, before = urlsplit(here.url), stored(here)
    head = (
        f"POST /api/v2/datasets/fromFile/ HTTP/1.1\r\nHost: x\r\nAuthorization: Token {ADMIN_TOKEN}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 900000000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    )
    scratch = here.data / "scratch"
    with socket.create_connection((place.hostname, place.port)) as sock:
        sock.sendall(head.encode() + case.data)
        until(lambda: scratch.exists() and names(scratch), 20, "nothing is received")
        here.processes["api"].kill()
        here.processes["api"].wait(10)
    assert names(scratch)
    here.start("api")
    until(lambda: not names(scratch), 20, "the scratch folder is not empty")
    assert (all_made(here), stored(here)) == ([], before)


def test_an_api_killed_before_it_could_tell_of_a_dataset(here: Cluster, case: Case) -> None:
    here.faults.arm("dataset.stored", part="api")
    with suppress(httpx2.TransportError):
        make(here, case.data)
    until(lambda: here.faults.happened("dataset.stored"), 20)
    here.processes["api"].wait(10)
    assert len(stored(here)) == 1
    here.start("api")
    [found] = until(lambda: [one for one in all_made(here) if one["processingState"] == "ERROR"], 20)
    with here.http() as http:
        details = http.get(f"datasets/{found['datasetId']}/").json()
        assert "the API server that made it ended; send the data again" in details["error"]
        with here.store() as store:
            assert keeping.delete_orphans(store, open_spool(here.data / "spool")) == 1
        assert http.delete(f"datasets/{found['datasetId']}/").status_code == 204
    assert (stored(here), names(here.data / "scratch")) == ([], [])


def test_a_worker_killed_while_it_reads_a_dataset(here: Cluster, case: Case) -> None:
    made = make(here, case.data).json()
    here.faults.arm("chunk.asking", skip=4, part="worker")
    job_id = here.job(intakeSettings={"type": "dataset", "datasetId": made["catalogId"]})
    here.reaped("chunk.asking")
    assert here.ended(job_id) == "COMPLETED"
    here.check_whole(job_id, case.clean)
    with here.http() as http:
        identity = http.get(f"batchPredictions/{job_id}/manifest/").json()["intake"]["identity"]
        assert identity["sha256"] == http.get(f"datasets/{made['catalogId']}/").json()["sha256"]
        assert http.delete(f"datasets/{made['catalogId']}/").status_code == 204
