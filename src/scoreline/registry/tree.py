"""A model artefact as a tree of files: received safely, named by its content, packed in one way only."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from scoreline.errors import InvalidRequest, SetupError, SpoolError, SpoolFull

_BLOCK = 1 << 20
_MOST_FILES = 10_000
_LARGEST_HEADER = 8 << 20  # tarfile reads a header in one go; a real one has a few kilobytes
_TAR_MAGIC_AT, _TAR_MAGIC = 257, b"ustar"
_TAR_NAMES = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True, slots=True)
class Tree:
    """Files under `root`, by relative name in the order of their UTF-8 bytes."""

    root: Path
    names: tuple[str, ...]
    sha256: str
    size: int


def receive(file: IO[bytes], filename: str, folder: Path, max_bytes: int) -> Tree:
    """Store an upload under `folder`: a single model file, or a tar (plain or gzip) of a model folder, unpacked.

    Raises InvalidRequest for what is empty, not readable, not safe (links, devices, names that lead elsewhere) or
    larger than `max_bytes` before or after unpacking, SpoolFull when the disk is full, SpoolError.
    """
    root = folder / "model"
    upload = folder / "upload"
    with disk_errors():
        root.mkdir()
        _copy(file, upload, max_bytes)
        if upload.stat().st_size == 0:
            raise InvalidRequest(f"The model file {filename!r} is empty: send the file or a tar of the folder.", "file")
        if _is_tar(upload, filename):
            _unpack(upload, filename, root, max_bytes)
            upload.unlink()
            root = _without_wrapping(root)
        else:
            upload.rename(root / _plain_name(filename))
        return scan(root)


def scan(root: Path) -> Tree:
    """Name a folder of files by its content: relative names, sizes and bytes, in the order of the names.

    Raises InvalidRequest when there is no file in it.
    """
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    if not files:
        raise InvalidRequest("The model archive holds no file: send the model's own folder.", "file")
    names = tuple(sorted(files, key=lambda name: name.encode()))
    digest = hashlib.sha256(b"scoreline tree 1\n")
    total = 0
    for name in names:
        size = files[name].stat().st_size
        total += size
        encoded = name.encode()
        digest.update(b"%d %s %d\n" % (len(encoded), encoded, size))
        with files[name].open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return Tree(root, names, digest.hexdigest(), total)


def pack(tree: Tree, target: Path) -> None:
    """Write the tree as an uncompressed tar without owners, times or modes: the same content gives the same bytes.

    Raises SpoolFull when the disk is full, SpoolError.
    """
    with disk_errors(), tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in tree.names:
            path = tree.root / name
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            entry.mode = 0o644
            with path.open("rb") as file:
                archive.addfile(entry, file)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Put trouble with the disk under a model that is being stored in words: SpoolFull, SpoolError."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SpoolFull(
                "The model cannot be stored because the disk is full: free some space and try again."
            ) from exc
        raise SpoolError(
            f"The model cannot be stored ({exc.strerror or exc}): look at the data folder of the API."
        ) from exc


def _too_large(max_bytes: int) -> InvalidRequest:
    return InvalidRequest(
        f"The model has more than the {max_bytes} bytes that SCORELINE_MAX_MODEL_BYTES allows.", "file"
    )


def _copy(source: _Readable, target: Path, max_bytes: int) -> None:
    left = max_bytes
    with target.open("wb") as out:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise _too_large(max_bytes)
            out.write(block)


def _is_tar(upload: Path, filename: str) -> bool:
    with upload.open("rb") as file:
        head = file.read(_TAR_MAGIC_AT + len(_TAR_MAGIC))
    return head[_TAR_MAGIC_AT:] == _TAR_MAGIC or filename.lower().endswith(_TAR_NAMES)


def _unpack(upload: Path, filename: str, root: Path, max_bytes: int) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise SetupError("This Python cannot unpack archives safely: use Python 3.11.4 or later.")
    with upload.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        plain = upload
        if packed:
            plain = upload.with_name("plain")
            try:
                with gzip.GzipFile(fileobj=raw) as unzipped:
                    _copy(unzipped, plain, max_bytes + (64 << 20))  # the archive's own headers
            except (EOFError, gzip.BadGzipFile) as exc:
                raise InvalidRequest(f"The archive {filename!r} is damaged: send it again.", "file") from exc
    with plain.open("rb") as file:
        try:
            with tarfile.TarFile(fileobj=_HeaderGuard(file)) as archive:
                _extract(archive, root, max_bytes)
        except tarfile.FilterError as exc:
            raise InvalidRequest(
                f"The archive {filename!r} is not safe to unpack: its file {exc.tarinfo.name[:200]!r} leads elsewhere.",
                "file",
            ) from exc
        except (tarfile.TarError, EOFError) as exc:
            raise InvalidRequest(f"The archive {filename!r} cannot be read as a tar file ({exc}).", "file") from exc
    if packed:
        plain.unlink()


def _extract(archive: tarfile.TarFile, root: Path, max_bytes: int) -> None:
    """Write the regular files; links and devices have no place in a model and are refused."""
    left, seen = max_bytes, set[str]()
    for member in archive:
        if member.isdir():
            continue
        _check_member(member)
        safe = tarfile.data_filter(member, str(root))
        name = PurePosixPath(safe.name).as_posix()
        left -= member.size
        if left < 0:
            raise _too_large(max_bytes)
        if name in seen:
            raise InvalidRequest(f"The archive holds {name!r} twice: pack the folder afresh.", "file")
        seen.add(name)
        if len(seen) > _MOST_FILES:
            raise InvalidRequest(f"The archive holds more than {_MOST_FILES} files: pack the model only.", "file")
        content = archive.extractfile(member)
        target = root / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as out:
                shutil.copyfileobj(content or io.BytesIO(), out, _BLOCK)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as exc:
            raise InvalidRequest(f"The archive holds {name!r} as a file and as a folder.", "file") from exc
        except OSError as exc:
            if exc.errno != errno.ENAMETOOLONG:
                raise
            raise InvalidRequest(
                f"The archive holds a name that is too long: {name[:100]!r}: shorten it.", "file"
            ) from exc
        if target.stat().st_size != member.size:
            raise InvalidRequest(f"The archive ends within {name!r}: send it again.", "file")


def _check_member(member: tarfile.TarInfo) -> None:
    if not member.isreg():
        raise InvalidRequest(f"The archive holds {member.name!r}, which is not a plain file: pack files only.", "file")
    try:
        member.name.encode()
    except UnicodeEncodeError as exc:
        raise InvalidRequest(f"The archive holds a name that is not UTF-8: {member.name!r}.", "file") from exc
    if "\0" in member.name or "\\" in member.name:
        raise InvalidRequest(f"The archive holds a name that is not portable: {member.name!r}.", "file")


def _without_wrapping(root: Path) -> Path:
    """Return the folder inside folders that hold nothing else: `model/` in an archive is packaging, not content."""
    while True:
        inside = list(root.iterdir())
        if len(inside) != 1 or not inside[0].is_dir():
            return root
        root = inside[0]


def _plain_name(filename: str) -> str:
    name = PurePosixPath(filename.replace("\\", "/")).name
    if not name or name in (".", "..") or not name.isprintable() or len(name.encode("utf-8", "replace")) > 200:
        raise InvalidRequest(
            "The model file needs a plain name with its usual ending, such as `model.txt`.", "filename"
        )
    return name


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _HeaderGuard(io.RawIOBase):
    """A tar file whose headers cannot make the reader load the whole file at once."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes; raises tarfile.ReadError for a size that no honest header has."""
        if size < 0 or size > _LARGEST_HEADER:
            raise tarfile.ReadError("a header is too large")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()
