"""The forms that an output's rows can take, and how their bytes are made piece by piece.

A form turns the columns of a chunk into a piece, by several threads at once; pieces that follow each other into one
block of bytes; and says what comes before the first block and behind the last. Blocks can be made in several runs: what
the last bytes need to know of a block is noted beside its receipt in the ledger.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, Protocol, TypeAlias

import pyarrow as pa

from scoreline.errors import OutputError
from scoreline.rows import csvout, jsonout, typed
from scoreline.types import CsvDialect, JsonObject

CSV, PARQUET, JSON_LINES, ARROW = "csv", "parquet", "jsonl", "arrow"
READ = (CSV, PARQUET, ARROW)
WRITTEN = (CSV, PARQUET, JSON_LINES, ARROW)
"""What the setting `format` of files may be."""

COMPRESSIONS = {
    CSV: ("none", "gzip", "zstd"),
    JSON_LINES: ("none", "gzip", "zstd"),
    PARQUET: ("snappy", "zstd", "gzip", "none"),
    ARROW: ("none", "zstd"),
}
"""What the setting `compression` of an output may be, by format; the first is the default."""

_ENDINGS = {".parquet": PARQUET, ".pq": PARQUET, ".jsonl": JSON_LINES, ".ndjson": JSON_LINES, ".arrow": ARROW}
_PACKED = {".gz": "gzip", ".zst": "zstd"}

PACKED = (CSV, JSON_LINES)
"""The formats whose files are packed as wholes, which shows in their names."""

_MEDIA_TYPES = {
    CSV: "text/csv",
    JSON_LINES: "application/x-ndjson",
    PARQUET: "application/vnd.apache.parquet",
    ARROW: "application/vnd.apache.arrow.stream",
}
_PACKED_TYPES = {"gzip": "application/gzip", "zstd": "application/zstd"}

FLUSH_BYTES = 8 << 20
FLUSH_SECONDS = 1.0
_ZSTD_LEVEL, _GZIP_LEVEL = 3, 6

Piece: TypeAlias = "bytes | pa.RecordBatch"
"""The rows of a chunk in the form of the output."""


def media_type(settings: Mapping[str, Any]) -> str:
    """Return the media type (RFC 6838, IANA's names) of what an output with these settings writes."""
    form = settings.get("format") or CSV
    packed = _PACKED_TYPES.get(str(settings.get("compression"))) if form in PACKED else None
    return packed or _MEDIA_TYPES[form]


class Form(Protocol):
    """One form, for one output.

    typed: whether it takes the columns with their types, or as the texts that CSV has. flush_bytes, flush_seconds:
    pieces of this size, or so long after the last, are due to become a block. at_once: so are the first ones, whatever
    their size. final: the blocks are the output; otherwise it is made of them at the end.
    """

    typed: bool
    flush_bytes: int
    flush_seconds: float
    at_once: bool
    final: bool

    def state(self) -> JsonObject:
        """Return what a later run must agree with, to be kept with the output's state."""
        ...

    def head(self) -> bytes:
        """Return what comes before all rows."""
        ...

    def piece(self, columns: Sequence[pa.Array]) -> Piece:
        """Return the rows of one chunk; called by several threads at once. Raises OutputError."""
        ...

    def block(self, pieces: Sequence[Piece], offset: int) -> tuple[bytes, JsonObject | None]:
        """Return the bytes of pieces that follow each other, and a note; `offset` bytes come before them."""
        ...

    def tail(self, notes: Sequence[JsonObject]) -> bytes | None:
        """Return what comes behind all rows, given the notes of all blocks; None for nothing."""
        ...


class CsvForm:
    """CSV text, also compressed: every piece is a gzip member or zstd frame of its own."""

    typed = False
    flush_bytes = FLUSH_BYTES
    flush_seconds = FLUSH_SECONDS
    at_once = True
    final = True

    def __init__(self, names: Sequence[str], dialect: CsvDialect, compression: str = "none") -> None:
        self._names = names
        self._dialect = dialect
        self._compression = compression

    def state(self) -> JsonObject:
        """Return nothing."""
        return {}

    def head(self) -> bytes:
        """Return the header line."""
        return compressed(csvout.header(self._names, self._dialect), self._compression)

    def piece(self, columns: Sequence[pa.Array]) -> bytes:
        """Return records. Raises NotEncodable."""
        return compressed(csvout.records(columns, self._dialect), self._compression)

    def block(self, pieces: Sequence[Piece], offset: int) -> tuple[bytes, None]:  # noqa: ARG002 -- it does not matter
        """Join the pieces."""
        return _joined(pieces), None

    def tail(self, notes: Sequence[JsonObject]) -> None:
        """Return nothing."""


class JsonLinesForm:
    """One JSON object for each row, in a line of its own; UTF-8."""

    typed = True
    flush_bytes = FLUSH_BYTES
    flush_seconds = FLUSH_SECONDS
    at_once = True
    final = True

    def __init__(self, schema: pa.Schema, compression: str = "none") -> None:
        self._schema = schema
        self._compression = compression

    def state(self) -> JsonObject:
        """Return the types of the columns."""
        return {"schema": told(self._schema)}

    def head(self) -> bytes:
        """Return nothing."""
        return b""

    def piece(self, columns: Sequence[pa.Array]) -> bytes:
        """Return the rows."""
        return compressed(
            jsonout.objects(self._schema.names, [typed.jsonable(each) for each in columns]), self._compression
        )

    def block(self, pieces: Sequence[Piece], offset: int) -> tuple[bytes, None]:  # noqa: ARG002 -- it does not matter
        """Join the pieces."""
        return _joined(pieces), None

    def tail(self, notes: Sequence[JsonObject]) -> None:
        """Return nothing."""


class ArrowForm:
    """An Arrow IPC stream."""

    typed = True
    flush_bytes = FLUSH_BYTES
    flush_seconds = FLUSH_SECONDS
    at_once = True
    final = True
    _END = b"\xff\xff\xff\xff\0\0\0\0"

    def __init__(self, schema: pa.Schema, compression: str = "none") -> None:
        self._schema = schema
        self._options = pa.ipc.IpcWriteOptions(compression=None if compression == "none" else compression)

    def state(self) -> JsonObject:
        """Return the types of the columns."""
        return {"schema": told(self._schema)}

    def head(self) -> bytes:
        """Return the message that names the columns."""
        return self._stream([])[: -len(self._END)]

    def piece(self, columns: Sequence[pa.Array]) -> bytes:
        """Return one message with the rows."""
        return self._stream([batch(columns, self._schema)])[len(self.head()) : -len(self._END)]

    def block(self, pieces: Sequence[Piece], offset: int) -> tuple[bytes, None]:  # noqa: ARG002 -- it does not matter
        """Join the messages."""
        return _joined(pieces), None

    def tail(self, notes: Sequence[JsonObject]) -> bytes:  # noqa: ARG002 -- there are none
        """Return the mark that ends a stream."""
        return self._END

    def _stream(self, batches: Sequence[pa.RecordBatch]) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema, options=self._options) as writer:
            for one in batches:
                writer.write_batch(one)
        return bytes(sink.getvalue().to_pybytes())


