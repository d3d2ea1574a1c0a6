"""The data of a job: one upload, or numbered parts and a word that they are all there."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi import APIRouter
from starlette.responses import Response

from scoreline import faults
from scoreline.access import require_change
from scoreline.api.calls import Call, Called, documented
from scoreline.api.contract import answer
from scoreline.api.cuts import PartCheck
from scoreline.api.receiving import (
    Heartbeat,
    Incoming,
    Reception,
    TooLargeUpload,
    announced_bytes,
    check_csv,
    check_size,
    check_surplus,
    in_thread,
    noted,
    store_body,
)
from scoreline.api.wire.jobs import COLLECTION
from scoreline.errors import Conflict, InvalidRequest, NotFound, SpoolError
from scoreline.jobs import service, uploading
from scoreline.jobs.model import Job, UploadState
from scoreline.jobs.uploads import Begun
from scoreline.spool import Matching, SegmentWriter, finalise, part_writer, parts
from scoreline.spool.multipart import NoParts
from scoreline.spool.multipart import part as known_part

router = APIRouter(prefix=f"/{COLLECTION}", tags=["uploads"])

_OFFICIAL_CLIENT = "DataRobotPythonClient"
_MOST_PARTS = 1_000_000
_SIGNS_OF_LIFE = 2  # of another request that sends the job's data, until this one is refused
_WATCH_SECONDS = 2.0  # without any, until this one takes its place
_LOOK_SECONDS = 0.1
_TAKEN = answer(None, 202, refuses=(406,))
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
    """Take all data of a job; answered when it is stored, not when it is scored.

    An upload that broke off may be sent again, whole, for a few seconds.
    """
    here = call.installation
    check_csv(call.request)
    job = await in_thread(here, service.get, call.store, call.caller, job_id)
    if job.spec.multipart:
        raise Conflict(f"Job {job_id!r} takes its data in parts: send them to csvUpload/part/0/ and so on.")
    sender = here.presence.sender()
    incoming, job, begun = await _begin(call, job_id, sender)
    async with Reception(here, job, incoming, sender) as reception:
        await in_thread(here, _check_room, call, job_id, 0)
        sink = await in_thread(here, _open_sink, call, job_id, sender, begun)
        reception.sink = sink
        async with Heartbeat(here, job_id, lambda: sink.size, sender) as beat:
            await store_body(here, incoming, sink, beat)
            check_surplus(call.request)
            await in_thread(here, sink.finish)
        reception.sink = None
        faults.at("upload.stored")
        await noted(here, lambda: uploading.done(call.store, job_id, incoming.received, sender))
        if begun.reference is not None:
            await in_thread(here, _forget, call, job_id, begun.reference)
    return Response(status_code=202)


@router.put("/{job_id}/csvUpload/part/{number}/", status_code=202, responses=_TAKEN, openapi_extra=_CSV)
async def upload_part(call: Called, job_id: str, number: str) -> Response:
    """Take one part of a job's data. With `async` false a part that is sent again replaces the earlier one."""
    here = call.installation
    check_csv(call.request)
    index = _part_number(number)
    _check_multipart(await in_thread(here, service.get, call.store, call.caller, job_id))
    sender = here.presence.sender()
    incoming, job, _ = await _begin(call, job_id, sender)
    whole_first = job.spec.waits_for_all_data
    client = call.request.headers.get("user-agent", "")
    check = PartCheck(index, job.spec.csv.dialect, sent_as_utf8=_OFFICIAL_CLIENT in client)
    async with Reception(here, job, incoming, sender, index) as reception:
        known = await in_thread(here, known_part, call.spool, job_id, index)
        others = job.upload_bytes - (0 if known is None else known.size)
        await in_thread(here, _check_room, call, job_id, others)
        writer = await in_thread(here, part_writer, call.spool, job_id, index)
        reception.sink = writer
        async with Heartbeat(here, job_id, lambda: job.upload_bytes) as beat:
            await store_body(here, incoming, writer, beat, others)
            again = await in_thread(here, known_part, call.spool, job_id, index) is not None
            part = await in_thread(here, writer.finish, replace=whole_first, check=check)
            check_surplus(call.request)
        reception.sink = None
        received = job.upload_bytes + (0 if again else part.size)
        await noted(here, lambda: uploading.part_done(call.store, job_id, received, sender))
    return Response(status_code=202)


