"""HTTP as uvicorn reads it, for API and prediction server alike: limits on a request's head, errors as all others."""

from __future__ import annotations

import asyncio
import json
import secrets

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 << 10
MOST_URL_BYTES = 32 << 10
_HEAD_SECONDS = 30.0  # from the first byte of a request to the end of its head, and for a connection to say anything
_LINGER_SECONDS = 1.0  # for a client that still sends to see the answer
_NOT_HTTP = (400, "Bad Request", "What was received is no HTTP request that can be read.")
_LONG_URL = (
    414,
    "URI Too Long",
    f"The address is too long: at most {MOST_URL_BYTES} bytes of it are read.",
)
_LARGE_HEAD = (
    431,
    "Request Header Fields Too Large",
    f"The request's headers are too large: at most {MOST_HEAD_BYTES} bytes of them are read.",
)
_CUT = "body_is_cut"


def is_cut(scope: Scope) -> bool:
    """Say whether more bytes came than a request announced, so that its body is cut. To be asked once it is read."""
    return bool(scope.get("state", {}).get(_CUT))


class Protocol(HttpToolsProtocol):
    """One connection.

    Some clients announce too few bytes of a body (they count characters); the rest then looks like a broken request.
    The one before it is cut, is told so, and gets its answer before the connection ends.
    """

    _surplus = False
    _head = 0  # bytes of the head that is being read
    _url = 0
    _fields = 0  # bytes of the headers that are known
    _problem = _NOT_HTTP
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin; a connection that says nothing is closed."""
        super().connection_made(transport)
        # Else bytes after a body that was announced as the connection's last one are passed over.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the network; those after a surplus mean nothing."""
        if self._surplus:
            return
        super().data_received(data)
        if self._timer is None:
            return
        self._head += len(data)
        if self._head > MOST_HEAD_BYTES and not self._surplus:
            self._problem = _LARGE_HEAD  # a single header without an end
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._head = self._url = self._fields = 0
        self._expect_head()

    def on_url(self, url: bytes) -> None:
        """Take a part of the address."""
        self._url += len(url)
        if self._url > MOST_URL_BYTES:
            self._problem = _LONG_URL
            raise ValueError("the address is too long")
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        super().on_header(name, value)
        self._fields += len(name) + len(value)
        if self._fields > MOST_HEAD_BYTES:
            self._problem = _LARGE_HEAD
            raise ValueError("the head is too large")

    def on_headers_complete(self) -> None:
        """Start on a request; one for several hosts, or for none, is no HTTP/1.1."""
        self._head_is_there()
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            self._problem = (400, "Bad Request", f"The request has {hosts or 'no'} Host headers: send one.")
            raise ValueError("not one host")
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- uvicorn's text says less
        """Answer what is no HTTP request, and close the connection."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            self._surplus = True
            cycle.keep_alive = False
            cycle.scope["state"][_CUT] = True
            return
        status, phrase, text = self._problem
        body = json.dumps({"message": text}, separators=(",", ":")).encode()
        head = (
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {secrets.token_hex(8)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        # Closed at once, with bytes unread, the connection would be reset and the answer lost.
        self._surplus = True
        self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: the request is answered as any other."""

    def _expect_head(self) -> None:
        self._head_is_there()
        self._timer = self.loop.call_later(_HEAD_SECONDS, self._late)

    def _head_is_there(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        """Close a connection whose request does not come, unless an earlier one of it is being answered."""
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
