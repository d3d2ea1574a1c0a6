"""What this API is, for clients that ask at their start."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from scoreline import __version__
from scoreline.api.calls import Called
from scoreline.api.jsonio import JsonResponse

router = APIRouter(tags=["version"])

_MAJOR, _MINOR = 2, 999
"""Clients warn when they are newer than the server's minor version, and refuse another major one."""


@router.get("/version/")
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


@router.get("/ping/")
async def ping() -> Response:
    """Say that the API answers; open to everybody, for load balancers."""
    return JsonResponse({"response": "pong"})
