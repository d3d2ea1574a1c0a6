"""dataset: a version of a dataset, whose file is in the spool as it came."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence

from scoreline.adapters.files import BLOCK_BYTES, FileInfo
from scoreline.errors import RunStopped, SourceError
from scoreline.spool import Spool, open_spool
from scoreline.types import JsonObject, Range, RunTicket


class StoredFile:
    """The file of one version, as a place of its own to read from; see `files.Files`."""

    def __init__(self, spool: Spool, name: str, info: FileInfo) -> None:
        """Read the object that `info` tells of; messages call it by `name`."""
        self._spool = spool
        self._name = name
        self._info = info
        self._closed = threading.Event()

    def shown(self, key: str) -> str:  # noqa: ARG002 -- there is one
        """Return the dataset's name."""
        return f"dataset {self._name!r}"

    def stat(self, key: str) -> FileInfo:
        """Return bytes and digest. Raises SourceError when it is not there as it was stored."""
        if self._spool.size(key) != self._info.size:
            raise SourceError(
                f"Reading the intake failed: the data of {self.shown(key)} is missing or damaged in the spool; make "
                "the dataset again."
            )
        return self._info

    def list(self, prefix: str) -> Iterator[FileInfo]:
        """Yield the file."""
        yield self.stat(prefix)

    def read(self, info: FileInfo, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the file's bytes. Raises SourceError, SpoolError, RunStopped."""
        stop = info.size if end is None else min(end, info.size)
        with self._spool.open_object(info.key) as file:
            file.seek(start)
            while start < stop:
                if self._closed.is_set():
                    raise RunStopped(f"Reading {self.shown(info.key)} was stopped.")
                block = file.read(min(BLOCK_BYTES, stop - start))
                if not block:
                    self.stat(info.key)
                    raise SourceError(
                        f"Reading the intake failed: {self.shown(info.key)} ends early; run the job again."
                    )
                start += len(block)
                yield block

    def close(self) -> None:
        """End reading; may be called from any thread, and again."""
        self._closed.set()


class DatasetIntake:
    """The bytes of a version that is a CSV."""

    def __init__(self, file: StoredFile, info: FileInfo) -> None:
        """Read `file`, which holds what `info` says. Raises SourceError when it does not."""
        self._file = file
        self._info = file.stat(info.key)

    def partitions(self, want: int) -> Sequence[Range]:  # noqa: ARG002 -- not cut
        """Return the file as one part."""
        return [Range()]

    def size(self) -> int:
        """Return the bytes of the file."""
        return self._info.size

    def identity(self) -> JsonObject:
        """Return bytes and digest of the file that is there now. Raises SourceError."""
        found = self._file.stat(self._info.key)
        return {"bytes": found.size, "sha256": found.version}

    def blocks(self, part: Range, offset: int) -> Iterator[bytes]:
        """Yield the file's bytes.

        Raises SourceError, at the end also for bytes that are not those stored, if they were read from the first on;
        RunStopped.
        """
        start = max(part.start, offset)
        if start > self._info.size:
            raise SourceError(
                f"Reading the intake failed: {self._file.shown(self._info.key)} ends before byte {start}; it is not "
                "what the run began with."
            )
        blocks = self._file.read(self._info, start)
        return blocks if start else self._checked(blocks)

    def _checked(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for block in blocks:
            digest.update(block)
            yield block
        if digest.hexdigest() != self._info.version:
            raise SourceError(
                f"Reading the intake failed: the data of {self._file.shown(self._info.key)} is damaged in the spool; "
                "make the dataset again."
            )

    def close(self) -> None:
        """End reading; may be called from any thread, and again."""
        self._file.close()


def open_intake(ticket: RunTicket, spool: Spool) -> DatasetIntake:
    """Open the ticket's version. Raises SourceError."""
    file, info = _file(ticket, spool)
    return DatasetIntake(file, info)


def open_files(ticket: RunTicket) -> tuple[StoredFile, str]:
    """Return the place of the ticket's version and its key there."""
    file, info = _file(ticket, open_spool(ticket.spool))
    return file, info.key


def _file(ticket: RunTicket, spool: Spool) -> tuple[StoredFile, FileInfo]:
    given = ticket.intake
    info = FileInfo(str(given["object"]), int(given["bytes"]), str(given["sha256"]))
    return StoredFile(spool, str(given["name"]), info), info
