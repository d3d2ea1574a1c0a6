"""Batch prediction jobs: create, list, look at, hide, abort. Uploads and downloads have files of their own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from scoreline.api.calls import Call, Called, JsonBody, body_of, call_of, documented, query_of
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.making import KEY, make_job
from scoreline.api.paging import page
from scoreline.api.wire import answers
from scoreline.api.wire.jobs import (
    COLLECTION,
    FromDefinition,
    FromExisting,
    JobChange,
    JobQuery,
    job_document,
    manifest_document,
)
from scoreline.errors import NotFound
from scoreline.jobs import service
from scoreline.jobs.described import asked_schema
from scoreline.jobs.model import Job
from scoreline.jobs.spec import JobSpec

router = APIRouter(prefix=f"/{COLLECTION}", tags=["batch predictions"])

_CREATED = answer(answers.Job, 202, location=True)


@router.post("/", status_code=202, responses=_CREATED, openapi_extra=documented(body=asked_schema(), headers=[KEY]))
async def create_job(call: Called, body: JsonBody) -> Response:
    """Create a job."""
    return await make_job(call, body, lambda: JobSpec.from_document(body))


@router.get("/", responses=answer(answers.Page[answers.Job]), openapi_extra=documented(query=JobQuery))
def list_jobs(call: Called, query: Annotated[JobQuery, Depends(query_of(JobQuery))]) -> Response:
    """List jobs, the newest first unless `orderBy` says otherwise; hidden ones are left out."""
    found = service.list_jobs(
        call.store, call.caller, query.filter(), order=query.order_by, offset=query.offset, limit=query.limit
    )
    logs = service.logs_of(call.store, found.items)
    items = [job_document(job, logs[job.id], call.links) for job in found.items]
    return JsonResponse(page(call.request, query, items, found.total))


@router.post(
    "/fromExisting/", status_code=202, responses=_CREATED, openapi_extra=documented(body=FromExisting, headers=[KEY])
)
async def repeat_job(call: Called, body: Annotated[FromExisting, Depends(body_of(FromExisting))]) -> Response:
    """Create a job with the settings of another one."""
    old, outside = body.prediction_job_id, call.installation.outside
    return await make_job(call, body.model_dump(), lambda: service.repeated(call.store, call.caller, old, outside))


@router.post(
    "/fromJobDefinition/",
    status_code=202,
    responses=_CREATED,
    openapi_extra=documented(body=FromDefinition, headers=[KEY]),
)
def run_definition(call: Called, body: Annotated[FromDefinition, Depends(body_of(FromDefinition))]) -> Response:  # noqa: ARG001 -- only who is known is told
    """Run a job definition; this version keeps none."""
    raise NotFound(
        f"There is no job definition {body.job_definition_id[:100]!r}: this version of Scoreline keeps no job "
        "definitions yet; create the job with its settings."
    )


@router.get("/{job_id}/", responses=answer(answers.Job))
async def get_job(request: Request, job_id: str) -> Response:
    """Return a job, hidden ones too."""
    # Clients ask every second, also while the machine is busy: all of it in one thread, in one go.
    return await run_in_threadpool(_look, request, job_id)


def _look(request: Request, job_id: str) -> Response:
    call = call_of(request)
    return JsonResponse(_document(call, service.get(call.store, call.caller, job_id)))


@router.patch("/{job_id}/", responses=answer(answers.Job), openapi_extra=documented(body=JobChange))
def change_job(call: Called, job_id: str, body: Annotated[JobChange, Depends(body_of(JobChange))]) -> Response:
    """Hide a finished job from the lists, or show it again."""
    return JsonResponse(_document(call, service.hide(call.store, call.caller, job_id, hidden=body.hidden)))


@router.get("/{job_id}/manifest/", responses=answer(answers.Manifest))
def get_manifest(call: Called, job_id: str) -> Response:
    """Return what a job did, to the byte: rows, source, output and its digest, model, settings."""
    return JsonResponse(manifest_document(service.get(call.store, call.caller, job_id)))


@router.post("/{job_id}/pause/", responses=answer(answers.Job))
def pause_job(call: Called, job_id: str) -> Response:
    """Let a job rest: it keeps what is done, gives its slot back, and goes on when it is resumed."""
    return JsonResponse(_document(call, service.pause(call.store, call.caller, job_id)))


@router.post("/{job_id}/resume/", responses=answer(answers.Job))
def resume_job(call: Called, job_id: str) -> Response:
    """Let a paused job go on after its last recorded chunk."""
    return JsonResponse(_document(call, service.resume(call.store, call.caller, job_id)))


@router.delete("/{job_id}/", status_code=202, responses=answer(None, 202))
def abort_job(call: Called, job_id: str) -> Response:
    """Abort a job that is not over."""
    service.abort(call.store, call.caller, job_id)
    return Response(status_code=202)


def _document(call: Call, job: Job) -> answers.Job:
    return job_document(job, service.logs_of(call.store, [job])[job.id], call.links)
