"""From an error to an answer: the one place where errors become HTTP status codes.

The official client repeats 413, 429, 502, 503 and 504 ten times, for every method, and then loses the message. They are
used for what has had no effect and is over in a moment, never for a refusal that stands.
"""

from __future__ import annotations

import http
import logging
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request

from scoreline import errors
from scoreline.types import JsonObject

_log = logging.getLogger(__name__)

# The first branch that fits decides.
_STATUS: tuple[tuple[type[errors.ScorelineError], int], ...] = (
    (errors.NotAuthenticated, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.UserError, 422),
    (errors.SpoolFull, 507),
    (errors.SpoolReadOnly, 507),
    (errors.StoreFull, 507),
    (errors.StoreBusy, 503),
    # Of a model or its data, when it is looked at while it is registered.
    (errors.Overloaded, 503),
    (errors.ServerUnavailable, 503),
    (errors.ScoringError, 422),
    (errors.SourceError, 422),
)
_READS = ("GET", "HEAD")
_TRY_AGAIN_SECONDS = 1
_LONGEST = 2_000


class HttpProblem(Exception):
    """A request that is wrong as HTTP, before it means anything; `status` is the code to answer with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class WrongFields(errors.InvalidRequest):
    """Several fields are wrong: `fields` gives each one's text."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        name, text = next(iter(fields.items()))
        super().__init__(text, name)
        self.fields = dict(fields)


def status_of(error: errors.ScorelineError, method: str = "") -> int:
    """Return the HTTP status for an error; 500 for what is no request's fault.

    A database or a spool that is away may have stored what a request changed: only one that reads may simply come
    again.
    """
    if isinstance(error, (errors.StoreAway, errors.SpoolAway)) and method in _READS:
        return 503
    return next((status for branch, status in _STATUS if isinstance(error, branch)), 500)


def document_of(error: Exception, request_id: str, method: str) -> tuple[int, JsonObject, dict[str, str]]:
    """Return status, JSON document and headers of the answer for any error. Unexpected ones are logged, not shown."""
    if isinstance(error, errors.ScorelineError):
        return _deliberate(error, request_id, status_of(error, method))
    if isinstance(error, HttpProblem):
        return error.status, {"message": error.message}, {}
    if isinstance(error, HTTPException):
        return error.status_code, {"message": str(error.detail)}, dict(error.headers or {})
    _log.error("request %s failed", request_id, exc_info=error)
    return 500, {"message": f"Scoreline failed at this request; its log says more under request id {request_id}."}, {}


def _deliberate(error: errors.ScorelineError, request_id: str, status: int) -> tuple[int, JsonObject, dict[str, str]]:
    document: JsonObject = {"message": _cut(error.message)}
    headers: dict[str, str] = {}
    if isinstance(error, WrongFields):
        document["errors"] = {_cut(name): _cut(text) for name, text in error.fields.items()}
    elif isinstance(error, errors.InvalidRequest) and error.field:
        document["errors"] = {_cut(error.field): _cut(error.message)}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        pause = error.retry_after if isinstance(error, errors.Overloaded) else None
        headers["Retry-After"] = str(max(_TRY_AGAIN_SECONDS, round(pause or 0)))
    if status >= 500:
        _log.error("request %s: %s", request_id, error.message)
    return status, document, headers


def _cut(text: str) -> str:
    """Bound what an answer repeats of a request."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def not_there(request: Request, error: HTTPException) -> HTTPException:
    """Put the framework's own 404 and 405 in words."""
    path, method = request.url.path, request.method
    if error.status_code == 404:
        why = "the API's addresses begin with /api/v2/"
        if path.startswith("/api/v2/projects/"):
            why = "Scoreline has no projects and computes nothing for their models, prediction intervals included"
        elif path.startswith("/api/v2/"):
            why = "this version of Scoreline has no such address"
        text = f"There is nothing at {path[:200]}: {why}."
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        text = f"{method[:20]} is not possible at {path[:200]}: use {allowed}."
    else:
        phrase = http.HTTPStatus(error.status_code).phrase
        text = str(error.detail) if error.detail != phrase else f"{phrase}."
    return HTTPException(error.status_code, text, headers=error.headers)
