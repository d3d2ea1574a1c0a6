"""The result of a job as a stream: what is durable at once, the rest as it is scored."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi import APIRouter
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from scoreline.api.calls import Called, Installation
from scoreline.api.contract import answer
from scoreline.api.guard import StreamBroken
from scoreline.api.receiving import in_thread
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
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")


@router.get("/{job_id}/download/", responses=answer(None, content=_CSV, text="The rows, as they are scored."))
async def download(call: Called, job_id: str) -> Response:
    """Stream the result: headers at once, rows as they are scored, the end when the job is COMPLETED."""
    here = call.installation
    job = await in_thread(here, service.get, call.store, call.caller, job_id)
    if job.spec.output_type != LOCAL_FILE:
        raise NotFound(f"Job {job_id!r} has nothing to download: its output goes to {job.spec.output_type}.")
    if job.state is JobState.ABORTED:
        raise InvalidRequest(f"Job {job_id!r} was aborted and has no result: {job.status_details}")
    if job.results_deleted:
        raise NotFound(f"The result of job {job_id!r} is not kept any more: run the job again.")
    official = _OFFICIAL_CLIENT in call.request.headers.get("user-agent", "")
    return ResultStream(here, job, break_on_abort=not official or _INDEX_COLUMN in (job.spec.passthrough_columns or ()))


class ResultStream(Response):
    """The answer to a download.

    break_on_abort: what a job's abort does to a stream under way. The official client reads the job's status after a
    clean end and shows the reason; others would take the part for the whole, and so would its `score_pandas`, which
    never looks at the status: for these the connection breaks.
    """

    def __init__(self, here: Installation, job: Job, *, break_on_abort: bool) -> None:
        super().__init__()
        encoding = job.spec.csv.encoding
        charset = encoding if _PLAIN.fullmatch(encoding) else job.spec.csv.dialect.encoding
        self.raw_headers = [
            (b"content-type", f"text/csv; charset={charset}".encode("ascii")),
            (b"content-disposition", f"attachment;filename=result-{job.id}.csv".encode("ascii")),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # a proxy must not collect the rows
        ]
        self._here = here
        self._job_id = job.id
        self._break_on_abort = break_on_abort

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Send headers, blocks, and the end if there is one to be proud of. Raises StreamBroken."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        gone = asyncio.create_task(_gone(receive))
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
        """Yield the result's bytes in order until the job is over; raises StreamBroken when it must not end well."""
        after, pause = -1, _SHORTEST_PAUSE
        while not gone.done():
            if self._here.closing.is_set():
                raise StreamBroken(f"the server goes down while job {self._job_id} is downloaded")
            state, found = await self._look(after)
            for number, receipt, _ in found:
                after, pause = number, _SHORTEST_PAUSE
                blocks = await self._segment(receipt)
                if blocks is None:
                    return
                for block in blocks:
                    yield block
            if state is JobState.COMPLETED:
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

    async def _segment(self, receipt: Receipt) -> list[bytes] | None:
        """Return a segment's bytes in pieces; None when the job was aborted and the stream may end."""
        stream, name, crc32 = f"results/{self._job_id}", receipt.data["segment"], receipt.data["crc32"]
        try:
            return await in_thread(self._here, lambda: list(self._here.spool.read_segment(stream, name, crc32=crc32)))
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


async def _gone(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _sleep(seconds: float, gone: asyncio.Task[None]) -> None:
    """Sleep, but no longer than the client stays."""
    await asyncio.wait({gone}, timeout=seconds)
