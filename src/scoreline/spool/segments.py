"""A segment: bytes and a footer that proves them. A manifest: the list of a finished stream's segments.

The footer stands at the end of the segment: magic, number, generation, crc32 and size of what is before it, and a
crc32 of itself. So a torn or flipped byte is found whenever a segment is read, whether its stream has a manifest or
not, and segments of two attempts to write a stream are never taken for one: each attempt has its own generation.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from scoreline.errors import SpoolError

MANIFEST = "manifest.json"
BROKEN = "broken.json"
SUFFIX = ".seg"

_FOOTER = struct.Struct("<4sIQIQ")  # magic, number, generation, crc32, size
_PROOF = struct.Struct("<I")  # crc32 of the footer
_MAGIC = b"SCL1"
FOOTER_BYTES = _FOOTER.size + _PROOF.size


class SegmentDamaged(SpoolError):
    """A stored segment is not what was written."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What is known about one segment without reading it. `name` is relative to its stream."""

    name: str
    size: int
    crc32: int


@dataclass(frozen=True, slots=True)
class Footer:
    """The footer of a segment, decoded."""

    number: int
    generation: int
    crc32: int
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A finished stream. `fence` is that of the run that finished it, 0 for uploads; `sha256` is for uploads alone."""

    segments: tuple[Segment, ...]
    generation: int = 0
    fence: int = 0
    sha256: str | None = None

    @property
    def size(self) -> int:
        """Bytes of the whole stream."""
        return sum(segment.size for segment in self.segments)

    def to_json(self) -> bytes:
        """Write the manifest as it is stored."""
        rows = [[segment.name, segment.size, segment.crc32] for segment in self.segments]
        body = {
            "version": 1,
            "size": self.size,
            "generation": self.generation,
            "fence": self.fence,
            "sha256": self.sha256,
            "segments": rows,
        }
        return json.dumps(body, separators=(",", ":")).encode()

    @staticmethod
    def from_json(stream: str, body: bytes) -> Manifest:
        """Read a stored manifest. Raises SpoolError when it is damaged."""
        try:
            data = json.loads(body)
            segments = tuple(Segment(str(name), int(size), int(crc)) for name, size, crc in data["segments"])
            manifest = Manifest(segments, int(data["generation"]), int(data["fence"]), data.get("sha256"))
            total = int(data["size"])
        except (ValueError, KeyError, TypeError) as error:
            raise SpoolError(f"Spool: the manifest of {stream} is damaged ({error}); run the job again.") from error
        if manifest.size != total:
            raise SpoolError(f"Spool: the manifest of {stream} is damaged (sizes do not add up); run the job again.")
        return manifest


def numbered(number: int) -> str:
    """Return the name of the number-th segment (from 1 on) of a stream that is written in order."""
    return f"{number:08d}"


def key(stream: str, name: str) -> str:
    """Return the blob key of a stream's segment."""
    return f"{stream}/{name}{SUFFIX}"


def footer(pieces: Sequence[bytes | memoryview], *, number: int = 0, generation: int = 0) -> tuple[bytes, Segment]:
    """Return the footer to store after the pieces, and the segment's record (without a name)."""
    crc = 0
    size = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
        size += len(piece)
    fields = _FOOTER.pack(_MAGIC, number, generation, crc, size)
    return fields + _PROOF.pack(zlib.crc32(fields)), Segment("", size, crc)


def read_footer(stream: str, name: str, tail: bytes) -> Footer:
    """Decode the end of a stored segment. Raises SpoolError when it is no footer."""
    if len(tail) >= FOOTER_BYTES:
        fields = tail[-FOOTER_BYTES : -_PROOF.size]
        magic, number, generation, crc, size = _FOOTER.unpack(fields)
        if magic == _MAGIC and _PROOF.unpack(tail[-_PROOF.size :])[0] == zlib.crc32(fields):
            return Footer(number, generation, crc, size)
    raise damaged(stream, name, "its end is missing")


def checked(stream: str, name: str, stored: bytes) -> tuple[memoryview, Footer]:
    """Return what a stored segment holds. Raises SpoolError when a byte is missing or changed."""
    end = read_footer(stream, name, stored)
    body = memoryview(stored)[:-FOOTER_BYTES]
    if len(body) != end.size:
        raise damaged(stream, name, f"it has {len(body)} bytes instead of {end.size}")
    if zlib.crc32(body) != end.crc32:
        raise damaged(stream, name, "its checksum does not match")
    return body, end


def damaged(stream: str, name: str, cause: str) -> SegmentDamaged:
    """Make the error for a segment that is not what was written."""
    return SegmentDamaged(
        f"Spool: segment {name} of {stream} is damaged: {cause}; check the disk and run the job again."
    )
