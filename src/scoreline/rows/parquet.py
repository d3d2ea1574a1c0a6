"""Parquet files: how they are opened to be read, and how they are written in blocks, by several runs if need be.

Each block is one row group. A row group's metadata says where in the file its columns lie, and stands in the footer,
the file's last bytes: it is noted when the block is made, with the places moved to where the block comes to lie.
"""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scoreline.rows import thrift
from scoreline.rows.forms import Piece, batch, told
from scoreline.types import JsonObject

_MAGIC = b"PAR1"
_LENGTH = 4

# The size is that in memory; on disk it becomes a third or less. Small row groups make files slow to read; large ones
# cost memory, and a run that is killed has more to do again.
ROW_GROUP_BYTES = 32 << 20
ROW_GROUP_SECONDS = 10.0

# Numbers of fields in the footer.
_ROWS, _ROW_GROUPS = 3, 4
_COLUMNS, _GROUP_ROWS, _GROUP_OFFSET, _ORDINAL = 1, 3, 5, 7
_FILE_OFFSET, _METADATA = 2, 3
_PLACES = (9, 10, 11, 14)  # of data pages, the index page, the dictionary, the bloom filter
_INDEXES = (4, 5, 6, 7)  # of a column: places and lengths of indexes, which lie outside of the row group


class ParquetForm:
    """One Parquet file; see `forms.Form`."""

    typed = True
    flush_bytes = ROW_GROUP_BYTES
    flush_seconds = ROW_GROUP_SECONDS
    at_once = False
    final = True

    def __init__(self, schema: pa.Schema, compression: str = "snappy") -> None:
        self._schema = schema
        self._compression = compression

    def state(self) -> JsonObject:
        """Return the types of the columns."""
        return {"schema": told(self._schema)}

    def head(self) -> bytes:
        """Return the mark of a Parquet file."""
        return _MAGIC

    def piece(self, columns: Sequence[pa.Array]) -> pa.RecordBatch:
        """Return the rows as they are."""
        return batch(columns, self._schema)

    def block(self, pieces: Sequence[Piece], offset: int) -> tuple[bytes, JsonObject | None]:
        """Return one row group, and its metadata."""
        table = pa.Table.from_batches(pieces, self._schema)
        if not len(table):
            return b"", None
        body, footer = _parts(self._file(table))
        group = thrift.read(footer)[0][_ROW_GROUPS][1][1][0]
        _move(group, offset - len(_MAGIC))
        packed = base64.b64encode(zlib.compress(thrift.write(group))).decode()
        return body, {"rows": len(table), "group": packed}

    def tail(self, notes: Sequence[JsonObject]) -> bytes:
        """Return the footer."""
        _, empty = _parts(self._file(self._schema.empty_table()))
        fields, _ = thrift.read(empty)
        fields[_ROWS] = (thrift.I64, sum(int(note["rows"]) for note in notes))
        groups = [zlib.decompress(base64.b64decode(note["group"])) for note in notes]
        # The row groups go in as the bytes that they are: of wide and long tables, reading them all would take minutes.
        before = {number: field for number, field in fields.items() if number < _ROW_GROUPS}
        behind = {number: field for number, field in fields.items() if number > _ROW_GROUPS}
        footer = b"".join(
            (
                thrift.write(before)[:-1],
                thrift.field_head(_ROW_GROUPS, thrift.LIST, max(before)),
                thrift.list_head(thrift.STRUCT, len(groups)),
                *groups,
                thrift.write({_ROW_GROUPS: (thrift.TRUE, True), **behind})[1:],
            )
        )
        return footer + len(footer).to_bytes(_LENGTH, "little") + _MAGIC

    def _file(self, table: pa.Table) -> bytes:
        sink = io.BytesIO()
        with pq.ParquetWriter(sink, self._schema, compression=self._compression) as writer:
            if len(table):
                writer.write_table(table, row_group_size=len(table))
        return sink.getvalue()


def open_file(file: Any, **how: Any) -> pq.ParquetFile:
    """Open a file object to be read; how: further settings of Arrow's. Raises ArrowException, OSError.

    The timestamps of old, INT96, are read in microseconds, which reach from year 1 to 9999 as their writers' do; in
    Arrow's nanoseconds, whatever is beyond 1677 to 2262 would silently become another time.
    """
    opened = pq.ParquetFile(
        pa.PythonFile(file, mode="r"), page_checksum_verification=True, coerce_int96_timestamp_unit="us", **how
    )
    if "metadata" not in how:
        counts = [opened.metadata.row_group(number).num_rows for number in range(opened.metadata.num_row_groups)]
        if min(counts, default=0) < 0 or sum(counts) != opened.metadata.num_rows:
            raise pa.ArrowInvalid("Its footer counts other rows than its row groups have")
    return opened


def batches(file: pq.ParquetFile, groups: Sequence[int], columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield these row groups, `rows` at once. Raises ArrowInvalid for other rows than the footer counts, OSError."""
    left = 0
    for number in groups:
        left += _counted(file.metadata, number, columns)
    for some in file.iter_batches(rows, row_groups=list(groups), columns=list(columns)):
        left -= some.num_rows
        yield some
    if left:
        raise pa.ArrowInvalid("It has other rows than its footer counts")


def measure(metadata: pq.FileMetaData, number: int, columns: Sequence[str]) -> tuple[int, int]:
    """Return the bytes of these columns of a row group: on disk, and in memory."""
    wanted = [metadata.row_group(number).column(place) for place in _places(metadata, columns)]
    return sum(one.total_compressed_size for one in wanted), sum(one.total_uncompressed_size for one in wanted)


def _counted(metadata: pq.FileMetaData, number: int, columns: Sequence[str]) -> int:
    """Return the rows of a row group. Raises ArrowInvalid when one of the columns has other values."""
    group = metadata.row_group(number)
    for place in _places(metadata, columns):
        flat = metadata.schema.column(place).max_repetition_level == 0
        if flat and group.column(place).num_values != group.num_rows:
            raise pa.ArrowInvalid("Its columns have other rows than its footer counts")
    return int(group.num_rows)


def _places(metadata: pq.FileMetaData, columns: Sequence[str]) -> list[int]:
    """Return the numbers of the leaves of these columns."""
    names = set(columns)
    paths = [metadata.schema.column(place).path for place in range(metadata.num_columns)]
    return [place for place, path in enumerate(paths) if {path, path.split(".")[0]} & names]


def _parts(file: bytes) -> tuple[bytes, bytes]:
    """Return what stands between the first mark and the footer, and the footer."""
    end = len(file) - len(_MAGIC) - _LENGTH
    length = int.from_bytes(file[end : end + _LENGTH], "little")
    return file[len(_MAGIC) : end - length], file[end - length : end]


def _move(group: thrift.Struct, by: int) -> None:
    """Move the places in a row group's metadata."""
    _add(group, _GROUP_OFFSET, by)
    group.pop(_ORDINAL, None)
    for column in group[_COLUMNS][1][1]:
        _add(column, _FILE_OFFSET, by)
        for number in _INDEXES:
            column.pop(number, None)
        for number in _PLACES:
            _add(column[_METADATA][1], number, by)


def _add(fields: thrift.Struct, number: int, by: int) -> None:
    # A place of 0 stands for none.
    if number in fields and fields[number][1]:
        kind, value = fields[number]
        fields[number] = (kind, value + by)
