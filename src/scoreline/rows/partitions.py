"""Rows that are put apart by the values of some columns, in the folders of Hive: `column=value/column=value/`."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.errors import OutputError
from scoreline.rows import arrow, forms
from scoreline.rows.forms import Piece
from scoreline.types import JsonObject

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
MOST_PARTITIONS = 10_000
_BYTES, _SECONDS = 32 << 20, 10.0
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\"#%'*/:=?\\{}\[\]^<>|]")
_SLASH, _NOTHING = arrow.text("/"), arrow.text("")


class PartitionedForm:
    """Blocks of rows, each sorted by folder, as Arrow streams: for an output that makes files of them at its end.

    The last column of a block is the row's folder; see `forms.Form`.
    """

    flush_bytes = _BYTES
    flush_seconds = _SECONDS
    at_once = False
    final = False

    def __init__(self, schema: pa.Schema, partition: Sequence[str], *, typed: bool) -> None:
        """Write rows of `schema`, which come with the texts of the columns `partition` behind them."""
        self.typed = typed
        self._partition = partition
        self._schema = schema.append(pa.field("", pa.string()))
        self._options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._seen: set[str] = set()

    def state(self) -> JsonObject:
        """Return the types of the columns."""
        return {"schema": forms.told(self._schema)}

    def head(self) -> bytes:
        """Return nothing."""
        return b""

    def piece(self, columns: Sequence[pa.Array]) -> pa.RecordBatch:
        """Return the rows, each with its folder."""
        cells, values = columns[: -len(self._partition)], columns[-len(self._partition) :]
        return forms.batch([*cells, folders(self._partition, values)], self._schema)

    def block(self, pieces: Sequence[Piece], offset: int) -> tuple[bytes, None]:  # noqa: ARG002 -- it does not matter
        """Return the rows sorted by folder. Raises OutputError when there are too many folders."""
        table = pa.Table.from_batches(pieces, self._schema)
        place = table.num_columns - 1
        self._seen.update(pc.unique(table.column(place)).to_pylist())
        check(len(self._seen), self._partition)
        table = table.take(pc.sort_indices(table.column(place).combine_chunks())).combine_chunks()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema, options=self._options) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue().to_pybytes()), None

    def tail(self, notes: Sequence[JsonObject]) -> None:
        """Return nothing."""


def check(folders: int, partition: Sequence[str]) -> None:
    """Raise OutputError for more folders than there may be."""
    if folders > MOST_PARTITIONS:
        raise OutputError(
            f"Writing the output failed: the values of {', '.join(partition)} make more than {MOST_PARTITIONS} "
            "folders; name columns with fewer values in partitionColumns."
        )


def folders(names: Sequence[str], values: Sequence[pa.Array]) -> pa.Array:
    """Return the folder of each row, with a slash at its end; `values`: texts, of which empty ones are none."""
    levels = [_level(name, column) for name, column in zip(names, values, strict=True)]
    return pc.binary_join_element_wise(*levels, _NOTHING, _SLASH)


def escaped(text: str) -> str:
    """Return a value as a folder's name has it: with %XX for what names cannot have."""
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", text)


def _level(name: str, column: pa.Array) -> pa.Array:
    coded = column.dictionary_encode(null_encoding="encode")
    known = [f"{escaped(name)}={escaped(value) if value else NO_VALUE}" for value in coded.dictionary.to_pylist()]
    return arrow.texts(known).take(coded.indices)


def runs(table: pa.Table) -> list[tuple[str, pa.Table]]:
    """Return a block's folders, each with its rows without their last column."""
    coded = pc.run_end_encode(table.column(table.num_columns - 1).combine_chunks())
    rows = table.select(range(table.num_columns - 1))
    found, start = [], 0
    for folder, end in zip(coded.values.to_pylist(), coded.run_ends.to_pylist(), strict=True):
        found.append((folder, rows.slice(start, end - start)))
        start = end
    return found


def copied(rows: pa.Table) -> pa.Table:
    """Return the same rows in memory of their own."""
    return rows.take(arrow.numbers(np.arange(rows.num_rows)))
