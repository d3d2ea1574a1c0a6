"""The data of a job: one upload, or numbered parts and a word that they are all there."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from scoreline.access import require_change
from scoreline.api.calls import Call, Called, documented
from scoreline.api.contract import answer
from scoreline.api.cuts import PartCheck
from scoreline.api.receiving import (
    Heartbeat,
    Incoming,
    Reception,
    announced_bytes,
    check_csv,
    check_surplus,
    in_thread,
    noted,
    store_body,
)
from scoreline.api.wire.jobs import COLLECTION
from scoreline.errors import Conflict, InvalidRequest, NotFound
from scoreline.jobs import service
from scoreline.jobs.model import Job, UploadState
from scoreline.spool import finalise, part_writer, parts
from scoreline.spool.multipart import part as known_part

router = APIRouter(prefix=f"/{COLLECTION}", tags=["uploads"])

_OFFICIAL_CLIENT = "DataRobotPythonClient"
_MOST_PARTS = 1_000_000
_TAKEN = answer(None, 202, refuses=(406, 507))
_CSV = documented(
    upload={"text/csv": {"type": "string"}},
    headers=[
        {
            "name": "Content-Encoding",
            "in": "header",
            "description": "How the data is compressed.",
            "schema": {"enum": ["identity", "gzip", "zstd"]},
        }
    ],
)


@router.put("/{job_id}/csvUpload/", status_code=202, responses=_TAKEN, openapi_extra=_CSV)
async def upload(call: Called, job_id: str) -> Response:
    """Take all data of a job; answered when it is stored, not when it is scored."""
    here = call.installation
    check_csv(call.request)
    job = await in_thread(here, service.get, call.store, call.caller, job_id)
    if job.spec.multipart:
        raise Conflict(f"Job {job_id!r} takes its data in parts: send them to csvUpload/part/0/ and so on.")
    job, incoming = await _begin(call, job_id)
    async with Reception(here, job, incoming) as reception:
        writer = await in_thread(here, call.spool.writer, f"uploads/{job_id}/0")
        reception.sink = writer
        async with Heartbeat(here, job_id, lambda: writer.size) as beat:
            await store_body(here, incoming, writer, beat)
            check_surplus(call.request)
            await in_thread(here, writer.finish)
        reception.sink = None
        await noted(here, lambda: service.upload_done(call.store, job_id, incoming.received))
    return Response(status_code=202)


@router.put("/{job_id}/csvUpload/part/{number}/", status_code=202, responses=_TAKEN, openapi_extra=_CSV)
async def upload_part(call: Called, job_id: str, number: str) -> Response:
    """Take one part of a job's data. With `async` false a part that is sent again replaces the earlier one."""
    here = call.installation
    check_csv(call.request)
    index = _part_number(number)
    _check_multipart(await in_thread(here, service.get, call.store, call.caller, job_id))
    job, incoming = await _begin(call, job_id)
    whole_first = job.spec.waits_for_all_data
    client = call.request.headers.get("user-agent", "")
    check = PartCheck(index, job.spec.csv.dialect, sent_as_utf8=_OFFICIAL_CLIENT in client)
    async with Reception(here, job, incoming, forgiving=whole_first) as reception:
        writer = await in_thread(here, part_writer, call.spool, job_id, index)
        reception.sink = writer
        async with Heartbeat(here, job_id, lambda: job.upload_bytes) as beat:
            await store_body(here, incoming, writer, beat)
            again = await in_thread(here, known_part, call.spool, job_id, index) is not None
            part = await in_thread(here, writer.finish, replace=whole_first, check=check)
            check_surplus(call.request)
        reception.sink = None
        received = job.upload_bytes + (0 if again else part.size)
        await noted(here, lambda: service.upload_progress(call.store, job_id, received))
    return Response(status_code=202)


@router.post("/{job_id}/csvUpload/finalizeMultipart/", status_code=202, responses=answer(None, 202, refuses=(507,)))
def finalise_upload(call: Called, job_id: str) -> Response:
    """End an upload in parts. With numbers missing the job stays open; without any part it is aborted."""
    job = service.get(call.store, call.caller, job_id)
    require_change(call.caller, job.owner.id, f"job {job_id!r}")
    _check_multipart(job)
    if job.upload_state is UploadState.DONE:
        return Response(status_code=202)
    if job.state.final:
        raise Conflict(f"Job {job_id!r} takes no data any more, because it is {job.state}.")
    try:
        found = finalise(call.spool, job_id)
    except InvalidRequest as exc:
        if not parts(call.spool, job_id):
            service.upload_broken(call.store, job_id, exc.message)
        raise
    service.upload_done(call.store, job_id, sum(part.size for part in found))
    return Response(status_code=202)


async def _begin(call: Call, job_id: str) -> tuple[Job, Incoming]:
    """Wait for the first bytes, then note that the upload begins: a job without any takes no place in the queue."""
    incoming = Incoming(call.request.receive, call.settings.upload_idle_seconds)
    await incoming.wait()
    announced = announced_bytes(call.request)
    begin = service.upload_begins
    return await in_thread(call.installation, begin, call.store, call.caller, job_id, expected=announced), incoming


def _check_multipart(job: Job) -> None:
    if job.upload_state is UploadState.NONE:
        raise NotFound(f"Job {job.id!r} takes no upload: its intake is {job.spec.intake_type}.")
    if not job.spec.multipart:
        raise Conflict(f"Job {job.id!r} takes no parts: create it with `multipart` true in its intake settings.")


def _part_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < _MOST_PARTS):
        raise InvalidRequest(f"The number of a part is a whole number from 0 to {_MOST_PARTS - 1}.", "part")
    return int(text)
