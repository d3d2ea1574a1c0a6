"""One object of a store as an output: what s3, azure and gcp have in common when a job writes.

What the run writes is staged in the spool first, block by block, and the ledger has its receipts. Only what the ledger
knows is uploaded, in parts that are cut at places which depend on nothing but the part's number. So every run of a job,
even one that lost the job unawares, can only upload the same bytes as the same part: doing it twice does no harm, and
a run that takes the job up goes on with the same upload. What is in the store, by a receipt in the ledger, is not
staged any longer.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import TypeVar

import structlog

from scoreline import faults
from scoreline.adapters.files import Patience, Trouble, Uploads, Why
from scoreline.adapters.staging import Span, Staged, first_span
from scoreline.errors import OutputError, RunStopped
from scoreline.protocols import Seal
from scoreline.spool import Spool
from scoreline.types import JsonObject, Receipt, RunTicket, ScoredChunk

T = TypeVar("T")

OVERWRITE, ERROR, NEW_NAME = "overwrite", "error", "newName"
IF_EXISTS = (OVERWRITE, ERROR, NEW_NAME)
"""What a job does when there is an object of that name already."""

_BEHIND_BYTES = 32 << 20  # staged and not yet uploaded, beside two parts: then the run waits for the store
_STOP_SECONDS = 35.0
ABORT_SECONDS = 20.0
_CHECK_SECONDS = 0.5

_log = structlog.get_logger(__name__)


class ObjectOutput:
    """One object, visible as a whole once it is committed. Blocks come in the order of their chunks."""

    def __init__(self, uploads: Uploads, key: str, ticket: RunTicket, spool: Spool) -> None:
        """Write to the object `key`; the output closes `uploads`. The ticket's output may have `ifExists`."""
        self._uploads = uploads
        self._mode = ticket.output.get("ifExists") or OVERWRITE
        self._key = _named(key, ticket.job_id) if self._mode == NEW_NAME else key
        self._mark = f"{ticket.job_id}.{secrets.token_hex(4)}"
        self._again = ticket.fence > 1
        self._seconds = ticket.limits.patience_seconds
        self._staged = Staged(spool, ticket.job_id, ticket.fence)
        self._sender: _Sender | None = None
        self._upload: JsonObject = {}

    def prepare(self) -> JsonObject:
        """Begin an upload and return it. Raises OutputError, also when the object must not be there and is."""
        if self._mode == ERROR and self._call(lambda: self._uploads.exists(self._key)):
            raise Trouble(Why.EXISTS, "ifExists is 'error'").output_error(self._shown)
        upload = self._call(lambda: self._uploads.begin(self._key, self._mark, again=self._again))
        return {"key": self._key, "upload": upload}

    def open(self, state: JsonObject, done: Sequence[Receipt] = ()) -> None:
        """Go on with the upload of `state` behind the blocks that the ledger has receipts of."""
        self._key, self._upload = str(state["key"]), dict(state["upload"])
        self._begin(done)

    def durable(self, state: JsonObject) -> Sequence[Receipt]:  # noqa: ARG002 -- it is what `open` was told
        """Return the receipts of the blocks that are staged or uploaded."""
        return self._staged.receipts

    def write(self, chunk: ScoredChunk) -> Receipt:
        """Stage a block durably; the blocks before it, which the ledger knows by now, may be uploaded.

        Waits while the store is far behind. Raises OutputError when the store does not take parts, SpoolFull.
        """
        sender = self._open_sender()
        known = self._staged.known(chunk)
        if known is not None:
            return known
        sender.allow(len(self._staged.receipts))
        self._failing(sender.wait)
        receipt = Receipt({**self._staged.put(chunk), "parts": sender.news()})
        self._staged.add(receipt)
        return receipt

    def sha256(self, receipts: Sequence[Receipt]) -> str | None:
        """Return the digest of these blocks, None when some are in the store already. Raises SpoolError."""
        self._same(receipts)
        return self._staged.sha256()

    def finish(self, receipts: Sequence[Receipt], seal: Seal) -> None:
        """Upload the rest, unless the object is there already. Raises OutputError, SpoolError, what `seal` raises."""
        self._same(receipts)
        if not self._call(lambda: self._finished(self._staged.size)):
            self._parts(receipts, seal.check)

    def commit(self, receipts: Sequence[Receipt]) -> None:
        """Make what was uploaded the object and look whether it is; an object that is there already is left.

        Raises OutputError, SpoolError.
        """
        self._same(receipts)
        size = self._staged.size
        if not self._call(lambda: self._finished(size)):
            parts = self._parts(receipts)
            faults.at("object.completing")
            self._call(lambda: self._complete(parts, size))
            faults.at("object.completed")
            self._verify(size)
        self._stop()
        self._staged.delete()

    def abort(self, state: JsonObject) -> None:
        """Leave no part behind, and nothing staged; an object that was there stays. Raises OutputError, SpoolError."""
        self._stop()
        self._key = str(state["key"])
        patience = Patience(min(self._seconds, ABORT_SECONDS))
        try:
            self._failing(lambda: patience.call(lambda: self._uploads.abort(dict(state["upload"]))))
        finally:
            self._staged.delete()

    def close(self) -> None:
        """End what is under way; calling it again is harmless."""
        self._stop(wait=False)
        self._uploads.close()

    @property
    def _shown(self) -> str:
        return self._uploads.shown(self._key)

    def _begin(self, done: Sequence[Receipt]) -> None:
        self._stop()
        self._staged.restart(done)
        self._sender = _Sender(self._uploads, self._upload, self._staged, Patience(self._seconds))

    def _open_sender(self) -> _Sender:
        if self._sender is None:
            raise OutputError(f"Writing the output failed: {self._shown} is not open.")
        return self._sender

    def _parts(self, receipts: Sequence[Receipt], check: Callable[[], None] = lambda: None) -> list[JsonObject]:
        sender = self._open_sender()
        sender.allow(len(receipts))
        return self._failing(lambda: sender.finish(check))

    def _same(self, receipts: Sequence[Receipt]) -> None:
        """Take these receipts for what is written, whatever this run knew."""
        if list(receipts) != self._staged.receipts:
            self._begin(receipts)

    def _complete(self, parts: Sequence[JsonObject], size: int) -> None:
        try:
            self._uploads.complete(self._upload, parts, size, new=self._mode != OVERWRITE)
        except Trouble as trouble:
            # An answer may have been lost, or told of a fault that came after the work was done.
            if trouble.why in (Why.AWAY, Why.CUT, Why.GONE, Why.EXISTS) and self._finished(size):
                return
            raise

    def _finished(self, size: int) -> bool:
        try:
            return self._uploads.finished(self._upload, size)
        except Trouble as trouble:
            if trouble.why is Why.DENIED:  # who may only write cannot look
                return False
            raise

    def _verify(self, size: int) -> None:
        try:
            there = self._failing(
                lambda: Patience(self._seconds).call(lambda: self._uploads.finished(self._upload, size))
            )
        except OutputError as error:
            if isinstance(error.__cause__, Trouble) and error.__cause__.why is Why.DENIED:
                _log.warning(
                    "an object could not be verified, since its credential may not read it", object=self._shown
                )
                return
            raise
        if not there:
            raise OutputError(
                f"Writing the output failed: {self._shown} is not what was uploaded, though the store took it: another "
                "program may have written it at the same time; run the job again."
            )

    def _call(self, work: Callable[[], T]) -> T:
        return self._failing(lambda: Patience(self._seconds).call(work))

    def _failing(self, work: Callable[[], T]) -> T:
        """Raise Trouble in words."""
        try:
            return work()
        except Trouble as trouble:
            raise trouble.output_error(self._shown) from trouble

    def _stop(self, *, wait: bool = True) -> None:
        if self._sender is not None:
            self._sender.stop(_STOP_SECONDS if wait else 0.0)
            self._sender = None


