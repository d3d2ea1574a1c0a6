"""Whole runs from and to files whose rows have types."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline.adapters.folder import FolderFiles
from scoreline.adapters.tables import TableIntake
from scoreline.adapters.targets import FileOutput
from scoreline.errors import OutputError, SourceError
from scoreline.pipeline import run
from scoreline.rows.parquet import ParquetForm
from scoreline.types import Counts, Feature, FeatureType
from tests.unit.pipeline.stand_ins import PLAN, DoublingScorer, MemoryLedger, SeenProgress, ticket

ROWS = 5000


def source(rows: int = ROWS) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([f"r{i}" for i in range(rows)]).dictionary_encode(),
            "x": pa.array([float(i) for i in range(rows)], pa.float32()),
            "when": pa.array([i * 1000 for i in range(rows)], pa.timestamp("ms")),
            "other": pa.array([[i] for i in range(rows)]),
        }
    )


class Files:
    """A folder with a source, and runs over it."""

    def __init__(self, folder: Path, form: str, target: str, plan=PLAN, **more) -> None:
        self.folder = folder
        self.form = form
        self.ledger = MemoryLedger()
        self.progress = SeenProgress()
        self.fence = 0
        self.ticket = replace(ticket(plan, **more), output={"type": "memory", **({"format": target} if target else {})})

    def run(self, scorer=None, key="in.data"):
        self.fence += 1
        intake = TableIntake(FolderFiles(str(self.folder)), key, self.form)
        output = FileOutput(str(self.folder / "out.data"), "j", self.fence)
        try:
            return run(self.ticket, intake, scorer or DoublingScorer(), output, self.ledger, self.progress)
        finally:
            intake.close()
            output.close()

    @property
    def written(self) -> bytes:
        return (self.folder / "out.data").read_bytes()


def lay(path: Path, table: pa.Table, form: str, group: int = 700) -> None:
    if form == "parquet":
        pq.write_table(table, path, row_group_size=group)
    elif form == "arrow":
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table, group)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, group)


WHOLE = replace(PLAN, passthrough="all")


@pytest.mark.parametrize("form", ["parquet", "arrow", "arrow file"])
def test_types_come_through_and_rows_stay_in_order(tmp_path: Path, form: str) -> None:
    lay(tmp_path / "in.data", source(), form)
    it = Files(tmp_path, form.split(maxsplit=1)[0], "parquet", WHOLE, size=3000)
    done = it.run()
    assert done.counts == Counts(ROWS, ROWS)
    assert done.bytes_in == (tmp_path / "in.data").stat().st_size
    assert done.bytes_out == len(it.written)
    out = pq.read_table(io.BytesIO(it.written))
    assert out.schema == pa.schema(
        [
            ("y_PREDICTION", pa.float64()),
            ("prediction_status", pa.string()),
            ("id", pa.string()),
            ("x", pa.float32()),
            ("when", pa.timestamp("ms")),
            ("other", pa.list_(pa.int64())),
        ]
    )
    wanted = source().to_pylist()
    assert out.column("y_PREDICTION").to_pylist() == [2.0 * i for i in range(ROWS)]
    assert out.drop_columns(["y_PREDICTION", "prediction_status"]).to_pylist() == wanted


def test_csv_has_the_texts(tmp_path: Path) -> None:
    lay(tmp_path / "in.data", source(3), "parquet")
    it = Files(tmp_path, "parquet", "", WHOLE)
    it.run()
    assert it.written.decode().splitlines() == [
        "y_PREDICTION,prediction_status,id,x,when,other",
        "0.0,OK,r0,0.0,1970-01-01 00:00:00,[0]",
        "2.0,OK,r1,1.0,1970-01-01 00:00:01,[1]",
        "4.0,OK,r2,2.0,1970-01-01 00:00:02,[2]",
    ]


@pytest.mark.parametrize("target", ["parquet", "csv", "arrow"])
def test_going_on_after_a_break(tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ParquetForm, "flush_bytes", 20_000)
    lay(tmp_path / "in.data", source(), "parquet")
    it = Files(tmp_path, "parquet", target, size=4000)
    for stop in (1200.0, 2400.0, 3100.0):

        def refuse(values, stop=stop):
            if stop in values:
                raise OutputError("broken")

        with pytest.raises(OutputError, match="broken"):
            it.run(DoublingScorer(refuse))
    assert 0 < sum(flush.counts.read for flush in it.ledger.rows) < 3200
    assert it.run().counts == Counts(ROWS, ROWS)
    if target == "csv":
        found = [line.partition(",")[0] for line in it.written.decode().splitlines()[1:]]
    else:
        body = io.BytesIO(it.written)
        table = pq.read_table(body) if target == "parquet" else pa.ipc.open_stream(body).read_all()
        found = [str(value) for value in table.column("y_PREDICTION").to_pylist()]
    assert found == [f"{2.0 * i}" for i in range(ROWS)]


def test_a_run_that_broke_behind_the_last_bytes_commits_the_same_file(tmp_path: Path) -> None:
    lay(tmp_path / "in.data", source(100), "parquet")
    it = Files(tmp_path, "parquet", "parquet")
    it.run()
    first, flushes = it.written, len(it.ledger.rows)
    (tmp_path / "out.data").unlink()
    with pytest.raises(OutputError, match="lacks rows"):
        it.run()
    assert len(it.ledger.rows) == flushes
    (tmp_path / "out.data").write_bytes(first)
    assert it.run().counts == Counts(100, 100)
    assert it.written == first


def test_other_types_than_before_end_the_run(tmp_path: Path) -> None:
    lay(tmp_path / "in.data", source(100), "parquet")
    it = Files(tmp_path, "parquet", "parquet")
    it.run()
    it.ledger.state["schema"] = "other"
    with pytest.raises(OutputError, match="other types than when the job began"):
        it.run()


def test_no_rows(tmp_path: Path) -> None:
    lay(tmp_path / "in.data", source(0), "parquet")
    it = Files(tmp_path, "parquet", "parquet")
    assert it.run().counts == Counts()
    assert pq.read_table(io.BytesIO(it.written)).num_rows == 0


def test_bad_rows_keep_their_place(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2, 3], "x": ["1.5", "bad", None]})
    lay(tmp_path / "in.data", table, "parquet")
    it = Files(tmp_path, "parquet", "jsonl", abort_on_error=False)
    assert it.run().counts == Counts(3, 1, 2)
    rows = [json.loads(line) for line in it.written.decode().splitlines()]
    assert [(row["y_PREDICTION"], row["id"]) for row in rows] == [(3.0, 1), (None, 2), (None, 3)]
    assert rows[1]["prediction_status"] == "ERROR: column 'x': 'bad' is not a number"


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    lay(tmp_path / "in.data", pa.table({"id": [1]}), "parquet")
    with pytest.raises(SourceError, match="needs the column 'x'"):
        Files(tmp_path, "parquet", "parquet").run()
    plan = replace(PLAN, features=(*PLAN.features, Feature("z", FeatureType.NUMERIC, optional=True)))
    lay(tmp_path / "in.data", source(2), "parquet")
    assert "lacks the model's column 'z'" in Files(tmp_path, "parquet", "csv", plan).run().warnings[0]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_packed_csv(tmp_path: Path, compression: str) -> None:
    lay(tmp_path / "in.data", source(2000), "parquet")
    it = Files(tmp_path, "parquet", "csv", size=2000)
    it.run()
    plain = it.written
    it = Files(tmp_path, "parquet", "csv", size=2000)
    it.ticket.output["compression"] = compression
    it.run()
    unpacked = (
        gzip.decompress(it.written)
        if compression == "gzip"
        else pa.CompressedInputStream(pa.BufferReader(it.written), "zstd").read()
    )
    assert unpacked == plain
    assert len(it.written) < len(plain)
