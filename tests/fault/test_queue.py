"""A thousand jobs in line: they outlive every restart, in their order, and cost next to nothing while they wait."""

from __future__ import annotations

import os
import time
from pathlib import Path

import httpx2
import sqlalchemy as sa

from scoreline.jobs import states
from scoreline.jobs import store as rows
from scoreline.store import Store, new_id, now
from scoreline.store.tables.jobs import jobs
from tests.support import tiny
from tests.support.served import Served, scoreline, served, until

WAITING = 1000
START_SECONDS = 60.0  # 10 on a machine that does nothing else
GROWTH = 48 << 20  # bytes; what a worker needs for the first job that it runs


def test_a_thousand_jobs_in_line(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "in.csv").write_text(tiny.rows(20)[0])
    env = {"SCORELINE_FILES_DIR": str(tmp_path / "files")}
    with served(tmp_path, env=env) as server:
        first = _first_job(server, tmp_path)
    server.ready.unlink(missing_ok=True)
    line = _fill(server.data / "scoreline.db", first)
    for more in (8, 3):
        begun = time.monotonic()
        server = Served(tmp_path, env=env)
        try:
            server.wait()
            assert time.monotonic() - begun < START_SECONDS
            _look_at(server, line, more)
            for process in [*server.tree(), server.process]:
                process.kill()
            server.process.wait()
        finally:
            server.stop()
            server.ready.unlink(missing_ok=True)


def _first_job(server: Served, folder: Path) -> str:
    """Deploy a model and score a file with it; return the job's id."""
    deployed = scoreline("deploy", str(tiny.save(folder / "model.txt")), "--name", "x", *tiny.DEPLOY, env=server.env)
    assert deployed.returncode == 0, deployed.stderr
    body = {
        "deploymentId": deployed.stdout.strip(),
        "intakeSettings": {"type": "filesystem", "path": "in.csv"},
        "outputSettings": {"type": "filesystem", "path": "out.csv"},
    }
    with _http(server) as http:
        made = http.post("batchPredictions/", json=body)
        assert made.status_code == 202, made.text
        first = made.json()["id"]
        until(lambda: http.get(f"batchPredictions/{first}/").json()["status"] == "COMPLETED", what="the first job")
    return str(first)


def _fill(database: Path, first: str) -> list[str]:
    """Put jobs like the first in line, a tenth of them with a higher priority; return their ids as they are due."""
    due: list[tuple[int, int, str]] = []
    store = Store(f"sqlite:///{database}")
    with store.begin() as connection:
        row = dict(connection.execute(sa.select(jobs).where(jobs.c.id == first)).mappings().one())
        fresh = dict.fromkeys(("started_at", "finished_at", "reason", "cleaned_at", "committing_at"))
        for number in range(WAITING):
            values = {"id": new_id(), "state": "INITIALIZING", "priority": int(number % 10 == 5), "created_at": now()}
            rows.insert(connection, row | fresh | values | {"queued_at": None, "fence": 0})
            assert states.enqueue(connection, str(values["id"]))
            due.append((-int(number % 10 == 5), number, str(values["id"])))
    store.dispose()
    return [job_id for _, _, job_id in sorted(due)]


def _look_at(server: Served, line: list[str], more: int) -> None:
    """Each job's place is right and quickly told, jobs are run in their order, and memory stays as it is."""
    with _http(server) as http:
        done = _begun(server, line)
        worker, api = server.part("worker"), server.part("api")
        assert worker is not None
        assert api is not None
        until(lambda: _begun(server, line) >= done + 3, what="the next jobs")
        before = [worker.memory_info().rss, api.memory_info().rss]
        asked = []
        for _ in range(30):
            begun = time.monotonic()
            job = http.get(f"batchPredictions/{line[-1]}/").json()
            asked.append(time.monotonic() - begun)
            assert job.get("status") == "INITIALIZING", job
        assert sorted(asked)[len(asked) // 2] < 0.1 * _busy()
        listed = http.get("batchPredictions/", params={"limit": 100, "status": "INITIALIZING"}).json()["data"]
        assert len(listed) == 100
        places = {job["id"]: job["queuePosition"] for job in listed}
        order = [job_id for job_id in line if job_id in places]
        assert [places[job_id] for job_id in order] == sorted(places.values())
        until(lambda: _begun(server, line) >= done + 3 + more, 60, "more jobs")
        after = [worker.memory_info().rss, api.memory_info().rss]
    assert all(now_ - then < GROWTH for now_, then in zip(after, before, strict=True)), (before, after)


def _begun(server: Served, line: list[str]) -> int:
    """Number of jobs that were begun; they are the first in line, begun one after the other."""
    store = Store(f"sqlite:///{server.data / 'scoreline.db'}")
    query = sa.select(jobs.c.id).where(jobs.c.started_at.is_not(None)).order_by(jobs.c.started_at, jobs.c.id)
    with store.read() as connection:
        begun = [job_id for job_id in connection.scalars(query) if job_id in set(line)]
    store.dispose()
    assert begun == line[: len(begun)]
    return len(begun)


def _http(server: Served) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {server.token}"}
    return httpx2.Client(base_url=f"{server.url}/api/v2/", headers=headers, trust_env=False, timeout=30)


def _busy() -> float:
    """How many times slower this machine is than a quiet one."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
