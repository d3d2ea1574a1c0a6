"""The writing end of a stream: takes bytes at memory speed, makes them durable on threads of its own."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import deque
from dataclasses import replace
from types import TracebackType
from typing import Self

from scoreline import faults
from scoreline.errors import SpoolError
from scoreline.spool import segments
from scoreline.spool.blobs import Blobs
from scoreline.spool.segments import Manifest, Segment

SEGMENT_BYTES = 8 << 20
BACKLOG_SEGMENTS = 4  # waiting or being written, beside the one that fills
SEAL_SECONDS = 0.25  # so that a reader follows a slow upload closely
_PATIENT_AFTER = 200  # segments; a very long and slow stream gets fewer, older ones
_PATIENT_SECONDS = 2.0
_PATIENCE_GROWS = 8  # segments; sooner where each one is a request to another machine

_Pieces = list[bytes | memoryview]


class SegmentWriter:
    """Writes one stream. Safe for threads. `finish` makes it whole; without it the stream never counts as complete.

    Bytes become visible to readers as numbered segments: when `segment_bytes` are together, when the oldest of them is
    a quarter of a second old, or on `seal`. Errors of the disk come out of the next call. Use it in a `with` block, or
    call `discard` when the bytes are not wanted: leaving the block without `finish` discards.
    """

    def __init__(self, blobs: Blobs, stream: str, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Begin an empty stream: what it held before is deleted. Raises SpoolError, SpoolFull."""
        self.stream = stream
        self.generation = secrets.randbits(63) + 1
        self._blobs = blobs
        self._segment_bytes = segment_bytes
        self._limit = BACKLOG_SEGMENTS * segment_bytes
        self._state = threading.Condition()
        self._filling: _Pieces = []
        self._filling_bytes = 0
        self._since = 0.0  # when the first byte of the filling segment came
        self._queue: deque[_Pieces] = deque()
        self._unwritten = 0  # bytes that wait or are being written, without the filling segment
        self._accepted = 0
        self._begun = 0  # segments whose writing has begun
        self._segments: dict[int, Segment] = {}
        self._digest = hashlib.sha256()
        self._digested = 0
        self._error: Exception | None = None
        self._ended = False
        self._manifest: Manifest | None = None
        self._threads: list[threading.Thread] = []
        blobs.delete_all(stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._manifest is None:
            self.discard()

    @property
    def size(self) -> int:
        """Bytes taken so far."""
        return self._accepted

    @property
    def would_block(self) -> bool:
        """True when `write` would have to wait for the disk: then call it from a thread that may wait."""
        return self._unwritten >= self._limit

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes; waits only while the disk is far behind. Raises SpoolFull, SpoolError."""
        view: bytes | memoryview = data if isinstance(data, bytes) else bytes(data)
        with self._state:
            self._check()
            while len(view) > self._segment_bytes:  # a huge block is cut, so that no segment is much too large
                self._take(memoryview(view)[: self._segment_bytes])
                view = memoryview(view)[self._segment_bytes :]
            if view:
                self._take(view)

    def seal(self) -> None:
        """Let readers see what has been taken so far, as soon as it is on the disk; does not wait for that."""
        with self._state:
            self._check()
            self._seal()

    def flush_if_older(self, seconds: float) -> None:
        """Do as `seal` does if the oldest byte not yet on its way came at least `seconds` ago."""
        with self._state:
            if self._filling and time.monotonic() - self._since >= seconds:
                self._check()
                self._seal()

    def finish(self) -> Manifest:
        """Make the stream whole: returns once all of it is durable. Calling it again returns the same manifest.

        Raises SpoolFull, SpoolError; the stream is not complete then.
        """
        with self._state:
            if self._manifest is not None:
                return self._manifest
            self._check()
            self._seal()
            self._end()
        self._join()
        with self._state:
            if self._error is not None:
                raise self._error
            written = tuple(self._segments[number] for number in range(1, self._begun + 1))
            manifest = Manifest(written, generation=self.generation, sha256=self._digest.hexdigest())
        faults.at("upload.written")
        self._blobs.put(f"{self.stream}/{segments.MANIFEST}", [manifest.to_json()])
        self._manifest = manifest
        return manifest

    def discard(self) -> None:
        """Drop the stream, finished or not, and all that was written of it; calling it again is harmless."""
        with self._state:
            self._filling, self._filling_bytes = [], 0
            self._queue.clear()
            self._error = self._error or SpoolError(f"Spool: stream {self.stream} was discarded while it was written.")
            self._manifest = None
            self._end()
        self._join()
        self._blobs.delete_all(self.stream)

    def close(self) -> None:
        """Stop writing and keep what is durable, without a manifest: for a stream that is then marked broken."""
        with self._state:
            if not self._ended:
                self._seal()
                self._end()
        self._join()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._ended:
            raise SpoolError(f"Spool: stream {self.stream} is written to after its end.")

    def _take(self, piece: bytes | memoryview) -> None:
        while self._unwritten >= self._limit and self._error is None and not self._ended:
            self._state.wait()
        self._check()
        if not self._filling:
            self._since = time.monotonic()
            self._wake()
        self._filling.append(piece)
        self._filling_bytes += len(piece)
        self._accepted += len(piece)
        if self._filling_bytes >= self._segment_bytes:
            self._seal()

    def _seal(self) -> None:
        if self._filling:
            self._queue.append(self._filling)
            self._unwritten += self._filling_bytes
            self._filling, self._filling_bytes = [], 0
            self._wake()

    def _wake(self) -> None:
        wanted = min(self._blobs.parallel, max(1, len(self._queue)))
        if len(self._threads) < wanted:
            thread = threading.Thread(target=self._run, name=f"spool {self.stream}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._state.notify_all()

    def _end(self) -> None:
        self._ended = True
        self._state.notify_all()

    def _join(self) -> None:
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _run(self) -> None:
        while (following := self._next()) is not None:
            number, pieces = following
            try:
                segment = self._store(number, pieces)
            except Exception as error:  # noqa: BLE001 -- raised again by the caller's next call
                with self._state:
                    self._error = self._error or error
                    self._queue.clear()
                    self._state.notify_all()
                return
            with self._state:
                self._segments[number] = segment
                self._unwritten -= segment.size
                self._state.notify_all()

    def _next(self) -> tuple[int, _Pieces] | None:
        """Wait for the next segment to write and return its number, too; None at the end of the stream."""
        with self._state:
            while True:
                if self._error is not None:
                    return None
                if self._queue:
                    self._begun += 1
                    return self._begun, self._queue.popleft()
                if self._ended:
                    return None
                if not self._filling:
                    self._state.wait()
                    continue
                left = self._since + self._patience() - time.monotonic()
                if left <= 0:
                    self._seal()
                else:
                    self._state.wait(left)

    def _patience(self) -> float:
        """Return the seconds after which what has come becomes a segment."""
        if self._blobs.parallel > 1:
            return min(_PATIENT_SECONDS, SEAL_SECONDS * (1 + self._begun // _PATIENCE_GROWS))
        return SEAL_SECONDS if self._begun < _PATIENT_AFTER else _PATIENT_SECONDS

    def _store(self, number: int, pieces: _Pieces) -> Segment:
        name = segments.numbered(number)
        self._add_to_digest(number, pieces)
        footer, segment = segments.footer(pieces, number=number, generation=self.generation)
        self._blobs.put(segments.key(self.stream, name), [*pieces, footer], sync=False)
        return replace(segment, name=name)

    def _add_to_digest(self, number: int, pieces: _Pieces) -> None:
        """Do it in order, whichever thread is first."""
        with self._state:
            self._state.wait_for(lambda: self._digested == number - 1)
        for piece in pieces:
            self._digest.update(piece)
        with self._state:
            self._digested = number
            self._state.notify_all()
