"""Folders of files in object stores."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline import adapters, faults
from scoreline.errors import OutputError
from scoreline.rows.partitions import PartitionedForm
from scoreline.spool import open_spool
from scoreline.types import Range, ScoredChunk
from tests.contract.matrix import JOB, servers, ticket


class NoSeal:
    def check(self) -> None:
        pass

    def cross(self) -> None:
        pass


def written(server, spool, *, fence=1, **more):
    settings = {**server.at("out/"), "format": "parquet", "partitionColumns": ["k"], **more}
    output = adapters.open_output(ticket({}, settings, spool, fence=fence), spool, server.keys)
    form = PartitionedForm(pa.schema([("y", pa.int64())]), ["k"], typed=True)
    output.open(output.prepare())
    receipts = []
    for number in range(3):
        columns = [pa.array([number * 10 + 1, number * 10 + 2]), pa.array(["a b", "c/d"])]
        body, _ = form.block([form.piece(columns)], 0)
        receipts.append(output.write(ScoredChunk(number, number, body, 2)))
    return output, receipts


@pytest.mark.parametrize("store", ["s3", "azurite", "gcs"])
def test_a_folder_is_written_and_read_again(tmp_path, store) -> None:
    server, spool = servers["get"](store), open_spool(tmp_path / "spool")
    output, receipts = written(server, spool)
    assert server.names() == []
    output.commit(receipts)
    output.close()
    names = ["out/_manifest.json", "out/k=a b/part-0.parquet", "out/k=c%2Fd/part-0.parquet"]
    assert sorted(server.names()) == names
    assert json.loads(server.get(names[0]))["rows"] == 6
    assert pq.read_table(io.BytesIO(server.get(names[1]))).to_pydict() == {"y": [1, 11, 21]}
    assert server.unfinished() == []
    assert not [name for name in spool.blobs.list("staged") if name.endswith(".seg")]

    settings = {**server.at("out/"), "format": "parquet"}
    intake = adapters.open_intake(ticket(settings, {}, spool), spool, server.keys)
    rows = [value for batch in intake.batches(Range(), 0, ["y"]) for value in batch.column(0).to_pylist()]
    assert rows == [1, 11, 21, 2, 12, 22]
    assert intake.files() == [(intake.files()[0][0], 3), (intake.files()[1][0], 3)]
    intake.close()


def test_what_is_there_already(tmp_path) -> None:
    server, spool = servers["get"]("s3"), open_spool(tmp_path / "spool")
    for mode in ("newName", "newName", "overwrite"):
        output, receipts = written(server, spool, ifExists=mode)
        output.commit(receipts)
        output.close()
        spool.delete_stream(f"staged/{JOB}")
    assert sum("part-0" in name for name in server.names()) == 4
    with pytest.raises(OutputError, match=r"there is s3://box/out/_manifest.json already"):
        written(server, spool, ifExists="error")
    assert server.unfinished() == []


@pytest.mark.parametrize("late", [False, True])
def test_what_comes_while_the_job_runs(tmp_path, *, late: bool) -> None:
    """Where it can be seen before the first file is in its place, there is none."""
    server, spool = servers["get"]("s3"), open_spool(tmp_path / "spool")
    output, receipts = written(server, spool, ifExists="error")
    if late:
        output.finish(receipts, NoSeal())
    server.put("out/k=c%2Fd/part-0.parquet", b"another's")
    end = output.commit if late else lambda receipts: output.finish(receipts, NoSeal())
    with pytest.raises(OutputError, match=r"there is s3://box/out/k=c%2Fd/part-0.parquet already"):
        end(receipts)
    output.abort({"folder": "out/"})
    output.close()
    placed = ["out/k=a b/part-0.parquet"] if late else []
    assert sorted(server.names()) == [*placed, "out/k=c%2Fd/part-0.parquet"]
    assert not spool.blobs.list("staged")
    assert server.unfinished() == []


@pytest.mark.parametrize("mode", ["overwrite", "error"])
def test_a_commit_is_safe_to_repeat(tmp_path, monkeypatch, mode: str) -> None:
    """A worker may die behind the last file, or behind all its work, before the job's end is noted."""
    server, spool = servers["get"]("s3"), open_spool(tmp_path / "spool")
    output, receipts = written(server, spool, ifExists=mode)

    def die(point: str) -> None:
        if point == "folder.placed":
            raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(faults, "at", die)
        with pytest.raises(KeyboardInterrupt):
            output.commit(receipts)
    for _ in range(2):
        output.finish(receipts, NoSeal())
        output.commit(receipts)
    output.close()
    assert json.loads(server.get("out/_manifest.json"))["rows"] == 6
    assert [name for name in spool.blobs.list("staged") if name.endswith(".seg")] == []
