"""Writing to a file that appears whole, or to a pipe.

A file is written beside its final place and renamed at the end: a reader sees the old file or the new one, never half.
A journal beside it says which blocks are in it, so that a run can be taken up again.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from scoreline.errors import OutputError
from scoreline.types import JsonObject, Receipt, ScoredChunk

_STREAM = "-"


class FileOutput:
    """One target file, made whole by `commit`. Blocks come in the order of their chunks."""

    def __init__(self, path: str, job_id: str, *, shown: str | None = None) -> None:
        """Write to the file `path`, called `shown` in messages; a link is followed, so that it stays a link."""
        self._path = shown or path
        self._given = path
        self._job = job_id
        self._target = Path(path)
        self._hidden = Path(path)
        self._file: IO[bytes] | None = None
        self._journal: IO[bytes] | None = None
        self._done: list[Receipt] = []

    def prepare(self) -> JsonObject:
        """Return target and temporary name. Raises OutputError when the target cannot be a file there."""
        with _words(self._path):
            target = Path(os.path.realpath(self._given))
            if target.is_dir():
                raise OutputError(f"Output: {self._path} is a folder; name a file in it.")
            if not target.parent.is_dir():
                raise OutputError(f"Output: the folder of {self._path} does not exist; make it first.")
        hidden = target.with_name(f".{target.name[:100]}.{self._job}.part")
        return {"target": str(target), "temporary": str(hidden)}

    def open(self, state: JsonObject) -> None:
        """Begin the temporary file, or go on after what is durable in it. Raises OutputError."""
        self._target, self._hidden = Path(state["target"]), Path(state["temporary"])
        self._done = list(self.durable(state))
        with _words(self._path):
            self._hidden.touch()
            self._file = self._hidden.open("r+b", 0)
            self._journal = _journal(self._hidden).open("wb", 0)
            self._rewind(self._done)

    def durable(self, state: JsonObject) -> Sequence[Receipt]:
        """Return the receipts of the blocks that are whole in the temporary file, up to the first that is not."""
        hidden = Path(state["temporary"])
        with suppress(OSError, ValueError):
            listed = [Receipt(json.loads(line)) for line in _journal(hidden).read_bytes().splitlines()]
            return _whole(hidden, listed)
        return []

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
            os.fsync(self._file.fileno())
            _write_all(self._journal, _line(receipt))
        self._done.append(receipt)
        return receipt

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
                self._hidden.replace(self._target)
                _sync_folder(self._target.parent)
            elif not self._in_place(receipts):
                raise OutputError(f"Output: {self._path} lacks rows that were written to it; run the job again.")
            self._hidden.unlink(missing_ok=True)
            _journal(self._hidden).unlink(missing_ok=True)

    def abort(self, state: JsonObject) -> None:
        """Delete the temporary file; the target stays as it was."""
        self.close()
        hidden = Path(state["temporary"])
        with _words(self._path):
            hidden.unlink(missing_ok=True)
            _journal(hidden).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files; calling it again is harmless."""
        for file in (self._file, self._journal):
            if file is not None:
                file.close()

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

    def open(self, state: JsonObject) -> None:
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

    def open(self, state: JsonObject) -> None:
        """Open the output and write what it begins with, unless it is there. Raises OutputError."""
        self._output.open(state)
        self._receipt = self._output.write(ScoredChunk(0, 0, self._head, 0))

    def durable(self, state: JsonObject) -> Sequence[Receipt]:
        """Return the receipts of all blocks but the first one."""
        return self._output.durable(state)[1:]

    def write(self, chunk: ScoredChunk) -> Receipt:
        """See the output."""
        return self._output.write(chunk)

    def commit(self, receipts: Sequence[Receipt]) -> None:
        """Make the output visible, with what it begins with. Raises OutputError."""
        self._output.commit([self._receipt, *receipts])

    def abort(self, state: JsonObject) -> None:
        """See the output."""
        self._output.abort(state)

    def close(self) -> None:
        """See the output."""
        self._output.close()


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


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
