"""What every handler is given: the installation, who calls, and the parsed query or body."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends
from starlette.requests import Request

from scoreline.access import Caller, require_right
from scoreline.access.outside import Outside
from scoreline.access.tokens import authenticate
from scoreline.api.board import Board
from scoreline.api.jsonio import json_body
from scoreline.api.makers import Makers
from scoreline.api.problems import WrongFields
from scoreline.api.urls import Links
from scoreline.api.wire.base import Wire, nearest
from scoreline.errors import NotAuthenticated, NotFound
from scoreline.jobs.presence import Presence
from scoreline.settings import Settings
from scoreline.spool import Spool
from scoreline.store import Store
from scoreline.types import JsonObject

W = TypeVar("W", bound=Wire)

_TRANSFER_THREADS = 32
_CHALLENGE = "send the header `Authorization: Bearer <API token>`"


@dataclass(frozen=True, slots=True)
class Installation:
    """What the application works with.

    outside: reaches servers of others. presence: this process among all API processes. transfers: runs the blocking
    steps of uploads and downloads. makers: run what goes on after its request. board: what jobs do that are watched.
    closing: set when the process goes down.
    """

    settings: Settings
    store: Store
    spool: Spool
    outside: Outside
    presence: Presence
    transfers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_TRANSFER_THREADS, thread_name_prefix="transfer")
    )
    makers: Makers = field(default_factory=Makers)
    board: Board = field(default_factory=Board)
    closing: threading.Event = field(default_factory=threading.Event)


def installation(request: Request) -> Installation:
    """Return the application's installation."""
    found = request.app.state.installation
    assert isinstance(found, Installation)
    return found


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request."""

    request: Request
    caller: Caller
    links: Links
    installation: Installation

    @property
    def store(self) -> Store:
        """The state store."""
        return self.installation.store

    @property
    def spool(self) -> Spool:
        """The staged bytes."""
        return self.installation.spool

    @property
    def settings(self) -> Settings:
        """The installation's settings."""
        return self.installation.settings


def call_of(request: Request) -> Call:
    """Authenticate; belongs in a thread, because it reads the database.

    Raises NotAuthenticated; WrongFields for parameters that the route does not have; NotFound.
    """
    call = _call_with_any_query(request)
    _check_query(request)
    return call


def _call_with_any_query(request: Request) -> Call:
    here = installation(request)
    caller = authenticate(here.store, _secret(request))
    if "\0" in request.url.path:
        raise NotFound("There is nothing at an address with a NUL character in it.")
    return Call(request, caller, Links(request), here)


def _check_query(request: Request) -> None:
    """Refuse parameters that the route does not describe: a filter that is misspelt would show too much."""
    if not request.url.query:
        return
    described = (getattr(request.scope.get("route"), "openapi_extra", None) or {}).get("parameters", ())
    known = [parameter["name"] for parameter in described if parameter["in"] == "query"]
    wrong = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            wrong[name] = f"There is no parameter {name[:100]!r}{nearest(name, known) if known else ' here.'}"
        elif "\0" in value:
            wrong[name] = f"{name} holds a NUL character: remove it."
    if wrong:
        raise WrongFields(wrong)


def _service_call(call: Annotated[Call, Depends(call_of)]) -> Call:
    require_right(call.caller, "predictor")
    return call


Called = Annotated[Call, Depends(call_of)]
"""Parameter of a handler that any caller may use."""

PassedOn = Annotated[Call, Depends(_call_with_any_query)]
"""The same for a handler that passes the request on; who gets it looks at the parameters."""

ServiceCalled = Annotated[Call, Depends(_service_call)]
"""Parameter of a handler for prediction servers of this installation."""

JsonBody = Annotated[JsonObject, Depends(json_body)]
"""Parameter of a handler that takes any JSON object. It stands after the caller, so that strangers send nothing."""


def body_of(model: type[W]) -> Callable[..., Awaitable[W]]:
    """Return the dependency that reads the request's body as `model`."""

    async def read(document: JsonBody) -> W:
        return model.read(document)

    return read


def query_of(model: type[W]) -> Callable[[Request], W]:
    """Return the dependency that reads the request's query as `model`."""

    def read(request: Request) -> W:
        return model.read_query(request.query_params.multi_items())

    return read


def documented(
    *,
    query: type[Wire] | None = None,
    body: type[Wire] | JsonObject | None = None,
    upload: Mapping[str, JsonObject] | None = None,
    headers: Sequence[JsonObject] = (),
    everybody: bool = False,
) -> dict[str, Any]:
    """Return what a route adds to the OpenAPI document for what is read by hand.

    body: of JSON, as a model or a schema. upload: schemas of a body that is read as it comes, by media type. headers:
    parameters. everybody: the route asks for no token.
    """
    extra: dict[str, Any] = {"parameters": [*(_query_parameters(query) if query else ()), *headers]}
    if body is not None:
        schema = body if isinstance(body, dict) else _without_null_defaults(body.model_json_schema())
        upload = {"application/json": schema}
    if upload is not None:
        content = {kind: {"schema": schema} for kind, schema in upload.items()}
        extra["requestBody"] = {"required": True, "content": content}
    if everybody:
        extra["security"] = []
    return extra


def _query_parameters(query: type[Wire]) -> Iterator[JsonObject]:
    schema = _without_null_defaults(query.model_json_schema())
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    required = schema.get("required", ())
    for name, described in schema["properties"].items():
        yield {"name": name, "in": "query", "required": name in required, "schema": described | definitions}


def _without_null_defaults(schema: JsonObject) -> JsonObject:
    """Say of fields that may be absent only that."""
    for described in schema["properties"].values():
        described.pop("title", None)
        if described.get("default", "") is None:
            del described["default"]
    return schema


def _secret(request: Request) -> str:
    """Return the token of the Authorization header; the words Token and Bearer mean the same."""
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        raise NotAuthenticated("The Authorization header is there twice: send one.")
    header = "".join(headers).strip()
    if not header:
        raise NotAuthenticated(f"The request has no API token: {_CHALLENGE}.")
    scheme, _, secret = header.partition(" ")
    secret = secret.strip()
    if scheme.lower() not in ("token", "bearer") or not secret:
        raise NotAuthenticated(f"The Authorization header cannot be read: {_CHALLENGE}.")
    return secret
