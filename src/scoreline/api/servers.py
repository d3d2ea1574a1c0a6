"""Prediction servers and prediction environments."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from scoreline.api.calls import Called, body_of, documented, query_of
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.paging import page_out_of
from scoreline.api.wire import answers, deployment_answers
from scoreline.api.wire.base import Paging
from scoreline.api.wire.servers import NewEnvironment, environment_document, server_document
from scoreline.jobs import load
from scoreline.registry import environments, servers

router = APIRouter(tags=["prediction servers"])


@router.get(
    "/predictionServers/",
    responses=answer(answers.Page[deployment_answers.PredictionServer]),
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
    responses=answer(answers.Page[deployment_answers.Environment]),
    openapi_extra=documented(query=Paging),
)
def list_environments(call: Called, query: Annotated[Paging, Depends(query_of(Paging))]) -> Response:
    """List the prediction environments: each prediction server is one, and people make others."""
    found = [
        environment_document(each, call.caller) for each in environments.list_environments(call.store, call.caller)
    ]
    return JsonResponse(page_out_of(call.request, query, found))


@router.post(
    "/predictionEnvironments/",
    status_code=201,
    responses=answer(deployment_answers.Environment, 201),
    openapi_extra=documented(body=NewEnvironment),
)
def create_environment(call: Called, body: Annotated[NewEnvironment, Depends(body_of(NewEnvironment))]) -> Response:
    """Make a prediction environment."""
    body.check_built()
    made = environments.create(
        call.store,
        call.caller,
        body.name,
        body.platform,
        description=body.description,
        formats=body.supported_model_formats,
    )
    return JsonResponse(environment_document(made, call.caller), 201)


@router.get("/predictionEnvironments/{environment_id}/", responses=answer(deployment_answers.Environment))
def get_environment(call: Called, environment_id: str) -> Response:
    """Return one prediction environment."""
    found = environments.get(call.store, call.caller, environment_id)
    return JsonResponse(environment_document(found, call.caller))


@router.delete("/predictionEnvironments/{environment_id}/", status_code=204, responses=answer(None, 204))
def delete_environment(call: Called, environment_id: str) -> Response:
    """Remove a prediction environment to which nothing is deployed."""
    environments.delete(call.store, call.caller, environment_id)
    return Response(status_code=204)
