"""Multipart uploads: numbered parts, each replaced as a whole when it is sent again, and the marker that ends them.

Each attempt to send a part is a stream of its own, `uploads/<job>/part-<n>.<attempt>`; the small marker
`uploads/<job>/part-<n>.json` points to the attempt that counts. So the old part stays until the new one is complete,
and until the upload is finalised: who does that meanwhile may have listed it. `uploads/<job>/part-<n>.begun` says that
a part began to come: without it, the loss of the last part would not be noticed.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from scoreline import faults
from scoreline.errors import Conflict, InvalidRequest, SpoolError
from scoreline.spool.segments import MANIFEST
from scoreline.spool.spool import Spool

_BEGUN = ".begun"
_WHOLE = ".json"

Check = Callable[[Iterator[bytes]], None]


@dataclass(frozen=True, slots=True)
class Part:
    """One complete part of an upload. `stream` is the stream that holds it; sha256 of its bytes as hexadecimal text."""

    number: int
    stream: str
    size: int
    sha256: str


def part_writer(spool: Spool, job_id: str, number: int) -> PartWriter:
    """Begin to receive part `number` (from 0 on). Raises SpoolFull."""
    return PartWriter(spool, job_id, number)


class PartWriter:
    """Receives one part; use it in a `with` block: leaving it without `finish` drops what came."""

    def __init__(self, spool: Spool, job_id: str, number: int) -> None:
        """Begin a new attempt; a complete older one stays as it is."""
        self.number = number
        self._spool = spool
        self._marker = _marker(job_id, number)
        self._writer = spool.writer(f"uploads/{job_id}/part-{number}.{secrets.token_hex(6)}")
        if not spool.exists(self._marker):
            spool.put_marker(_begun(job_id, number), b"")
        self._done = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._done:
            self.discard()

    @property
    def size(self) -> int:
        """Bytes taken so far."""
        return self._writer.size

    @property
    def would_block(self) -> bool:
        """As `SegmentWriter.would_block`."""
        return self._writer.would_block

    def write(self, data: bytes) -> None:
        """Take bytes, in order. Raises SpoolFull, SpoolError."""
        self._writer.write(data)

    def seal(self) -> None:
        """As `SegmentWriter.seal`."""
        self._writer.seal()

    def finish(self, *, replace: bool, check: Check | None = None) -> Part:
        """Make this the part that counts, after `check` has read it and raised nothing.

        An older part with the same bytes is kept and returned. Another one is replaced, or, with `replace=False` (it
        may already be scored), Conflict is raised. Raises SpoolFull, SpoolError.
        """
        manifest = self._writer.finish()
        new = Part(self.number, self._writer.stream, manifest.size, str(manifest.sha256))
        old = _read(self._spool, self._marker)
        if old is not None and old.sha256 == new.sha256:
            self.discard()
            return old
        if old is not None and not replace:
            raise Conflict(f"Part {self.number} was already received with other bytes and may be scored by now.")
        if check is not None:
            check(self._spool.reader(new.stream).blocks())
        self._spool.put_marker(self._marker, json.dumps(asdict(new)).encode())
        self._done = True
        return new

    def close(self) -> None:
        """Drop what came: a part that is cut is of no use."""
        self.discard()

    def discard(self) -> None:
        """Drop what came; calling it again is harmless."""
        self._done = True
        self._writer.discard()


class NoParts(InvalidRequest):
    """An upload is finalised to which no part came."""


def part(spool: Spool, job_id: str, number: int) -> Part | None:
    """Return a complete part, or None while there is none."""
    return _read(spool, _marker(job_id, number))


def parts(spool: Spool, job_id: str) -> dict[int, Part]:
    """Return all complete parts by number."""
    found = (_read(spool, _marker(job_id, number)) for number in sorted(_numbers(spool, job_id, _WHOLE)))
    return {part.number: part for part in found if part}


def finalise(spool: Spool, job_id: str) -> tuple[Part, ...]:
    """End a multipart upload: from now on its parts are known and fixed. Doing it again is harmless.

    Raises NoParts when no part came, InvalidRequest when numbers are missing, or have begun and are not whole (it names
    them); the upload stays open then.
    """
    done = finalised(spool, job_id)
    if done is not None:
        return done
    there = parts(spool, job_id)
    begun = there.keys() | _numbers(spool, job_id, _BEGUN)
    if not begun:
        raise NoParts("No data was uploaded: send the parts of the CSV before the upload is finalised.")
    missing = [number for number in range(max(begun) + 1) if number not in there]
    if missing:
        names = ", ".join(map(str, missing[:20])) + (" and more" if len(missing) > 20 else "")
        raise InvalidRequest(f"Parts are missing from the upload: {names}; send them and finalise again.")
    done = tuple(there.values())
    faults.at("upload.finalising")
    if not spool.put_marker_once(_final(job_id), json.dumps([asdict(part) for part in done]).encode()):
        return finalised(spool, job_id) or done
    _forget_replaced(spool, job_id, done)
    return done


def finalised(spool: Spool, job_id: str) -> tuple[Part, ...] | None:
    """Return the parts of an upload that is finalised, else None."""
    body = spool.get_marker(_final(job_id))
    return None if body is None else tuple(_part(item) for item in json.loads(body))


def _numbers(spool: Spool, job_id: str, suffix: str) -> set[int]:
    """Return the numbers of the parts that have a marker of this kind."""
    found = (
        re.fullmatch(rf"uploads/[^/]+/part-(\d+){re.escape(suffix)}", key)
        for key in spool.blobs.list(f"uploads/{job_id}")
    )
    return {int(match[1]) for match in found if match}


def _forget_replaced(spool: Spool, job_id: str, kept: tuple[Part, ...]) -> None:
    streams = {one.stream for one in kept}
    for key in spool.blobs.list(f"uploads/{job_id}"):
        stream, _, name = key.rpartition("/")
        if name == MANIFEST and stream not in streams:
            spool.delete_stream(stream)


def _begun(job_id: str, number: int) -> str:
    return f"uploads/{job_id}/part-{number}{_BEGUN}"


def _marker(job_id: str, number: int) -> str:
    return f"uploads/{job_id}/part-{number}{_WHOLE}"


def _final(job_id: str) -> str:
    return f"uploads/{job_id}/finalised.json"


def _read(spool: Spool, marker: str) -> Part | None:
    body = spool.get_marker(marker)
    if body is None:
        return None
    try:
        return _part(json.loads(body))
    except (ValueError, TypeError, KeyError) as error:
        raise SpoolError(f"Spool: the marker {marker} is damaged; send the part again.") from error


def _part(data: dict[str, object]) -> Part:
    return Part(int(str(data["number"])), str(data["stream"]), int(str(data["size"])), str(data["sha256"]))
