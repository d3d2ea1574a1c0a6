"""`POST /scoreline/v1/inspect`: what an artefact says about itself, and whether it can score one row."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from scoreline.errors import InvalidRequest
from scoreline.serving import bodies
from scoreline.serving.callers import require_right
from scoreline.serving.documents import checked_sha256
from scoreline.serving.predictor import Predictor, unless_gone
from scoreline.serving.web import JsonResponse

RIGHT = "inspect"
_LIMIT = 1 << 20


async def inspect(request: Request) -> Response:
    """Answer {"info", "check"}; a model that cannot be used is a 422, whatever it did to its process."""
    predictor: Predictor = request.app.state.predictor
    caller = await predictor.callers.authenticate(request.headers.get("authorization"))
    require_right(caller, RIGHT)
    body = await bodies.read(request, _LIMIT, predictor.config.body_idle_seconds)
    sha256, trusted, sample = _asked(body)
    artifact = await predictor.artifacts.get(sha256, trusted=trusted)
    answer = await unless_gone(
        request, predictor.pool.inspect(artifact, sample, seconds=predictor.config.inspect_seconds)
    )
    predictor.pool.preload(artifact)
    return JsonResponse(answer)


def _asked(body: bytes) -> tuple[str, bool, bytes | None]:
    """Artefact, trust and sample of the request. Raises InvalidRequest."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InvalidRequest('The body must be a JSON object {"artifact", "trusted", "sample"}.')
    try:
        sha256 = checked_sha256(document.get("artifact"))
    except ValueError as error:
        raise InvalidRequest(f"artifact: {error}.", "artifact") from None
    trusted = document.get("trusted", False)
    if not isinstance(trusted, bool):
        raise InvalidRequest("trusted must be true or false.", "trusted")
    sample = document.get("sample")
    if sample is None:
        return sha256, trusted, None
    if not isinstance(sample, dict) or not all(isinstance(cell, str | None) for cell in sample.values()):
        raise InvalidRequest("sample must be an object of column texts.", "sample")
    return sha256, trusted, json.dumps(sample).encode()