class _Sender:
    """Uploads full parts in a thread, as far as it is allowed to go."""

    def __init__(self, uploads: Uploads, upload: JsonObject, staged: Staged, patience: Patience) -> None:
        self._uploads = uploads
        self._upload = upload
        self._staged = staged
        self._patience = patience
        self._turn = threading.Condition()
        self._parts: list[JsonObject] = []
        self._ends = [0]  # of the parts, with what lies before the first
        self._fresh: list[JsonObject] = []
        self._told = 0  # parts whose receipts are on their way to the ledger
        self._recorded = 0  # parts whose receipts are in the ledger
        self._allowed = 0
        self._span = first_span(uploads.most_part)
        self._trouble: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._know([part for receipt in staged.receipts for part in receipt.data.get("parts", ())])

    def allow(self, blocks: int) -> None:
        """Let so many blocks be uploaded: the ledger has their receipts."""
        with self._turn:
            self._recorded = self._told
            self._allowed = max(self._allowed, self._staged.end(blocks))
            self._turn.notify_all()
            if self._thread is None and self._due():
                self._thread = threading.Thread(target=self._run, name="scoreline-upload", daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Wait while the store is far behind; raise what went wrong, or why the run is to end meanwhile."""
        with self._turn:
            while not self._turn.wait_for(
                lambda: self._trouble or self._allowed - self._span.start < 2 * self._span.size + _BEHIND_BYTES,
                _CHECK_SECONDS,
            ):
                self._patience.check()
            self._raise()

    def news(self) -> list[JsonObject]:
        """Return the parts uploaded since it was asked last; those told before are in the ledger by now."""
        with self._turn:
            fresh, self._fresh = self._fresh, []
            self._told += len(fresh)
            end = self._ends[self._recorded]
        self._staged.drop(end)
        return fresh

    def finish(self, check: Callable[[], None]) -> list[JsonObject]:
        """Upload all the rest and return all parts. Raises Trouble, SpoolError, and what `check` does meanwhile."""
        with self._turn:
            while not self._turn.wait_for(lambda: self._trouble or not self._due(), _CHECK_SECONDS):
                check()
            self._raise()
        rest = self._allowed - self._span.start
        if rest > 0 or not self._parts:
            self._send(Span(self._span.number, self._span.start, rest), last=True)
        return self._parts

    def stop(self, seconds: float) -> None:
        """Upload no more; wait so long for what is under way."""
        self._patience.close()
        with self._turn:
            self._trouble = self._trouble or RunStopped("The upload was stopped.")
            self._turn.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)

    def _know(self, parts: Sequence[JsonObject]) -> None:
        for part in sorted(parts, key=lambda part: int(part["number"])):
            if part["number"] == self._span.number:
                self._done(self._span, part)
        self._told = self._recorded = len(self._parts)

    def _due(self) -> bool:
        return self._allowed >= self._span.end

    def _run(self) -> None:
        try:
            while True:
                with self._turn:
                    self._turn.wait_for(lambda: self._trouble or self._due())
                    if self._trouble is not None:
                        return
                self._send(self._span)
        except BaseException as trouble:  # noqa: BLE001 -- it is raised where the run writes
            with self._turn:
                self._trouble = self._trouble or trouble
                self._turn.notify_all()

    def _send(self, span: Span, *, last: bool = False) -> None:
        def work() -> JsonObject:
            return self._uploads.part(self._upload, span.number, span.start, self._staged.body(span), last=last)

        told = self._patience.call(work)
        faults.at("part.uploaded")
        with self._turn:
            part = {**told, "number": span.number}
            self._done(span, part)
            self._fresh.append(part)
            self._turn.notify_all()

    def _done(self, span: Span, part: JsonObject) -> None:
        self._parts.append(part)
        self._ends.append(span.end)
        self._span = span.next(self._uploads.most_part)

    def _raise(self) -> None:
        if self._trouble is not None:
            raise self._trouble


def _named(key: str, job_id: str) -> str:
    """Return a name that no other job has: the job's id stands before the endings."""
    path = PurePosixPath(key)
    endings = "".join(path.suffixes[-2:])
    return key.removesuffix(endings) + f"-{job_id}{endings}"
