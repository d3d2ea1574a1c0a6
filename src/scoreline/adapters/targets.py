"""Writing to a file that appears whole, or to a pipe.

A file is written beside its final place and renamed at the end: a reader sees the old file or the new one, never half.
A journal beside it says which blocks are in it, so that a run can be taken up again. Each run of a job has a file of
its own, which begins as a copy of what the run before it had: one that lost its job unawares writes into nothing.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from scoreline import faults
from scoreline.errors import OutputError
from scoreline.protocols import Seal
from scoreline.spool.folder import sync_folder
from scoreline.types import JsonObject, Receipt, ScoredChunk

_STREAM = "-"
_PART = ".part"
_PIECE_BYTES = 4 << 20


class FileOutput:
    """One target file, made whole by `commit`. Blocks come in the order of their chunks."""

    def __init__(
        self, path: str, job_id: str, fence: int = 0, *, shown: str | None = None, make_folders: bool = False
    ) -> None:
        """Write to the file `path`, called `shown` in messages; a link is followed, so that it stays a link.

        fence: number of the run, larger than those of the runs before it. make_folders: make those on the way to the
        file that are missing, and take them away again when the job is aborted.
        """
        self._path = shown or path
        self._given = path
        self._make_folders = make_folders
        self._job = job_id
        self._fence = fence
        self._target = Path(path)
        self._base = Path(path)
        self._hidden = Path(path)
        self._file: IO[bytes] | None = None
        self._journal: IO[bytes] | None = None
        self._done: list[Receipt] = []

    def prepare(self) -> JsonObject:
        """Return target, temporary name and missing folders. Raises OutputError when the target cannot be a file."""
        with _words(self._path):
            target = Path(os.path.realpath(self._given))
            if target.is_dir():
                raise OutputError(f"Output: {self._path} is a folder; name a file in it.")
            missing = [str(folder) for folder in reversed(target.parents) if not folder.exists()]
            if not target.parent.is_dir() and not (missing and self._make_folders):
                raise OutputError(f"Output: the folder of {self._path} does not exist; make it first.")
        temporary = target.with_name(f".{target.name[:100]}.{self._job}")
        return {"target": str(target), "temporary": str(temporary), "folders": missing}

    def open(self, state: JsonObject, done: Sequence[Receipt] = ()) -> None:  # noqa: ARG002 -- the journal knows
        """Begin the temporary file, or go on after what is durable in it. Raises OutputError."""
        self._base = base = Path(state["temporary"])
        self._target, self._hidden = Path(state["target"]), base.with_name(f"{base.name}.{self._fence}{_PART}")
        with _words(self._path):
            self._begin(base, state.get("folders", ()))
            self._done = _blocks(self._hidden)
            self._file = self._hidden.open("r+b", 0)
            self._journal = _journal(self._hidden).open("wb", 0)
            self._rewind(self._done)

    def durable(self, state: JsonObject) -> Sequence[Receipt]:
        """Return the receipts of the blocks that are whole in the temporary file, up to the first that is not."""
        return max(map(_blocks, _run_files(Path(state["temporary"]))), key=_size, default=[])

    def write(self, chunk: ScoredChunk) -> Receipt:
        """Append a block durably.

        One that is there already stays as it is; one that begins earlier than what is there replaces that: the run was
        taken up again and cuts its chunks anew. Raises OutputError.
        """
        if self._file is None or self._journal is None:
            raise OutputError(f"Output: {self._path} is not open.")
        body = chunk.body
        proof = {"first": chunk.first, "last": chunk.last, "size": len(body), "crc32": zlib.crc32(body)}
        again = bool(self._done) and self._done[-1].data["last"] >= chunk.first
        for known in self._done if again else ():
            if all(known.data[key] == value for key, value in proof.items()):
                return known
        with _words(self._path):
            if again:
                self._rewind([known for known in self._done if known.data["last"] < chunk.first])
            receipt = Receipt({**proof, "offset": _size(self._done)})
            self._file.seek(receipt.data["offset"])
            _write_all(self._file, body)
            faults.at("file.written")
            os.fsync(self._file.fileno())
            _write_all(self._journal, _line(receipt))
        self._done.append(receipt)
        return receipt

    def sha256(self, receipts: Sequence[Receipt]) -> str | None:
        """Return the digest of the blocks, read back from the temporary file or, after a commit, from the target.

        None when they are in neither: `commit` says what that means.
        """
        with _words(self._path):
            for path in (self._hidden, self._target):
                if path.exists() and len(_whole(path, receipts)) == len(receipts):
                    with path.open("rb") as file:
                        return _sha256(file, _size(receipts))
        return None

    def finish(self, receipts: Sequence[Receipt], seal: Seal) -> None:
        """Do nothing: all is durable."""

    def commit(self, receipts: Sequence[Receipt]) -> None:
        """Put the file in its place, unless that is done already. Raises OutputError when a block is missing."""
        if self._file is None:
            raise OutputError(f"Output: {self._path} is not open.")
        with _words(self._path):
            if list(receipts) == self._done[: len(receipts)] and self._hidden.exists():
                self._file.truncate(_size(receipts))
                if self._target.exists():
                    shutil.copymode(self._target, self._hidden)
                os.fsync(self._file.fileno())
                faults.at("file.renaming")
                self._hidden.replace(self._target)
                faults.at("file.renamed")
                sync_folder(self._target.parent)
            elif not self._in_place(receipts):
                raise OutputError(f"Output: {self._path} lacks rows that were written to it; run the job again.")
            _remove_runs(self._base)

    def abort(self, state: JsonObject) -> None:
        """Delete the temporary file; the target stays as it was."""
        self.close()
        with _words(self._path):
            _remove_runs(Path(state["temporary"]))
        for folder in reversed(state.get("folders", ())):
            with suppress(OSError):  # others may have put something into it
                Path(folder).rmdir()

    def close(self) -> None:
        """Close the files; calling it again is harmless."""
        for file in (self._file, self._journal):
            if file is not None:
                file.close()

    def _begin(self, base: Path, folders: Sequence[str]) -> None:
        """Make the run's temporary file, unless it is there, and the folders on the way."""
        for folder in map(Path, folders):
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)
        if self._hidden.exists():
            return
        try:
            _take_over(base, self._hidden, self._fence)
        except FileNotFoundError:
            if not self._make_folders:
                raise
            # A job that had made the folder was aborted, and took it away again while it was empty.
            base.parent.mkdir(parents=True, exist_ok=True)
            _take_over(base, self._hidden, self._fence)

    def _rewind(self, kept: list[Receipt]) -> None:
        """Let the file end after the receipts kept."""
        if self._file is not None and self._journal is not None:
            self._file.truncate(_size(kept))
            self._journal.seek(0)
            self._journal.truncate()
            _write_all(self._journal, b"".join(map(_line, kept)))
            self._done = kept

    def _in_place(self, receipts: Sequence[Receipt]) -> bool:
        """Say whether the target is what the receipts speak of, as it is after a crash right behind the rename."""
        size = self._target.stat().st_size if self._target.exists() else -1
        return size == _size(receipts) and len(_whole(self._target, receipts)) == len(receipts)


