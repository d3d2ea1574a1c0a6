"""What the ledger costs: the same job with it and without, in turn; CPU seconds of worker and API.

The parts run one by one, with files on the server's disk as source and target: without a ledger nobody could download.
The worker is `python -m bench.ledger`; without a ledger it keeps in memory what that would record.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from bench import data, measure
from bench.server import SCORELINE, Server, role
from scoreline.cli.signals import set_soon
from scoreline.engines.local import MemoryLedger
from scoreline.jobs import ledger as ledgers
from scoreline.jobs import running
from scoreline.jobs.worker import run_worker
from scoreline.settings import Settings
from scoreline.types import Counts, Flush

_POLL_SECONDS = 0.2
_PAIRS = 5


class Parts(Server):
    """API and prediction server without a worker."""

    def __init__(self, **env: str) -> None:
        super().__init__(env={"SCORELINE_FILES_DIR": str(data.DATA), **env}, part="api")
        self._predictor: subprocess.Popen[bytes] | None = None

    def start_predictor(self) -> None:
        """Start the prediction server, and wait until it is known."""
        made = subprocess.run(
            [*SCORELINE, "token", "create", "bench", "--predictor"],
            env=self.env,
            capture_output=True,
            text=True,
            check=True,
        )
        env = {**self.env, "SCORELINE_PREDICTOR_TOKEN": made.stdout.split()[-1], "SCORELINE_API_URL": self.url}
        command = [*SCORELINE, "predictor", "--name", "bench"]
        self._predictor = subprocess.Popen(command, env=env, stdout=self.log, stderr=self.log)
        while not self.call("GET", "predictionServers/")[1]["data"]:
            time.sleep(0.1)

    @property
    def predictor_pid(self) -> int:
        """The process id of the prediction server."""
        assert self._predictor is not None
        return self._predictor.pid

    def worker(self, *, ledger: bool) -> subprocess.Popen[bytes]:
        """Start a worker, and wait until it is ready."""
        started = self.ready_workers()
        command = [sys.executable, "-m", "bench.ledger", "with" if ledger else "without", "worker"]
        process = subprocess.Popen(command, env=self.env, stdout=self.log, stderr=self.log)
        while self.ready_workers() == started:
            time.sleep(0.1)
        return process

    def start_worker(self, stack: ExitStack) -> int:
        """Start a worker for as long as the stack is open, and wait until it is ready; return its process id."""
        started = self.ready_workers()
        process = subprocess.Popen([*SCORELINE, "worker"], env=self.env, stdout=self.log, stderr=self.log)
        stack.callback(process.wait, 30)
        stack.callback(process.terminate)
        while self.ready_workers() == started:
            time.sleep(0.1)
        return process.pid

    def ready_workers(self) -> int:
        """Return how many workers have come up since the start."""
        return (self.folder / "log.txt").read_text(errors="replace").count("worker is ready")

    def __exit__(self, *error: object) -> None:
        if self._predictor is not None:
            self._predictor.terminate()
            self._predictor.wait(30)
        super().__exit__(*error)


def compare(parts: Parts, model: Path, workload: str, source: Path) -> dict[str, object]:
    """Run pairs of jobs; return the medians of the CPU seconds, and what the ledger adds to them in percent."""
    deployment = parts.deploy(model, f"{workload} with files")
    seen: dict[bool, list[float]] = {True: [], False: []}
    for number in range(_PAIRS):
        for ledger in (True, False) if number % 2 else (False, True):
            seen[ledger].append(_run(parts, deployment, source, ledger=ledger))
        print(f"  pair {number + 1}: {seen[True][-1]:.2f} CPU s with, {seen[False][-1]:.2f} without", flush=True)
    with_it, without = statistics.median(seen[True]), statistics.median(seen[False])
    return {
        "CPU s with": with_it,
        "CPU s without": without,
        "% more": 100 * (with_it / without - 1),
        "with": seen[True],
        "without": seen[False],
    }


def _run(parts: Parts, deployment: str, source: Path, *, ledger: bool) -> float:
    """Run one job; return the CPU seconds of API and worker from its creation to its end."""
    process = parts.worker(ledger=ledger)
    try:
        before = measure.cpu_of([parts.pid, process.pid], role)
        body = {
            "deploymentId": deployment,
            "passthroughColumns": ["id"],
            "intakeSettings": {"type": "filesystem", "path": source.name},
            "outputSettings": {"type": "filesystem", "path": "scored-ledger.csv"},
        }
        status, job = parts.call("POST", "batchPredictions/", body)
        assert status == 202, job
        while (job := parts.call("GET", f"batchPredictions/{job['id']}/")[1])["status"] in ("INITIALIZING", "RUNNING"):
            time.sleep(_POLL_SECONDS)
        assert job["status"] == "COMPLETED", job["statusDetails"]
        after = measure.cpu_of([parts.pid, process.pid], role)
    finally:
        process.terminate()
        process.wait(30)
        with suppress(FileNotFoundError):
            (data.DATA / "scored-ledger.csv").unlink()
    return sum(after.values()) - sum(before.values())


def without_ledger() -> None:
    """Let this process's runs record nothing in the database but their end."""

    class Unrecorded(MemoryLedger):
        def __init__(self, *_: object, **__: object) -> None:
            super().__init__()
            flushes.append(self)

    flushes: list[Unrecorded] = []

    def total(*_: object) -> tuple[Counts, int]:
        known: Sequence[Flush] = flushes[-1].flushes()
        return sum((each.counts for each in known), Counts()), sum(each.bytes_out for each in known)

    running.StoreLedger = Unrecorded  # type: ignore[assignment,misc]
    ledgers.total = total  # type: ignore[assignment]


def main() -> None:
    """Run a worker."""
    if sys.argv[1] == "without":
        without_ledger()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: set_soon(stop))
    run_worker(Settings(), stop)


if __name__ == "__main__":
    main()
