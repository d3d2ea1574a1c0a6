"""The contract as a machine reads it: what routes say about themselves, and the OpenAPI document made of it.

Handlers read requests and write answers themselves, so the framework knows little about them. A route names the type of
its answer with `answer`, its query and body with `calls.documented`; what is the same everywhere is added here.
"""

from __future__ import annotations

import functools
import http
import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from scoreline.api.wire.answers import Problem
from scoreline.types import JsonObject

_ABOUT = """The Batch Prediction API. Addresses work with and without the slash at their end, and are listed here once.
Bodies are JSON unless a route says otherwise; `null` is the same as an absent field, and unknown fields and parameters
are refused. `Authorization: Bearer <token>` and `Authorization: Token <token>` mean the same."""
_WRITES = frozenset({"post", "put", "patch", "delete"})
_METHODS = frozenset({"get", *_WRITES})
REASONS = {
    400: "The request cannot be read: it is not HTTP or not strict JSON.",
    401: "There is no token, or it is unknown, expired or revoked.",
    403: "The caller is known and lacks the right.",
    404: "There is no such object, or the caller may not see it.",
    406: "The data is declared as something else than CSV, or compressed in a way that is not known.",
    408: "The body did not come.",
    409: "The object is in a state that forbids the request.",
    415: "The body is not declared as JSON.",
    416: "The range begins after the last byte; `Content-Range` says how many there are.",
    422: "Something in the request is wrong; `errors` names it.",
    500: "Scoreline failed; its log says more under the request id.",
    503: "The database or a prediction server is busy or, for a GET, away: nothing was changed; see `Retry-After`.",
    507: "There is no space, for staged bytes or in the database.",
}
_REQUEST_ID = {
    "description": "Names the request in logs: the caller's own, or a new one.",
    "schema": {"type": "string"},
}
_RETRY_AFTER = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
_LOCATION = {
    "description": "Absolute URL, as the caller reaches this server; it ends in a slash.",
    "schema": {"type": "string", "format": "uri"},
}
_NO_CONTENT: JsonObject = {"schema": {}}  # what the framework says of a route that tells nothing
_TOLD = "x-told"
_OWN_REFERENCE = re.compile(r"#/\$defs/")


def answer(
    model: Any,
    status: int = 200,
    *,
    location: bool = False,
    refuses: tuple[int, ...] = (),
    text: str = "",
    content: JsonObject | None = None,
) -> dict[int | str, dict[str, Any]]:
    """Return what a route says about its answer (`responses`).

    model: the type of the JSON document, None for an empty body or for `content` of another kind. refuses: statuses
    beside those that follow from the route's shape, see `_refusals`.
    """
    good: dict[str, Any] = {"description": text or http.HTTPStatus(status).phrase, _TOLD: True}
    if model is not None:
        good["model"] = model
    if content is not None:
        good["content"] = content
    if location:
        good["headers"] = {"Location": _LOCATION}
    return {status: good, **{code: {"description": REASONS[code]} for code in refuses}}


def openapi(app: FastAPI) -> JsonObject:
    """Return the OpenAPI document of all routes of the application."""
    document = get_openapi(
        title=app.title, version=app.version, description=_ABOUT, routes=app.routes, separate_input_output_schemas=False
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = _problem()
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API token."},
        "token": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "An API token with the word `Token` before it, as the `datarobot` client sends it.",
        },
    }
    document["security"] = [{"bearer": []}, {"token": []}]
    for path, method, operation in operations(document):
        _complete(path, method, operation)
    _gather(document, schemas)
    return document


def operations(document: JsonObject) -> Iterator[tuple[str, str, JsonObject]]:
    """Yield path, method and description of every operation in a document."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                yield path, method, operation


def methods_at(document: JsonObject, path: str) -> list[str]:
    """Return the methods that an address takes, for the header `Allow`."""
    found = {method.upper() for template, method, _ in operations(document) if _pattern(template).fullmatch(path)}
    return sorted(found | {"OPTIONS"} | ({"HEAD"} if "GET" in found else set()))


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)))


def _problem() -> JsonObject:
    return {
        "type": "object",
        "title": "Problem",
        "description": Problem.__doc__,
        "properties": {
            "message": {"type": "string", "description": "What is wrong and what to do, in a sentence."},
            "errors": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "What is wrong with each field or parameter, by its name.",
            },
        },
        "required": ["message"],
    }


def _complete(path: str, method: str, operation: JsonObject) -> None:
    """Add what follows from the route's shape: errors, headers; drop what the framework guesses."""
    operation.setdefault("parameters", []).append(
        {
            "name": "X-Request-Id",
            "in": "header",
            "description": "An id for the request, shown in the answer and in logs.",
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        }
    )
    answers = operation["responses"]
    for status in [status for status in answers if status < "4"]:
        content = answers[status].get("content", {})
        if answers[status].pop(_TOLD, False) and content.get("application/json") == _NO_CONTENT:
            del content["application/json"]
        if not content:
            answers[status].pop("content", None)
    for status in sorted(_refusals(path, method, operation)):
        answers[str(status)] = _refusal(status)
    for response in answers.values():
        response.setdefault("headers", {})["X-Request-Id"] = _REQUEST_ID
    operation["responses"] = dict(sorted(answers.items()))


def _refusals(path: str, method: str, operation: JsonObject) -> set[int]:
    found = {int(status) for status in operation["responses"] if int(status) in REASONS}
    if operation.get("security") != []:
        found |= {400, 401, 422, 500, 503}
    if "/internal/" in path:
        found.add(403)
    if "{" in path:
        found.add(404)
    if method in _WRITES:
        found |= {403, 404, 409, 507}
    if "application/json" in operation.get("requestBody", {}).get("content", {}):
        found |= {408, 415}
    return found


def _refusal(status: int) -> JsonObject:
    schema = {"$ref": "#/components/schemas/Problem"}
    found: JsonObject = {"description": REASONS[status], "content": {"application/json": {"schema": schema}}}
    if status == 503:
        found["headers"] = {"Retry-After": _RETRY_AFTER}
    if status == 401:
        found["headers"] = {"WWW-Authenticate": {"schema": {"const": "Bearer"}}}
    return found


def _gather(value: Any, schemas: JsonObject) -> None:
    """Move the definitions that schemas carry along to where all of them are, and point there."""
    if isinstance(value, dict):
        for name, schema in value.pop("$defs", {}).items():
            schemas.setdefault(name, schema)
        reference = value.get("$ref")
        if isinstance(reference, str):
            value["$ref"] = _OWN_REFERENCE.sub("#/components/schemas/", reference)
    if isinstance(value, dict | list):
        for inner in list(value.values()) if isinstance(value, dict) else value:
            _gather(inner, schemas)
