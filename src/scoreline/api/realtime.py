"""Real-time requests at the API's own address, where clients send them for environments without a server of their own.

They are handed to the prediction server as they come, and its answer back as it comes; it asks who the caller is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from scoreline.api.calls import Call, PassedOn
from scoreline.errors import Conflict, ServerUnavailable
from scoreline.registry import deployments, servers

# They are addresses of the Prediction API, which is described by itself.
router = APIRouter(prefix="/deployments/{deployment_id}", include_in_schema=False)

_TIMEOUT = httpx2.Timeout(660.0, connect=3.0)  # a model that is loaded first, and a large request after it
_ASKED = ("authorization", "content-type", "content-encoding", "accept")
_ANSWERED = ("content-type", "retry-after", "x-datarobot-", "x-scoreline-")


@router.post("/predictions/")
async def predictions(call: PassedOn, request: Request, deployment_id: str) -> Response:
    """Score rows, as the prediction server's own address does."""
    return await _forward(call, request, deployment_id, "predictions")


@router.post("/predictionsUnstructured/")
async def unstructured(call: PassedOn, request: Request, deployment_id: str) -> Response:
    """Score a body of any kind, as the prediction server's own address does."""
    return await _forward(call, request, deployment_id, "predictionsUnstructured")


async def _forward(call: Call, request: Request, deployment_id: str, name: str) -> Response:
    server = await run_in_threadpool(_server, call, deployment_id)
    headers = {name: value for name, value in request.headers.items() if name in _ASKED}
    headers["X-Request-Id"] = request.scope["state"]["request_id"]
    url = f"{server}/predApi/v1.0/deployments/{deployment_id}/{name}?{request.url.query}"
    try:
        # Addressed directly: proxies of the environment are for the outside world.
        async with httpx2.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
            answer = await client.post(url, content=_body(request), headers=headers)
    except ClientDisconnect:
        raise
    except httpx2.TransportError as error:
        raise ServerUnavailable(
            f"The prediction server cannot be asked ({type(error).__name__}): try again in a moment."
        ) from error
    kept = {name: value for name, value in answer.headers.items() if name.lower().startswith(_ANSWERED)}
    return Response(answer.content, answer.status_code, kept)


def _server(call: Call, deployment_id: str) -> str:
    """Return the address of one of our own servers; a foreign one is never shown a caller's token."""
    deployment = deployments.get(call.store, call.caller, deployment_id)
    server = deployment.server
    if server is None or server.kind != servers.OWN:
        with call.store.read() as connection:
            server = servers.default_in(connection, call.caller)
    if server is None:
        raise Conflict("No prediction server has made itself known yet: start one with `scoreline predictor`.")
    return server.url


async def _body(request: Request) -> AsyncIterator[bytes]:
    async for block in request.stream():
        if block:
            yield block
