"""What this API is, for clients that ask at their start."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from scoreline import __version__
from scoreline.api.calls import Called, documented
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.wire import answers

router = APIRouter(tags=["version"])

_MAJOR, _MINOR = 2, 999
"""Clients warn when they are newer than the server's minor version, and refuse another major one."""


@router.get("/version/", responses=answer(answers.Version))
def version(_call: Called) -> Response:
    """Return the version of the API. It asks for a token, so that a wrong one is told when a client starts."""
    return JsonResponse(
        {
            "major": _MAJOR,
            "minor": _MINOR,
            "versionString": f"{_MAJOR}.{_MINOR}.0",
            "scoreline": __version__,
        }
    )


@router.get(
    "/openapi.json/",
    responses=answer(None, content={"application/json": {"schema": {"type": "object"}}}),
    openapi_extra=documented(everybody=True),
)
async def openapi_document(request: Request) -> Response:
    """Return this document; open to everybody, for the tools that read it: it says nothing about the installation."""
    return JsonResponse(request.app.openapi())


@router.get("/ping/", responses=answer(answers.Pong), openapi_extra=documented(everybody=True))
async def ping() -> Response:
    """Say that the API answers; open to everybody, for load balancers."""
    return JsonResponse({"response": "pong"})
