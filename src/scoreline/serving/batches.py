"""`POST /scoreline/v1/packages/{id}/score`: a record batch in, the scores out. The way of every row of a job."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from scoreline import faults
from scoreline.rows import exchange
from scoreline.serving import bodies
from scoreline.serving.callers import require_package
from scoreline.serving.predictor import Predictor
from scoreline.serving.web import HttpError


async def score(request: Request) -> Response:
    """Score one batch. The body goes into shared memory as it comes and is never held here; so does the answer."""
    predictor: Predictor = request.app.state.predictor
    package_id = request.path_params["package_id"]
    caller = await predictor.callers.authenticate(request.headers.get("authorization"))
    require_package(caller, package_id, listed=True)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpError(415, "Record batches are taken without Content-Encoding.")
    package = await predictor.package(package_id)
    config = predictor.config
    async with predictor.admission():
        with predictor.memory.take() as shared:
            async for block in bodies.blocks(request, config.max_batch, config.body_idle_seconds):
                shared.append(block)
            faults.at("batch.scoring")
            body, _hit = await predictor.score(request, package, shared)
    return Response(body, media_type=exchange.MEDIA_TYPE, headers={"X-Scoreline-Model": package.artifact})
