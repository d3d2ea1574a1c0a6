"""The result of a job as a stream: what is durable at once, the rest as it is scored."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from scoreline import faults
from scoreline.api import ranges
from scoreline.api.calls import Called, Installation
from scoreline.api.contract import answer
from scoreline.api.guard import StreamBroken
from scoreline.api.ranges import Part, Window
from scoreline.api.receiving import in_thread, until_gone
from scoreline.api.wire.jobs import COLLECTION
from scoreline.errors import InvalidRequest, NotFound, SpoolError, StoreError
from scoreline.jobs import service
from scoreline.jobs.model import Job, JobState
from scoreline.jobs.spec import LOCAL_FILE
from scoreline.types import JsonObject, Receipt

router = APIRouter(prefix=f"/{COLLECTION}", tags=["downloads"])
_log = logging.getLogger(__name__)

_OFFICIAL_CLIENT = "DataRobotPythonClient"
_INDEX_COLUMN = "__DR_index__"
_SHORTEST_PAUSE = 0.02  # seconds between two looks for new blocks
_LONGEST_PAUSE = 0.1
_QUEUED_PAUSE = 0.5  # while the job waits in line
_ABORT_PATIENCE = 10.0  # between the loss of a result's segments and the job's end
_STORE_PATIENCE = 60.0  # a database that is away for so long breaks the stream
_CSV: JsonObject = {"text/csv": {"schema": {"type": "string"}}}
_RANGE: JsonObject = {
    "name": "Range",
    "in": "header",
    "description": "`bytes=N-`: the rest of the result; of one that is finished, any single range.",
    "schema": {"type": "string"},
}
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")


@router.get(
    "/{job_id}/download/",
    responses=answer(None, content=_CSV, text="The rows, as they are scored.")
    | answer(None, 206, content=_CSV, text="The part of them that `Range` asks for.", refuses=(416,)),
    openapi_extra={"parameters": [_RANGE]},
)
async def download(call: Called, job_id: str) -> Response:
    """Stream the result: headers at once, rows as they are scored, the end when the job is COMPLETED.

    A download that broke goes on with `Range: bytes=N-`, also while the job runs: what was sent never changes.
    """
    here = call.installation
    job = await in_thread(here, service.get, call.store, call.caller, job_id)
    if job.spec.output_type != LOCAL_FILE:
        raise NotFound(f"Job {job_id!r} has nothing to download: its output goes to {job.spec.output_type}.")
    if job.state is JobState.ABORTED:
        raise InvalidRequest(f"Job {job_id!r} was aborted and has no result: {job.status_details}")
    if job.results_deleted:
        raise NotFound(f"The result of job {job_id!r} is not kept any more: run the job again.")
    official = _OFFICIAL_CLIENT in call.request.headers.get("user-agent", "")
    break_on_abort = not official or _INDEX_COLUMN in (job.spec.passthrough_columns or ())
    total = job.bytes_out if job.state is JobState.COMPLETED else None
    asked = call.request.headers.get("range")
    if call.request.headers.get("if-range", _etag(job)) != _etag(job):
        asked = None
    try:
        part = ranges.wanted(asked, total, job.bytes_out)
    except ranges.NotSatisfiable:
        raise HTTPException(
            416,
            f"The result of job {job_id!r} has {job.bytes_out} bytes; {str(asked)[:50]} begins after its end.",
            headers={"Content-Range": f"bytes */{job.bytes_out}"},
        ) from None
    return ResultStream(here, job, part, total, break_on_abort=break_on_abort)


class ResultStream(Response):
    """The answer to a download: all of it, or the part of it that is wanted.

    total: bytes of the whole result, None while it grows.
    break_on_abort: what a job's abort does to a stream under way. The official client reads the job's status after a
    clean end and shows the reason; others would take the part for the whole, and so would its `score_pandas`, which
    never looks at the status: for these the connection breaks.
    """

    def __init__(
        self, here: Installation, job: Job, part: Part | None, total: int | None, *, break_on_abort: bool
    ) -> None:
        super().__init__(status_code=200 if part is None else 206)
        encoding = job.spec.csv.encoding
        charset = encoding if _PLAIN.fullmatch(encoding) else job.spec.csv.dialect.encoding
        self.raw_headers = [
            (b"content-type", f"text/csv; charset={charset}".encode("ascii")),
            (b"content-disposition", f"attachment;filename=result-{job.id}.csv".encode("ascii")),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # a proxy must not collect the rows
            (b"accept-ranges", b"bytes"),
            (b"etag", _etag(job).encode("ascii")),
        ]
        # No Content-Length: many clients do not notice when a body is shorter, but all notice a missing last chunk.
        if part is not None:
            self.raw_headers.append((b"content-range", part.content_range(total).encode("ascii")))
        self._part = part or Part(0, total)
        self._here = here
        self._job_id = job.id
        self._break_on_abort = break_on_abort

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Send headers, blocks, and the end if there is one to be proud of. Raises StreamBroken."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        gone = asyncio.create_task(until_gone(receive))
        try:
            async for block in self._blocks(gone):
                await send({"type": "http.response.body", "body": block, "more_body": True})
                if gone.done():
                    return
        finally:
            gone.cancel()
        if not gone.done():
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _blocks(self, gone: asyncio.Task[None]) -> AsyncIterator[bytes]:
        """Yield the part's bytes in order until the job is over; raises StreamBroken when it must not end well."""
        after, pause, window = -1, _SHORTEST_PAUSE, Window(self._part)
        while not gone.done():
            if self._here.closing.is_set():
                raise StreamBroken(f"the server goes down while job {self._job_id} is downloaded")
            state, found = await self._look(after)
            for number, receipt, size in found:
                after, pause, piece = number, _SHORTEST_PAUSE, window.over(size)
                blocks = await self._segment(receipt, piece)
                if blocks is None:
                    return
                for block in blocks:
                    yield block
            if state is JobState.COMPLETED or window.passed:
                return
            if state is JobState.ABORTED:
                self._aborted()
                return
            if not found:
                await _sleep(pause, gone)
                pause = min(_QUEUED_PAUSE if state is JobState.INITIALIZING else _LONGEST_PAUSE, pause * 1.5)

    async def _look(self, after: int) -> tuple[JobState, list[tuple[int, Receipt, int]]]:
        """Return the job's state and its new blocks, waiting for a database that is away."""
        deadline = asyncio.get_running_loop().time() + _STORE_PATIENCE
        while True:
            try:
                return await in_thread(self._here, service.result_since, self._here.store, self._job_id, after)
            except StoreError as exc:
                if asyncio.get_running_loop().time() > deadline or self._here.closing.is_set():
                    raise StreamBroken(exc.message) from exc
            await asyncio.sleep(_QUEUED_PAUSE)

    async def _segment(self, receipt: Receipt, piece: slice | None) -> list[bytes] | None:
        """Return these bytes of a segment in blocks; None when the job was aborted and the stream may end."""
        if piece is None:
            return []
        faults.at("download.block")
        stream, name, crc32 = f"results/{self._job_id}", receipt.data["segment"], receipt.data["crc32"]

        def read() -> list[bytes]:
            blocks = list(self._here.spool.read_segment(stream, name, offset=piece.start, crc32=crc32))
            left = piece.stop - piece.start
            cut = []
            for block in blocks:
                cut.append(block[:left])
                left -= len(cut[-1])
            return cut

        try:
            return await in_thread(self._here, read)
        except SpoolError as exc:
            if await self._ends_aborted():
                self._aborted()
                return None
            _log.exception("the download of job %s broke", self._job_id)
            raise StreamBroken(exc.message) from exc

    async def _ends_aborted(self) -> bool:
        """Say whether the job is aborted now or in a moment: its worker deletes the result first."""
        for _ in range(int(_ABORT_PATIENCE / _LONGEST_PAUSE)):
            with suppress(StoreError):
                state = await in_thread(self._here, service.state, self._here.store, self._job_id)
                if state.final:
                    return state is JobState.ABORTED
            await asyncio.sleep(_LONGEST_PAUSE)
        return False

    def _aborted(self) -> None:
        if self._break_on_abort:
            raise StreamBroken(f"job {self._job_id} was aborted while it was downloaded")


def _etag(job: Job) -> str:
    """Return what stands for the result's bytes: a job has one result, and what is sent of it never changes."""
    return f'"{job.id}"'


async def _sleep(seconds: float, gone: asyncio.Task[None]) -> None:
    """Sleep, but no longer than the client stays."""
    await asyncio.wait({gone}, timeout=seconds)
