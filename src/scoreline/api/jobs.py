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
from scoreline.api.making import KEY, Order, make_job
from scoreline.api.paging import page
from scoreline.api.wire import answers, job_answers
from scoreline.api.wire.jobs import (
    COLLECTION,
    FromDefinition,
    FromExisting,
    JobChange,
    JobQuery,
    job_document,
    manifest_document,
    messages_document,
    partitions_document,
)
from scoreline.definitions import service as definitions
from scoreline.jobs import planning, service
from scoreline.jobs.described import asked_schema
from scoreline.jobs.fields import Fields
from scoreline.jobs.model import Job
from scoreline.jobs.spec import JobSpec
from scoreline.types import JsonObject

router = APIRouter(prefix=f"/{COLLECTION}", tags=["batch predictions"])

_SAMPLE: JsonObject = {
    "type": "object",
    "description": "The first rows of a file that would be uploaded, header included, and the size of all of it.",
    "properties": {
        "data": {"type": "string", "contentEncoding": "base64"},
        "bytes": {"type": "integer", "minimum": 0},
    },
    "required": ["data"],
    "additionalProperties": False,
}
_CREATED = answer(job_answers.Job, 202, location=True)


@router.post("/", status_code=202, responses=_CREATED, openapi_extra=documented(body=asked_schema(), headers=[KEY]))
async def create_job(call: Called, body: JsonBody) -> Response:
    """Create a job."""
    return await make_job(call, body, lambda: Order(call.caller, JobSpec.from_document(body)))


_PLANNED = {**asked_schema(), "properties": {**asked_schema()["properties"], planning.FIELD: _SAMPLE}}


@router.post("/plan/", responses=answer(job_answers.Plan), openapi_extra=documented(body=_PLANNED))
def plan_job(call: Called, body: JsonBody) -> Response:
    """Tell what a job would do, by the first rows of its intake: nothing is made, and nothing is written."""
    given = Fields(body).object(planning.FIELD)
    sample = None if given is None else planning.Sample.from_document(given)
    spec = JobSpec.from_document({name: value for name, value in body.items() if name != planning.FIELD})
    planned = planning.plan(call.store, call.caller, spec, call.spool, settings=call.settings, sample=sample)
    return JsonResponse(planned)


@router.get("/", responses=answer(answers.Page[job_answers.Job]), openapi_extra=documented(query=JobQuery))
def list_jobs(call: Called, query: Annotated[JobQuery, Depends(query_of(JobQuery))]) -> Response:
    """List jobs, the newest first unless `orderBy` says otherwise; hidden ones are left out."""
    found = service.list_jobs(
        call.store, call.caller, query.filter(), order=query.order_by, offset=query.offset, limit=query.limit
    )
    logs = service.logs_of(call.store, found.items)
    items = [job_document(job, logs[job.id], call.links, call.caller.user_id) for job in found.items]
    return JsonResponse(page(call.request, query, items, found.total))


@router.post(
    "/fromExisting/", status_code=202, responses=_CREATED, openapi_extra=documented(body=FromExisting, headers=[KEY])
)
async def repeat_job(call: Called, body: Annotated[FromExisting, Depends(body_of(FromExisting))]) -> Response:
    """Create a job with the settings of another one."""
    old, outside = body.prediction_job_id, call.installation.outside

    def again() -> Order:
        return Order(call.caller, service.repeated(call.store, call.caller, old, outside))

    return await make_job(call, body.model_dump(), again)


@router.post(
    "/fromJobDefinition/",
    status_code=202,
    responses=_CREATED,
    openapi_extra=documented(body=FromDefinition, headers=[KEY]),
)
async def run_definition(call: Called, body: Annotated[FromDefinition, Depends(body_of(FromDefinition))]) -> Response:
    """Run a job definition now, whether it is enabled or not. The job is the definition's owner's."""
    definition_id, outside = body.job_definition_id, call.installation.outside

    def run() -> Order:
        found = definitions.run(call.store, call.caller, definition_id, outside)
        return Order(found.owner, found.spec, "jobDefinition", found.origin, found.moments)

    return await make_job(call, body.model_dump(), run)


@router.get("/{job_id}/", responses=answer(job_answers.Job))
async def get_job(request: Request, job_id: str) -> Response:
    """Return a job, hidden ones too."""
    # Clients ask every second, also while the machine is busy: all of it in one thread, in one go.
    return await run_in_threadpool(_look, request, job_id)


def _look(request: Request, job_id: str) -> Response:
    call = call_of(request)
    return JsonResponse(_document(call, service.get(call.store, call.caller, job_id)))


@router.patch("/{job_id}/", responses=answer(job_answers.Job), openapi_extra=documented(body=JobChange))
def change_job(call: Called, job_id: str, body: Annotated[JobChange, Depends(body_of(JobChange))]) -> Response:
    """Hide a finished job from the lists, or show it again."""
    return JsonResponse(_document(call, service.hide(call.store, call.caller, job_id, hidden=body.hidden)))


@router.get("/{job_id}/manifest/", responses=answer(job_answers.Manifest))
def get_manifest(call: Called, job_id: str) -> Response:
    """Return what a job did, to the byte: rows, source, output and its digest, model, settings."""
    return JsonResponse(manifest_document(service.get(call.store, call.caller, job_id), call.caller.user_id))


@router.get("/{job_id}/partitions/", responses=answer(job_answers.Partitions))
def list_partitions(call: Called, job_id: str) -> Response:
    """Return the parts of a job that several workers share, and who scores which of them before its turn comes."""
    return JsonResponse(partitions_document(service.partitions(call.store, call.caller, job_id)))


@router.get("/{job_id}/webhooks/", responses=answer(job_answers.Messages))
def list_messages(call: Called, job_id: str) -> Response:
    """Return what the job's webhooks were told, or are still to be told."""
    job = service.get(call.store, call.caller, job_id)
    return JsonResponse(messages_document(job, service.messages(call.store, call.caller, job_id), call.caller.user_id))


@router.post("/{job_id}/pause/", responses=answer(job_answers.Job))
def pause_job(call: Called, job_id: str) -> Response:
    """Let a job rest: it keeps what is done, gives its slot back, and goes on when it is resumed."""
    return JsonResponse(_document(call, service.pause(call.store, call.caller, job_id)))


@router.post("/{job_id}/resume/", responses=answer(job_answers.Job))
def resume_job(call: Called, job_id: str) -> Response:
    """Let a paused job go on after its last recorded chunk."""
    return JsonResponse(_document(call, service.resume(call.store, call.caller, job_id)))


@router.delete("/{job_id}/", status_code=202, responses=answer(None, 202))
def abort_job(call: Called, job_id: str) -> Response:
    """Abort a job that is not over."""
    service.abort(call.store, call.caller, job_id)
    return Response(status_code=202)


def _document(call: Call, job: Job) -> job_answers.Job:
    return job_document(job, service.logs_of(call.store, [job])[job.id], call.links, call.caller.user_id)
