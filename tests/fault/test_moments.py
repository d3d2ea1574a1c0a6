"""A process is killed at a named moment: the job's output has the bytes of an undisturbed run, and nothing is left."""

from __future__ import annotations

import errno
import json
import os
import signal

import psutil
import pytest

from tests.fault.conftest import Case
from tests.support.cluster import Cluster
from tests.support.matrix import rarely
from tests.support.served import until

# The moment, how often it passes unharmed before: first the header is written, then the first rows, then the rest.
WORKER_MOMENTS = [
    ("job.claiming", 0),
    ("output.begun", 0),
    ("chunk.asking", 2),
    ("output.writing", 2),
    ("spool.renamed", 1),
    ("ledger.recording", 1),
    ("output.committing", 0),
    ("job.completing", 0),
    ("job.cleaning", 0),
    *rarely(
        ("job.claimed", 0),
        ("output.prepared", 0),
        ("output.writing", 0),
        ("spool.written", 1),
        ("spool.synced", 1),
        ("output.written", 2),
        ("ledger.recorded", 2),
        ("output.committed", 0),
        ("job.completed", 0),
    ),
]
DATABASE_MOMENTS = ["output.written", *rarely("job.claiming", "job.completing", "ledger.recording")]
FILE_MOMENTS = [("file.renaming", 0), ("file.renamed", 0), *rarely(("file.written", 1), ("output.begun", 0))]
FOLDER_MOMENTS = [("folder.placed", 0), *rarely(("folder.file", 1), ("job.completing", 0))]


def _kill_worker(parts: Cluster, case: Case, point: str, skip: int) -> None:
    job_id = parts.job()
    parts.faults.arm(point, skip=skip, part="worker")
    assert parts.put(job_id, case.data).status_code == 202
    if point == "output.written":  # nobody knows of its death: its lease must run out
        until(lambda: parts.faults.happened(point), 30, point)
    else:
        parts.reaped(point)
    parts.ended(job_id)
    parts.check_whole(job_id, case.clean)


@pytest.mark.parametrize(("point", "skip"), WORKER_MOMENTS)
def test_worker_killed(here: Cluster, case: Case, point: str, skip: int) -> None:
    _kill_worker(here, case, point, skip)


@pytest.mark.parametrize("point", DATABASE_MOMENTS)
def test_worker_killed_on_postgres(there: Cluster, case: Case, point: str) -> None:
    _kill_worker(there, case, point, 0 if point.startswith("job") else 1)


@pytest.mark.parametrize(("point", "skip"), FILE_MOMENTS)
def test_worker_killed_while_it_writes_a_file(here: Cluster, case: Case, point: str, skip: int) -> None:
    (here.files / "in.csv").write_bytes(case.data)
    output = here.files / "out.csv"
    output.write_text("of an earlier job")
    here.faults.arm(point, skip=skip, part="worker")
    job_id = here.job(
        intakeSettings={"type": "filesystem", "path": "in.csv"},
        outputSettings={"type": "filesystem", "path": "out.csv"},
    )
    here.reaped(point)
    assert output.read_bytes() == (case.clean if point == "file.renamed" else b"of an earlier job")
    here.ended(job_id)
    here.check_whole(job_id, case.clean, output=output)


@pytest.mark.parametrize(("point", "skip"), FOLDER_MOMENTS)
def test_worker_killed_while_it_ends_a_divided_folder(here: Cluster, case: Case, point: str, skip: int) -> None:
    head, *lines = case.data.splitlines()
    rows = [b"%s,%d" % (line, number % 3) for number, line in enumerate(lines)]
    (here.files / "divided.csv").write_bytes(b"\n".join([head + b",k", *rows, b""]))
    here.faults.arm(point, skip=skip, part="worker")
    job_id = here.job(
        intakeSettings={"type": "filesystem", "path": "divided.csv"},
        outputSettings={"type": "filesystem", "path": f"divided-{point}/", "partitionColumns": ["k"]},
    )
    here.reaped(point)
    folder = here.files / f"divided-{point}"
    assert (folder / "_manifest.json").exists() == (point != "folder.file")
    assert here.ended(job_id) == "COMPLETED"
    header, *clean = case.clean.splitlines(keepends=True)
    wanted = {f"k={part}/part-0.csv": header + b"".join(clean[part::3]) for part in range(3)}
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert json.loads(found.pop("_manifest.json"))["rows"] == len(lines)
    assert found == wanted
    until(lambda: not here.staged(job_id), 15, f"{here.staged(job_id)} are left")


def test_prediction_server_killed_over_a_chunk(here: Cluster, case: Case) -> None:
    job_id = here.job()
    here.faults.arm("batch.scoring", skip=2)
    here.put(job_id, case.data)
    until(lambda: here.faults.happened("batch.scoring"), 30)
    here.processes["predictor"].wait(10)
    here.start("predictor")
    here.ended(job_id)
    here.check_whole(job_id, case.clean)


def test_model_process_killed_over_a_chunk(here: Cluster, case: Case) -> None:
    job_id = here.job()
    model = here.model_process()
    here.faults.arm("chunk.asking", "sleep", skip=2, seconds=0.5, part="worker")
    here.put(job_id, case.data)
    until(lambda: here.faults.happened("chunk.asking"), 30)
    model.kill()
    here.ended(job_id)
    here.check_whole(job_id, case.clean)


