"""One file of a place as an intake: what s3, azure and gcp have in common when a job reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scoreline.adapters import cutting
from scoreline.adapters.files import Files
from scoreline.errors import SourceError
from scoreline.types import JsonObject, Range


class ObjectIntake:
    """The bytes of one file, the same from the first to the last even when another is put in its place meanwhile."""

    def __init__(self, files: Files, key: str) -> None:
        """Look at the file `key`; the intake closes `files`. Raises SourceError when there is none."""
        self._files = files
        self._key = key
        self._asked = False
        self._info = files.stat(key)

    def partitions(self, want: int) -> Sequence[Range]:
        """Cut the file's bytes."""
        return cutting.evenly(self._info.size, want)

    def size(self) -> int:
        """Return the bytes of the file."""
        return self._info.size

    def identity(self) -> JsonObject:
        """Return bytes and version: first of what was opened, later of what is there now. Raises SourceError."""
        info = self._files.stat(self._key) if self._asked else self._info
        self._asked = True
        return {"bytes": info.size, "version": info.version}

    def blocks(self, part: Range, offset: int) -> Iterator[bytes]:
        """Yield the file's bytes. Raises SourceError when it cannot be read or has changed, RunStopped."""
        start = max(part.start, offset)
        if start > self._info.size:
            shown = self._files.shown(self._key)
            raise SourceError(
                f"Reading the intake failed: {shown} ends before byte {start}; it is not what the run began with."
            )
        yield from self._files.read(self._info, start, part.end)

    def close(self) -> None:
        """End reading; may be called from any thread, and again."""
        self._files.close()
