"""Outputs that are divided into files of a folder."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline.adapters import partitioned
from scoreline.adapters.folder import FolderFiles
from scoreline.adapters.partitioned import DiskFolder, FolderOutput
from scoreline.adapters.tables import TableIntake
from scoreline.errors import OutputError, SourceError
from scoreline.pipeline import run
from scoreline.rows import partitions
from scoreline.rows.partitions import NO_VALUE, PartitionedForm
from scoreline.spool import open_spool
from scoreline.types import Counts
from tests.unit.pipeline.stand_ins import PLAN, DoublingScorer, MemoryLedger, SeenProgress, ticket

ROWS = 4000
ODD = ["plain", "a/b", "..", "50 %", "größe", 'q"=?*', "line\nend", "", None]


def source() -> pa.Table:
    return pa.table(
        {
            "id": [f"r{i}" for i in range(ROWS)],
            "x": [float(i) for i in range(ROWS)],
            "odd": [ODD[i % len(ODD)] for i in range(ROWS)],
            "k": pa.array([i % 5 for i in range(ROWS)], pa.int32()),
        }
    )


class Run:
    """Runs that write into a folder."""

    def __init__(self, folder: Path, plan=PLAN, **output) -> None:
        self.folder = folder
        self.ledger = MemoryLedger()
        self.fence = 0
        settings = {"type": "filesystem", "format": "parquet", "partitionColumns": ["odd", "k"], **output}
        self.ticket = replace(ticket(plan, size=4000), output=settings)
        self.spool = open_spool(folder / "spool")
        pq.write_table(source(), folder / "in.parquet", row_group_size=700)

    def run(self, scorer=None):
        self.fence += 1
        one = replace(self.ticket, fence=self.fence)
        intake = TableIntake(FolderFiles(str(self.folder)), "in.parquet", "parquet")
        output = FolderOutput(DiskFolder(str(self.folder), one), "out/", one, self.spool)
        try:
            return run(one, intake, scorer or DoublingScorer(), output, self.ledger, SeenProgress())
        finally:
            intake.close()
            output.close()

    def files(self) -> dict[str, Path]:
        return {
            str(path.relative_to(self.folder / "out")): path
            for path in sorted((self.folder / "out").rglob("*"))
            if path.is_file() and path.name != "_manifest.json"
        }


def wanted(row: int) -> str:
    value = ODD[row % len(ODD)]
    return f"odd={value or NO_VALUE}/k={row % 5}/part-0.parquet"


def check_rows(it: Run) -> None:
    found = {unquote(name): pq.read_table(path, partitioning=None) for name, path in it.files().items()}
    assert set(found) == {wanted(row) for row in range(ROWS)}
    for name, table in found.items():
        rows = [row for row in range(ROWS) if wanted(row) == name]
        assert table.column_names == ["y_PREDICTION", "prediction_status", "id"]
        assert table.column("id").to_pylist() == [f"r{row}" for row in rows]
        assert table.column("y_PREDICTION").to_pylist() == [2.0 * row for row in rows]
    manifest = json.loads((it.folder / "out/_manifest.json").read_text())
    assert manifest["rows"] == ROWS
    assert {file["file"]: (file["bytes"], file["sha256"]) for file in manifest["files"]} == {
        name: (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) for name, path in it.files().items()
    }


def test_every_row_in_its_folder(tmp_path: Path) -> None:
    it = Run(tmp_path)
    done = it.run()
    assert (done.counts, done.sha256) == (Counts(ROWS, ROWS), None)
    check_rows(it)
    notes = {f"staged/{it.ticket.job_id}/{note}" for note in ("placing", "placed")}
    assert set(it.spool.blobs.list("staged")) == notes, "nothing is staged but how far it came, which goes with the job"
    assert [path.name for path in (tmp_path / "out").rglob(".*")] == []


def test_others_read_the_folder(tmp_path: Path) -> None:
    Run(tmp_path).run()
    with duckdb.connect() as db:
        query = f"from read_parquet('{tmp_path}/out/**/*.parquet', hive_partitioning = true)"
        found = db.execute(f"select count(*), sum(k), count(odd) {query}").fetchone()
        assert found == (ROWS, sum(i % 5 for i in range(ROWS)), sum(bool(ODD[i % len(ODD)]) for i in range(ROWS)))
        assert db.execute(f"select distinct odd {query} order by odd").fetchall() == [
            (value,) for value in sorted(value for value in ODD if value)
        ] + [(None,)]


@pytest.mark.parametrize("few", [1, 7, 39, 40])
def test_more_folders_than_files_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(partitioned, "MOST_OPEN", few)
    monkeypatch.setattr(partitioned, "_HELD_BYTES", 20_000)
    monkeypatch.setattr(PartitionedForm, "flush_bytes", 30_000)
    it = Run(tmp_path)
    it.run()
    check_rows(it)


def test_too_many_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "MOST_PARTITIONS", 39)
    it = Run(tmp_path)
    with pytest.raises(OutputError, match="values of odd, k make more than 39 folders"):
        it.run()
    assert not (tmp_path / "out").exists()


def test_going_on_in_the_middle_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PartitionedForm, "flush_bytes", 30_000)
    it = Run(tmp_path)

    def refuse(values):
        if 2500.0 in values:
            raise OutputError("broken")

    with pytest.raises(OutputError, match="broken"):
        it.run(DoublingScorer(refuse))
    assert not (tmp_path / "out").exists()
    puts = 0

    def put(self: DiskFolder, key: str, file: Path, real: Callable = DiskFolder.put) -> None:
        nonlocal puts
        puts += 1
        if puts == 10:
            raise OutputError("full")
        real(self, key, file)

    with monkeypatch.context() as patched:
        patched.setattr(DiskFolder, "put", put)
        with pytest.raises(OutputError, match="full"):
            it.run()
    assert not (tmp_path / "out/_manifest.json").exists()
    assert it.run().counts == Counts(ROWS, ROWS)
    check_rows(it)


def test_nothing_unfinished_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is killed while a file comes to its place, and the next one fails before its turn."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    it = Run(tmp_path)
    names: list[str] = []

    def replaced(self: Path, target: Path, real: Callable = Path.replace) -> Path:
        names.append(target.name)
        if len(names) == 10:
            raise KeyboardInterrupt  # as if the process were gone
        return real(self, target)

    def kept(self: tempfile.TemporaryDirectory, *_: object) -> None:
        self._finalizer.detach()

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replaced)
        patched.setattr(tempfile.TemporaryDirectory, "__exit__", kept)
        with pytest.raises(KeyboardInterrupt):
            it.run()
    assert len(list(it.folder.glob("scoreline-*"))) == 1
    assert list(it.folder.rglob("out/**/.*"))
    output = FolderOutput(DiskFolder(str(it.folder), it.ticket), "out/", it.ticket, it.spool)
    output.abort({"folder": "out/"})
    assert not list(it.folder.glob("scoreline-*"))
    assert not list(it.folder.rglob("out/**/.*"))
    assert len(it.files()) == 9


@pytest.mark.parametrize(
    ("form", "packing", "name"), [("csv", "gzip", "part-0.csv.gz"), ("jsonl", "none", "part-0.jsonl")]
)
def test_other_formats(tmp_path: Path, form: str, packing: str, name: str) -> None:
    plan = replace(PLAN, passthrough="all", remap=(("id", "name"),))
    it = Run(tmp_path, plan, format=form, compression=packing, partitionColumns=["k"])
    it.run()
    assert list(it.files()) == [f"k={i}/{name}" for i in range(5)]
    with duckdb.connect() as db:
        reader = "read_csv" if form == "csv" else "read_json"
        found = db.execute(f"from {reader}('{tmp_path}/out/k=3/{name}', hive_partitioning = false)")
        assert [one[0] for one in found.description] == ["y_PREDICTION", "prediction_status", "name", "x", "odd"]
        rows = [row[2] for row in found.fetchall()]
    assert rows == [f"r{i}" for i in range(3, ROWS, 5)]


def test_no_rows_and_no_such_column(tmp_path: Path) -> None:
    it = Run(tmp_path)
    pq.write_table(source().slice(0, 0), tmp_path / "in.parquet")
    it.run()
    assert not it.files()
    assert json.loads((tmp_path / "out/_manifest.json").read_text())["files"] == []
    it = Run(tmp_path, partitionColumns=["none"])
    with pytest.raises(SourceError, match="lacks the partition column 'none'"):
        it.run()
