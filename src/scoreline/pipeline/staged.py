"""Chunks that were scored before their turn in the output came, as segments of the spool."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pyarrow as pa

from scoreline.errors import SpoolError
from scoreline.pipeline.chunk import DoneChunk
from scoreline.rows.forms import Piece
from scoreline.spool import Spool
from scoreline.types import Counts, JsonObject

FOLDER = "parts"
_SEGMENT_BYTES = 8 << 20
_LENGTH = 8


class Stage:
    """The staged chunks of one job. Each part has segments of its own for each run that had it."""

    def __init__(self, spool: Spool, job_id: str) -> None:
        self._spool = spool
        self._stream = f"{FOLDER}/{job_id}"

    def put(self, name: str, chunks: Sequence[DoneChunk]) -> JsonObject:
        """Store chunks that follow each other and return what finds them again. Raises SpoolFull, SpoolError."""
        # Losing them loses time alone: nothing waits for the disk.
        pieces = [piece for chunk in chunks for piece in _packed(chunk)]
        return self._spool.put_segment(self._stream, name, pieces, sync=False)

    def read(self, segments: Sequence[JsonObject]) -> Iterator[DoneChunk]:
        """Yield the chunks of these segments. Raises SpoolError when one is not what was stored."""
        for segment in segments:
            name, crc32 = str(segment["segment"]), int(segment["crc32"])
            yield from _unpacked(b"".join(self._spool.read_segment(self._stream, name, crc32=crc32)))

    def drop(self, segments: Sequence[JsonObject]) -> None:
        """Delete segments, as far as that is possible now; the rest goes with the job."""
        with suppress(SpoolError):
            for segment in segments:
                self._spool.drop_segment(self._stream, str(segment["segment"]))

    def delete(self) -> None:
        """Delete everything. Raises SpoolError."""
        self._spool.delete_stream(self._stream)


class StagedPart:
    """One part while it is staged: chunks are collected until they fill a segment."""

    def __init__(self, stage: Stage, name: str) -> None:
        """Name its segments after `name`."""
        self.segments: list[JsonObject] = []
        self.counts = Counts()
        self.end: int | None = None
        self._stage = stage
        self._name = name
        self._waiting: list[DoneChunk] = []
        self._size = 0

    def add(self, chunk: DoneChunk) -> None:
        """Take the next chunk. Raises SpoolFull, SpoolError."""
        self._waiting.append(chunk)
        self._size += chunk.size
        self.counts += chunk.counts
        self.end = chunk.end_offset
        if self._size >= _SEGMENT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Store what waits. Raises SpoolFull, SpoolError."""
        if self._waiting:
            self.segments.append(self._stage.put(f"{self._name}.{len(self.segments):06d}", self._waiting))
            self._waiting, self._size = [], 0

    def drop(self) -> None:
        """Delete what is stored."""
        self._stage.drop(self.segments)


def _packed(chunk: DoneChunk) -> Iterator[bytes]:
    body = _bytes(chunk.piece)
    head = json.dumps(
        {
            "number": chunk.number,
            "end": chunk.end_offset,
            "counts": [chunk.counts.read, chunk.counts.scored, chunk.counts.failed, chunk.counts.skipped],
            "errors": list(chunk.errors.items()),
            "sources": [(row, base64.b64encode(source).decode()) for row, source in chunk.sources.items()],
            "rows": isinstance(chunk.piece, pa.RecordBatch),
            "none": chunk.piece is None,
            "size": chunk.size,
        }
    ).encode()
    yield len(head).to_bytes(_LENGTH) + len(body).to_bytes(_LENGTH) + head
    yield body


def _bytes(piece: Piece | None) -> bytes:
    if isinstance(piece, pa.RecordBatch):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, piece.schema) as writer:
            writer.write_batch(piece)
        return bytes(sink.getvalue().to_pybytes())
    return piece or b""


def _unpacked(segment: bytes) -> Iterator[DoneChunk]:
    at = 0
    while at < len(segment):
        start = at + 2 * _LENGTH
        middle = start + int.from_bytes(segment[at : at + _LENGTH])
        at = middle + int.from_bytes(segment[at + _LENGTH : start])
        head, body = json.loads(segment[start:middle]), segment[middle:at]
        piece: Piece | None = None if head["none"] else body
        if head["rows"]:
            (piece,) = pa.ipc.open_stream(body)
        yield DoneChunk(
            head["number"],
            piece,
            head["size"],
            head["end"],
            Counts(*head["counts"]),
            dict(head["errors"]),
            {row: base64.b64decode(source) for row, source in head["sources"]},
        )
