"""Job definitions: kept bodies of jobs, run on demand or by schedule."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import PlainTextResponse, Response

from scoreline.api.calls import Call, Called, JsonBody, documented, query_of
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.paging import page
from scoreline.api.wire import answers
from scoreline.api.wire import definitions as wire
from scoreline.api.wire.definitions import DefinitionQuery, definition_document
from scoreline.definitions import portable, service
from scoreline.definitions.service import Rules
from scoreline.jobs import ticket

router = APIRouter(prefix="/batchPredictionJobDefinitions", tags=["job definitions"])

_TEXT = {"text/plain": {"schema": {"type": "string"}}}


@router.post(
    "/",
    status_code=202,
    responses=answer(wire.Definition, 202),
    openapi_extra=documented(body=wire.asked_schema("NewJobDefinition")),
)
def create_definition(call: Called, body: JsonBody) -> Response:
    """Keep a definition: the fields of a job beside those of its own. It is checked as a job of it would be."""
    made = service.create(call.store, call.caller, body, _rules(call))
    return JsonResponse(definition_document(made, call.caller.user_id), 202)


@router.get("/", responses=answer(answers.Page[wire.Definition]), openapi_extra=documented(query=DefinitionQuery))
def list_definitions(call: Called, query: Annotated[DefinitionQuery, Depends(query_of(DefinitionQuery))]) -> Response:
    """List definitions, the newest first."""
    found = service.list_definitions(
        call.store,
        call.caller,
        search=query.search_name,
        deployment_id=query.deployment_id,
        offset=query.offset,
        limit=query.limit,
    )
    items = [definition_document(each, call.caller.user_id) for each in found.items]
    return JsonResponse(page(call.request, query, items, found.total))


@router.get("/{definition_id}/", responses=answer(wire.Definition))
def get_definition(call: Called, definition_id: str) -> Response:
    """Return a definition."""
    found = service.get(call.store, call.caller, definition_id)
    return JsonResponse(definition_document(found, call.caller.user_id))


@router.patch(
    "/{definition_id}/",
    responses=answer(wire.Definition),
    openapi_extra=documented(body=wire.asked_schema("JobDefinitionChange")),
)
def change_definition(call: Called, definition_id: str, body: JsonBody) -> Response:
    """Change the fields that are there; settings of intake and output, and the schedule, are replaced as a whole.

    A field of a job that is null goes back to its default. Only the owner changes what a definition does.
    """
    changed = service.update(call.store, call.caller, definition_id, body, _rules(call))
    return JsonResponse(definition_document(changed, call.caller.user_id))


@router.delete("/{definition_id}/", status_code=204, responses=answer(None, 204))
def delete_definition(call: Called, definition_id: str) -> Response:
    """Delete a definition; jobs that were made from it go on."""
    service.delete(call.store, call.caller, definition_id)
    return Response(status_code=204)


@router.get("/{definition_id}/portable/", responses=answer(None, content=_TEXT))
def get_portable(call: Called, definition_id: str) -> Response:
    """Return a definition as YAML that `scoreline apply` reads, on this installation or another one."""
    return PlainTextResponse(
        portable.text_of(call.store, call.caller, service.get(call.store, call.caller, definition_id))
    )


def _rules(call: Call) -> Rules:
    here = call.installation
    return Rules(
        here.outside,
        files_open=here.settings.files_dir is not None,
        reach=lambda user_id: ticket.reach(here.store, user_id, here.settings, here.outside),
    )
