"""An upload that is sent again after rows of it are done: it must begin with all that was staged before."""

from __future__ import annotations

from collections.abc import Iterator

from scoreline.errors import Conflict, RunStopped, SpoolError
from scoreline.spool.reader import SegmentReader, WaitState
from scoreline.spool.segments import Manifest
from scoreline.spool.writer import SegmentWriter


class OtherBytes(Conflict):
    """What is sent again is not what was sent before."""


class Matching:
    """Takes bytes for a writer, and compares them with an earlier attempt's, as long as that goes.

    Nothing is written that has not been compared. Safe for one thread at a time.
    """

    def __init__(self, writer: SegmentWriter, earlier: SegmentReader) -> None:
        """Write to `writer` what begins with all that is durable of the stream of `earlier`."""
        self._writer = writer
        self._earlier = _durable(earlier)
        self._known = memoryview(b"")  # what comes next in the earlier attempt
        self._any = False
        self._ended = False

    @property
    def size(self) -> int:
        """Bytes taken so far."""
        return self._writer.size

    @property
    def would_block(self) -> bool:
        """True as long as `write` has to read, and then as of the writer."""
        return not self._ended or self._writer.would_block

    def write(self, data: bytes) -> None:
        """Take bytes, in order. Raises OtherBytes, SpoolFull, SpoolError."""
        view = memoryview(data)
        while view and self._more():
            count = min(len(view), len(self._known))
            if view[:count] != self._known[:count]:
                raise OtherBytes(self._words("differs from what was sent before"))
            self._writer.write(view[:count])
            view, self._known = view[count:], self._known[count:]
        if view:
            self._writer.write(view)

    def finish(self) -> Manifest:
        """As `SegmentWriter.finish`. Raises OtherBytes when the earlier attempt is longer."""
        if self._more():
            raise OtherBytes(self._words("is shorter than what was sent before"))
        return self._writer.finish()

    def close(self) -> None:
        """As `SegmentWriter.close`."""
        self._writer.close()

    def discard(self) -> None:
        """As `SegmentWriter.discard`."""
        self._writer.discard()

    def _more(self) -> bool:
        """Say whether there is more of the earlier attempt, and have it at hand. Raises SpoolError."""
        while not self._known and not self._ended:
            block = next(self._earlier, None)
            if block is None and not self._any:
                raise SpoolError("Spool: what was sent before is not there any more; create a new job.")
            self._any, self._ended = True, block is None
            self._known = memoryview(block or b"")
        return not self._ended

    def _words(self, how: str) -> str:
        return (
            f"Receiving the upload failed: it was sent again, and {how} ({self.size} bytes are the same), while rows "
            "of it are scored already; create a new job to send other data."
        )


def _durable(reader: SegmentReader) -> Iterator[bytes]:
    """Yield what is there of a stream, and do not wait for more."""
    try:
        yield from reader.blocks(wait=lambda: WaitState.STOP)
    except RunStopped:
        return
