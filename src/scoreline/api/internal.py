"""What prediction servers of this installation ask the API; their tokens have the right `predictor`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import IO, Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response, StreamingResponse

from scoreline.access import Caller
from scoreline.access.tokens import authenticate
from scoreline.access.users import caller_of
from scoreline.api.calls import Installation, ServiceCalled, body_of, documented, query_of
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.receiving import in_thread
from scoreline.api.wire import answers
from scoreline.api.wire.servers import Introspection, OnBehalf, PredictorHere
from scoreline.errors import NotAuthenticated
from scoreline.registry import artifacts, deployments, packages, servers
from scoreline.store import now
from scoreline.types import JsonObject

router = APIRouter(prefix="/internal", tags=["for prediction servers"])

_BLOCK = 1 << 20
_TAR: JsonObject = {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}}


@router.post("/introspect/", responses=answer(answers.Holder), openapi_extra=documented(body=Introspection))
def introspect(call: ServiceCalled, body: Annotated[Introspection, Depends(body_of(Introspection))]) -> Response:
    """Say whose a token is; one that is not good is only inactive."""
    try:
        holder = authenticate(call.store, body.token)
    except NotAuthenticated:
        return JsonResponse({"active": False})
    return JsonResponse(_holder(holder))


@router.get("/deployments/{deployment_id}/", responses=answer(JsonObject), openapi_extra=documented(query=OnBehalf))
def serving_deployment(
    call: ServiceCalled, deployment_id: str, query: Annotated[OnBehalf, Depends(query_of(OnBehalf))]
) -> Response:
    """Return what a deployment serves, if the user `userId` may see it."""
    deployment = deployments.get(call.store, caller_of(call.store, query.user_id), deployment_id)
    return JsonResponse(deployments.serving_document(deployment))


@router.get("/packages/{package_id}/", responses=answer(JsonObject))
def serving_package(call: ServiceCalled, package_id: str) -> Response:
    """Return what a package serves."""
    return JsonResponse(packages.serving_document(packages.get(call.store, call.caller, package_id)))


@router.get("/artifacts/{sha256}/", responses=answer(None, content=_TAR))
async def artifact(call: ServiceCalled, sha256: str) -> Response:
    """Stream a model artefact as a tar."""
    here = call.installation
    file = await in_thread(here, artifacts.open_tar, call.store, call.spool, call.caller, sha256)
    return StreamingResponse(_blocks(here, file), media_type="application/x-tar")


@router.put("/predictors/", responses=answer(answers.Known), openapi_extra=documented(body=PredictorHere))
def predictor(call: ServiceCalled, body: Annotated[PredictorHere, Depends(body_of(PredictorHere))]) -> Response:
    """Note a prediction server that has started."""
    slots = call.settings.instance_slots
    server = servers.upsert(call.store, call.caller, body.name, body.url, body.concurrency, slots=slots)
    return JsonResponse({"id": server.id, "name": server.name, "url": server.url})


def _holder(holder: Caller) -> answers.Holder:
    expires = holder.expires_at
    return {
        "active": True,
        "userId": holder.user_id,
        "username": holder.username,
        "kind": holder.kind,
        "packageIds": None if holder.package_ids is None else list(holder.package_ids),
        "rights": sorted(holder.rights),
        "expiresIn": None if expires is None else max(0.0, (expires - now()).total_seconds()),
    }


async def _blocks(here: Installation, file: IO[bytes]) -> AsyncIterator[bytes]:
    try:
        while block := await in_thread(here, file.read, _BLOCK):
            yield block
    finally:
        file.close()
