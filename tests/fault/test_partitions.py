"""Two workers share a job: its output has the bytes of an undisturbed run, whoever dies, and nothing is left."""

from __future__ import annotations

import csv
import io
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from pyarrow import parquet

from scoreline.jobs.parts import PartState
from scoreline.store.tables.jobs import job_partitions
from tests.fault.conftest import Case
from tests.support import tiny
from tests.support.cluster import Cluster, cluster
from tests.support.served import until

pytestmark = pytest.mark.slow

ROWS = 40_000
NOTES = 24_000
PART_BYTES = 100_000
MOMENTS = [
    ("partition.claiming", 0),
    ("partition.scoring", 3),
    ("partition.scored", 0),
    ("partition.recorded", 0),
    ("partition.joining", 0),
]
ON_EACH = pytest.mark.parametrize("both", ["sqlite_pair", "postgres_pair"], indirect=True)
SHARED = {"SCORELINE_PARTITION_BYTES": str(PART_BYTES)}


@pytest.fixture(scope="module")
def large() -> Case:
    return Case(*tiny.scored(ROWS))


@pytest.fixture(scope="module")
def sqlite_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("sqlite"), workers=2, **SHARED) as made:
        yield made


@pytest.fixture(scope="module")
def postgres_pair(tmp_path_factory: pytest.TempPathFactory, postgres, migrated_postgres) -> Iterator[Cluster]:
    url = postgres.create("partitions", template=migrated_postgres)
    postgres.keep("partitions")
    with cluster(tmp_path_factory.mktemp("postgres"), url, workers=2, **SHARED) as made:
        yield made
    postgres.drop("partitions")


@pytest.fixture(params=["sqlite_pair"])
def both(request: pytest.FixtureRequest, large: Case) -> Iterator[Cluster]:
    """Two workers that are ready."""
    pair = request.getfixturevalue(request.param)
    (pair.files / "in.csv").write_bytes(large.data)
    (pair.files / "out.csv").unlink(missing_ok=True)
    for name, known in pair.worker_ids.items():  # one alone would score all by itself
        until(lambda name=name, known=known: known in (pair.folder / f"{name}.log").read_text(), 60, name)
    yield pair
    pair.mend()


def _job(both: Cluster, **more: Any) -> str:
    files = {name: {"type": "filesystem", "path": f"{name[0]}.csv"} for name in ("intakeSettings", "outputSettings")}
    files["intakeSettings"]["path"] = "in.csv"
    files["outputSettings"]["path"] = "out.csv"
    return both.job(**{"chunkSize": 8_000} | files | more)


def _check(both: Cluster, job_id: str, case: Case) -> list[Any]:
    assert both.ended(job_id) == "COMPLETED", both.document(job_id)["statusDetails"]
    both.check_whole(job_id, case.clean, output=both.files / "out.csv")
    until(lambda: not _staged(both, job_id), 15, f"{_staged(both, job_id)} are left")
    return _parts(both, job_id)


def _staged(both: Cluster, job_id: str) -> list[Path]:
    return [path for path in (both.data / "spool" / "parts" / job_id).rglob("*") if path.is_file()]


def _parts(both: Cluster, job_id: str) -> list[Any]:
    query = sa.select(job_partitions).where(job_partitions.c.job_id == job_id).order_by(job_partitions.c.number)
    with both.store() as store, store.read() as connection:
        return list(connection.execute(query))


def _ahead(both: Cluster, job_id: str, state: PartState = PartState.SCORED) -> list[Any]:
    return [part for part in _parts(both, job_id) if part.state == state]


@ON_EACH
def test_two_workers_share_a_job(both: Cluster, large: Case) -> None:
    job_id = _job(both)
    found = _check(both, job_id, large)
    assert len(found) == len(large.data) // PART_BYTES
    ahead = [part for part in found if part.scored is not None]
    assert 3 <= len(ahead) < len(found), [part.state for part in found]
    assert {part.state for part in found} == {PartState.TAKEN}


