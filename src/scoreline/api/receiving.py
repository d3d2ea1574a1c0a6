"""Receiving an upload: as fast as it comes, into the spool, whatever the scoring does.

The client takes a pause of six seconds in our reading for a dead server. So nothing here waits for anything but the
disk: pieces go to a writer that has its own thread, and what may block runs in the pool for transfers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import ParamSpec, Protocol, Self, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from scoreline import faults
from scoreline.api.calls import Installation
from scoreline.api.jsonio import media_type
from scoreline.api.problems import HttpProblem
from scoreline.connection import is_cut
from scoreline.errors import Conflict, InvalidRequest, ScorelineError, SpoolError, StoreError
from scoreline.jobs import uploading
from scoreline.jobs.model import Job
from scoreline.jobs.patience import patiently
from scoreline.spool import OtherBytes

P = ParamSpec("P")
T = TypeVar("T")

_BEAT_SECONDS = 0.5
_PATIENCE = 45.0  # seconds that the database may be away at the end of an upload
_CSV = "text/csv"
_ENCODINGS = ("", "identity", "gzip", "x-gzip", "zstd")


class UploadBroken(Exception):
    """The data ended before it was whole; the text says how."""


class ClientGone(UploadBroken, ClientDisconnect):
    """The client went away: there is nobody to answer."""


class JobOver(InvalidRequest):
    """The job has ended, for a reason that the text gives, and wants no data any more."""


class TooLargeUpload(InvalidRequest):
    """An upload has more bytes than one may have."""


class Sink(Protocol):
    """Where an upload goes: a stream of the spool, or one part of it."""

    @property
    def size(self) -> int:
        """Bytes taken so far."""
        ...

    @property
    def would_block(self) -> bool:
        """True when `write` would wait for the disk."""
        ...

    def write(self, data: bytes) -> None:
        """Take bytes. Raises SpoolError."""
        ...

    def discard(self) -> None:
        """Drop all that was taken."""
        ...

    def close(self) -> None:
        """End, and leave what is durable."""
        ...


def check_csv(request: Request) -> None:
    """Raise HttpProblem 406 unless the body is declared as CSV, possibly compressed in a way that can be read.

    The job stays open: this is a client made by hand, which sees the answer and can do it again.
    """
    kind = media_type(request.headers.get("content-type"))
    if kind != _CSV:
        given = f"has the type {kind[:100]!r}" if kind else "has no Content-Type"
        raise HttpProblem(406, f"The upload {given}: send the data with `Content-Type: {_CSV}`.")
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding not in _ENCODINGS:
        raise HttpProblem(406, f"The upload is compressed with {coding[:50]!r}: send it plain, or with gzip or zstd.")


def announced_bytes(request: Request) -> int | None:
    """Return the bytes that Content-Length speaks of, None for a chunked body."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def check_surplus(request: Request) -> None:
    """Raise InvalidRequest when more bytes came than were announced: the body is cut."""
    if is_cut(request.scope):
        raise InvalidRequest(
            "The upload is longer than its Content-Length says, so rows are missing: some clients count characters "
            "instead of bytes when they upload in parts; switch `multipart` off in the intake settings, and send the "
            "file as one upload."
        )


class Incoming:
    """The body of one request, block by block."""

    def __init__(self, receive: Receive, idle_seconds: float) -> None:
        self._receive = receive
        self._idle_seconds = idle_seconds
        self._ended = False
        self._first: bytes | None = None
        self._trouble: UploadBroken | None = None
        self.received = 0

    async def wait(self) -> None:
        """Wait for the first bytes or the end; what comes, trouble included, is for `next` to say."""
        try:
            self._first = await self.next()
        except UploadBroken as exc:
            self._trouble = exc

    async def next(self) -> bytes | None:
        """Return the next block, None after the last one. Raises ClientGone, UploadBroken when nothing comes."""
        if self._trouble is not None:
            raise self._trouble
        if self._first is not None:
            first, self._first = self._first, None
            return first
        while not self._ended:
            message = await self._message()
            if message["type"] != "http.request":
                raise ClientGone(f"the client broke the connection after {self.received} bytes")
            self._ended = not message.get("more_body", False)
            block: bytes = message.get("body", b"")
            if block:
                self.received += len(block)
                return block
        return None

    async def _message(self) -> Message:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await self._receive()
        except TimeoutError:
            raise UploadBroken(
                f"the client sent nothing for {self._idle_seconds:g} s after {self.received} bytes"
            ) from None


