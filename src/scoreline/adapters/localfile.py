"""localFile: the CSV is sent to the API and its result downloaded from there; both are staged in the spool.

The upload is a stream `uploads/<job>/<sender>`, or the numbered parts of a multipart upload. The result is the segments
of `results/<job>`, named by chunks and fence, so that a run that lost its lease never touches those of its successor.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence

from scoreline.adapters import cutting
from scoreline.adapters.joining import JoinedParts
from scoreline.errors import LostLease, RunStopped
from scoreline.protocols import Seal
from scoreline.spool import Spool, WaitState
from scoreline.types import JsonObject, Range, Receipt, RunTicket, ScoredChunk


class LocalFileIntake:
    """The bytes of one upload, which may still be running."""

    def __init__(self, ticket: RunTicket, spool: Spool) -> None:
        """Read the upload of the ticket's job; all its settings are optional."""
        settings = ticket.intake
        announced = settings.get("contentLength")
        self._announced = None if announced is None else int(announced)
        self._closed = threading.Event()
        self._reader = spool.reader(f"uploads/{ticket.job_id}/{settings.get('stream', '0')}")
        self._parts: JoinedParts | None = None
        if settings.get("multipart"):
            whole = settings.get("async") is False
            self._parts = JoinedParts(spool, ticket.job_id, ticket.dialect, finalised_only=whole)

    def partitions(self, want: int) -> Sequence[Range]:
        """Cut an upload that is whole; one in parts, or one that may still be running, is one part."""
        return cutting.evenly(self._reader.size() if self._parts is None else None, want)

    def size(self) -> int | None:
        """Return the bytes of the upload, or those announced for it, or None."""
        if self._parts is not None:
            return self._parts.size()
        known = self._reader.size()
        return self._announced if known is None else known

    def identity(self) -> JsonObject | None:
        """Return bytes and SHA-256 of the upload, of its parts if it came in parts, None before it is whole."""
        if self._parts is not None:
            return self._parts.identity()
        manifest = self._reader.manifest()
        return None if manifest is None else {"bytes": manifest.size, "sha256": manifest.sha256}

    def blocks(self, part: Range, offset: int) -> Iterator[bytes]:
        """Yield the part's bytes, waiting for those still to come.

        Raises SourceError when the upload broke, RunStopped once `close` was called, SpoolError when a segment is
        damaged.
        """
        start = max(part.start, offset)
        source = self._reader if self._parts is None else self._parts
        for block in source.blocks(start, self._wait):
            if self._closed.is_set():
                raise RunStopped("Intake: reading the upload was stopped.")
            yield block if part.end is None else block[: part.end - start]
            start += len(block)
            if part.end is not None and start >= part.end:
                return

    def close(self) -> None:
        """End reading; `blocks` stops soon, wherever it waits. May be called from any thread, and again."""
        self._closed.set()

    def _wait(self) -> WaitState:
        return WaitState.STOP if self._closed.is_set() else WaitState.GO_ON


class LocalFileOutput:
    """The result of one job as segments in the spool; readers see those that the ledger has receipts for."""

    def __init__(self, ticket: RunTicket, spool: Spool, folder: str = "results") -> None:
        """Write the result of the ticket's job."""
        self._spool = spool
        self._fence = ticket.fence
        self._stream = f"{folder}/{ticket.job_id}"

    def prepare(self) -> JsonObject:
        """Return the name of the result's stream."""
        return {"stream": self._stream}

    def open(self, state: JsonObject, done: Sequence[Receipt] = ()) -> None:  # noqa: ARG002 -- segments have names
        """Write to the stream of `state`."""
        self._stream = str(state["stream"])

    def durable(self, state: JsonObject) -> Sequence[Receipt]:
        """Return a receipt for each whole segment, of any run of the job; torn ones are left out."""
        found = self._spool.whole_segments(str(state["stream"]))
        return [Receipt({"segment": one.name, "size": one.size, "crc32": one.crc32}) for one in found]

    def write(self, chunk: ScoredChunk) -> Receipt:
        """Store the chunks as one segment. Raises SpoolFull, SpoolError, LostLease after a later run's commit."""
        name = f"{chunk.first:010d}-{chunk.last:010d}.{self._fence}"
        receipt = Receipt(self._spool.put_segment(self._stream, name, chunk.body))
        done = self._spool.reader(self._stream).manifest()
        if done is not None and done.fence > self._fence:  # nobody else would ever delete it
            self._spool.drop_segment(self._stream, name)
            raise LostLease(f"Spool: {self._stream} was finished by a later run.")
        return receipt

    def sha256(self, receipts: Sequence[Receipt]) -> str | None:
        """Return the digest of these segments, read back in order. Raises SpoolError."""
        digest = hashlib.sha256()
        for receipt in receipts:
            name, crc32 = str(receipt.data["segment"]), int(receipt.data["crc32"])
            for block in self._spool.read_segment(self._stream, name, crc32=crc32):
                digest.update(block)
        return digest.hexdigest()

    def finish(self, receipts: Sequence[Receipt], seal: Seal) -> None:
        """Do nothing: all is durable."""

    def commit(self, receipts: Sequence[Receipt]) -> None:
        """Write the result's manifest. Raises SpoolError if a segment is not there, LostLease after a later run."""
        self._spool.commit(self._stream, [receipt.data for receipt in receipts], fence=self._fence)

    def abort(self, state: JsonObject) -> None:
        """Delete the result."""
        self._spool.delete_stream(str(state["stream"]))

    def close(self) -> None:
        """Nothing is held open."""


class ErrorsOutput(LocalFileOutput):
    """The failed rows of one job, as a result of its own; most jobs have none, and so no stream.

    It stays whatever becomes of the job, as it says why; what may be read of it stands in the ledger.
    """

    def __init__(self, ticket: RunTicket, spool: Spool) -> None:
        """List the failed rows of the ticket's job."""
        super().__init__(ticket, spool, "errors")

    def commit(self, receipts: Sequence[Receipt]) -> None:
        """Write the manifest, if there is anything; see LocalFileOutput."""
        if receipts:
            super().commit(receipts)

    def abort(self, state: JsonObject) -> None:
        """Keep what there is."""


def open_intake(ticket: RunTicket, spool: Spool) -> LocalFileIntake:
    """Open the upload of the ticket's job."""
    return LocalFileIntake(ticket, spool)


def open_output(ticket: RunTicket, spool: Spool) -> LocalFileOutput:
    """Open the result of the ticket's job."""
    return LocalFileOutput(ticket, spool)


def open_errors(ticket: RunTicket, spool: Spool) -> ErrorsOutput:
    """Open the list of failed rows of the ticket's job."""
    return ErrorsOutput(ticket, spool)
