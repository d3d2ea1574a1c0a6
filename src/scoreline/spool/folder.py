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
from typing import IO, Self
from urllib.parse import quote, urlencode

from scoreline import faults
from scoreline.errors import SpoolError, SpoolReadOnly
from scoreline.spool.space import Limits, Space, bounded

_TEMPORARY = ".tmp-"
_COPY_BYTES = 4 << 20
_BUFFER_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DELETE_ATTEMPTS = 20
_MAKE_ATTEMPTS = 5

_UNLIMITED = Limits()

Place = Callable[[Path, Path], None]


class FolderBlobs:
    """The blobs of one folder; see `blobs.Blobs`. Several processes may use the same folder at once."""

    poll_seconds = 0.02
    parallel = 1

    def __init__(self, root: Path, limits: Limits = _UNLIMITED) -> None:
        """Use the folder `root`, made if it is missing. Raises SpoolError for a folder that cannot be used."""
        self.root = root.absolute()
        self.limits = limits
        self._space = Space(self.root, limits)
        given = {"min_free": limits.min_free, "most": limits.most}
        query = urlencode({name: value for name, value in given.items() if value})
        self.url = f"file://{quote(str(self.root))}" + (f"?{query}" if query else "")
        with self._in_words(f"make its folder {self.root}"):
            self.root.mkdir(parents=True, exist_ok=True)
        if not os.access(self.root, os.R_OK | os.W_OK | os.X_OK):
            raise SpoolError(f"Spool: its folder {self.root} is one that this user may not read and write.")

    def put(self, key: str, pieces: Sequence[bytes | memoryview], *, sync: bool = True) -> None:
        """Store the pieces; see Blobs. Raises SpoolFull, SpoolError."""
        self._put_pieces(key, pieces, sync=sync)

    def put_new(self, key: str, pieces: Sequence[bytes | memoryview]) -> bool:
        """Store the pieces unless there are some; see Blobs. Raises SpoolFull, SpoolError."""
        try:
            self._put_pieces(key, pieces, sync=True, place=_link)
        except SpoolError as error:
            if isinstance(error.__cause__, FileExistsError):
                return False
            raise
        return True

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
        with self._in_words(f"sync {prefix}"):
            sync_folder(self.root / prefix)

    def get(self, key: str) -> bytes | None:
        """Return the whole blob; see Blobs. Raises SpoolError."""
        with self._in_words(f"read {key}"), suppress(FileNotFoundError):
            return (self.root / key).read_bytes()
        return None

    def tail(self, key: str, length: int) -> tuple[bytes, int] | None:
        """Return the end of a blob and its size; see Blobs. Raises SpoolError."""
        with (
            self._in_words(f"read {key}"),
            suppress(FileNotFoundError),
            (self.root / key).open("rb", buffering=0) as file,
        ):
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - length))
            return file.read(length), size
        return None

    def open(self, key: str) -> IO[bytes] | None:
        """Open a blob for reading; see Blobs. Raises SpoolError."""
        with self._in_words(f"read {key}"), suppress(FileNotFoundError):
            return (self.root / key).open("rb")
        return None

    def size(self, key: str) -> int | None:
        """Return the bytes of a blob; see Blobs. Raises SpoolError."""
        with self._in_words(f"look at {key}"), suppress(FileNotFoundError):
            status = (self.root / key).stat()
            return status.st_size if stat.S_ISREG(status.st_mode) else None
        return None

    def object_size(self, key: str) -> int | None:
        """Return the bytes of an object; see Blobs. Raises SpoolError."""
        return self.size(key)

    def list(self, prefix: str) -> list[str]:
        """Return the keys below the prefix; see Blobs. Raises SpoolError."""
        found: list[str] = []
        with self._in_words(f"list {prefix}"):
            for folder, _, names in os.walk(self.root / prefix):
                within = Path(folder).relative_to(self.root)
                found += [(within / name).as_posix() for name in names if not name.startswith(_TEMPORARY)]
        return sorted(found)

    def delete(self, key: str) -> None:
        """Delete a blob; see Blobs. Raises SpoolError."""
        with self._in_words(f"delete {key}"):
            (self.root / key).unlink(missing_ok=True)

    def delete_object(self, key: str) -> None:
        """Delete an object; see Blobs. Raises SpoolError."""
        self.delete(key)

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
        with self._in_words("look at the free space"):
            return self._space.free_bytes()

    def check_space(self, prefix: str, size: int) -> None:
        """Raise SpoolFull when so many bytes do not fit; see Blobs. Raises SpoolError."""
        with self._in_words(f"look for space for {prefix}"):
            self._space.check(prefix, size)

    def sweep(self, older_than: float, prefix: str = "") -> int:
        """Delete what killed processes left half written; see Blobs."""
        limit = time.time() - older_than
        gone = 0
        for path in (self.root / prefix).rglob(f"{_TEMPORARY}*"):
            with suppress(OSError):
                if path.stat().st_mtime <= limit:
                    path.unlink()
                    gone += 1
        return gone

    def check(self) -> None:
        """Do nothing: it was looked at when it was opened."""

    def hasty(self, seconds: float) -> Self:  # noqa: ARG002 -- a disk is not waited for
        """Return itself."""
        return self

    def close(self) -> None:
        """Do nothing: a disk is not waited for."""

    def _put_pieces(
        self, key: str, pieces: Sequence[bytes | memoryview], *, sync: bool, place: Place | None = None
    ) -> None:
        def fill(file: IO[bytes]) -> int:
            for piece in pieces:
                file.write(piece)
            return 0

        self._put(key, fill, sum(len(piece) for piece in pieces), sync=sync, place=place)

    def _put(
        self, key: str, fill: Callable[[IO[bytes]], int], size: int, *, sync: bool, place: Place | None = None
    ) -> int:
        self._check_space(key, size)
        target = self.root / key
        temporary = target.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
        with self._in_words(f"write {key}", size):
            try:
                with self._create(temporary) as file:
                    total = fill(file)
                    file.flush()
                    faults.at("spool.written")
                    os.fsync(file.fileno())
                faults.at("spool.synced")
                (place or _rename)(temporary, target)
                faults.at("spool.renamed")
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
        if bounded(key, size):
            self.check_space(key, size)

    @contextmanager
    def _in_words(self, doing: str, size: int = 0) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise self._space.full(f"Spool: cannot {doing}: the disk is full; make space on it.", size) from error
            kind = SpoolReadOnly if error.errno == errno.EROFS else SpoolError
            raise kind(f"Spool: cannot {doing}: {error.strerror or error}; look after its disk.") from error


def _rename(temporary: Path, target: Path) -> None:
    temporary.rename(target)


def _link(temporary: Path, target: Path) -> None:
    """Give a file its name, unless another one has it. Raises FileExistsError."""
    os.link(temporary, target)
    temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; one that is not there any more is fine. Raises OSError."""
    with suppress(FileNotFoundError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