async def in_thread(here: Installation, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking step of an upload or download in the pool for transfers."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(here.transfers, lambda: work(*args, **kwargs))


async def until_gone(receive: Receive) -> None:
    """Return when the client has closed the connection, or the answer is out."""
    while (await receive())["type"] != "http.disconnect":
        pass


def check_size(here: Installation, size: int) -> None:
    """Raise TooLargeUpload when an upload of one job has more bytes than one may have."""
    most = here.settings.max_upload_bytes
    if most is not None and size > most:
        raise TooLargeUpload(
            f"The upload has more than the {most} bytes that one may have (SCORELINE_MAX_UPLOAD_BYTES): send the data "
            "in several jobs, or ask for a higher limit."
        )


async def store_body(here: Installation, incoming: Incoming, sink: Sink, beat: Heartbeat, before: int = 0) -> None:
    """Write the whole body to the sink. before: bytes of other parts of the upload.

    Raises UploadBroken; JobOver; Replaced; OtherBytes; SpoolError, SpoolFull; InvalidRequest for a
    body that is empty or too large.
    """
    while (block := await incoming.next()) is not None:
        if beat.unwanted is not None:
            raise told(beat.unwanted)
        check_size(here, before + incoming.received)
        faults.at("upload.block")
        if sink.would_block:
            await in_thread(here, sink.write, block)
        else:
            sink.write(block)
    if not incoming.received:
        raise InvalidRequest("The upload is empty: send a CSV with at least a header, with a new job.")


class Heartbeat:
    """Tells the job twice a second that its upload lives, and how far it is; learns when nobody wants it any more."""

    def __init__(self, here: Installation, job_id: str, received: Callable[[], int], sender: str | None = None) -> None:
        """`received` gives the bytes that are staged for the job; `sender`: None for parts."""
        self._here = here
        self._job_id = job_id
        self._received = received
        self._sender = sender
        self._task: asyncio.Task[None] | None = None
        self.unwanted: Conflict | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _beat(self) -> None:
        here = self._here
        while self.unwanted is None:
            await asyncio.sleep(_BEAT_SECONDS)
            try:
                await in_thread(here, uploading.progress, here.store, self._job_id, self._received(), self._sender)
            except Conflict as exc:
                self.unwanted = exc
            except StoreError:
                continue  # a database that is away for a moment does not end an upload


async def noted(here: Installation, work: Callable[[], None]) -> None:
    """Tell the job something about its data that is safe already, also when the database is away for a moment.

    Raises JobOver when the job does not want it any more, Replaced.
    """
    try:
        await in_thread(here, patiently, work, lambda: None, _PATIENCE)
    except Conflict as exc:
        raise told(exc) from exc


def told(unwanted: Conflict) -> ScorelineError:
    """Return what to raise in a request whose data is not wanted any more."""
    return unwanted if isinstance(unwanted, uploading.Replaced) else JobOver(unwanted.message)


class Reception:
    """Around the receiving of a job's data: what ends it early is noted with the job.

    A client that breaks off may send the data again for a while. Whatever else goes wrong ends the job at once, with
    the cause as its reason: a client whose upload thread dies would wait for ever for the result of a job that stays
    open.
    """

    def __init__(self, here: Installation, job: Job, incoming: Incoming, sender: str, part: int | None = None) -> None:
        self._here = here
        self._job = job
        self._incoming = incoming
        self._sender = sender
        self._part = part
        self.sink: Sink | None = None  # what is dropped on a failure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        if not isinstance(error, Exception):  # the process goes down: at once, nothing waits for threads any more
            with suppress(ScorelineError):
                self._interrupt(f"the API server went down after {self._incoming.received} bytes")
            self._leave()
        elif isinstance(error, UploadBroken):
            await in_thread(self._here, self._leave)
            with suppress(ScorelineError):  # then a watch will do it
                trouble = str(error)
                await in_thread(self._here, patiently, lambda: self._interrupt(trouble), lambda: None, _PATIENCE)
            if not isinstance(error, ClientGone):
                grace = self._here.settings.upload_grace_seconds
                raise InvalidRequest(
                    f"Receiving the upload failed: {error}; send all of it again within {grace:g} s, or with a new job."
                ) from error
        elif isinstance(error, uploading.Replaced):
            await in_thread(self._here, self._leave)
        elif isinstance(error, Conflict) and not isinstance(error, OtherBytes):
            await in_thread(self._here, self._refuse)
        else:
            await self._end(self._reason(error))

    async def _end(self, reason: str) -> None:
        # The reason is stored first, before a run that reads the data stumbles over its end.
        ended = await in_thread(self._here, self._give_up, reason)
        await in_thread(self._here, self._drop)
        if not ended:  # where the disk is full, the data just dropped was in the way of the reason
            await in_thread(self._here, self._give_up, reason)

    def _reason(self, error: Exception) -> str:
        if isinstance(error, ScorelineError):
            return error.message
        return "Receiving the upload failed inside Scoreline: its log says more."

    def _interrupt(self, trouble: str) -> None:
        """Let the job wait for the data again. Raises StoreError."""
        whole = self._part is None
        uploading.interrupted(
            self._here.store,
            self._job.id,
            trouble if whole else f"part {self._part} broke off ({trouble})",
            sender=self._sender,
            received=self._incoming.received if whole else None,
        )

    def _give_up(self, reason: str) -> bool:
        """Abort the job unless it is over. False with a database that is away: then the worker's watch will do it."""
        whole = self._part is None
        received = (0 if whole else self._job.upload_bytes) + self._incoming.received
        with suppress(ScorelineError):
            uploading.broken(
                self._here.store, self._job.id, reason, received=received, sender=self._sender if whole else None
            )
            return True
        return False

    def _refuse(self) -> None:
        """Drop a part that is not taken: the job has it, and goes on; this request does nothing more for it."""
        self._drop()
        with suppress(ScorelineError):  # then its process is watched for longer than need be
            uploading.part_done(self._here.store, self._job.id, self._job.upload_bytes, self._sender)

    def _leave(self) -> None:
        """Stop writing; what came may be needed to compare with what comes again."""
        if self.sink is not None:
            with suppress(SpoolError):
                self.sink.close()

    def _drop(self) -> None:
        if self.sink is not None:
            with suppress(SpoolError):
                self.sink.discard()