def by_name(path: str) -> JsonObject:
    """Return the settings `format` and `compression` that a file's name speaks of; none for plain CSV."""
    first, last = ["", "", *PurePath(path.lower()).suffixes][-2:]
    packed = _PACKED.get(last)
    name = _ENDINGS.get(first if packed else last, CSV)
    if packed in COMPRESSIONS[name]:
        return {"format": name, "compression": packed}
    return {"format": name} if name != CSV else {}


def batch(columns: Sequence[pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    """Return the columns as a batch of the schema. Raises OutputError when one has another type."""
    for field, column in zip(schema, columns, strict=True):
        if column.type != field.type:
            raise OutputError(
                f"Writing the output failed: column '{field.name}' holds {column.type}, where it began with "
                f"{field.type}; run the job again."
            )
    return pa.RecordBatch.from_arrays(list(columns), schema=schema)


def told(schema: pa.Schema) -> str:
    """Return a schema as text that can be kept."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def compressed(body: bytes, compression: str) -> bytes:
    """Return the bytes as one gzip member or zstd frame, or as they are."""
    if compression == "gzip":
        return gzip.compress(body, _GZIP_LEVEL, mtime=0)
    if compression == "zstd":
        return bytes(pa.Codec("zstd", _ZSTD_LEVEL).compress(body, asbytes=True))
    return body


def _joined(pieces: Sequence[Piece]) -> bytes:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
