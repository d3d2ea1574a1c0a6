"""Several CSV files of one place as an intake: each with its header, read one after the other."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence

from scoreline.adapters import cutting, listing
from scoreline.adapters.files import FileInfo, Files
from scoreline.types import JsonObject, Range


class ManyFiles:
    """The files that a key means, without empty ones; see `protocols.ManyIntake`."""

    def __init__(self, files: Files, key: str) -> None:
        """Look which files there are; the intake closes `files`. Raises SourceError."""
        self._files = files
        self._key = key
        self._all = listing.listed(files, key)
        self._infos = [info for info in self._all if info.size] or self._all[:1]
        self._asked = False

    def names(self) -> Sequence[str]:
        """Return how messages call the files."""
        return [self._files.shown(info.key) for info in self._infos]

    def sizes(self) -> Sequence[int]:
        """Return the bytes of each file."""
        return [info.size for info in self._infos]

    def one(self, number: int) -> OneFile:
        """Return one of the files."""
        return OneFile(self._files, self._infos[number])

    def partitions(self, want: int) -> Sequence[Range]:
        """Cut between files: start and end are their numbers."""
        starts = [0, *itertools.accumulate(self.sizes())]
        cuts = [one.start for one in cutting.near(starts[:-1], starts[-1], want)]
        return cutting.at([bisect.bisect_left(starts, place) for place in cuts], len(self._infos))

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(self.sizes())

    def identity(self) -> JsonObject:
        """Return what tells the files opened from others, and later those that are there then. Raises SourceError."""
        infos = listing.listed(self._files, self._key) if self._asked else self._all
        self._asked = True
        return listing.identity(infos)

    def close(self) -> None:
        """End reading; may be called from any thread, and again."""
        self._files.close()


class OneFile:
    """One of the files, as a source of bytes."""

    def __init__(self, files: Files, info: FileInfo) -> None:
        self._files = files
        self._info = info

    def size(self) -> int:
        """Return the bytes of the file."""
        return self._info.size

    def blocks(self, part: Range, offset: int) -> Iterator[bytes]:  # noqa: ARG002 -- files are read whole
        """Yield the file's bytes. Raises SourceError, RunStopped."""
        return self._files.read(self._info, offset)
