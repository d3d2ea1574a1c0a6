"""What it brings or costs to share a job: the same job with one worker and with two, in turn, on one machine.

The intake is a file on the server's disk, cut in partitions; the target another one. On a machine whose cores one
worker uses already a second one can gain nothing: then this shows what sharing costs.
"""

from __future__ import annotations

import hashlib
import os
import signal
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

from bench import data, measure
from bench.ledger import Parts
from bench.server import role

_POLL_SECONDS = 0.05
_TARGET = "scored-parts.csv"


class Sharing(Parts):
    """API, prediction server, and as many workers as are wanted; files of `size` bytes are cut in a dozen at least."""

    def __init__(self, size: int) -> None:
        super().__init__(SCORELINE_PARTITION_BYTES=str(min(64 << 20, size // 12)))


def compare(parts: Sharing, model: Path, source: Path, pairs: int) -> dict[str, object]:
    """Run pairs of jobs, by one worker and by two; return the medians. Ends the bench when they write other bytes."""
    deployment = parts.deploy(model, "shared")
    seen: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    digests = set[str]()
    with ExitStack() as stack:
        pids = [parts.start_worker(stack) for _ in range(2)]
        stack.callback(os.kill, pids[1], signal.SIGCONT)
        _run(parts, deployment, source, pids)  # a worker's first job is slower, and the second one's must not count
        for number in range(pairs):
            for workers in (1, 2) if number % 2 else (2, 1):
                os.kill(pids[1], signal.SIGSTOP if workers == 1 else signal.SIGCONT)
                found, digest = _run(parts, deployment, source, pids)
                seen[workers].append(found)
                digests.add(digest)
            one, two = seen[1][-1], seen[2][-1]
            print(
                f"  pair {number + 1}: {one['wall']:.2f} s by one, {two['wall']:.2f} s by two, which took "
                f"{two['ahead']:.0f} of {two['partitions']:.0f} partitions ahead",
                flush=True,
            )
    if len(digests) != 1:
        raise SystemExit("bench: two workers wrote other bytes than one")
    found: dict[str, object] = {
        name: {key: statistics.median(run[key] for run in seen[workers]) for key in ("wall", "cpu")}
        for workers, name in ((1, "one"), (2, "two"))
    }
    walls = {workers: statistics.median(run["wall"] for run in runs) for workers, runs in seen.items()}
    return {**found, "% longer": 100 * (walls[2] / walls[1] - 1), "runs": seen}


def _run(parts: Sharing, deployment: str, source: Path, pids: list[int]) -> tuple[dict[str, float], str]:
    """Run one job; return its seconds, those of all processors for it, and the digest of what it wrote."""
    before = measure.cpu_of([parts.pid, *pids], role)
    body = {
        "deploymentId": deployment,
        "passthroughColumns": ["id"],
        "intakeSettings": {"type": "filesystem", "path": source.name},
        "outputSettings": {"type": "filesystem", "path": _TARGET},
    }
    begun = time.perf_counter()
    status, job = parts.call("POST", "batchPredictions/", body)
    assert status == 202, job
    while (job := parts.call("GET", f"batchPredictions/{job['id']}/")[1])["status"] in ("INITIALIZING", "RUNNING"):
        time.sleep(_POLL_SECONDS)
    wall = time.perf_counter() - begun
    assert job["status"] == "COMPLETED", job["statusDetails"]
    after = measure.cpu_of([parts.pid, *pids], role)
    shared = parts.call("GET", f"batchPredictions/{job['id']}/partitions/")[1]["data"]
    with (data.DATA / _TARGET).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    (data.DATA / _TARGET).unlink()
    ahead = sum(part["rows"] is not None for part in shared)
    spent = sum(after.values()) - sum(before.values())
    return {"wall": wall, "cpu": spent, "partitions": len(shared), "ahead": ahead}, digest
