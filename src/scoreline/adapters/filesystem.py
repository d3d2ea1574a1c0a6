"""filesystem: files of the machine that the run is on.

The command line reads and writes any file, pipes, and standard input and output (`-`). Jobs of the API name files below
the folder that the operator opened, the setting `root`; see `rooted.py`. How the target is written stands in
`targets.py`.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scoreline.adapters import cutting, rooted
from scoreline.adapters.folder import FolderFiles
from scoreline.adapters.targets import FileOutput, Headed, StreamOutput
from scoreline.errors import RunStopped, SourceError
from scoreline.rows import failed
from scoreline.spool import Spool
from scoreline.types import JsonObject, Range, RunTicket

_BLOCK_BYTES = 4 << 20
_LOOK_SECONDS = 0.2
_STREAM = "-"


class FileIntake:
    """The bytes of one file, or of a pipe."""

    def __init__(self, ticket: RunTicket, spool: Spool) -> None:  # noqa: ARG002 -- nothing is staged
        """Open the file `path`, below `root` if that is given. Raises SourceError."""
        self._path = str(ticket.intake["path"])
        root = ticket.intake.get("root")
        self._closed = threading.Event()
        self._reading = threading.Lock()
        with _source_words(self._path):
            if root is not None:
                handle = rooted.source(str(root), self._path)
            else:
                handle = os.dup(0) if self._path == _STREAM else os.open(self._path, os.O_RDONLY)
            self._file = os.fdopen(handle, "rb", 0)
        status = os.fstat(self._file.fileno())
        self._size = status.st_size if stat.S_ISREG(status.st_mode) else None

    def partitions(self, want: int) -> Sequence[Range]:
        """Cut the file's bytes; a pipe is one part."""
        return cutting.evenly(self._size, want)

    def size(self) -> int | None:
        """Return the bytes of the file, None for a pipe."""
        return self._size

    def identity(self) -> JsonObject | None:
        """Return bytes, time of the last change and number of the file; None for a pipe."""
        if self._size is None:
            return None
        status = os.fstat(self._file.fileno())
        return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, "inode": status.st_ino}

    def blocks(self, part: Range, offset: int) -> Iterator[bytes]:
        """Yield the part's bytes. Raises SourceError when it cannot be read or was cut short meanwhile, RunStopped."""
        start = max(part.start, offset)
        with _source_words(self._path):
            if self._size is not None and start > self._size:
                raise SourceError(f"Intake: {self._path} ends before byte {start}; it is not what the run began with.")
            if self._size is None and start:
                raise SourceError(f"Intake: {self._path} is a pipe and cannot be read again from byte {start}.")
            while block := self._next(start, part.end):
                start += len(block)
                yield block
        if self._size is not None and start < (self._size if part.end is None else part.end):
            raise SourceError(f"Intake: {self._path} ends after {start} of {self._size} bytes: it was cut meanwhile.")

    def close(self) -> None:
        """End reading; may be called from any thread, and again."""
        self._closed.set()
        with self._reading:
            self._file.close()

    def _next(self, start: int, end: int | None) -> bytes:
        most = _BLOCK_BYTES if end is None else max(0, min(_BLOCK_BYTES, end - start))
        while not self._closed.is_set():
            with self._reading:
                if self._closed.is_set():
                    break
                if self._size is not None:  # by place: a reader that was given up may still be in its last read
                    return os.pread(self._file.fileno(), most, start)
                if select.select([self._file], [], [], _LOOK_SECONDS)[0]:
                    return self._file.read(_BLOCK_BYTES) or b""
        raise RunStopped(f"Intake: reading {self._path} was stopped.")


def open_intake(ticket: RunTicket, spool: Spool) -> FileIntake:
    """Open the ticket's source file. Raises SourceError."""
    return FileIntake(ticket, spool)


def open_files(ticket: RunTicket) -> tuple[FolderFiles, str]:
    """Return the folder of the ticket's source files and the path in it."""
    root = ticket.intake.get("root")
    return FolderFiles(None if root is None else str(root)), str(ticket.intake["path"])


def open_output(ticket: RunTicket, spool: Spool) -> FileOutput | StreamOutput:  # noqa: ARG001 -- nothing is staged
    """Open the ticket's target: a file that appears whole, or a stream for `-`, pipes and devices.

    Raises OutputError for a path that leads out of `root`.
    """
    path = str(ticket.output["path"])
    root = ticket.output.get("root")
    if root is not None:
        full = rooted.target(str(root), path)
        return FileOutput(full, ticket.job_id, ticket.fence, shown=path, make_folders=True)
    return _target(path, ticket.job_id, ticket.fence)


def open_errors(ticket: RunTicket, spool: Spool) -> Headed:  # noqa: ARG001 -- nothing is staged
    """Open the ticket's list of failed rows, which begins with its header."""
    return Headed(
        _target(str((ticket.errors_file or {})["path"]), f"{ticket.job_id}-errors", ticket.fence), failed.HEADER
    )


def _target(path: str, job_id: str, fence: int) -> FileOutput | StreamOutput:
    target = Path(path)
    if path == _STREAM or (target.exists() and not target.is_file() and not target.is_dir()):
        return StreamOutput(path)
    return FileOutput(path, job_id, fence)


@contextmanager
def _source_words(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(f"Intake: cannot read {path}: {error.strerror or error}.") from error
