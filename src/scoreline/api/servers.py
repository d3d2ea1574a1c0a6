"""Prediction servers, and the same as prediction environments."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from scoreline.api.calls import Called, documented, query_of
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.paging import Paging, page_out_of
from scoreline.api.wire import answers
from scoreline.api.wire.servers import environment_document, server_document
from scoreline.jobs import load
from scoreline.registry import servers

router = APIRouter(tags=["prediction servers"])


@router.get(
    "/predictionServers/",
    responses=answer(answers.Page[answers.PredictionServer]),
    openapi_extra=documented(query=Paging),
)
def list_servers(call: Called, query: Annotated[Paging, Depends(query_of(Paging))]) -> Response:
    """List the prediction servers that the caller may use, the default one first, and how busy they are."""
    busy = load.by_server(call.store)
    found = [
        server_document(server, *busy.get(server.id, (0, 0)))
        for server in servers.list_servers(call.store, call.caller)
    ]
    return JsonResponse(page_out_of(call.request, query, found))


@router.get(
    "/predictionEnvironments/",
    responses=answer(answers.Page[answers.Environment]),
    openapi_extra=documented(query=Paging),
)
def list_environments(call: Called, query: Annotated[Paging, Depends(query_of(Paging))]) -> Response:
    """List the prediction environments: here, each prediction server is one."""
    found = [environment_document(server) for server in servers.list_servers(call.store, call.caller)]
    return JsonResponse(page_out_of(call.request, query, found))


@router.get("/predictionEnvironments/{server_id}/", responses=answer(answers.Environment))
def get_environment(call: Called, server_id: str) -> Response:
    """Return one prediction environment."""
    return JsonResponse(environment_document(servers.get(call.store, call.caller, server_id)))
