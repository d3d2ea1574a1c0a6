"""The spool: streams, result segments and objects over one place for blobs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, unquote, urlsplit

from scoreline.errors import LostLease, SetupError, SpoolError, SpoolFull
from scoreline.spool import segments
from scoreline.spool.blobs import Blobs
from scoreline.spool.folder import FolderBlobs
from scoreline.spool.reader import SegmentReader
from scoreline.spool.segments import Manifest, Segment
from scoreline.spool.writer import SEGMENT_BYTES, SegmentWriter

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_PIECE_BYTES = 1 << 20


def open_spool(url_or_path: str | Path, *, min_free: int = 0) -> Spool:
    """Open a spool: a folder's path, or what `Spool.url` gave. The folder is made if it is missing.

    `min_free`: bytes that stay free on its disk. Raises SetupError for a place that is not known, SpoolError.
    """
    text = str(url_or_path)
    if "://" not in text:
        return Spool(FolderBlobs(Path(text), min_free))
    parts = urlsplit(text)
    if parts.scheme != "file" or parts.netloc:
        raise SetupError(f"Spool: {parts.scheme}:// is not a place for staged bytes; give a folder's path.")
    wanted = int(parse_qs(parts.query).get("min_free", ["0"])[0])
    return Spool(FolderBlobs(Path(unquote(parts.path)), max(min_free, wanted)))


class Spool:
    """Staged bytes. Safe for threads and for several processes at once; stream names are relative, `a/b/c`."""

    def __init__(self, blobs: Blobs, min_free: int | None = None) -> None:
        """Use a place for blobs; `min_free` as its own unless it is given."""
        self.blobs = blobs
        self.min_free = int(getattr(blobs, "min_free", 0)) if min_free is None else min_free

    @property
    def url(self) -> str:
        """What opens the same spool in another process."""
        return self.blobs.url

    # Streams

    def writer(self, stream: str, *, segment_bytes: int = SEGMENT_BYTES) -> SegmentWriter:
        """Begin a stream, deleting what it held before. Raises SpoolFull when the disk is too full to begin."""
        self.check_space()
        return SegmentWriter(self.blobs, _checked(stream), segment_bytes)

    def reader(self, stream: str) -> SegmentReader:
        """Read a stream, which may still be written or not have begun."""
        return SegmentReader(self.blobs, _checked(stream))

    def mark_broken(self, stream: str, reason: str) -> None:
        """Say that a stream will never be complete: its readers end with SourceError giving the reason."""
        self.blobs.put(f"{_checked(stream)}/{segments.BROKEN}", [json.dumps({"reason": reason}).encode()])

    def delete_stream(self, stream: str) -> None:
        """Delete a stream, or everything below a prefix such as `uploads/<job>`; none of that name is fine.

        The manifest goes first: what is half deleted never looks complete. Raises SpoolError.
        """
        self.blobs.delete(f"{_checked(stream)}/{segments.MANIFEST}")
        self.blobs.delete_all(stream)

    # Segments with names of their own, which become a stream when its manifest is written

    def put_segment(self, stream: str, name: str, body: bytes | Sequence[bytes]) -> dict[str, Any]:
        """Store one segment durably; the same name again replaces it whole.

        Returns {"segment": name, "size": bytes, "crc32": checksum}. Raises SpoolFull, SpoolError.
        """
        pieces = [body] if isinstance(body, bytes) else list(body)
        footer, segment = segments.footer(pieces)
        self.blobs.put(segments.key(_checked(stream), _checked(name)), [*pieces, footer])
        return {"segment": name, "size": segment.size, "crc32": segment.crc32}

    def read_segment(self, stream: str, name: str, *, offset: int = 0, crc32: int | None = None) -> Iterator[bytes]:
        """Yield a segment's bytes from `offset` on, in pieces of up to 1 MiB, once all of it is checked.

        `crc32`: what its receipt says. Raises SpoolError when the segment is missing, damaged or another one.
        """
        stored = self.blobs.get(segments.key(_checked(stream), _checked(name)))
        if stored is None:
            raise SpoolError(f"Spool: segment {name} of {stream} is missing; check the disk and run the job again.")
        body, end = segments.checked(stream, name, stored)
        if crc32 is not None and end.crc32 != crc32:
            raise segments.damaged(stream, name, "it is not the one its receipt speaks of")
        for start in range(offset, len(body), _PIECE_BYTES):
            yield bytes(body[start : start + _PIECE_BYTES])

    def segment(self, stream: str, name: str) -> Segment | None:
        """Return what the segment's footer says if its size agrees, None when there is no such segment.

        Raises SpoolError when it is torn. The bytes themselves are not read.
        """
        key = segments.key(_checked(stream), _checked(name))
        tail = self.blobs.tail(key, segments.FOOTER_BYTES)
        stored = self.blobs.size(key)
        if tail is None or stored is None:
            return None
        end = segments.read_footer(stream, name, tail)
        if stored != end.size + segments.FOOTER_BYTES:
            raise segments.damaged(stream, name, f"it has {stored - segments.FOOTER_BYTES} bytes instead of {end.size}")
        return Segment(name, end.size, end.crc32)

    def segment_names(self, stream: str) -> list[str]:
        """Return the names of all stored segments of a stream, sorted, whole or damaged."""
        prefix = f"{_checked(stream)}/"
        found = (key.removeprefix(prefix) for key in self.blobs.list(stream))
        return sorted(name.removesuffix(segments.SUFFIX) for name in found if name.endswith(segments.SUFFIX))

    def commit(self, stream: str, receipts: Sequence[Mapping[str, Any]], *, fence: int = 0) -> Manifest:
        """Write the manifest that makes these segments, in this order, the whole stream; delete all others.

        Receipts are what `put_segment` returned. Doing it again is harmless. Raises SpoolError when a segment is not
        there as its receipt says, LostLease when a run with a later fence has already finished the stream.
        """
        listed = tuple(Segment(str(r["segment"]), int(r["size"]), int(r["crc32"])) for r in receipts)
        older = self.reader(stream).manifest()
        if older is not None and older.fence > fence:
            raise LostLease(f"Spool: {stream} was finished by a later run.")
        for wanted in listed:
            found = self.segment(stream, wanted.name)
            if found != wanted:
                raise segments.damaged(stream, wanted.name, "it is missing" if found is None else "it was replaced")
        manifest = replace(Manifest(listed), fence=fence)
        self.blobs.put(f"{stream}/{segments.MANIFEST}", [manifest.to_json()])
        kept = {segment.name for segment in listed}
        for name in self.segment_names(stream):
            if name not in kept:
                self.blobs.delete(segments.key(stream, name))
        return manifest

    # Objects: artefacts and small markers

    def put_object(self, name: str, source: IO[bytes]) -> int:
        """Store all that `source` gives under a name, whole or not at all; return the bytes. Raises SpoolFull."""
        self.check_space()
        return self.blobs.put_from(_checked(name), source)

    def put_marker(self, name: str, body: bytes) -> None:
        """Store a few bytes under a name, replacing what was there at once."""
        self.blobs.put(_checked(name), [body])

    def get_marker(self, name: str) -> bytes | None:
        """Return what `put_marker` stored, or None."""
        return self.blobs.get(_checked(name))

    def open_object(self, name: str) -> IO[bytes]:
        """Open a stored object. Raises SpoolError when there is none of that name."""
        file = self.blobs.open(_checked(name))
        if file is None:
            raise SpoolError(f"Spool: {name} is not there; it was deleted, or this spool is not the one it was put in.")
        return file

    def exists(self, name: str) -> bool:
        """Say whether an object of that name is stored."""
        return self.blobs.size(_checked(name)) is not None

    def delete_object(self, name: str) -> None:
        """Delete an object; none of that name is fine."""
        self.blobs.delete(_checked(name))

    # Space

    def sweep(self, older_than: float = 86_400.0) -> int:
        """Delete what killed processes left half written, if untouched for so many seconds; return how many."""
        return self.blobs.sweep(older_than)

    def free_bytes(self) -> int | None:
        """Return the space left for staged bytes, None where there is no such limit."""
        return self.blobs.free_bytes()

    def check_space(self, wanted: int = 0) -> None:
        """Raise SpoolFull when `wanted` more bytes would leave less than `min_free`."""
        free = self.free_bytes()
        if free is not None and free - wanted < self.min_free:
            raise SpoolFull(
                f"Spool: {wanted >> 20} MiB more are refused: {free >> 20} MiB are free and {self.min_free >> 20} MiB "
                "are kept free; make space on the disk of the data folder."
            )


def _checked(name: str) -> str:
    """Refuse names that could leave the spool or hide in it."""
    if not _NAME.fullmatch(name):
        raise SpoolError(f"Spool: {name[:100]!r} is not a name for staged bytes.")
    return name
