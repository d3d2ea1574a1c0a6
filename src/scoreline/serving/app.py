"""The prediction server's HTTP application: its routes and its life."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from scoreline.errors import ScorelineError
from scoreline.serving import batches, contract, inspections, predictions
from scoreline.serving.config import PredictorConfig
from scoreline.serving.predictor import Predictor
from scoreline.serving.web import HANDLERS, JsonResponse, RequestIds

_log = structlog.get_logger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
_QUIET_TRIES = 12  # in some ten seconds: the API may just be starting


def create_app(config: PredictorConfig, public_url: str | None = None) -> ASGIApp:
    """The application; it starts its model processes, and registers as `public_url` when that is given."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        predictor = Predictor(config)
        app.state.predictor = predictor
        await predictor.start()
        registration = asyncio.create_task(_register(predictor, public_url)) if public_url else None
        try:
            yield
        finally:
            if registration:
                registration.cancel()
            await predictor.close()

    app = Starlette(routes=_routes(), lifespan=lifespan, exception_handlers=HANDLERS)
    app.router.redirect_slashes = False
    return RequestIds(app)  # outermost, so that the answer to an unexpected error has one, too


def _routes() -> list[Route]:
    posts = {
        "/scoreline/v1/packages/{package_id}/score": batches.score,
        "/scoreline/v1/inspect": inspections.inspect,
        "/predApi/v1.0/deployments/{deployment_id}/predictions": predictions.predict,
        "/api/v2/deployments/{deployment_id}/predictions": predictions.predict,
        "/predApi/v1.0/deployments/{deployment_id}/predictionsUnstructured": predictions.unstructured,
        "/api/v2/deployments/{deployment_id}/predictionsUnstructured": predictions.unstructured,
    }
    both = [Route(path + slash, handler, methods=["POST"]) for path, handler in posts.items() for slash in ("", "/")]
    gets = {"/ping": _ping, "/openapi.json": _openapi}
    return [*both, *(Route(path + slash, handler) for path, handler in gets.items() for slash in ("", "/"))]


async def _ping(_request: Request) -> Response:
    return JsonResponse({"status": "ok"})


async def _openapi(_request: Request) -> Response:
    return JsonResponse(contract.document())


async def _register(predictor: Predictor, url: str) -> None:
    """Make this server known to the API, again and again until it answers."""
    pause = _FIRST_PAUSE
    config = predictor.config
    for tries in itertools.count(1):
        try:
            await predictor.upstream.register(config.name, url, config.processes)
        except ScorelineError as error:
            if tries > _QUIET_TRIES:
                _log.warning("not registered yet", cause=error.message)
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)
        else:
            _log.info("registered", name=config.name, url=url)
            return
