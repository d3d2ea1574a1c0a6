"""A folder of this machine as a place that holds files."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scoreline.adapters import rooted
from scoreline.adapters.files import FileInfo, Trouble, Why
from scoreline.errors import RunStopped, SourceError

_BLOCK_BYTES = 4 << 20


class FolderFiles:
    """Files below the folder that the operator opened, or any of this machine; keys are their paths."""

    def __init__(self, root: str | None) -> None:
        """Read below `root`; None: paths are what they are for this process."""
        self._root = root
        self._closed = threading.Event()

    def shown(self, key: str) -> str:
        """Return the path."""
        return key

    def stat(self, key: str) -> FileInfo:
        """Return size, and time of change with the file's number. Raises SourceError."""
        handle = self._open(key)
        try:
            return _info(key, os.fstat(handle))
        finally:
            os.close(handle)

    def list(self, prefix: str) -> Iterator[FileInfo]:
        """Yield the files whose paths begin with `prefix`, those in folders below it, too. Raises SourceError.

        Links to folders are not followed. Whatever is no regular file is left out.
        """
        start = Path(self._root or "") / (prefix if prefix.endswith("/") else os.path.dirname(prefix))  # noqa: PTH120 -- a prefix is no path
        found = []
        with _words(prefix):
            for folder, _, names in os.walk(start, onerror=_raise):
                paths = (Path(folder, name) for name in names)
                found += [str(path) for path in paths if path.is_file()]
        if self._root is not None:
            found = [os.path.relpath(path, self._root) for path in found]
        for key in sorted(key for key in found if key.startswith(prefix)):
            yield self.stat(key)

    def read(self, info: FileInfo, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the file's bytes. Raises SourceError when it is another one now, RunStopped once closed."""
        stop = info.size if end is None else min(end, info.size)
        handle = self._open(info.key)
        try:
            with _words(info.key):
                if _info(info.key, os.fstat(handle)) != info:
                    raise Trouble(Why.CHANGED, "its size or time").source_error(info.key)
                while start < stop:
                    if self._closed.is_set():
                        raise RunStopped(f"Reading {info.key} was stopped.")
                    block = os.pread(handle, min(_BLOCK_BYTES, stop - start), start)
                    if not block:
                        raise Trouble(Why.CHANGED, f"it ends at byte {start}").source_error(info.key)
                    start += len(block)
                    yield block
        finally:
            os.close(handle)

    def close(self) -> None:
        """End reading; calling it again is harmless."""
        self._closed.set()

    def _open(self, key: str) -> int:
        if self._root is not None:
            return rooted.source(self._root, key)
        with _words(key):
            handle = os.open(key, os.O_RDONLY | os.O_NONBLOCK)
            if stat.S_ISREG(os.fstat(handle).st_mode):
                return handle
            os.close(handle)
        raise SourceError(f"Intake: {key} is not a regular file; name one.")


def _info(key: str, status: os.stat_result) -> FileInfo:
    return FileInfo(key, status.st_size, f"{status.st_mtime_ns}-{status.st_ino}")


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def _words(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(f"Intake: cannot read {path}: {error.strerror or error}.") from error
