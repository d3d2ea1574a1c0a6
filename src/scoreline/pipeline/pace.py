"""How large chunks are: small at first, so that the first rows are out soon, then as large as is quick to score."""

from __future__ import annotations

import threading

from scoreline.types import PacePlan

LEAST_BYTES = 64 << 10
FIRST_BYTES = 256 << 10
MOST_BYTES = 2 << 20
FIXED_BYTES = 5 << 20
# A chunk that takes about this long costs little beside its rows, and a stop or a retry loses little.
AIM_SECONDS = 1.0
_GROWTH = 2.0


class Pace:
    """Gives the next chunk's size in bytes and learns from the chunks done. May be called by several threads."""

    def __init__(self, plan: PacePlan) -> None:
        self._lock = threading.Lock()
        self._learns = plan.chunk_size in ("auto", "dynamic")
        self._most = MOST_BYTES
        if isinstance(plan.chunk_size, int):
            self._size = plan.chunk_size
        else:
            self._size = FIRST_BYTES if self._learns else FIXED_BYTES

    def target(self) -> int:
        """Bytes that the next chunk should have at most."""
        return self._size

    def done(self, size: int, seconds: float) -> None:
        """Learn that a chunk of `size` bytes took `seconds` of work."""
        if not self._learns or not size:
            return
        with self._lock:
            if size < self._size // 2:
                return  # the end of a file, or a source that trickles: says little about larger ones
            wanted = size * AIM_SECONDS / max(seconds, 1e-3)
            self._size = int(max(LEAST_BYTES, min(wanted, self._size * _GROWTH, self._most)))

    def too_large(self, size: int) -> None:
        """Learn that a server refused a chunk of `size` bytes for its size."""
        with self._lock:
            if self._learns:
                self._most = max(LEAST_BYTES, min(self._most, size // 2))
                self._size = min(self._size, self._most)
