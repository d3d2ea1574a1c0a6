"""Around every request: an id, one spelling of paths, and no error that leaves without an answer."""

from __future__ import annotations

import logging
import re
import secrets
from contextlib import suppress

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scoreline.api.jsonio import JsonResponse
from scoreline.api.problems import document_of
from scoreline.api.urls import PREFIX

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SLASHES = re.compile("/{2,}")
_log = logging.getLogger(__name__)


class StreamBroken(Exception):
    """A streamed answer cannot go on; the connection is closed without its proper end, so that the client sees it."""


class _HeadSent(Exception):
    """All that a HEAD request asks for is sent; what would make a body need not go on."""


class Guard:
    """Outermost layer of the application.

    - `X-Request-Id` on every answer: the client's own if it sends a decent one.
    - `/api/v2/x` and `/api/v2/x/` are the same address, without redirects; so is `/api/v2//x/`, which the official
      client asks for in some of its calls.
    - HEAD is GET without the body; OPTIONS and a method that an address does not have say which it has.
    - An exception becomes an answer in JSON; once an answer has begun, the connection breaks instead.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        path: str = scope["path"]
        if path.startswith(PREFIX):
            scope["path"] = _SLASHES.sub("/", path + "/")
        bodiless = scope["method"] == "HEAD"
        if bodiless:
            scope = {**scope, "method": "GET"}
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)
            if bodiless:
                await send({"type": "http.response.body"})
                raise _HeadSent

        try:
            await self._app(scope, receive, answer)
        except (ClientDisconnect, StreamBroken, _HeadSent):
            return  # nobody listens, or nothing more may be said: the server closes the connection
        except Exception as error:  # noqa: BLE001 -- the last resort of every request
            if begun:
                _log.error("request %s: the answer broke off", request_id, exc_info=error)
                return
            status, document, headers = document_of(error, request_id, scope["method"])
            with suppress(_HeadSent):
                await JsonResponse(document, status, headers)(scope, receive, answer)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return secrets.token_hex(8)
