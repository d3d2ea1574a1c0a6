"""One request with all rows, to a web server.

The rows are staged in the spool until all are there, and sent with their length: a request without its last bytes is
none, so that the job can be aborted until these go. A server's answer is the only proof that it has them. Where that is
lost a PUT is sent again, since it replaces what is there; a POST may add a second time, and is sent again only if the
job says so. Markers beside the rows tell a later run what this one did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from scoreline import faults
from scoreline.adapters.files import Trouble, Why
from scoreline.adapters.staging import Staged
from scoreline.adapters.webcalls import Caller, WebTrouble
from scoreline.errors import OutputError
from scoreline.protocols import Seal
from scoreline.rows import forms
from scoreline.spool import Spool
from scoreline.types import JsonObject, Receipt, RunTicket, ScoredChunk
from scoreline.urls import SEND_AGAIN


class UrlOutput:
    """What one URL is sent. Blocks come in the order of their chunks."""

    def __init__(self, caller: Caller, ticket: RunTicket, spool: Spool) -> None:
        """Send to the server of `caller`, which the output closes."""
        self._caller = caller
        self._settings = ticket.output
        self._method = str(ticket.output["method"]).upper()
        self._again = self._method == "PUT" or bool(ticket.output.get(SEND_AGAIN))
        self._fence = ticket.fence
        self._spool = spool
        self._folder = f"staged/{ticket.job_id}"
        self._staged = Staged(spool, ticket.job_id, ticket.fence)
        self._crossed = False  # whether the end of the request went

    def prepare(self) -> JsonObject:
        """Return where the rows will go."""
        return {"method": self._method, "url": self._caller.shown}

    def open(self, state: JsonObject, done: Sequence[Receipt] = ()) -> None:  # noqa: ARG002 -- the settings have it
        """Go on behind the blocks that the ledger has receipts of."""
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

    def sha256(self, receipts: Sequence[Receipt]) -> str | None:
        """Return the digest of these blocks, None once they are sent. Raises SpoolError."""
        self._same(receipts)
        return self._staged.sha256()

    def finish(self, receipts: Sequence[Receipt], seal: Seal) -> None:
        """Send the blocks; the job crosses the seal before the last of them goes, without which no server takes them.

        Raises OutputError, SpoolError, what `seal` raises.
        """
        self._same(receipts)
        self._deliver(seal)

    def commit(self, receipts: Sequence[Receipt]) -> None:
        """Send the blocks unless that is done, and delete what was staged. Raises OutputError, SpoolError."""
        self._same(receipts)
        self._deliver(_Crossed())
        self._staged.drop(self._staged.size)

    def abort(self, state: JsonObject) -> None:  # noqa: ARG002 -- nothing whole has left
        """Delete what is staged. Raises SpoolError."""
        self._staged.delete()

    def close(self) -> None:
        """End what is under way; calling it again is harmless."""
        self._caller.close()

    @property
    def _sending(self) -> str:
        return f"{self._folder}/sending.{self._fence}"

    def _deliver(self, seal: Seal) -> None:
        """Send the blocks, unless an earlier run noted that they arrived."""
        if self._spool.exists(f"{self._folder}/sent"):
            return
        if not self._staged.whole():
            raise OutputError(
                f"Writing the output failed: rows for {self._caller.shown} are not in the spool any more; run the "
                "job again."
            )
        self._check_alone()
        try:
            self._caller.patience.call(lambda: self._send(seal))
        except Trouble as trouble:
            raise self._caller.meant(trouble).output_error(self._caller.shown) from trouble
        faults.at("request.answered")
        self._spool.put_marker(f"{self._folder}/sent", b"{}")
        faults.at("request.noted")

    def _same(self, receipts: Sequence[Receipt]) -> None:
        """Take these receipts for what is written, whatever this run knew."""
        if list(receipts) != self._staged.receipts:
            self._staged.restart(receipts)

    def _check_alone(self) -> None:
        """Raise OutputError when another run may have sent what must not be sent twice."""
        if self._again:
            return
        begun = [name for name in self._spool.blobs.list(self._folder) if "/sending." in name]
        if [name for name in begun if name != self._sending]:
            raise self._unknown("the worker that sent it ended before it noted an answer")

    def _cross(self, seal: Seal) -> None:
        """Note that the request will be whole now; raise why it must not be."""
        seal.cross()
        self._crossed = True
        if not self._again:
            self._spool.put_marker(self._sending, b"{}")
            self._check_alone()
        faults.at("request.ending")

    def _send(self, seal: Seal) -> None:
        """Send once. Raises WebTrouble for what may be tried again or is refused, OutputError where nobody knows."""
        headers = {"Content-Length": str(self._staged.size), **self._kind()}
        self._crossed = False
        seal.check()
        faults.at("request.sending")
        try:
            answer = self._caller.call(self._method, headers, lambda: self._body(seal))
        except WebTrouble as trouble:
            if self._again or trouble.unsent or not self._crossed or trouble.why is Why.OTHER:
                raise
            raise self._unknown(trouble.said) from trouble
        if 200 <= answer.status < 300:
            answer.close()
            return
        refusal = answer.trouble()
        # These two say that the request was not looked at; other troubles of a server may come behind its work.
        untouched = answer.status == 429 or (answer.status == 503 and "retry-after" in answer.headers)
        if refusal.why is Why.AWAY and not (self._again or untouched):
            raise self._unknown(refusal.said)
        raise refusal

    def _unknown(self, said: str) -> OutputError:
        return OutputError(
            f"Writing the output failed: whether {self._caller.shown} took the rows of the POST is not known ({said}), "
            f"and sending them again might double them; look there, and run the job again or set {SEND_AGAIN} to true."
        )

    def _body(self, seal: Seal) -> Iterator[bytes]:
        left = self._staged.size
        for piece in self._staged.pieces(0, left):
            left -= len(piece)
            if left:
                seal.check()
            else:
                self._cross(seal)
            yield piece

    def _kind(self) -> dict[str, str]:
        """Return the type of what is sent. Old signatures of URLs cover it, so with these only the user gives it."""
        if "signature=" in urlsplit(str(self._settings["url"])).query.lower().replace("-signature=", ""):
            return {}
        return {"Content-Type": forms.media_type(self._settings)}


class _Crossed:
    """The seal of a job that has crossed it already."""

    def check(self) -> None:
        pass

    def cross(self) -> None:
        pass