@pytest.mark.parametrize("point", ["output.written", *rarely("spool.written", "ledger.recording", "job.completing")])
def test_worker_frozen_beyond_its_lease(there: Cluster, case: Case, point: str) -> None:
    """Another worker goes on; what the first one does when it wakes is refused.

    On SQLite a process that is frozen inside a transaction keeps all others from writing until it wakes.
    """
    job_id = there.job()
    there.faults.arm(point, "stop", skip=0 if point.startswith("job") else 1, part="worker")
    there.put(job_id, case.data)
    frozen = until(lambda: there.faults.happened(point), 30, point)
    if point != "ledger.recording":  # its transaction has the lock on the job
        there.ended(job_id)
    os.kill(frozen, signal.SIGCONT)
    there.ended(job_id)
    there.check_whole(job_id, case.clean)
    assert psutil.pid_exists(frozen)


def test_a_result_that_cannot_be_synced_ends_the_job_in_words(here: Cluster, case: Case) -> None:
    """A failed fsync counts as a lost write: it is not tried again and trusted."""
    job_id = here.job()
    here.faults.arm("spool.written", "raise", skip=1, part="worker", errno=errno.EIO)
    here.put(job_id, case.data)
    assert here.ended(job_id) == "ABORTED"
    here.check_aborted(job_id, "Spool", "Input/output error")


@pytest.mark.parametrize("kind", ["filesystem", *rarely("localFile")])
def test_a_worker_killed_before_it_can_say_why_a_job_failed(here: Cluster, case: Case, kind: str) -> None:
    """The next one finds what the first had written, and comes to the same end."""
    head, *lines = case.data.splitlines()
    # The rows that are too many are in the last chunk: the next run has none to score any more.
    bad = b"\n".join([head, *lines[:-800], *[line.replace(b",", b",x", 1) for line in lines[-800:]], b""])
    places = {}
    if kind == "filesystem":
        (here.files / "in.csv").write_bytes(bad)
        places = {"intakeSettings": {"type": kind, "path": "in.csv"}, "outputSettings": {"type": kind, "path": "b.csv"}}
    here.faults.arm("job.failing", part="worker")
    job_id = here.job(abortOnError=True, **places)
    if not places:
        assert here.put(job_id, bad).status_code == 202
    here.reaped("job.failing")
    assert here.ended(job_id) == "ABORTED"
    here.check_aborted(job_id, "abortOnError allows")
    until(lambda: not list(here.files.glob("*b.csv*")), 15, "the end of what was written")


def test_a_disk_that_turns_read_only_refuses_uploads_in_words(here: Cluster, case: Case) -> None:
    job_id = here.job()
    here.faults.arm("spool.written", "raise", part="api", errno=errno.EROFS)
    answer = here.put(job_id, case.data)
    assert answer.status_code == 507
    assert "Read-only file system" in answer.json()["message"]
    assert here.ended(job_id) == "ABORTED"
    here.check_aborted(job_id, "Read-only file system")


@pytest.mark.parametrize("patient", [True, *rarely(False)], ids=["waited for", "killed"])
def test_a_worker_is_told_to_stop_in_mid_job(here: Cluster, case: Case, patient: bool) -> None:
    """It gives its job back; or it is told twice, and killed before it could."""
    job_id = here.job()
    here.faults.arm("chunk.asking", "sleep", skip=3, seconds=1.0, part="worker")
    here.put(job_id, case.data)
    process = until(lambda: here.faults.happened("chunk.asking"), 30)
    name = next(name for name, known in here.processes.items() if known.pid == process)
    os.kill(process, signal.SIGTERM)
    if not patient:
        os.kill(process, signal.SIGTERM)
        os.kill(process, signal.SIGKILL)
    assert here.processes[name].wait(20) == (0 if patient else -signal.SIGKILL)
    assert here.ended(job_id) == "COMPLETED"
    here.check_whole(job_id, case.clean)


def test_a_result_without_space_lets_the_job_wait_for_some(here: Cluster, case: Case) -> None:
    job_id = here.job()
    here.faults.arm("spool.written", "raise", skip=1, part="worker", errno=errno.ENOSPC)
    here.put(job_id, case.data)
    assert here.ended(job_id) == "COMPLETED"
    here.check_whole(job_id, case.clean)
    assert any("waits for space" in line and "disk is full" in line for line in here.document(job_id)["logs"])


def test_a_download_goes_on_where_a_killed_api_left_it(here: Cluster, case: Case) -> None:
    job_id = here.job()
    here.put(job_id, case.data)
    here.ended(job_id)
    here.faults.arm("download.block", skip=1, part="api")
    got = b""
    with pytest.raises(Exception, match=r"peer|disconnect|closed|reset"), here.http() as http:  # noqa: PT012, SIM117
        with http.stream("GET", f"batchPredictions/{job_id}/download/") as answer:
            for block in answer.iter_bytes():
                got += block
    assert got
    assert case.clean.startswith(got)
    here.start("api")
    assert got + here.download(job_id, Range=f"bytes={len(got)}-") == case.clean
    here.check_whole(job_id, case.clean)
