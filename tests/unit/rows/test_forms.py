"""Outputs written block by block, read again by Arrow and by programs of others."""

from __future__ import annotations

import gzip
import io
import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.errors import InvalidRequest, OutputError
from scoreline.rows import forms, opening, thrift
from scoreline.rows.parquet import ParquetForm
from scoreline.types import CsvDialect

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("name", pa.string()),
        ("p", pa.float64()),
        ("yes", pa.bool_()),
        ("moment", pa.timestamp("us")),
        ("cost", pa.decimal128(9, 2)),
        ("tags", pa.list_(pa.string())),
    ]
)


def table(first: int, rows: int) -> pa.Table:
    def row(i: int) -> dict:
        if i % 7 == 3:
            return dict.fromkeys(SCHEMA.names) | {"id": i}
        return {
            "id": i,
            "name": f"größe {i % 5}",
            "p": i / 3,
            "yes": i % 2 == 0,
            "moment": datetime(2026, 1, 1, 2, 3, i % 60, i),  # noqa: DTZ001 -- Parquet has moments without a zone
            "cost": Decimal(i).scaleb(-2),
            "tags": [str(i)] * (i % 3),
        }

    return pa.Table.from_pylist([row(i) for i in range(first, first + rows)], SCHEMA)


def written(form: forms.Form, blocks: list[list[pa.Table]]) -> bytes:
    """What a run writes whose flushes hold these chunks; notes go through JSON, as the ledger keeps them."""
    out = form.head()
    notes = []
    for block in blocks:
        pieces = [form.piece(chunk.combine_chunks().to_batches()[0].columns) for chunk in block]
        body, note = form.block(pieces, len(out))
        out += body
        if note is not None:
            notes.append(json.loads(json.dumps(note)))
    return out + (form.tail(notes) or b"")


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=3), max_size=17),
    st.sampled_from(forms.COMPRESSIONS["parquet"]),
)
@settings(max_examples=25, deadline=None)
def test_parquet_of_any_blocks_is_one_file(blocks: list[list[int]], compression: str) -> None:
    first = 0
    chunks = []
    for block in blocks:
        chunks.append([])
        for rows in block:
            chunks[-1].append(table(first, rows))
            first += rows
    body = written(ParquetForm(SCHEMA, compression), chunks)
    whole = table(0, first)
    file = pq.ParquetFile(io.BytesIO(body))
    assert file.read().equals(whole)
    assert file.metadata.num_row_groups == len(blocks)
    # What is skipped by statistics must not be what is looked for.
    assert pq.read_table(io.BytesIO(body), filters=[("id", ">=", first // 2)]).num_rows == first - first // 2


def test_parquet_as_others_read_it(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    path.write_bytes(written(ParquetForm(SCHEMA), [[table(100 * i, 100)] for i in range(20)]))
    with duckdb.connect() as db:
        found = db.execute(f"select count(*), sum(id), sum(p), max(name), sum(cost) from '{path}'").fetchone()
        assert found == (
            2000,
            sum(range(2000)),
            pytest.approx(sum(i / 3 for i in range(2000) if i % 7 != 3)),
            "größe 4",
            Decimal(sum(i for i in range(2000) if i % 7 != 3)).scaleb(-2),
        )
        assert db.execute(f"select id, tags, moment from '{path}' where id = 1502").fetchone() == (
            1502,
            ["1502", "1502"],
            datetime(2026, 1, 1, 2, 3, 2, 1502),  # noqa: DTZ001 -- as above
        )


def test_wide_tables_keep_their_columns() -> None:
    names = [f"c{i}" for i in range(400)]
    chunk = pa.table({name: [float(i), None] for i, name in enumerate(names)})
    body = written(ParquetForm(chunk.schema), [[chunk], [chunk]])
    assert pq.read_table(io.BytesIO(body)).equals(pa.concat_tables([chunk, chunk]).combine_chunks())


def test_a_column_of_another_type_is_no_part_of_a_file() -> None:
    with pytest.raises(OutputError, match="column 'a' holds string, where it began with int64"):
        ParquetForm(pa.schema([("a", pa.int64())])).piece([pa.array(["1"])])


def test_thrift_that_is_cut_off() -> None:
    sink = io.BytesIO()
    pq.write_table(table(0, 50), sink)
    body = sink.getvalue()
    footer = body[-8 - int.from_bytes(body[-8:-4], "little") : -8]
    fields, end = thrift.read(footer)
    assert end == len(footer)
    assert thrift.write(fields) == footer
    for cut in range(0, len(footer), 11):
        with pytest.raises(ValueError, match="Thrift"):
            thrift.read(footer[:cut])


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_arrow_streams(compression: str) -> None:
    form = forms.ArrowForm(SCHEMA, compression)
    body = written(form, [[table(0, 10), table(10, 5)], [table(15, 20)]])
    with pa.ipc.open_stream(body) as reader:
        assert reader.read_all().combine_chunks().equals(table(0, 35))
    assert pa.ipc.open_stream(written(form, [])).read_all().num_rows == 0


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_json_lines(compression: str) -> None:
    body = written(forms.JsonLinesForm(SCHEMA, compression), [[table(0, 10)], [table(10, 5)]])
    if compression == "gzip":
        body = gzip.decompress(body)
    if compression == "zstd":
        body = pa.CompressedInputStream(pa.BufferReader(body), "zstd").read()
    found = [json.loads(line) for line in body.decode().splitlines()]
    wanted = table(0, 15).to_pylist()
    for row, other in zip(found, wanted, strict=True):
        if other["moment"] is not None:
            other |= {
                "moment": f"{other['moment']:%Y-%m-%d %H:%M:%S.%f}".removesuffix(".000000"),
                "cost": str(other["cost"]),
            }
        assert row == other


def test_settings_that_make_no_form() -> None:
    for given_, says in (({"format": "orc"}, "'orc'"), ({"format": "arrow", "compression": "gzip"}, "'gzip'")):
        with pytest.raises(InvalidRequest, match=says):
            opening.open_form(given_, ["a"], [pa.string()], CsvDialect())


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a.csv", {}),
        ("-", {}),
        ("a.csv.gz", {"format": "csv", "compression": "gzip"}),
        ("b/A.PARQUET", {"format": "parquet"}),
        ("a.jsonl.zst", {"format": "jsonl", "compression": "zstd"}),
        ("a.arrow", {"format": "arrow"}),
        ("a.zst", {"format": "csv", "compression": "zstd"}),
    ],
)
def test_what_a_name_says(name: str, wanted: dict) -> None:
    assert forms.by_name(name) == wanted
