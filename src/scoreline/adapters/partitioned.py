"""A folder of files as an output, one for each value of the partition columns.

The run's blocks are staged in the spool, under the ledger's receipts. The files are made of them when the run ends,
some at a time, and each is put in its place whole; the list of all, `_manifest.json`, comes last. A run that takes up a
job which broke there makes them once more. Two markers beside the blocks say that files are being put in place, and
that all are.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from scoreline import faults
from scoreline.adapters import rooted, targets
from scoreline.adapters.files import Patience, Trouble, Uploads, Why
from scoreline.adapters.staging import Staged, first_span
from scoreline.adapters.targets import FileOutput
from scoreline.adapters.uploading import ABORT_SECONDS, ERROR, NEW_NAME, OVERWRITE
from scoreline.errors import OutputError
from scoreline.protocols import Seal
from scoreline.rows import forms, partitions
from scoreline.rows.opening import open_form
from scoreline.spool import Spool
from scoreline.types import JsonObject, Receipt, RunTicket, ScoredChunk

MANIFEST = "_manifest.json"
MOST_OPEN = 256
_HELD_BYTES = 64 << 20  # of rows that wait until they fill a block of their file
_FILE_BYTES = 16 << 20
_PIECE_BYTES = 4 << 20
_ENDINGS = {"gzip": ".gz", "zstd": ".zst"}


class Folder(Protocol):
    """A place that files are put into whole."""

    def check_free(self, key: str) -> None:
        """Raise OutputError when there is a file that must not be there."""
        ...

    def put(self, key: str, file: Path) -> None:
        """Put a file in its place. Raises OutputError."""
        ...

    def abort(self, key: str) -> None:
        """Leave nothing unfinished behind below a key. Raises OutputError."""
        ...

    def close(self) -> None:
        """Release everything; calling it again is harmless."""
        ...


class FolderOutput:
    """Files below a key that ends in a slash; see `protocols.Output`."""

    def __init__(self, folder: Folder, key: str, ticket: RunTicket, spool: Spool) -> None:
        """Write as the ticket's output says; the output closes `folder`."""
        self._folder = folder
        self._key = key
        self._ticket = ticket
        self._settings = dict(ticket.output)
        self._staged = Staged(spool, ticket.job_id, ticket.fence)
        self._spool = spool
        self._placing, self._placed = (f"staged/{ticket.job_id}/{marker}" for marker in ("placing", "placed"))
        self._mark = f"scoreline-{ticket.job_id}-"

    def prepare(self) -> JsonObject:
        """Return the folder's key. Raises OutputError when another job's files are there and must not be."""
        self._folder.check_free(self._key + MANIFEST)
        return {"folder": self._key}

    def open(self, state: JsonObject, done: Sequence[Receipt] = ()) -> None:
        """Go on behind the blocks that the ledger has receipts of."""
        self._key = str(state["folder"])
        self._staged.restart(done)

    def durable(self, state: JsonObject) -> Sequence[Receipt]:  # noqa: ARG002 -- it is what `open` was told
        """Return the receipts of the blocks that are staged."""
        return self._staged.receipts

    def write(self, chunk: ScoredChunk) -> Receipt:
        """Stage a block durably. Raises SpoolFull, SpoolError."""
        known = self._staged.known(chunk)
        if known is not None:
            return known
        receipt = Receipt(self._staged.put(chunk))
        self._staged.add(receipt)
        return receipt

    def sha256(self, receipts: Sequence[Receipt]) -> None:
        """Return nothing: there is not one output."""

    def finish(self, receipts: Sequence[Receipt], seal: Seal) -> None:
        """Look whether each place is free, where that matters: from the seal on files appear one after the other.

        Raises OutputError, SpoolError, what `seal` raises.
        """
        if self._settings.get("ifExists") != ERROR or self._spool.exists(self._placing):
            return
        self._staged.restart(receipts)
        folders: set[str] = set()
        for table in self._tables():
            seal.check()
            folders.update(folder for folder, _ in partitions.runs(table))
        for name in (MANIFEST, *(folder + self._name() for folder in sorted(folders))):
            seal.check()
            self._folder.check_free(self._key + name)

    def commit(self, receipts: Sequence[Receipt]) -> None:
        """Make the files, put them in their places, and the manifest last. Raises OutputError, SpoolError."""
        self._staged.restart(receipts)
        if self._spool.exists(self._placed):
            return
        self._spool.put_marker(self._placing, b"{}")
        made: list[JsonObject] = []
        left: list[str] | None = None  # folders whose turn has not come; None before it is known which there are
        with self._scratch() as scratch:
            while left is None or left:
                turn, left = self._pass(left, scratch)
                partitions.check(len(made) + len(turn) + len(left), self._settings["partitionColumns"])
                for name in sorted(turn):
                    made.append(turn[name].end(name))
                    self._folder.put(self._key + name, turn[name].path)
                    faults.at("folder.file")
                    turn[name].path.unlink()
            manifest = scratch / MANIFEST
            manifest.write_text(json.dumps(self._manifest(made), ensure_ascii=False, indent=1), "utf-8")
            self._folder.put(self._key + MANIFEST, manifest)
        faults.at("folder.placed")
        self._spool.put_marker(self._placed, b"{}")
        self._staged.drop(self._staged.size)

    def abort(self, state: JsonObject) -> None:
        """Leave nothing staged and no upload unfinished. Raises OutputError, SpoolError."""
        try:
            self._remove_scratch()
            self._folder.abort(str(state["folder"]))
        finally:
            self._staged.delete()

    def close(self) -> None:
        """Release everything; calling it again is harmless."""
        self._folder.close()

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Give a folder for the files while they are made; that of a run which was killed goes."""
        self._remove_scratch()
        with tempfile.TemporaryDirectory(prefix=self._mark) as folder:
            yield Path(folder)

    def _remove_scratch(self) -> None:
        for left in Path(tempfile.gettempdir()).glob(f"{self._mark}*"):
            shutil.rmtree(left, ignore_errors=True)

    def _pass(self, wanted: list[str] | None, scratch: Path) -> tuple[dict[str, _File], list[str]]:
        """Go through all blocks once; return the files made by name, and the folders that are left for later."""
        chosen = None if wanted is None else set(wanted[:MOST_OPEN])
        files: dict[str, _File] = {}
        left: set[str] = set()
        for table in self._tables():
            for folder, rows in partitions.runs(table):
                name = folder + self._name()
                if name not in files:
                    if (chosen is not None and folder not in chosen) or len(files) >= MOST_OPEN:
                        left.add(folder)
                        continue
                    files[name] = _File(scratch / str(len(files)), self._form(rows.schema))
                # What is left for later must not stay in memory with it.
                files[name].add(rows if chosen is None and not left else partitions.copied(rows))
            while sum(file.waiting for file in files.values()) > _HELD_BYTES:
                max(files.values(), key=lambda file: file.waiting).flush()
        return files, sorted(left) if wanted is None else wanted[MOST_OPEN:]

    def _tables(self) -> Iterator[pa.Table]:
        """Yield the rows of each block."""
        for number in range(len(self._staged.receipts)):
            body = b"".join(self._staged.pieces(self._staged.end(number), self._staged.end(number + 1)))
            if body:
                yield pa.ipc.open_stream(body).read_all()

    def _form(self, schema: pa.Schema) -> forms.Form:
        settings = {name: value for name, value in self._settings.items() if name != "partitionColumns"}
        return open_form(settings, schema.names, schema.types, self._ticket.dialect)

    def _name(self) -> str:
        form = self._settings.get("format") or forms.CSV
        packed = _ENDINGS.get(self._settings.get("compression") or "", "") if form in forms.PACKED else ""
        mine = f"-{self._ticket.job_id}" if self._settings.get("ifExists") == NEW_NAME else ""
        return f"part-0{mine}.{form}{packed}"

    def _manifest(self, files: Sequence[JsonObject]) -> JsonObject:
        return {
            "jobId": self._ticket.job_id,
            "format": self._settings.get("format") or forms.CSV,
            "partitionColumns": self._settings["partitionColumns"],
            "rows": sum(int(file["rows"]) for file in files),
            "bytes": sum(int(file["bytes"]) for file in files),
            "files": list(files),
        }


class _File:
    """One file while it is made; no handle is kept open."""

    def __init__(self, path: Path, form: forms.Form) -> None:
        self.path = path
        self.waiting = 0
        self._form = form
        self._pieces: list[forms.Piece] = []
        self._notes: list[JsonObject] = []
        self._rows = self._size = 0
        self._digest = hashlib.sha256()
        self._put(form.head())

    def add(self, rows: pa.Table) -> None:
        """Take rows."""
        for batch in rows.to_batches():
            piece = self._form.piece(batch.columns)
            self._pieces.append(piece)
            self.waiting += len(piece) if isinstance(piece, bytes) else piece.nbytes
        self._rows += rows.num_rows
        if self.waiting >= _FILE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        body, note = self._form.block(self._pieces, self._size)
        if note is not None:
            self._notes.append(note)
        self._pieces, self.waiting = [], 0
        self._put(body)

    def end(self, name: str) -> JsonObject:
        """Write the rest, and return what the manifest says of the file."""
        if self._pieces:
            self.flush()
        self._put(self._form.tail(self._notes) or b"")
        return {"file": name, "rows": self._rows, "bytes": self._size, "sha256": self._digest.hexdigest()}

    def _put(self, body: bytes) -> None:
        try:
            with self.path.open("ab") as file:
                file.write(body)
        except OSError as error:
            raise OutputError(
                f"Writing the output failed: the files of the folder cannot be made ({error.strerror}); make space "
                "where this worker has its temporary files."
            ) from error
        self._digest.update(body)
        self._size += len(body)


class DiskFolder:
    """A folder of this machine, below `root` if that is given."""

    def __init__(self, root: str | None, ticket: RunTicket) -> None:
        self._root = root
        self._ticket = ticket

    def check_free(self, key: str) -> None:
        """Files of this machine are replaced."""

    def put(self, key: str, file: Path) -> None:
        """Put a file in its place, and make the folders on the way. Raises OutputError."""
        path = Path(key if self._root is None else rooted.target(self._root, key))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"Output: cannot make the folder of {key}: {error.strerror}; is a value of the partition columns too "
                "long?"
            ) from error
        output = FileOutput(str(path), self._ticket.job_id, self._ticket.fence, shown=key)
        try:
            output.open(output.prepare())
            with file.open("rb") as source:
                bodies = iter(lambda: source.read(_PIECE_BYTES), b"")
                receipts = [output.write(ScoredChunk(at, at, body, 0)) for at, body in enumerate(bodies)]
            output.commit(receipts)
        finally:
            output.close()

    def abort(self, key: str) -> None:
        """Delete the files that were being written beside their places. Raises OutputError."""
        last = key + MANIFEST
        path = Path(last if self._root is None else rooted.target(self._root, last))
        targets.remove_unfinished(path.parent, self._ticket.job_id)

    def close(self) -> None:
        """Nothing is held open."""


class StoreFolder:
    """What begins with a key in an object store."""

    def __init__(self, uploads: Uploads, ticket: RunTicket, spool: Spool) -> None:
        """Upload each file by itself; which upload is under way is kept in the spool."""
        self._uploads = uploads
        self._mode = ticket.output.get("ifExists") or OVERWRITE
        self._job = ticket.job_id
        self._seconds = ticket.limits.patience_seconds
        self._spool = spool
        self._marker = f"staged/{ticket.job_id}-upload"

    def check_free(self, key: str) -> None:
        """Raise OutputError when there is an object that must not be there."""
        if self._mode != ERROR:
            return
        try:
            there = Patience(self._seconds).call(lambda: self._uploads.exists(key))
        except Trouble as trouble:
            raise trouble.output_error(self._uploads.shown(key)) from trouble
        if there:
            raise Trouble(Why.EXISTS, "ifExists is 'error'").output_error(self._uploads.shown(key))

    def put(self, key: str, file: Path) -> None:
        """Upload a file; one that this job put there before is fine. Raises OutputError."""
        self.abort(key)
        try:
            self._upload(key, file)
        except Trouble as trouble:
            raise trouble.output_error(self._uploads.shown(key)) from trouble

    def _upload(self, key: str, file: Path) -> None:
        patience = Patience(self._seconds)
        with file.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            size, parts, span = source.tell(), list[JsonObject](), first_span(self._uploads.most_part)
            mark = f"{self._job}.{digest[:16]}"
            upload = patience.call(lambda: self._uploads.begin(key, mark, again=True))
            self._spool.put_marker(self._marker, json.dumps(upload).encode())
            while span.start < size or not parts:
                source.seek(span.start)
                body, last = source.read(span.size), span.end >= size
                told = patience.call(
                    lambda span=span, body=body, last=last: self._uploads.part(  # type: ignore[misc]  # mypy cannot type a lambda with defaults
                        upload, span.number, span.start, body, last=last
                    )
                )
                parts.append({**told, "number": span.number})
                span = span.next(self._uploads.most_part)
        try:
            patience.call(lambda: self._uploads.complete(upload, parts, size, new=self._mode != OVERWRITE))
        except Trouble as trouble:
            # An answer may have been lost, or the file is there from a run before.
            known = trouble.why in (Why.AWAY, Why.CUT, Why.GONE, Why.EXISTS)
            if not known or not patience.call(lambda: self._uploads.finished(upload, size)):
                raise
            patience.call(lambda: self._uploads.abort(upload))
        self._spool.delete_object(self._marker)

    def abort(self, key: str) -> None:  # noqa: ARG002 -- there is one at a time
        """Abort the upload that was under way, if there is one. Raises OutputError."""
        kept = self._spool.get_marker(self._marker)
        if kept is None:
            return
        upload = json.loads(kept)
        try:
            Patience(min(self._seconds, ABORT_SECONDS)).call(lambda: self._uploads.abort(upload))
        except Trouble as trouble:
            raise trouble.output_error("an unfinished upload") from trouble
        self._spool.delete_object(self._marker)

    def close(self) -> None:
        """End what is under way; calling it again is harmless."""
        self._uploads.close()
