"""The same thing hundreds of times: claims at the same moment, and aborts."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier

import psutil
import pytest
import sqlalchemy as sa

from scoreline.jobs import lease
from scoreline.jobs.model import JobState, UploadState
from scoreline.store import Store, now
from scoreline.store.tables.jobs import jobs
from tests.fault.conftest import Case
from tests.support.cluster import Cluster
from tests.support.served import until
from tests.unit.jobs import world as worlds

pytestmark = pytest.mark.slow

CLAIMS = 250  # on each database
ABORTS = 500


def _claim_again_and_again(url: str, server_id: str, name: str, together: Barrier) -> list[tuple[str, int] | None]:
    """Claim at the moment at which the other worker does, and end what was got; return what that was."""
    store, found = Store(url), []
    for _ in range(CLAIMS):
        together.wait(60)
        run = lease.claim(store, server_id, name)
        together.wait(60)
        found.append(None if run is None else (run.job_id, run.fence))
        if run is not None:
            over = jobs.update().where(jobs.c.id == run.job_id).values(state=JobState.ABORTED)
            store.run(lambda connection, over=over: connection.execute(over))
    store.dispose()
    return found


def _second(results, *given) -> None:
    results.put(_claim_again_and_again(*given))


def test_of_two_workers_that_claim_at_once_one_gets_the_job(store: Store) -> None:
    world = worlds.build(store)
    url = store.url.render_as_string(hide_password=False)
    ids = [world.job(queued=False, upload_state=UploadState.DONE, queued_at=now()) for _ in range(CLAIMS)]
    context = multiprocessing.get_context("spawn")
    together, results = context.Barrier(2), context.Queue()
    other = context.Process(target=_second, args=(results, url, world.server_id, "second", together))
    other.start()
    found = _claim_again_and_again(url, world.server_id, "first", together)
    pairs = list(zip(found, results.get(timeout=60), strict=True))
    other.join(60)
    assert other.exitcode == 0
    assert [first is None for first, _ in pairs] == [second is not None for _, second in pairs]
    assert sorted(first or second for first, second in pairs) == sorted((job_id, 1) for job_id in ids)
    assert 0 < sum(first is None for first, _ in pairs) < CLAIMS, "they did not compete"


def test_hundreds_of_aborts_leave_no_handle_and_no_thread(here: Cluster, case: Case) -> None:
    """Before the data, in line, and in mid-run."""
    body = {"deploymentId": here.deployment, "chunkSize": 20_000}

    def abort(number: int) -> None:
        job_id = http.post("batchPredictions/", json=body).json()["id"]
        if number % 25 == 0:
            here.put(job_id, case.data)
        assert http.delete(f"batchPredictions/{job_id}/").status_code in {202, 204, 409}

    with here.http() as http, ThreadPoolExecutor(4) as pool:
        list(pool.map(abort, range(20)))
        time.sleep(1)
        before = here.handles(), _memory(here)
        list(pool.map(abort, range(ABORTS)))
    files = until(lambda: _back(here.handles(), before[0]), 20, f"{before[0]} before, {here.handles()} now")
    assert files
    for name, size in _memory(here).items():
        assert size < before[1][name] + (40 << 20), (name, before[1][name], size)
    with here.store() as store, store.read() as connection:
        assert not connection.scalar(sa.select(sa.func.count()).where(jobs.c.state.in_(("INITIALIZING", "RUNNING"))))
    until(lambda: not list((here.data / "spool" / "uploads").glob("*")), 20, "no upload is left")


def _memory(here: Cluster) -> dict[str, int]:
    return {name: psutil.Process(process.pid).memory_info().rss for name, process in here.processes.items()}


def _back(now: dict[str, tuple[int, int]], before: dict[str, tuple[int, int]]) -> bool:
    """A few connections and threads of pools may have been opened for good."""
    return all(now[name][0] <= files + 12 and now[name][1] <= threads + 12 for name, (files, threads) in before.items())
