"""Large objects in an object store: pieces of bounded size, and an index that makes them one object at once.

So no upload in parts is ever left unfinished in a store, where only some stores can find it again.
"""

from __future__ import annotations

import bisect
import io
import itertools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from scoreline.errors import SpoolError

FOLDER = "pieces"
PIECE_BYTES = 16 << 20
_LEAST_BYTES = 256 << 10
_MOST_BYTES = 8 << 20

Fetch = Callable[[str, int, int], memoryview]


@dataclass(frozen=True, slots=True)
class Index:
    """What is stored under an object's own name: where its pieces are, and their bytes."""

    folder: str
    sizes: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return sum(self.sizes)

    @property
    def keys(self) -> list[str]:
        """The keys of its pieces, in order."""
        return [piece_key(self.folder, number) for number in range(len(self.sizes))]

    def to_json(self) -> bytes:
        """Write the index as it is stored."""
        return json.dumps({"folder": self.folder, "sizes": self.sizes}).encode()

    @staticmethod
    def from_json(key: str, body: bytes) -> Index:
        """Read a stored index. Raises SpoolError when it is damaged."""
        try:
            data = json.loads(body)
            return Index(str(data["folder"]), tuple(int(size) for size in data["sizes"]))
        except (ValueError, KeyError, TypeError) as error:
            raise SpoolError(f"Spool: {key} is damaged ({error}); store it again.") from error


def piece_key(folder: str, number: int) -> str:
    """Return the key of an object's piece, from 0 on."""
    return f"{folder}/{number:06d}"


class _PiecesFile(io.RawIOBase):
    """An object of several pieces as one file to read. What is read in a row is fetched in blocks that grow."""

    def __init__(self, index: Index, fetch: Fetch) -> None:
        """`fetch(key, start, end)` returns bytes of a piece, or raises SpoolError."""
        self._ends = list(itertools.accumulate(index.sizes))
        self._keys = index.keys
        self._fetch = fetch
        self._place = 0
        self._start = 0  # of what is at hand
        self._block = memoryview(b"")
        self._next = _LEAST_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, place: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        if base + place < 0:
            raise ValueError("a place before the first byte")
        self._place = base + place
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # any writable buffer
        if self._place >= self._size:
            return 0
        at = self._place - self._start
        if not 0 <= at < len(self._block):
            self._load(len(buffer))
            at = 0
        count = min(len(buffer), len(self._block) - at)
        buffer[:count] = self._block[at : at + count]
        self._place += count
        return count

    @property
    def _size(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _load(self, wanted: int) -> None:
        goes_on = self._place == self._start + len(self._block)
        self._next = min(2 * self._next, _MOST_BYTES) if goes_on else _LEAST_BYTES
        number = bisect.bisect_right(self._ends, self._place)
        begin = self._ends[number - 1] if number else 0
        end = min(self._place + max(self._next, min(wanted, _MOST_BYTES)), self._ends[number])
        self._block = memoryview(b"")  # not two of them at once
        self._block = self._fetch(self._keys[number], self._place - begin, end - begin)
        self._start = self._place


def opened(index: Index, fetch: Fetch) -> IO[bytes]:
    """Open an object of these pieces. `fetch(key, start, end)` returns bytes of one, or raises SpoolError."""
    return io.BufferedReader(_PiecesFile(index, fetch), _LEAST_BYTES)


def cut(source: IO[bytes], size: int) -> Sequence[bytes]:
    """Read the next piece of so many bytes, or what is left, as it comes."""
    found, left = [], size
    while left and (block := source.read(min(left, 4 << 20))):
        found.append(block)
        left -= len(block)
    return found
