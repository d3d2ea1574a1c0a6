"""The reading end of a stream: follows a writer, in this process or another one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from enum import Enum

from scoreline.errors import RunStopped, SourceError, SpoolError
from scoreline.spool import segments
from scoreline.spool.blobs import Blobs
from scoreline.spool.segments import Footer, Manifest

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.02
_LOOK_FOR_DELETION = 1.0  # seconds between two looks whether the stream is still there


class WaitState(Enum):
    """Answer of a reader's `wait`: whether to go on waiting for bytes that are still to come."""

    GO_ON = "go on"
    STOP = "stop"


Wait = Callable[[], WaitState]


class SegmentReader:
    """Reads one stream, whole or still being written. Each segment is checked before a byte of it is given out."""

    def __init__(self, blobs: Blobs, stream: str) -> None:
        """Read `stream`, which need not have begun."""
        self.stream = stream
        self._blobs = blobs
        self._manifest: Manifest | None = None

    def complete(self) -> bool:
        """Say whether the stream is finished. Raises SpoolError when its manifest is damaged."""
        return self.manifest() is not None

    def size(self) -> int | None:
        """Return the bytes of the whole stream, or None while it is not finished."""
        manifest = self.manifest()
        return None if manifest is None else manifest.size

    def manifest(self) -> Manifest | None:
        """Return the manifest of a finished stream, else None. Raises SpoolError when it is damaged."""
        if self._manifest is None:
            body = self._blobs.get(f"{self.stream}/{segments.MANIFEST}")
            if body is not None:
                self._manifest = Manifest.from_json(self.stream, body)
        return self._manifest

    def broken(self) -> str | None:
        """Return why the stream will never be complete, or None if nobody said so."""
        body = self._blobs.get(f"{self.stream}/{segments.BROKEN}")
        return None if body is None else str(json.loads(body)["reason"])

    def blocks(self, offset: int = 0, wait: Wait | None = None) -> Iterator[bytes]:
        """Yield the bytes from `offset` on, in order, one block a segment; ends where the manifest says so.

        While the next segment is still to come, `wait` is asked about 50 times a second; without it the reader waits
        as long as it takes. Raises RunStopped when `wait` says so, SourceError when the stream is broken, deleted or
        begun anew, SpoolError when a segment is damaged or missing.
        """
        skip = offset
        number = 1
        generation: int | None = None
        while True:
            name = self._next_name(number, wait, begun=generation is not None)
            if name is None:
                break
            stored = self._whole(name)
            if stored > skip:
                body, end = self._read(name, number)
                generation = self._same_attempt(end, generation)
                yield bytes(body[skip:])
            skip = max(0, skip - stored)
            number += 1
        if skip:
            raise SourceError(
                f"Intake: {self.stream} ends before byte {offset}; it is not the data the run began with."
            )

    def _next_name(self, number: int, wait: Wait | None, *, begun: bool) -> str | None:
        """Return the name of the number-th segment once it is there, None after the last one."""
        pause = _FIRST_PAUSE
        looked = time.monotonic()
        name = segments.numbered(number)
        while True:
            self._raise_if_broken()
            manifest = self.manifest()
            if manifest is not None:
                return manifest.segments[number - 1].name if number <= len(manifest.segments) else None
            if self._blobs.size(segments.key(self.stream, name)) is not None:
                return name
            if wait is not None and wait() is WaitState.STOP:
                raise RunStopped(f"Intake: waiting for more of {self.stream} was stopped.")
            if begun and time.monotonic() - looked > _LOOK_FOR_DELETION:
                looked = time.monotonic()
                self._raise_if_deleted()
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 1.5)

    def _whole(self, name: str) -> int:
        """Return the bytes a segment holds, from its size alone."""
        stored = self._blobs.size(segments.key(self.stream, name))
        if stored is None:
            raise SpoolError(
                f"Spool: segment {name} of {self.stream} is missing; check the disk and run the job again."
            )
        if stored < segments.FOOTER_BYTES:
            raise segments.damaged(self.stream, name, "its end is missing")
        return stored - segments.FOOTER_BYTES

    def _read(self, name: str, number: int) -> tuple[memoryview, Footer]:
        stored = self._blobs.get(segments.key(self.stream, name))
        if stored is None:
            raise SpoolError(
                f"Spool: segment {name} of {self.stream} is missing; check the disk and run the job again."
            )
        body, end = segments.checked(self.stream, name, stored)
        manifest = self.manifest()
        found = segments.Segment(name, end.size, end.crc32)
        if manifest is not None and manifest.segments[number - 1 : number] != (found,):
            raise segments.damaged(self.stream, name, "it is not the one the manifest lists")
        return body, end

    def _same_attempt(self, end: Footer, generation: int | None) -> int:
        if generation is not None and end.generation != generation:
            raise SourceError(f"Intake: {self.stream} was sent anew while it was read; run the job again.")
        return end.generation

    def _raise_if_broken(self) -> None:
        reason = self.broken()
        if reason is not None:
            raise SourceError(f"Intake: {self.stream} is broken: {reason}")

    def _raise_if_deleted(self) -> None:
        if self._blobs.size(segments.key(self.stream, segments.numbered(1))) is None and not self.complete():
            raise SourceError(f"Intake: {self.stream} was deleted while it was read; run the job again.")
