"""Blobs in a local folder: one file each, written beside its final place, synced, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

from scoreline.errors import SpoolError, SpoolFull

_TEMPORARY = ".tmp-"
_COPY_BYTES = 4 << 20
_BUFFER_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DELETE_ATTEMPTS = 20
_MAKE_ATTEMPTS = 5
_SMALL_BYTES = 64 << 10


class FolderBlobs:
    """The blobs of one folder; see `blobs.Blobs`. Several processes may use the same folder at once."""

    def __init__(self, root: Path, min_free: int = 0) -> None:
        """Use the folder `root`, made if it is missing; never fill its disk beyond `min_free` bytes of free space.

        Raises SpoolError for a folder that cannot be used.
        """
        self.root = root.absolute()
        self.min_free = min_free
        self.url = f"file://{quote(str(self.root))}" + (f"?min_free={min_free}" if min_free else "")
        with _in_words(f"make its folder {self.root}"):
            self.root.mkdir(parents=True, exist_ok=True)
        if not os.access(self.root, os.R_OK | os.W_OK | os.X_OK):
            raise SpoolError(f"Spool: its folder {self.root} is one that this user may not read and write.")

    def put(self, key: str, pieces: Sequence[bytes | memoryview], *, sync: bool = True) -> None:
        """Store the pieces; see Blobs. Raises SpoolFull, SpoolError."""

        def fill(file: IO[bytes]) -> int:
            for piece in pieces:
                file.write(piece)
            return 0

        self._put(key, fill, sum(len(piece) for piece in pieces), sync=sync)

    def put_from(self, key: str, source: IO[bytes]) -> int:
        """Store what `source` gives; see Blobs. Raises SpoolFull, SpoolError."""

        def fill(file: IO[bytes]) -> int:
            total = 0
            while block := source.read(_COPY_BYTES):
                file.write(block)
                total += len(block)
                self._check_space(key, len(block))
            return total

        return self._put(key, fill, 0, sync=True)

    def sync(self, prefix: str) -> None:
        """Make the names below the prefix durable. Raises SpoolError."""
        with _in_words(f"sync {prefix}"):
            sync_folder(self.root / prefix)

    def get(self, key: str) -> bytes | None:
        """Return the whole blob; see Blobs. Raises SpoolError."""
        with _in_words(f"read {key}"), suppress(FileNotFoundError):
            return (self.root / key).read_bytes()
        return None

    def tail(self, key: str, length: int) -> bytes | None:
        """Return the end of a blob; see Blobs. Raises SpoolError."""
        with _in_words(f"read {key}"), suppress(FileNotFoundError), (self.root / key).open("rb", buffering=0) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - length))
            return file.read(length)
        return None

    def open(self, key: str) -> IO[bytes] | None:
        """Open a blob for reading; see Blobs. Raises SpoolError."""
        with _in_words(f"read {key}"), suppress(FileNotFoundError):
            return (self.root / key).open("rb")
        return None

    def size(self, key: str) -> int | None:
        """Return the bytes of a blob; see Blobs. Raises SpoolError."""
        with _in_words(f"look at {key}"), suppress(FileNotFoundError):
            status = (self.root / key).stat()
            return status.st_size if stat.S_ISREG(status.st_mode) else None
        return None

    def list(self, prefix: str) -> list[str]:
        """Return the keys below the prefix; see Blobs. Raises SpoolError."""
        found: list[str] = []
        with _in_words(f"list {prefix}"):
            for folder, _, names in os.walk(self.root / prefix):
                within = Path(folder).relative_to(self.root)
                found += [(within / name).as_posix() for name in names if not name.startswith(_TEMPORARY)]
        return sorted(found)

    def delete(self, key: str) -> None:
        """Delete a blob; see Blobs. Raises SpoolError."""
        with _in_words(f"delete {key}"):
            (self.root / key).unlink(missing_ok=True)

    def delete_all(self, prefix: str) -> None:
        """Delete everything below the prefix; see Blobs. Raises SpoolError.

        A writer that still runs may add a file while the folder is being emptied: then it is emptied again.
        """
        folder = self.root / prefix
        for attempt in range(_DELETE_ATTEMPTS):
            try:
                shutil.rmtree(folder)
            except FileNotFoundError:
                if not folder.exists():
                    break
            except OSError as error:
                if error.errno != errno.ENOTEMPTY or attempt == _DELETE_ATTEMPTS - 1:
                    raise SpoolError(f"Spool: cannot delete {prefix}: {error.strerror or error}.") from error
                time.sleep(0.01)
            else:
                break
        parent = folder.parent
        with suppress(OSError):  # folders of a job that are now empty go too; a full one stays
            while self.root not in (parent, parent.parent):
                parent.rmdir()
                parent = parent.parent

    def free_bytes(self) -> int | None:
        """Return the space left to this user on the folder's disk."""
        with _in_words("look at the free space"):
            disk = os.statvfs(self.root)
        return disk.f_bavail * disk.f_frsize

    def sweep(self, older_than: float) -> int:
        """Delete what killed processes left half written, if untouched for `older_than` seconds; return how many."""
        limit = time.time() - older_than
        gone = 0
        for path in self.root.rglob(f"{_TEMPORARY}*"):
            with suppress(OSError):
                if path.stat().st_mtime < limit:
                    path.unlink()
                    gone += 1
        return gone

    def _put(self, key: str, fill: Callable[[IO[bytes]], int], size: int, *, sync: bool) -> int:
        self._check_space(key, size)
        target = self.root / key
        temporary = target.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
        with _in_words(f"write {key}"):
            try:
                with self._create(temporary) as file:
                    total = fill(file)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.rename(target)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            if sync:
                sync_folder(target.parent)
        return total

    def _create(self, path: Path) -> IO[bytes]:
        for _ in range(_MAKE_ATTEMPTS):  # someone who deletes a neighbour may take the empty folder away again
            with suppress(FileNotFoundError):
                return path.open("xb", buffering=_BUFFER_BYTES)
            self._make_folder(path.parent)
        return path.open("xb", buffering=_BUFFER_BYTES)

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make_folder(folder.parent)
            with suppress(FileExistsError, FileNotFoundError):
                folder.mkdir()
            sync_folder(folder.parent)

    def _check_space(self, key: str, size: int) -> None:
        """Keep `min_free` free; markers and manifests pass, so that what is there can be ended in order."""
        if not self.min_free or size <= _SMALL_BYTES:
            return
        free = self.free_bytes()
        if free is not None and free - size < self.min_free:
            raise SpoolFull(
                f"Spool: {key} is refused: only {free >> 20} MiB are free on the disk of {self.root}, "
                f"and {self.min_free >> 20} MiB are kept free; make space on it."
            )


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; one that is not there any more is fine. Raises OSError."""
    with suppress(FileNotFoundError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _in_words(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise SpoolFull(f"Spool: cannot {doing}: the disk is full; make space on it.") from error
        raise SpoolError(f"Spool: cannot {doing}: {error.strerror or error}.") from error
