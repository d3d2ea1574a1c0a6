"""How the API behaves under load, spoken to with plain HTTP: upload speed, and answers to GET while a job runs."""

from __future__ import annotations

import http.client
import threading
import time
from pathlib import Path

from bench.server import Server

_BLOCK_BYTES = 1 << 20
_PAUSE = 0.02


def upload(server: Server, deployment: str, source: Path) -> dict[str, float]:
    """Upload a file that nobody reads yet; return MB/s (10^6 bytes) and the longest pause of one send in seconds."""
    job = _create(server, deployment, {"type": "localFile", "async": False})
    begun = time.perf_counter()
    longest = _put(server, job, source)
    spent = time.perf_counter() - begun
    server.call("DELETE", f"batchPredictions/{job}/")
    return {"MB/s": source.stat().st_size / spent / 1e6, "longest pause s": longest}


def answers_under_load(server: Server, deployment: str, source: Path) -> dict[str, float]:
    """Ask for a job all the time while it runs; return how long the answers took, in milliseconds."""
    job = _create(server, deployment, {"type": "localFile"})
    threads = [
        threading.Thread(target=_put, args=(server, job, source)),
        threading.Thread(target=_fetch, args=(server, job)),
    ]
    for thread in threads:
        thread.start()
    connection = _connect(server)
    times = []
    while any(thread.is_alive() for thread in threads):
        begun = time.perf_counter()
        connection.request("GET", f"/api/v2/batchPredictions/{job}/", headers=_headers(server))
        answer = connection.getresponse()
        answer.read()
        times.append((time.perf_counter() - begun) * 1000)
        assert answer.status == 200, answer.status
        time.sleep(_PAUSE)
    connection.close()
    state = server.call("GET", f"batchPredictions/{job}/")[1]["status"]
    assert state == "COMPLETED", state
    times.sort()
    return {"median ms": times[len(times) // 2], "p99 ms": times[int(len(times) * 0.99)], "asked": len(times)}


def _create(server: Server, deployment: str, intake: dict) -> str:
    body = {"deploymentId": deployment, "intakeSettings": intake, "passthroughColumns": ["id"]}
    status, job = server.call("POST", "batchPredictions/", body)
    assert status == 202, (status, job)
    return str(job["id"])


def _put(server: Server, job: str, source: Path) -> float:
    """Send a file as the job's data; return the seconds of the slowest send."""
    longest = 0.0
    connection = _connect(server)
    connection.putrequest("PUT", f"/api/v2/batchPredictions/{job}/csvUpload/")
    for name, value in {
        **_headers(server),
        "Content-Type": "text/csv",
        "Content-Length": str(source.stat().st_size),
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    with source.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            begun = time.perf_counter()
            connection.send(block)
            longest = max(longest, time.perf_counter() - begun)
    answer = connection.getresponse()
    assert answer.status == 202, (answer.status, answer.read())
    connection.close()
    return longest


def _fetch(server: Server, job: str) -> None:
    while "download" not in server.call("GET", f"batchPredictions/{job}/")[1]["links"]:
        time.sleep(0.1)
    connection = _connect(server)
    connection.request("GET", f"/api/v2/batchPredictions/{job}/download/", headers=_headers(server))
    answer = connection.getresponse()
    while answer.read(_BLOCK_BYTES):
        pass
    connection.close()


def _connect(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)


def _headers(server: Server) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.token}"}
