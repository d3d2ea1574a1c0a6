"""The file that a download becomes: whole or not at all."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from scoreline.errors import OutputError

_STREAM = "-"


class Target:
    """Where downloaded bytes go.

    A file is written beside its place and renamed by `finish`; `-`, pipes and devices get the bytes as they come.
    written: bytes taken so far.
    """

    def __init__(self, path: str) -> None:
        """Open the target. Raises OutputError when there can be no file."""
        self._name = path
        self._path: Path | None = None
        self._hidden: Path | None = None
        self.written = 0
        with _words(path):
            self._file = self._open(path)

    def write(self, data: bytes) -> None:
        """Append bytes. Raises OutputError."""
        with _words(self._name):
            self._file.write(data)
        self.written += len(data)

    def finish(self) -> None:
        """Put the file in its place. Raises OutputError."""
        with _words(self._name):
            self._file.flush()
            if self._path is None or self._hidden is None:
                self.discard()
                return
            os.fsync(self._file.fileno())
            self._file.close()
            self._hidden.replace(self._path)
            self._hidden = None

    def discard(self) -> None:
        """Leave nothing behind; after `finish` this does nothing."""
        if self._file is not sys.stdout.buffer:
            self._file.close()
        if self._hidden is not None:
            with suppress(OSError):
                self._hidden.unlink(missing_ok=True)

    def _open(self, path: str) -> IO[bytes]:
        if path == _STREAM:
            return sys.stdout.buffer
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise OutputError(f"Output: {path} is a folder; name a file in it.")
        if target.exists() and not target.is_file():
            return target.open("wb")
        if not target.parent.is_dir():
            raise OutputError(f"Output: the folder of {path} does not exist; make it first.")
        self._path = target
        self._hidden = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
        file = self._hidden.open("xb")
        if target.exists():
            self._hidden.chmod(target.stat().st_mode & 0o7777)
        return file


@contextmanager
def _words(path: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"Output: {path} cannot be written: {error.strerror or error}.") from error
