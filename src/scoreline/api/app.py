"""The application: every route of the API under its prefix, every answer in one shape."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread

import anyio.to_thread
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from scoreline import __version__
from scoreline.access.outside import Outside
from scoreline.api import (
    artifacts,
    contract,
    credentials,
    custom_models,
    custom_versions,
    datasets,
    definitions,
    deployments,
    downloads,
    events,
    execution,
    failedrows,
    internal,
    jobs,
    packages,
    realtime,
    scratch,
    servers,
    status,
    tags,
    uploads,
    version,
)
from scoreline.api.calls import Installation
from scoreline.api.guard import Guard
from scoreline.api.jsonio import JsonResponse
from scoreline.api.making import check_room
from scoreline.api.problems import WrongFields, document_of, not_there
from scoreline.api.urls import PREFIX
from scoreline.catalog import keeping
from scoreline.definitions import due
from scoreline.definitions.due import Scheduler
from scoreline.definitions.service import Rules
from scoreline.jobs.interrupted import UploadKeeper
from scoreline.jobs.presence import Presence
from scoreline.jobs.sender import Sender
from scoreline.settings import Settings
from scoreline.spool import Spool
from scoreline.store import Store

_HANDLER_THREADS = 64
_KEEPER_SECONDS = 5.0
_RESOURCES = (
    *(version, jobs, events, uploads, downloads, failedrows, definitions, deployments, tags),
    *(
        custom_models,
        custom_versions,
        execution,
        packages,
        artifacts,
        datasets,
        credentials,
        servers,
        realtime,
        status,
        internal,
    ),
)


def create_app(settings: Settings, store: Store, spool: Spool) -> FastAPI:
    """Return the application over a migrated store. It closes neither store nor spool."""
    here = Installation(settings, store, spool, Outside.of(store, settings), Presence(settings.data_dir))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _HANDLER_THREADS
        scratch.sweep(settings, here.presence)
        here.presence.open()
        keepers = {
            "uploads": _upload_keeper(here).keep,
            "schedules": _scheduler(here).keep,
            "webhooks": Sender(store, settings, here.outside).keep,
        }
        threads = [Thread(target=keep, args=(here.closing,), name=name, daemon=True) for name, keep in keepers.items()]
        for thread in threads:
            thread.start()
        yield
        here.closing.set()
        spool.close()
        here.transfers.shutdown(wait=False, cancel_futures=True)
        for thread in threads:
            await anyio.to_thread.run_sync(thread.join, _KEEPER_SECONDS)
        here.presence.close()

    app = FastAPI(
        title="Scoreline",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        exception_handlers={HTTPException: _http_error, RequestValidationError: _wrong_request},
    )
    app.state.installation = here
    api = APIRouter(prefix=PREFIX.rstrip("/"))
    for resource in _RESOURCES:
        api.include_router(resource.router)
    app.include_router(api)
    app.openapi = functools.cache(lambda: contract.openapi(app))  # type: ignore[method-assign]  # the framework's own way
    app.add_middleware(Guard)
    return app


def _upload_keeper(here: Installation) -> UploadKeeper:
    return UploadKeeper(
        here.store,
        here.spool,
        here.presence,
        grace_seconds=here.settings.upload_grace_seconds,
        parts_seconds=here.settings.upload_idle_seconds,
        others=lambda: keeping.settle(here.store, lambda maker: _is_gone(here, maker)),
    )


def _scheduler(here: Installation) -> Scheduler:
    rules = Rules(here.outside, files_open=here.settings.files_dir is not None)
    return due.scheduler(here.store, rules, lambda: check_room(here.spool))


def _is_gone(here: Installation, maker: str) -> bool:
    """Say whether nobody makes a dataset any more that this request began."""
    if here.presence.has(maker):
        return not here.makers.goes_on(maker)
    return here.presence.gone(maker)


def _operation_id(route: APIRoute) -> str:
    return to_camel(route.name)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allow = {"Allow": ", ".join(contract.methods_at(request.app.openapi(), request.url.path))}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=allow)
        error = HTTPException(405, headers=allow)
    return _answer(request, not_there(request, error))


async def _wrong_request(request: Request, error: Exception) -> Response:
    """Put in words what the framework itself finds wrong with a request."""
    assert isinstance(error, RequestValidationError)
    fields = {".".join(str(step) for step in detail["loc"][1:]): str(detail["msg"]) for detail in error.errors()}
    return _answer(request, WrongFields(fields or {"request": "The request cannot be read."}))


def _answer(request: Request, error: Exception) -> Response:
    status_code, document, headers = document_of(error, request.scope["state"]["request_id"], request.method)
    return JsonResponse(document, status_code, headers)
