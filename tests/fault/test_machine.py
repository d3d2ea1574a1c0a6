"""A machine with a small disk, few open files, a clock that jumps and a plug that is pulled."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa

from scoreline.jobs import presence
from scoreline.store.tables.jobs import jobs, ledger
from tests.fault.conftest import Case
from tests.fault.test_uploads import HALF, begin, rows_done, staged
from tests.support.cluster import Cluster, cluster
from tests.support.matrix import rarely
from tests.support.served import until

DISK_BYTES = 96 << 20
KEPT_BYTES = 2 << 20
INODES = 500
OPEN_FILES = 256
# `make setup` unpacks it beside the environment, where there is apt-get.
FAKETIME = next(
    (
        library
        for root in (Path(sys.prefix, "faketime", "usr", "lib"), Path("/usr/lib"))
        for library in root.glob("*/faketime/libfaketimeMT.so.1")
    ),
    None,
)
# The library sets the wall clock alone, but refuses Python's way of sleeping, by a deadline on the other clock.
SLEEP = "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds)\n"


@contextmanager
def _disk(image: Path, folder: Path) -> Iterator[None]:
    """Mount an image; skip where that is not allowed."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"images cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("machine")
    image = folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    if shutil.which("mkfs.ext4") is None or shutil.which("prlimit") is None:
        pytest.skip("mkfs.ext4 or prlimit is missing")
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-N", str(INODES), image], check=True)
    env = {"SCORELINE_MIN_FREE_BYTES": str(KEPT_BYTES)}
    if FAKETIME is not None:
        (folder / "clock").write_text("+0")
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(SLEEP)
        env |= {
            "PYTHONPATH": str(folder / "site"),
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    prefix = ("prlimit", f"--nofile={OPEN_FILES}:{OPEN_FILES}")
    with _disk(image, folder / "data"), cluster(folder, prefix=prefix, **env) as made:
        yield made


@pytest.fixture
def on(machine: Cluster) -> Iterator[Cluster]:
    """The installation on that machine, whole before and after the test."""
    yield machine
    machine.mend()


def _works(on: Cluster, case: Case) -> None:
    job_id = on.job()
    assert on.put(job_id, case.data).status_code == 202
    on.ended(job_id)
    on.check_whole(job_id, case.clean)


# Space


@contextmanager
def _no_bytes(on: Cluster, left: int) -> Iterator[None]:
    """Fill the disk of the data folder but for `left` bytes."""
    filler = on.data / "filler"
    disk = os.statvfs(on.data)
    try:
        with filler.open("wb") as file, suppress(OSError):  # its own records take some space, too
            os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - left)
        yield
    finally:
        filler.unlink()


@contextmanager
def _no_inodes(on: Cluster, left: int) -> Iterator[None]:
    """Use up the names of the disk but for `left`."""
    folder = on.data / "fillers"
    folder.mkdir()
    try:
        for number in range(os.statvfs(on.data).f_favail - left):
            (folder / str(number)).touch()
        yield
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(("full", "left"), [(_no_bytes, 150_000), *rarely((_no_inodes, 0))], ids=["bytes", "inodes"])
def test_a_full_disk_refuses_uploads_in_words_and_works_again_with_space(
    on: Cluster, case: Case, full, left: int
) -> None:
    job_id = on.job()
    with full(on, left):
        answer = on.put(job_id, case.data)
        assert answer.status_code == 507
        assert re.search("disk.*full", answer.json()["message"])
    on.ended(job_id)
    on.check_aborted(job_id, "disk is full")
    _works(on, case)


@pytest.mark.parametrize(("full", "left"), [(_no_bytes, 100_000), *rarely((_no_inodes, 2))], ids=["bytes", "inodes"])
def test_a_disk_that_fills_in_mid_job_ends_or_stops_it_truthfully(on: Cluster, case: Case, full, left: int) -> None:
    job_id = on.job()
    on.faults.arm("chunk.asking", "sleep", skip=2, seconds=0.5, part="worker")
    on.put(job_id, case.data)
    until(lambda: on.faults.happened("chunk.asking"), 30)
    with full(on, left):
        time.sleep(1.5)
    if on.ended(job_id) == "ABORTED":
        on.check_aborted(job_id, "full")
    else:
        on.check_whole(job_id, case.clean)
    _works(on, case)


