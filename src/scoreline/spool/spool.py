"""The spool: streams, result segments and objects over one place for blobs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import IO, Any, TypeVar

from scoreline import faults
from scoreline.errors import LostLease, SpoolError
from scoreline.spool import segments
from scoreline.spool.blobs import Blobs
from scoreline.spool.reader import SegmentReader
from scoreline.spool.segments import Manifest, Segment, SegmentDamaged
from scoreline.spool.writer import SEGMENT_BYTES, SegmentWriter

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_PIECE_BYTES = 1 << 20
_LOOKS = 4  # at segments, for each one that is written at once

T = TypeVar("T")
R = TypeVar("R")


class Spool:
    """Staged bytes. Safe for threads and for several processes at once; stream names are relative, `a/b/c`."""

    def __init__(self, blobs: Blobs) -> None:
        """Use a place for blobs."""
        self.blobs = blobs

    @property
    def url(self) -> str:
        """What opens the same spool in another process."""
        return self.blobs.url

    @property
    def poll_seconds(self) -> float:
        """How often it is worth to look for what is still to come."""
        return self.blobs.poll_seconds

    # Streams

    def writer(self, stream: str, *, segment_bytes: int = SEGMENT_BYTES) -> SegmentWriter:
        """Begin a stream, deleting what it held before. Raises SpoolFull when the disk is too full to begin."""
        self.check_space(prefix=stream)
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

    def put_segment(
        self, stream: str, name: str, body: bytes | Sequence[bytes], *, sync: bool = True
    ) -> dict[str, Any]:
        """Store one segment durably, unless `sync` is false; the same name again replaces it whole.

        Returns {"segment": name, "size": bytes, "crc32": checksum}. Raises SpoolFull, SpoolError.
        """
        pieces = [body] if isinstance(body, bytes) else list(body)
        footer, segment = segments.footer(pieces)
        self.blobs.put(segments.key(_checked(stream), _checked(name)), [*pieces, footer], sync=sync)
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
        found = self.blobs.tail(key, segments.FOOTER_BYTES)
        if found is None:
            return None
        tail, stored = found
        end = segments.read_footer(stream, name, tail)
        if stored != end.size + segments.FOOTER_BYTES:
            raise segments.damaged(stream, name, f"it has {stored - segments.FOOTER_BYTES} bytes instead of {end.size}")
        return Segment(name, end.size, end.crc32)

    def segment_names(self, stream: str) -> list[str]:
        """Return the names of all stored segments of a stream, sorted, whole or damaged."""
        prefix = f"{_checked(stream)}/"
        found = (key.removeprefix(prefix) for key in self.blobs.list(stream))
        return sorted(name.removesuffix(segments.SUFFIX) for name in found if name.endswith(segments.SUFFIX))

    def staged_bytes(self, stream: str) -> int:
        """Return the bytes of all whole segments of a stream, whether it is finished or not. Raises SpoolError."""
        return sum(segment.size for segment in self.whole_segments(stream))

    def whole_segments(self, stream: str) -> list[Segment]:
        """Return all whole segments of a stream, sorted by name; torn ones are left out. Raises SpoolError."""

        def look(name: str) -> Segment | None:
            with suppress(SegmentDamaged):
                return self.segment(stream, name)
            return None

        return [found for found in self._at_once(look, self.segment_names(stream)) if found is not None]

    def drop_segment(self, stream: str, name: str) -> None:
        """Delete a segment that nobody needs any more; none of that name is fine."""
        self.blobs.delete(segments.key(_checked(stream), _checked(name)))

    def commit(self, stream: str, receipts: Sequence[Mapping[str, Any]], *, fence: int = 0) -> Manifest:
        """Write the manifest that makes these segments, in this order, the whole stream; delete all else.

        Receipts are what `put_segment` returned. Doing it again is harmless. Raises SpoolError when a segment is not
        there as its receipt says, LostLease when a run with a later fence has already finished the stream.
        """
        listed = tuple(Segment(str(r["segment"]), int(r["size"]), int(r["crc32"])) for r in receipts)
        older = self.reader(stream).manifest()
        if older is not None and older.fence > fence:
            raise LostLease(f"Spool: {stream} was finished by a later run.")
        there = self._at_once(lambda wanted: self.segment(stream, wanted.name), listed)
        for wanted, found in zip(listed, there, strict=True):
            if found != wanted:
                raise segments.damaged(stream, wanted.name, "it is missing" if found is None else "it was replaced")
        manifest = replace(Manifest(listed), fence=fence)
        faults.at("output.committing")
        self.blobs.put(f"{stream}/{segments.MANIFEST}", [manifest.to_json()])
        faults.at("output.committed")
        kept = {segment.name for segment in listed}
        for name in self.segment_names(stream):
            if name not in kept:
                self.blobs.delete(segments.key(stream, name))
        self.blobs.sweep(0.0, stream)  # of runs that died; one that only lost its lease may fail at it
        return manifest

    # Objects: artefacts and small markers

    def put_object(self, name: str, source: IO[bytes]) -> int:
        """Store all that `source` gives under a name, whole or not at all; return the bytes. Raises SpoolFull."""
        self.check_space()
        return self.blobs.put_from(_checked(name), source)

    def put_marker(self, name: str, body: bytes) -> None:
        """Store a few bytes under a name, replacing what was there at once."""
        self.blobs.put(_checked(name), [body])

    def put_marker_once(self, name: str, body: bytes) -> bool:
        """Store a few bytes under a name unless there are some; say whether they were stored."""
        return self.blobs.put_new(_checked(name), [body])

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

    def size(self, name: str) -> int | None:
        """Return the bytes of a stored object, None when there is none of that name."""
        return self.blobs.object_size(_checked(name))

    def delete_object(self, name: str) -> None:
        """Delete an object; none of that name is fine."""
        self.blobs.delete_object(_checked(name))

    # Space

    def sweep(self, older_than: float = 86_400.0) -> int:
        """Delete what killed processes left half written, if untouched for so many seconds; return how many."""
        return self.blobs.sweep(older_than)

    def free_bytes(self) -> int | None:
        """Return the space left for staged bytes, None where there is no such limit."""
        return self.blobs.free_bytes()

    def check_space(self, wanted: int = 1, prefix: str = "artifacts") -> None:
        """Raise SpoolFull when there is no room for `wanted` bytes more of what has this prefix."""
        self.blobs.check_space(prefix, wanted)

    def check(self) -> None:
        """Raise SetupError when the spool cannot be used as it is set up, SpoolError when its place does not answer."""
        self.blobs.check()

    def hasty(self, seconds: float) -> Spool:
        """Return the same spool for one who waits no longer than that for a place that does not answer."""
        return Spool(self.blobs.hasty(seconds))

    def close(self) -> None:
        """End all waiting for a place that does not answer; what waits for it fails."""
        self.blobs.close()

    def _at_once(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Do it for all, several at once where each one waits for another machine."""
        if self.blobs.parallel == 1 or len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(_LOOKS * self.blobs.parallel, "spool") as pool:
            return list(pool.map(work, items))


def _checked(name: str) -> str:
    """Refuse names that could leave the spool or hide in it."""
    if not _NAME.fullmatch(name):
        raise SpoolError(f"Spool: {name[:100]!r} is not a name for staged bytes.")
    return name