@pytest.mark.parametrize("intake", ["in.csv", "in.parquet", "folder/"])
def test_every_output_is_that_of_one_worker(both: Cluster, tmp_path: Path, intake: str) -> None:
    """With notes of several lines and rows that fail; `numConcurrent` 1 keeps a job to one worker."""
    _lay(both.files)
    source = {"type": "filesystem", "path": intake} | ({"format": "parquet"} if intake.endswith("parquet") else {})
    given = {"passthroughColumns": ["id", "note", "kind"], "abortOnError": False, "includePredictionStatus": True}
    outputs = {
        "csv": {"type": "localFile"},
        "parquet": {"type": "filesystem", "path": "out.parquet", "format": "parquet"},
        "folder": {"type": "filesystem", "path": "out/", "partitionColumns": ["kind"]},
    }
    for name, output in outputs.items():
        found = []
        for more in ({}, {"numConcurrent": 1}):
            job_id = both.job(intakeSettings=source, outputSettings=output, **{"chunkSize": 8_000} | given | more)
            followed = both.download(job_id) if name == "csv" else b""  # from its start to its end
            assert both.ended(job_id) == "COMPLETED", both.document(job_id)["statusDetails"]
            document, listed = both.document(job_id), _listed(both, job_id)
            shared = sum(part["rows"] is not None for part in listed)
            assert (len(listed), document["partitions"], shared) == (0, 1, 0) if more else shared
            with both.http() as http:
                errors = http.get(f"batchPredictions/{job_id}/errors/").content
            counts = [document[field] for field in ("scoredRows", "failedRows", "skippedRows", "jobIntakeSize")]
            found.append((_written(both, name, job_id, followed), errors, counts))
        assert found[0] == found[1], name
        assert found[0][2][:2] == [NOTES - NOTES // 500, NOTES // 500]
        assert len(found[0][1].splitlines()) > NOTES // 500


def _lay(files: Path) -> None:
    """Write the same rows as a CSV file, a Parquet file and a folder."""
    numbers = range(NOTES)
    ages = ["old" if number % 500 == 7 else f"{20 + number % 60}.5" for number in numbers]
    notes = [f'said "{number}",\nthen left' if number % 3 else "" for number in numbers]
    columns = {"id": [f"{number:06d}" for number in numbers], "age": ages, "income": ["3000"] * NOTES}
    columns |= {"note": notes, "kind": ["abc"[number % 3] for number in numbers]}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([list(columns), *zip(*columns.values(), strict=True)])
    (files / "in.csv").write_text(text.getvalue())
    parquet.write_table(pa.table(columns), files / "in.parquet", row_group_size=700)
    (files / "folder").mkdir(exist_ok=True)
    for number in range(12):
        part = pa.table(columns).slice(number * NOTES // 12, (number + 1) * NOTES // 12 - number * NOTES // 12)
        with (files / "folder" / f"{number:02d}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([part.column_names, *zip(*part.to_pydict().values(), strict=True)])


def _listed(both: Cluster, job_id: str) -> list[dict[str, Any]]:
    with both.http() as http:
        return list(http.get(f"batchPredictions/{job_id}/partitions/").json()["data"])


def _written(both: Cluster, name: str, job_id: str, followed: bytes) -> Any:
    """Return what a job wrote: bytes, or rows where blocks may be cut otherwise."""
    if name == "csv":
        assert followed == both.download(job_id)
        return followed
    if name == "parquet":
        return parquet.read_table(both.files / "out.parquet").to_pydict()
    out = both.files / "out"
    return {path.relative_to(out): path.read_bytes() for path in out.rglob("*.csv")}


@pytest.mark.parametrize(("point", "skip"), MOMENTS, ids=[name for name, _ in MOMENTS])
def test_a_worker_is_killed_over_a_part(both: Cluster, large: Case, point: str, skip: int) -> None:
    both.faults.arm(point, skip=skip, part="worker")
    job_id = _job(both)
    if point == "partition.scoring":  # nobody knows of its death: the lease of its part must run out
        until(lambda: both.faults.happened(point), 30, point)
    else:
        both.reaped(point)
    ahead = [part for part in _check(both, job_id, large) if part.scored is not None]
    assert ahead or point not in ("partition.recorded", "partition.joining")


@ON_EACH
def test_the_run_that_writes_is_killed_while_the_output_is_put_in_place(both: Cluster, large: Case) -> None:
    both.faults.arm("file.renaming", part="worker")
    job_id = _job(both)
    until(lambda: both.faults.happened("file.renaming"), 30, "file.renaming")
    assert [part for part in _check(both, job_id, large) if part.scored is not None]
    assert both.document(job_id)["scoredRows"] == ROWS


@pytest.mark.parametrize("both", ["postgres_pair"], indirect=True)
def test_a_worker_is_frozen_over_a_part_and_wakes(both: Cluster, large: Case) -> None:
    both.faults.arm("partition.scoring", "stop", skip=2, part="worker")
    job_id = _job(both)
    frozen = until(lambda: both.faults.happened("partition.scoring"), 30, "partition.scoring")
    _check(both, job_id, large)
    os.kill(frozen, signal.SIGCONT)
    until(lambda: "help ends" in "".join(map(both.log, ("worker", "worker2"))), 20, "the frozen run ends")
    assert not _staged(both, job_id)
    assert (both.files / "out.csv").read_bytes() == large.clean


@ON_EACH
def test_an_abort_reaches_all_who_score_for_a_job(both: Cluster) -> None:
    both.faults.arm("partition.scored", "sleep", seconds=3, part="worker")
    job_id = _job(both)
    until(lambda: both.faults.happened("partition.scored"), 30, "a part is scored ahead")
    with both.http() as http:
        assert http.delete(f"batchPredictions/{job_id}/").status_code == 202
    both.check_aborted(job_id, "Cancelled")
    until(lambda: not _ahead(both, job_id, PartState.AHEAD), 15, "nobody has a part")
    until(lambda: not _staged(both, job_id), 15, f"{_staged(both, job_id)} are left")
    assert not (both.files / "out.csv").exists()


def test_a_paused_job_goes_on_with_what_was_scored_ahead(both: Cluster, large: Case) -> None:
    both.faults.arm("partition.joining", "sleep", seconds=2, part="worker")
    job_id = _job(both)
    until(lambda: both.faults.happened("partition.joining"), 30, "partition.joining")
    with both.http() as http:
        assert http.post(f"batchPredictions/{job_id}/pause/").status_code == 200
    until(lambda: not _ahead(both, job_id, PartState.AHEAD), 15, "nobody has a part")
    done = {part.number: part.scored for part in _ahead(both, job_id)}
    assert done
    time.sleep(1)
    assert {part.number: part.scored for part in _ahead(both, job_id)} == done
    with both.http() as http:
        assert http.post(f"batchPredictions/{job_id}/resume/").status_code == 200
    found = _check(both, job_id, large)
    assert {part.number: part.scored for part in found if part.number in done} == done
