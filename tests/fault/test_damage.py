"""Bytes that were flipped, cut off or lost behind the program's back are found, and only their job pays for it."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

import pytest

from scoreline.store.tables.jobs import ledger
from tests.fault.conftest import Case
from tests.support.cluster import Cluster
from tests.support.matrix import rarely
from tests.support.served import scoreline, until


def _flip(file: Path) -> None:
    body = bytearray(file.read_bytes())
    body[len(body) // 3] ^= 0x10
    file.write_bytes(body)


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _segments(here: Cluster, kind: str, job_id: str) -> list[Path]:
    return sorted((here.data / "spool" / kind / job_id).rglob("*.seg"))


def _works(here: Cluster, case: Case) -> None:
    job_id = here.job()
    here.put(job_id, case.data)
    here.ended(job_id)
    here.check_whole(job_id, case.clean)


@pytest.mark.parametrize("damage", [_flip, *rarely(_cut)], ids=["flipped", "cut"])
def test_a_damaged_upload_ends_its_job_by_name(here: Cluster, case: Case, damage) -> None:
    job_id = here.job()
    here.faults.arm("job.claimed", "sleep", seconds=0.7)
    here.put(job_id, case.data)
    until(lambda: here.faults.happened("job.claimed"), 30)
    damage(_segments(here, "uploads", job_id)[0])
    assert here.ended(job_id) == "ABORTED"
    here.check_aborted(job_id, "Spool: segment", f"uploads/{job_id}", "is damaged")
    _works(here, case)


def test_a_result_that_was_cut_is_not_committed(here: Cluster, case: Case) -> None:
    job_id = here.job()
    here.faults.arm("job.claiming", "sleep", seconds=0)
    here.faults.arm("chunk.asking", "sleep", skip=6, seconds=0.7)
    here.put(job_id, case.data)
    until(lambda: here.faults.happened("chunk.asking") and len(_segments(here, "results", job_id)) > 1, 30)
    _cut(_segments(here, "results", job_id)[1])
    assert here.ended(job_id) == "ABORTED"
    here.check_aborted(job_id, "Spool: segment", f"results/{job_id}", "is damaged")


def test_a_flipped_byte_of_a_finished_result_is_never_sent(here: Cluster, case: Case) -> None:
    job_id = here.job()
    here.put(job_id, case.data)
    here.ended(job_id)
    here.check_whole(job_id, case.clean)
    _flip(_segments(here, "results", job_id)[-1])
    with pytest.raises(Exception, match=r"peer|disconnect|closed|reset"):
        here.download(job_id)
    assert here.status(job_id) == "COMPLETED"
    assert "its checksum does not match" in here.log("api")


def test_a_damaged_ledger_ends_the_job_that_would_go_on_with_it(here: Cluster, case: Case) -> None:
    job_id = here.job()
    here.faults.arm("ledger.recorded", skip=2, part="worker")
    here.put(job_id, case.data)
    until(lambda: here.faults.happened("ledger.recorded"), 30)
    with here.store() as store, store.begin() as connection:
        changed = connection.execute(
            ledger.update()
            .where(ledger.c.job_id == job_id, ledger.c.first_chunk > 0)
            .values(end_offset=ledger.c.end_offset + 1)
        )
    assert changed.rowcount
    here.reaped("ledger.recorded")
    assert here.ended(job_id) == "ABORTED"
    here.check_aborted(job_id, f"the record of job {job_id} is damaged", "checksum")
    _works(here, case)


@pytest.mark.parametrize("seed", [11])
def test_a_database_that_lost_its_last_changes_goes_on_from_the_last_whole_one(
    here: Cluster, case: Case, seed: int
) -> None:
    """Its journal is cut at any byte, as by a disk that lies about what it has written: nothing is half there."""
    job_id = here.job()
    here.faults.arm("output.begun", "sleep", seconds=0.7)
    here.put(job_id, case.data)
    until(lambda: here.faults.happened("output.begun"), 30)
    database = here.data / "scoreline.db"
    with sqlite3.connect(database, timeout=20) as connection:
        until(lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
    connection.close()
    here.faults.arm("output.committing", part="worker")
    until(lambda: here.faults.happened("output.committing"), 30)
    for name in ("worker", "worker2", "api"):
        here.kill(name)
    journal = database.with_name("scoreline.db-wal")
    os.truncate(journal, random.Random(seed).randrange(journal.stat().st_size))
    here.mend()
    here.ended(job_id)
    here.check_whole(job_id, case.clean)


def test_a_cut_database_file_is_told_at_the_start_and_left_as_it_is(here: Cluster, tmp_path: Path) -> None:
    whole = (here.data / "scoreline.db").read_bytes()
    cut = whole[: len(whole) // 2]
    (tmp_path / "scoreline.db").write_bytes(cut)
    done = scoreline("api", "--port", "0", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "scoreline.db").read_bytes() == cut
