"""Bring in a source's bytes: one thread reads ahead, within bounds, and turns other encodings into UTF-8."""

from __future__ import annotations

import codecs
import threading
from collections import deque
from collections.abc import Callable, Iterator

from scoreline.errors import SourceError
from scoreline.pipeline import iso2022

READ_AHEAD_BYTES = 8 << 20
IDLE_SECONDS = 0.2

# Stands for bytes that are no text in the source's encoding; it is no part of any UTF-8 text.
LOST = b"\xff"

_MARK_BYTES = 4
_MARKS = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}
_AS_IT_STANDS = {"utf-8", "utf-8-sig"}  # the byte order mark is taken off where the header is read


def is_utf8(encoding: str) -> bool:
    """Say whether the source's bytes are UTF-8 already. Raises SourceError for an encoding that does not exist."""
    try:
        return codecs.lookup(encoding).name in _AS_IT_STANDS
    except LookupError as problem:
        raise SourceError(
            f"Reading the intake failed: there is no encoding named {encoding!r}; "
            "set csvSettings.encoding to one that Python knows, such as utf-8."
        ) from problem


def _ordered(encoding: str, head: bytes) -> str:
    """Return the codec for a text that begins with `head`: without a byte order mark it is little-endian."""
    marks = _MARKS.get(codecs.lookup(encoding).name)
    return encoding if marks is None or head.startswith(marks) else f"{codecs.lookup(encoding).name}-le"


def _mark(problem: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(problem, UnicodeEncodeError):  # the mark itself, and half characters that some codecs let pass
        return LOST * (problem.end - problem.start), problem.end
    if isinstance(problem, UnicodeDecodeError):
        return "\udcff", problem.end
    raise problem


_HANDLER = "scoreline.lost"
codecs.register_error(_HANDLER, _mark)


def _decoder(encoding: str) -> codecs.IncrementalDecoder | iso2022.Decoder:
    if iso2022.is_iso2022(encoding):
        return iso2022.Decoder(encoding)
    return codecs.getincrementaldecoder(encoding)(_HANDLER)


class Decoded:
    """The text of `blocks` as UTF-8; bytes that are no text in `encoding` come out as bytes that are no UTF-8 (`LOST`).

    bytes_in, bytes_out: bytes of the source, and of UTF-8, so far.
    """

    def __init__(self, blocks: Iterator[bytes], encoding: str) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self._blocks = blocks
        self._encoding = encoding

    def __iter__(self) -> Iterator[bytes]:
        head = b""
        while len(head) < _MARK_BYTES and (block := next(self._blocks, b"")):
            head += block
        self._decoder = _decoder(_ordered(self._encoding, head))
        yield self._text(head, final=False)
        for block in self._blocks:
            yield self._text(block, final=False)
        yield self._text(b"", final=True)

    def _text(self, block: bytes, *, final: bool) -> bytes:
        text = self._decoder.decode(block, final).encode("utf-8", _HANDLER)
        self.bytes_in += len(block)
        self.bytes_out += len(text)
        return text


def after(blocks: Iterator[bytes], skip: int) -> Iterator[bytes]:
    """Yield the bytes of `blocks` without the first `skip`."""
    for block in blocks:
        if len(block) > skip:
            yield block[skip:] if skip else block
        skip = max(0, skip - len(block))


class ReadAhead:
    """Reads an iterator of blocks in a thread of its own, at most `limit` bytes ahead of who takes them.

    As an iterator it yields the blocks, and None each time nothing has come for `idle` seconds. An error of the
    source is raised where it happened.
    """

    def __init__(self, blocks: Iterator[bytes], *, limit: int = READ_AHEAD_BYTES, idle: float = IDLE_SECONDS) -> None:
        self._blocks = blocks
        self._limit = limit
        self._idle = idle
        self._ready: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._closed = False
        self._problem: BaseException | None = None
        self._turn = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="scoreline-fetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[bytes | None]:
        return self

    def __next__(self) -> bytes | None:
        with self._turn:
            self._turn.wait_for(lambda: self._ready or self._ended or self._closed, self._idle)
            if self._ready and not self._closed:
                block = self._ready.popleft()
                self._size -= len(block)
                self._turn.notify_all()
                return block
            if self._problem is not None:
                raise self._problem
            if self._ended or self._closed:
                raise StopIteration
            return None

    def close(self) -> None:
        """Give up reading; a thread that waits in the source ends once the source is closed."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, at most `timeout` seconds."""
        self._thread.join(timeout)

    def _read(self) -> None:
        try:
            for block in self._blocks:
                if not self._put(block):
                    break
        except BaseException as problem:  # noqa: BLE001 -- it is raised in the thread that takes the blocks
            self._problem = problem
        finally:
            _close(self._blocks)
            with self._turn:
                self._ended = True
                self._turn.notify_all()

    def _put(self, block: bytes) -> bool:
        with self._turn:
            self._turn.wait_for(lambda: self._size < self._limit or self._closed)
            if block and not self._closed:
                self._ready.append(block)
                self._size += len(block)
                self._turn.notify_all()
            return not self._closed


def _close(blocks: Iterator[bytes]) -> None:
    close: Callable[[], None] | None = getattr(blocks, "close", None)
    if close is not None:
        close()
