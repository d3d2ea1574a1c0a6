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

        While the next segment is still to come, `wait` is asked, about 50 times a second with a local folder; without
        it the reader waits as long as it takes. Raises RunStopped when `wait` says so, SourceError when the stream is
        broken, deleted or begun anew, SpoolError when a segment is damaged or missing.
        """
        skip = offset
        number = 1
        generation: int | None = None
        self._raise_if_broken()
        self.manifest()
        while (found := self._next(number, skip, wait, begun=generation is not None)) is not None:
            if isinstance(found, int):
                skip -= found
            else:
                body, end = found
                generation = self._same_attempt(end, generation)
                if len(body) > skip:
                    yield bytes(body[skip:])
                skip = max(0, skip - len(body))
            number += 1
        if skip:
            raise SourceError(
                f"Intake: {self.stream} ends before byte {offset}; it is not the data the run began with."
            )

    def _next(
        self, number: int, skip: int, wait: Wait | None, *, begun: bool
    ) -> tuple[memoryview, Footer] | int | None:
        """Return the number-th segment once it is there, None after the last one.

        Of one that lies whole in the first `skip` bytes of what follows, only its bytes are returned, unread.
        """
        pause = _FIRST_PAUSE
        looked = time.monotonic()
        while True:
            known = self._manifest
            if known is not None:
                return self._listed(known, number, skip)
            found = self._arrived(segments.numbered(number), skip)
            if found is not None:
                return found
            self._raise_if_broken()
            if self.manifest() is not None:
                continue
            if wait is not None and wait() is WaitState.STOP:
                raise RunStopped(f"Intake: waiting for more of {self.stream} was stopped.")
            if begun and time.monotonic() - looked > _LOOK_FOR_DELETION:
                looked = time.monotonic()
                self._raise_if_deleted()
            time.sleep(pause)
            pause = min(self._blobs.poll_seconds, pause * 1.5)

    def _listed(self, manifest: Manifest, number: int, skip: int) -> tuple[memoryview, Footer] | int | None:
        if number > len(manifest.segments):
            return None
        wanted = manifest.segments[number - 1]
        if wanted.size <= skip:
            return wanted.size
        body, end = self._read(wanted.name, self._blobs.get(segments.key(self.stream, wanted.name)))
        if wanted != segments.Segment(wanted.name, end.size, end.crc32):
            raise segments.damaged(self.stream, wanted.name, "it is not the one the manifest lists")
        return body, end

    def _arrived(self, name: str, skip: int) -> tuple[memoryview, Footer] | int | None:
        """Return what has come, None while it has not."""
        key = segments.key(self.stream, name)
        if skip:
            stored = self._blobs.size(key)
            if stored is not None and 0 <= stored - segments.FOOTER_BYTES <= skip:
                return stored - segments.FOOTER_BYTES
        found = self._blobs.get(key)
        return None if found is None else self._read(name, found)

    def _read(self, name: str, stored: bytes | None) -> tuple[memoryview, Footer]:
        if stored is None:
            raise SpoolError(
                f"Spool: segment {name} of {self.stream} is missing; check the disk and run the job again."
            )
        return segments.checked(self.stream, name, stored)

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