class StreamOutput:
    """Standard output, a pipe or a device: what is written is gone, so there is nothing to take back."""

    def __init__(self, path: str) -> None:
        """Write to `path`; `-` is standard output."""
        self._path = path
        self._file: IO[bytes] | None = None
        self._last = -1

    def prepare(self) -> JsonObject:
        """Return the target's name."""
        return {"target": self._path}

    def open(self, state: JsonObject, done: Sequence[Receipt] = ()) -> None:  # noqa: ARG002 -- what is gone is gone
        """Open the target of `state`. Raises OutputError."""
        path = str(state["target"])
        with _words(self._path):
            handle = os.dup(1) if path == _STREAM else os.open(path, os.O_WRONLY)
            self._file = os.fdopen(handle, "wb", 0)

    def durable(self, state: JsonObject) -> Sequence[Receipt]:  # noqa: ARG002 -- a pipe does not say what it has
        """Return nothing."""
        return []

    def write(self, chunk: ScoredChunk) -> Receipt:
        """Write a block unless it was written before. Raises OutputError, also when the reader has gone."""
        if self._file is None:
            raise OutputError(f"Output: {self._path} is not open.")
        if chunk.last > self._last:
            with _words(self._path):
                _write_all(self._file, chunk.body)
            self._last = chunk.last
        return Receipt({"first": chunk.first, "last": chunk.last, "size": len(chunk.body)})

    def sha256(self, receipts: Sequence[Receipt]) -> str | None:  # noqa: ARG002 -- a pipe cannot be read back
        """Return None."""
        return None

    def finish(self, receipts: Sequence[Receipt], seal: Seal) -> None:
        """All is written already."""

    def commit(self, receipts: Sequence[Receipt]) -> None:
        """All is written already."""

    def abort(self, state: JsonObject) -> None:
        """What was written cannot be taken back."""

    def close(self) -> None:
        """Close the target; calling it again is harmless."""
        if self._file is not None:
            self._file.close()


