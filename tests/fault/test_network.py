"""Lines between client, API, worker, prediction server and database that are slow, break, or carry nothing."""

from __future__ import annotations

import time

import httpx2
import pytest

from tests.fault.conftest import Case
from tests.support.cluster import LEASE_SECONDS, Cluster
from tests.support.matrix import rarely
from tests.support.postgres import PostgresServer
from tests.support.proxy import TcpProxy
from tests.support.served import until

CLOGGED_SECONDS = 2 * LEASE_SECONDS
DATABASE = ("api", "worker", "worker2")


def _begun(there: Cluster, case: Case, seconds: float = 0.5) -> tuple[str, str]:
    """Start a job and wait until it is in its middle; return its id and the name of its worker."""
    job_id = there.job()
    there.faults.arm("chunk.asking", "sleep", skip=3, seconds=seconds, part="worker")
    assert there.put(job_id, case.data).status_code == 202
    process = until(lambda: there.faults.happened("chunk.asking"), 30)
    return job_id, next(name for name, known in there.processes.items() if known.pid == process)


def _whole(there: Cluster, job_id: str, case: Case) -> None:
    there.ended(job_id)
    there.check_whole(job_id, case.clean)


def test_a_slow_client_takes_its_time_and_nothing_else(there: Cluster, case: Case) -> None:
    """Idle limits are for silence, not for slowness."""
    wire = there.wires["client"]
    wire.latency, wire.rate = 0.02, 200_000.0
    job_id = there.job()
    begun = time.monotonic()
    assert there.put(job_id, case.data).status_code == 202
    assert time.monotonic() - begun > len(case.data) / 200_000
    assert there.download(job_id) == case.clean
    _whole(there, job_id, case)


def test_a_download_that_is_cut_goes_on_where_it_was(there: Cluster, case: Case) -> None:
    job_id, _ = _begun(there, case)
    there.wires["client"].cut = ("down", 100_000)
    got = b""
    with pytest.raises(httpx2.HTTPError), there.http() as http:  # noqa: PT012, SIM117
        with http.stream("GET", f"batchPredictions/{job_id}/download/") as answer:
            for block in answer.iter_bytes():
                got += block
    assert got
    assert case.clean.startswith(got)
    assert got + there.download(job_id, Range=f"bytes={len(got)}-") == case.clean
    _whole(there, job_id, case)


def _slow(wire: TcpProxy) -> None:
    wire.latency, wire.rate = 0.05, 400_000.0


def _cut_up(wire: TcpProxy) -> None:
    wire.reset()  # a new connection counts from nothing
    wire.cut = ("up", 5_000)


def _cut_down(wire: TcpProxy) -> None:
    wire.reset()
    wire.cut = ("down", 2_000)


def _refused(wire: TcpProxy) -> None:
    wire.refusing = True
    wire.reset()


def _one_way(wire: TcpProxy) -> None:
    """Requests arrive, answers do not, for longer than a call may take."""
    wire.clog("down")


LINES = [_cut_up, _one_way, *rarely(_slow, _cut_down, _refused)]


@pytest.mark.parametrize("fault", LINES, ids=lambda fault: fault.__name__[1:])
def test_the_line_to_the_prediction_server(there: Cluster, case: Case, fault) -> None:
    job_id, _ = _begun(there, case)
    wire = there.wires["scorer"]
    before = wire.connections
    fault(wire)
    if fault in (_refused, _one_way):
        time.sleep(5 if fault is _one_way else 2)  # a call may take 4 s here
        assert there.status(job_id) == "RUNNING"
        wire.clean()
    _whole(there, job_id, case)
    assert wire.cut is None
    assert fault is _slow or wire.connections > before


def test_connections_to_the_database_that_break_again_and_again(there: Cluster, case: Case) -> None:
    job_id, _ = _begun(there, case)
    broken = 0
    for _ in range(8):
        broken += sum(there.wires[name].reset() for name in DATABASE)
        time.sleep(0.15)
    assert broken
    _whole(there, job_id, case)


def test_a_database_that_answers_nobody_for_longer_than_a_lease(there: Cluster, case: Case) -> None:
    """No worker can tell whether another one lives, so none takes a job from it."""
    job_id, _ = _begun(there, case)
    for name in DATABASE:
        there.wires[name].clog()
    time.sleep(CLOGGED_SECONDS)
    for name in DATABASE:
        there.wires[name].clean()
    _whole(there, job_id, case)


def test_a_worker_that_alone_loses_the_database_loses_its_job(there: Cluster, case: Case) -> None:
    job_id, worker = _begun(there, case, seconds=1.0)
    there.wires[worker].clog()
    until(lambda: there.ended(job_id) == "COMPLETED", 30, "the end with another worker")
    there.check_whole(job_id, case.clean)
    there.wires[worker].clean()
    time.sleep(0.5)  # it tries to go on
    there.check_whole(job_id, case.clean)


def test_a_database_server_that_is_killed_and_comes_back(there: Cluster, case: Case, postgres: PostgresServer) -> None:
    job_id, _ = _begun(there, case)
    postgres.kill()
    try:
        time.sleep(CLOGGED_SECONDS)
        with there.http() as http:
            answer = http.get(f"batchPredictions/{job_id}/")
        assert answer.status_code == 503
        assert "database" in answer.json()["message"]
    finally:
        postgres.start_again()
    _whole(there, job_id, case)
