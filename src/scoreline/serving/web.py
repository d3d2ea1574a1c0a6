"""What all answers share: error bodies, the request's id, and which error means which status."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

from scoreline.errors import (
    DataRefused,
    Forbidden,
    InvalidRequest,
    ModelBroken,
    ModelCrashed,
    NotAuthenticated,
    NotFound,
    Overloaded,
    ScorelineError,
    ServerUnavailable,
    SourceError,
    TooLarge,
)
from scoreline.types import JsonObject

_log = structlog.get_logger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_STATUS: dict[type[ScorelineError], int] = {
    NotAuthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    TooLarge: 413,
    InvalidRequest: 422,
    DataRefused: 422,
    SourceError: 422,
    ModelBroken: 422,
    ModelCrashed: 500,  # the one failure that clients do not repeat by themselves
    ServerUnavailable: 502,
    Overloaded: 503,
}


class JsonResponse(Response):
    """JSON in ASCII, its content type without a charset: official clients need it exactly so."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode; NaN and infinity are a programming error."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class HttpError(Exception):
    """A refusal whose status the error tree does not know."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def error_response(status: int, message: str, *, more: JsonObject | None = None, **headers: str) -> Response:
    """`{"message": ...}` with further keys and headers (underscores stand for hyphens)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return JsonResponse({"message": message} | (more or {}), status, named)


async def _known(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ScorelineError)
    status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)
    if isinstance(error, Overloaded):
        return error_response(status, error.message, Retry_After=f"{max(1, round(error.retry_after or 1))}")
    if isinstance(error, NotAuthenticated):
        return error_response(status, error.message, WWW_Authenticate="Bearer")
    if isinstance(error, ModelBroken):
        return error_response(status, error.message, more={"reason": "model"})
    if isinstance(error, ModelCrashed):
        _log.warning("a model process was lost", cause=error.message)
        return error_response(status, error.message, more={"reason": "crash"})
    if isinstance(error, DataRefused) and error.row is not None:
        return error_response(status, error.message, more={"row": error.row})
    if status >= 500:
        _log.warning("request failed", status=status, cause=error.message)
    return error_response(status, error.message)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HttpError)
    return error_response(error.status, error.message)


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    messages = {
        404: f"There is nothing at {request.url.path}.",
        405: f"{request.method} is not supported at {request.url.path}.",
    }
    response = error_response(error.status_code, messages.get(error.status_code, error.detail))
    response.headers.update(error.headers or {})
    return response


async def _gone(_request: Request, _error: Exception) -> Response:
    return error_response(499, "The client closed the connection before the answer.")


async def _unexpected(_request: Request, error: Exception) -> Response:
    _log.error("unexpected error", exc_info=error)
    return error_response(500, "The prediction server failed on this request; its log has the cause.")


HANDLERS: dict[Any, ExceptionHandler] = {
    ScorelineError: _known,
    HttpError: _refused,
    HTTPException: _unrouted,
    ClientDisconnect: _gone,
    Exception: _unexpected,
}


class RequestIds:
    """Puts `X-Request-Id` on every answer: the caller's own when it is harmless, else a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex

        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode("ascii"))]
            await send(message)

        await self._app(scope, receive, with_id)
