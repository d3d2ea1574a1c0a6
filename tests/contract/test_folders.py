"""Folders of files in object stores."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline import adapters
from scoreline.errors import OutputError
from scoreline.rows.partitions import PartitionedForm
from scoreline.spool import open_spool
from scoreline.types import Range, ScoredChunk
from tests.contract.matrix import servers, ticket


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
    assert not spool.blobs.list("staged")

    settings = {**server.at("out/"), "format": "parquet"}
    intake = adapters.open_intake(ticket(settings, {}, spool), spool, server.keys)
    rows = [value for batch in intake.batches(Range(), 0, ["y"]) for value in batch.column(0).to_pylist()]
    assert rows == [1, 11, 21, 2, 12, 22]
    assert intake.files() == [(intake.files()[0][0], 3), (intake.files()[1][0], 3)]
    intake.close()


def test_what_is_there_already(tmp_path) -> None:
    server, spool = servers["get"]("s3"), open_spool(tmp_path / "spool")
    for mode in ("newName", "newName", "overwrite", "error"):
        output, receipts = written(server, spool, ifExists=mode)
        if mode == "error":
            server.put("out/k=a b/part-0.parquet", b"another's")
            with pytest.raises(OutputError, match=r"there is .* already"):
                output.commit(receipts)
            output.abort(output.prepare())
        else:
            output.commit(receipts)
        output.close()
    assert sum("part-0" in name for name in server.names()) == 4
    assert server.unfinished() == []