@router.post("/{job_id}/csvUpload/finalizeMultipart/", status_code=202, responses=answer(None, 202))
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
        check_size(call.installation, sum(part.size for part in parts(call.spool, job_id).values()))
        found = finalise(call.spool, job_id)
    except (NoParts, TooLargeUpload) as exc:
        uploading.broken(call.store, job_id, exc.message)
        raise
    faults.at("upload.finalised")
    uploading.done(call.store, job_id, sum(part.size for part in found))
    return Response(status_code=202)


async def _begin(call: Call, job_id: str, sender: str) -> tuple[Incoming, Job, Begun]:
    """Wait for the first bytes, then note that the upload begins: a job without any takes no place in the queue.

    A client that sends again may be here before the end of its first connection is noticed. So a request under way is
    watched for a moment: one that shows no sign of life has no API process any more that does anything for it.
    """
    here = call.installation
    incoming = Incoming(call.request.receive, call.settings.upload_idle_seconds)
    await incoming.wait()
    announced = announced_bytes(call.request)
    first: uploading.UnderWay | None = None
    watched = 0.0
    while True:
        try:
            begins = uploading.begins
            job, begun = await in_thread(here, begins, call.store, call.caller, job_id, sender, expected=announced)
        except uploading.UnderWay as exc:
            if first is None or first.sender != exc.sender:
                first, watched = exc, 0.0
            if exc.beat >= first.beat + _SIGNS_OF_LIFE:
                raise
            if watched >= _WATCH_SECONDS:
                await in_thread(here, _interrupt_silent, call, job_id, exc)
            await asyncio.sleep(_LOOK_SECONDS)
            watched += _LOOK_SECONDS
        else:
            return incoming, job, begun


def _interrupt_silent(call: Call, job_id: str, other: uploading.UnderWay) -> None:
    trouble = "its API server showed no sign of life"
    uploading.interrupted(call.store, job_id, trouble, sender=other.sender, beat=other.beat)


def _check_room(call: Call, job_id: str, before: int) -> None:
    """Refuse a body that is known to be too large. Raises InvalidRequest, SpoolFull."""
    announced = announced_bytes(call.request) or 1
    check_size(call.installation, before + announced)
    call.spool.check_space(announced, f"uploads/{job_id}")


def _open_sink(call: Call, job_id: str, sender: str, begun: Begun) -> SegmentWriter | Matching:
    """Begin the upload's stream; with rows done already, its bytes must be those that were sent before."""
    writer = call.spool.writer(f"uploads/{job_id}/{sender}")
    if begun.left is not None:
        _forget(call, job_id, begun.left)
    if begun.reference is None:
        return writer
    return Matching(writer, call.spool.reader(f"uploads/{job_id}/{begun.reference}"))


def _forget(call: Call, job_id: str, stream: str) -> None:
    with suppress(SpoolError):  # it goes with the job
        call.spool.delete_stream(f"uploads/{job_id}/{stream}")


def _check_multipart(job: Job) -> None:
    if job.upload_state is UploadState.NONE:
        raise NotFound(f"Job {job.id!r} takes no upload: its intake is {job.spec.intake_type}.")
    if not job.spec.multipart:
        raise Conflict(f"Job {job.id!r} takes no parts: create it with `multipart` true in its intake settings.")


def _part_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < _MOST_PARTS):
        raise InvalidRequest(f"The number of a part is a whole number from 0 to {_MOST_PARTS - 1}.", "part")
    return int(text)