def refused(answer: httpx2.Response, words: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (507, "application/json")
    assert words in answer.json()["message"]


def test_new_work_is_refused_and_the_job_that_runs_waits_for_space(on: Cluster, case: Case) -> None:
    running, sending = on.job(), on.job(intakeSettings={"type": "localFile", "async": False})
    slow = begin(on, sending, case.data[:HALF], len(case.data))
    until(lambda: staged(on, sending) > HALF, 10, "the upload")
    on.faults.arm("output.writing", "sleep", skip=2, seconds=3, part="worker")
    assert on.put(running, case.data).status_code == 202
    until(lambda: on.faults.happened("output.writing"), 30, "rows")
    with _no_bytes(on, KEPT_BYTES // 2):
        slow.send(case.data[HALF:])
        assert slow.answer()[0] == 507
        slow.close()
        until(lambda: "Waiting for space" in on.document(running)["statusDetails"], 20, "the wait")
        assert (on.status(running), rows_done(on, running) > 0) == ("INITIALIZING", True)
        with on.http() as http:
            refused(http.post("batchPredictions/", json={"deploymentId": on.deployment}), "there is no space for it")
        on.check_aborted(sending, "disk is full")
        time.sleep(2)  # it does not try again and again
        assert sum("waits for space" in line for line in on.document(running)["logs"]) == 1
    assert on.ended(running) == "COMPLETED"
    on.check_whole(running, case.clean)


def test_a_database_without_space_refuses_changes_in_words(on: Cluster, case: Case) -> None:
    job_id = on.job()
    files = {kind: {"type": "filesystem", "path": kind} for kind in ("intakeSettings", "outputSettings")}
    with _no_bytes(on, 0), on.http() as http:
        for _ in range(100):  # until the database's journal has no room left for one more job
            answer = http.post("batchPredictions/", json={"deploymentId": on.deployment, **files})
            if answer.status_code != 202:
                break
        refused(answer, "has no space left")
        assert http.get("batchPredictions/").status_code == 200
        assert http.get(f"batchPredictions/{job_id}/").json()["status"] == "INITIALIZING"
        on.restart("api")  # a full disk does not keep it from its work
        assert http.get(f"batchPredictions/{job_id}/").json()["status"] == "INITIALIZING"
    until(lambda: presence.places(on.data) == [f"127.0.0.1:{on.port}"], 30, "its address where the others look")
    assert on.put(job_id, case.data).status_code == 202
    assert on.ended(job_id, 120) == "COMPLETED"
    on.check_whole(job_id, case.clean)


# Power


def test_what_was_told_is_there_after_a_power_cut(on: Cluster, case: Case, tmp_path: Path) -> None:
    """A copy of the disk as it is below the file system is what a machine finds that lost its power at this moment."""
    done, running = on.job(), on.job()
    on.put(done, case.data)
    on.ended(done)
    on.faults.arm("ledger.recorded", "stop", skip=2, part="worker")
    assert on.put(running, case.data).status_code == 202
    process = until(lambda: on.faults.happened("ledger.recorded"), 30)
    shutil.copyfile(on.folder / "disk.img", tmp_path / "disk.img")
    os.kill(process, signal.SIGCONT)
    on.ended(running)
    with _disk(tmp_path / "disk.img", tmp_path / "data"), cluster(tmp_path, deploy=False) as after:
        after.check_whole(done, case.clean)
        after.ended(running)
        after.check_whole(running, case.clean)


# Clock


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed (apt-get install libfaketime)")
@pytest.mark.parametrize("clock", ["-1h", *rarely("+1d", "2026-03-29 02:30:00")], ids=["back", "forward", "stands"])
def test_a_clock_that_jumps_in_mid_job_changes_nothing(on: Cluster, case: Case, clock: str) -> None:
    job_id = on.job()
    on.faults.arm("chunk.asking", "sleep", skip=2, seconds=2.5, part="worker")
    on.put(job_id, case.data)
    until(lambda: on.faults.happened("chunk.asking"), 30)
    (on.folder / "clock").write_text(clock)
    try:
        on.ended(job_id)
        on.check_whole(job_id, case.clean)
    finally:
        (on.folder / "clock").write_text("+0")
        time.sleep(1.1)  # for so long the old one is remembered
    with on.store() as store, store.read() as connection:
        row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).mappings().one()
        written = connection.scalars(
            sa.select(ledger.c.at).where(ledger.c.job_id == job_id).order_by(ledger.c.first_chunk)
        ).all()
    assert row["fence"] == 1
    assert row["created_at"] <= row["queued_at"] <= row["started_at"] <= row["finished_at"]
    jump = written[-1] - written[0]
    assert jump > timedelta(hours=23) if clock == "+1d" else jump < timedelta(minutes=-59), "the clock did not jump"


# Handles


def test_more_connections_than_open_files_are_lived_through(on: Cluster, case: Case) -> None:
    job_id = on.job()
    held = []
    try:
        for _ in range(OPEN_FILES + 50):
            with suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", on.port), 0.5))
        assert len(held) > OPEN_FILES
        assert on.processes["api"].poll() is None
    finally:
        for end in held:
            end.close()
    until(lambda: on.status(job_id) == "INITIALIZING", 30, "answers again")
    assert on.put(job_id, case.data).status_code == 202
    on.ended(job_id)
    on.check_whole(job_id, case.clean)