class Headed:
    """Another output that begins with some bytes, whether anything is written behind them or not."""

    def __init__(self, output: FileOutput | StreamOutput, head: bytes) -> None:
        """Write `head` as chunk 0 of `output`."""
        self._output = output
        self._head = head
        self._receipt = Receipt({})

    def prepare(self) -> JsonObject:
        """See the output."""
        return self._output.prepare()

    def open(self, state: JsonObject, done: Sequence[Receipt] = ()) -> None:
        """Open the output and write what it begins with, unless it is there. Raises OutputError."""
        self._output.open(state, done)
        self._receipt = self._output.write(ScoredChunk(0, 0, self._head, 0))

    def durable(self, state: JsonObject) -> Sequence[Receipt]:
        """Return the receipts of all blocks but the first one."""
        return self._output.durable(state)[1:]

    def write(self, chunk: ScoredChunk) -> Receipt:
        """See the output."""
        return self._output.write(chunk)

    def sha256(self, receipts: Sequence[Receipt]) -> str | None:
        """See the output."""
        return self._output.sha256([self._receipt, *receipts])

    def finish(self, receipts: Sequence[Receipt], seal: Seal) -> None:
        """See the output."""
        self._output.finish([self._receipt, *receipts], seal)

    def commit(self, receipts: Sequence[Receipt]) -> None:
        """Make the output visible, with what it begins with. Raises OutputError."""
        self._output.commit([self._receipt, *receipts])

    def abort(self, state: JsonObject) -> None:
        """See the output."""
        self._output.abort(state)

    def close(self) -> None:
        """See the output."""
        self._output.close()


def remove_unfinished(folder: Path, job_id: str) -> None:
    """Delete what runs of a job left beside the places of files anywhere below a folder. Raises OutputError."""
    with _words(str(folder)):
        for path in folder.rglob(f".*.{job_id}.*{_PART}*"):
            path.unlink(missing_ok=True)


def _take_over(base: Path, mine: Path, fence: int) -> None:
    """Begin a run's file with what is whole of the best earlier one, durably, and delete all earlier ones.

    Those of later runs stay: this one may have lost its job and not know it yet.
    """
    earlier = [path for path in _run_files(base) if _fence(path) < fence]
    best = max(earlier, key=lambda path: _size(_blocks(path)), default=None)
    blocks = [] if best is None else _blocks(best)
    if best is not None and blocks:
        with best.open("rb") as source, mine.open("wb", 0) as copy:
            for receipt in blocks:
                _write_all(copy, source.read(receipt.data["size"]))
            os.fsync(copy.fileno())
        _journal(mine).write_bytes(b"".join(map(_line, blocks)))
    else:
        mine.touch()
    for path in earlier:
        _remove(path)


def _run_files(base: Path) -> list[Path]:
    return sorted(base.parent.glob(f"{glob.escape(base.name)}.*{_PART}"))


def _fence(path: Path) -> int:
    number = path.name.removesuffix(_PART).rpartition(".")[2]
    return int(number) if number.isdecimal() else -1


def _remove_runs(base: Path) -> None:
    for path in base.parent.glob(f"{glob.escape(base.name)}.*{_PART}*"):  # journals, too
        path.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _journal(path).unlink(missing_ok=True)


def _blocks(path: Path) -> list[Receipt]:
    """Return the receipts of a run's file, up to the first whose bytes are not in it."""
    with suppress(OSError, ValueError):
        listed = [Receipt(json.loads(line)) for line in _journal(path).read_bytes().splitlines()]
        return _whole(path, listed)
    return []


def _sha256(file: IO[bytes], size: int) -> str:
    digest = hashlib.sha256()
    while size > 0 and (block := file.read(min(size, _PIECE_BYTES))):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()


def _journal(hidden: Path) -> Path:
    return hidden.with_name(f"{hidden.name}.journal")


def _line(receipt: Receipt) -> bytes:
    return json.dumps(receipt.data).encode() + b"\n"


def _size(receipts: Sequence[Receipt]) -> int:
    return sum(int(receipt.data["size"]) for receipt in receipts)


def _whole(path: Path, receipts: Sequence[Receipt]) -> list[Receipt]:
    """Return the receipts, in order, up to the first whose bytes are not in the file."""
    found = []
    with path.open("rb") as file:
        for receipt in receipts:
            body = file.read(receipt.data["size"])
            if len(body) != receipt.data["size"] or zlib.crc32(body) != receipt.data["crc32"]:
                break
            found.append(receipt)
    return found


def _write_all(file: IO[bytes], body: bytes) -> None:
    view = memoryview(body)
    while view:
        view = view[file.write(view) :]


@contextmanager
def _words(path: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise OutputError(f"Output: the reader of {path} has gone.") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(f"Output: cannot write {path}: the disk is full; make space on it.") from error
        raise OutputError(f"Output: cannot write {path}: {error.strerror or error}.") from error
