"""How much may still be staged: what a disk has, and what the installation allows."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scoreline.errors import SpoolFull
from scoreline.spool.segments import SUFFIX

BOUNDED = ("uploads", "results", "errors", "staged", "parts", "datasets")
"""What a bound on staged bytes counts; models are not among it."""

_MEASURE_SECONDS = 2.0  # between two measurements of what is staged
_MEASURE_SHARE = 20  # at least so many times longer between them than they take
_LEAST_FILES = 16
_ROOM_BYTES = 16 << 20
_ROOM_SHARE = 8
_SMALL_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Limits:
    """min_free: bytes that stay free on the disk. most: bytes that all staged data may take, None for any."""

    min_free: int = 0
    most: int | None = None


def bounded(key: str, size: int) -> bool:
    """Let markers and manifests pass, so that what is there can be ended in order."""
    return size > _SMALL_BYTES or key.endswith(SUFFIX)


def full(text: str, size: int, capacity: int | None) -> SpoolFull:
    """Return the error for `size` bytes that do not fit, with the space that is worth to go on with."""
    room = _ROOM_BYTES if capacity is None else min(_ROOM_BYTES, capacity // _ROOM_SHARE)
    return SpoolFull(text, size=size, wanted=max(2 * size, room), capacity=capacity)


class Bound:
    """What all may stage together. What others stage is measured anew every few seconds. Safe for threads."""

    def __init__(
        self,
        most: Callable[[], int | None],
        measure: Callable[[Sequence[str]], int],
        seconds: float = _MEASURE_SECONDS,
        capacity: Callable[[], int | None] | None = None,
    ) -> None:
        """Let `most` bytes be staged, any for None. `measure` returns those below some prefixes.

        seconds: between two measurements, at least. capacity: what could be staged if nothing else was there; by
        default `most`.
        """
        self._most = most
        self._measure = measure
        self._capacity = capacity or most
        self._lock = threading.Lock()
        self._used = 0
        self._measured: float | None = None
        self._least = self._patience = seconds

    def check(self, key: str, size: int) -> None:
        """Raise SpoolFull when `size` bytes more under the key are too many. Raises as `measure` does."""
        most = self._most()
        if most is None or not key.startswith(BOUNDED):
            return
        used = self._staged(0)
        if used + size > most:
            used = self._staged(0, now=True)
        if used + size > most:
            raise full(
                f"Spool: {key} is refused ({told(size)}): what is staged takes {told(used)} already, and may take "
                f"{told(most)} (SCORELINE_MAX_SPOOL_BYTES); abort jobs, wait for their deletion, delete datasets, or "
                "allow more.",
                size,
                self._capacity(),
            )
        self._staged(size)

    def _staged(self, more: int, *, now: bool = False) -> int:
        """Return the bytes that are staged, `more` of them in a moment."""
        with self._lock:
            begun = time.monotonic()
            if self._measured is None or now or begun - self._measured > self._patience:
                self._used = self._measure(BOUNDED)
                self._measured = time.monotonic()
                self._patience = max(self._least, _MEASURE_SHARE * (self._measured - begun))
            self._used += more
            return self._used


class Space:
    """The space of one folder, with the bound on what is in it. Safe for threads."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self.limits = limits
        self._root = root
        self._bound = Bound(lambda: self.limits.most, self._staged, capacity=self._capacity)

    def free_bytes(self) -> int:
        """Return the space left to this user on the disk. Raises OSError."""
        disk = os.statvfs(self._root)
        return disk.f_bavail * disk.f_frsize

    def check(self, key: str, size: int) -> None:
        """Raise SpoolFull when `size` bytes more under the key are too many. Raises OSError."""
        disk = os.statvfs(self._root)
        free = disk.f_bavail * disk.f_frsize
        if disk.f_blocks and free - size < self.limits.min_free:
            raise self.full(
                f"Spool: {key} is refused ({told(size)}): the disk is full: {told(free)} are free at {self._root}, "
                f"and {told(self.limits.min_free)} are kept free (SCORELINE_MIN_FREE_BYTES); make space on it.",
                size,
            )
        if disk.f_files and disk.f_favail < _LEAST_FILES:
            raise self.full(
                f"Spool: {key} is refused: the disk is full, no more files have room at {self._root}; make some.",
                size,
            )
        self._bound.check(key, size)

    def full(self, text: str, size: int) -> SpoolFull:
        """Return the error for `size` bytes that do not fit, with the space that is worth to go on with."""
        return full(text, size, self._capacity())

    def _capacity(self) -> int | None:
        """Return what could be staged if nothing else was there."""
        try:
            disk = os.statvfs(self._root)
        except OSError:
            return self.limits.most
        if not disk.f_blocks:  # a file system that does not say
            return self.limits.most
        most = disk.f_blocks * disk.f_frsize - self.limits.min_free
        return most if self.limits.most is None else min(most, self.limits.most)

    def _staged(self, kinds: Sequence[str]) -> int:
        return sum(_bytes_below(self._root / kind) for kind in kinds)


def _bytes_below(folder: Path) -> int:
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += _bytes_below(Path(entry.path))
                else:
                    total += _size(entry)
    except FileNotFoundError:  # deleted meanwhile
        return total
    return total


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def told(size: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{size >> 20} MiB" if size >= 10 << 20 else f"{size} bytes"
