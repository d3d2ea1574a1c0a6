"""HTTP as all scorers use it: open connections that can be cut, limits on time and size, what a status means."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx2

from scoreline import outbound
from scoreline.errors import (
    AccessRefused,
    DataRefused,
    Forbidden,
    Overloaded,
    ScoringError,
    ServerUnavailable,
    TooLarge,
    WrongAnswer,
    one_line,
)
from scoreline.types import JsonObject

if TYPE_CHECKING:
    from scoreline.network import Reach

_CONNECT_SECONDS = 5.0
_CONNECTIONS = 64
_AT_ONCE = 1.0  # seconds
_KEEP_ALIVE = 60.0  # less than our own server's, so that it never closes what is about to be used


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end. `headers` are found by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON; raises ValueError for anything else."""
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def document(self) -> JsonObject:
        """Return the body when it is a JSON object, else nothing."""
        try:
            document = self.json()
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


class Transport:
    """Calls one server; used by several threads at once. `where` names it in messages.

    again: a call whose connection breaks at once is made once more, for servers that close connections after an error.
    reach: connections that would lead elsewhere are not made.
    """

    def __init__(
        self, where: str, headers: Mapping[str, str], *, again: bool = False, reach: Reach | None = None
    ) -> None:
        self.where = where
        self._again = again
        self._sockets = _Sockets()
        limits = httpx2.Limits(
            max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS, keepalive_expiry=_KEEP_ALIVE
        )
        # Registered addresses are reached directly: proxies of the environment are for the outside world. Redirects
        # are not followed: the address was registered, the place it points to was not.
        self._client = httpx2.Client(
            headers={"Accept-Encoding": "identity", **headers},
            limits=limits,
            transport=None if reach is None else outbound.transport(reach, f"The {where}", limits=limits),
            follow_redirects=False,
            trust_env=False,
        )

    def post(self, url: str, body: bytes, *, content_type: str, seconds: float, most_bytes: int) -> Reply:
        """Send a body; see `_call`."""
        return self._call("POST", url, body, {"Content-Type": content_type}, seconds, most_bytes)

    def get(self, url: str, *, seconds: float, most_bytes: int = 1 << 20) -> Reply:
        """Ask; see `_call`."""
        return self._call("GET", url, None, {}, seconds, most_bytes)

    def close(self) -> None:
        """End calls in flight at once (they raise ServerUnavailable) and close all connections."""
        self._sockets.shut()
        self._client.close()

    def _call(  # noqa: PLR0917 -- private, called from the two above
        self, method: str, url: str, body: bytes | None, headers: dict[str, str], seconds: float, most_bytes: int
    ) -> Reply:
        """Raise ServerUnavailable without a whole answer within `seconds`, WrongAnswer for one over `most_bytes`."""
        if self._sockets.closed:
            raise self._closed()
        began = time.monotonic()
        try:
            return self._once(method, url, body, headers, seconds, most_bytes)
        except _Broken:
            if not self._again or time.monotonic() - began > _AT_ONCE:
                raise
        return self._once(method, url, body, headers, seconds, most_bytes)

    def _once(  # noqa: PLR0917 -- as above
        self, method: str, url: str, body: bytes | None, headers: dict[str, str], seconds: float, most_bytes: int
    ) -> Reply:
        deadline = time.monotonic() + seconds
        timeout = httpx2.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
        try:
            with self._client.stream(
                method,
                url,
                content=body,
                headers=headers,
                timeout=timeout,
                extensions={"trace": self._sockets.watch},
            ) as response:
                parts, size = [], 0
                for part in response.iter_bytes():
                    size += len(part)
                    if size > most_bytes:
                        raise WrongAnswer(f"Scoring failed: the {self.where} answered more than {most_bytes} bytes.")
                    if time.monotonic() > deadline:
                        raise self._late(seconds)
                    parts.append(part)
                return Reply(response.status_code, dict(response.headers), b"".join(parts))
        except Forbidden as error:
            raise AccessRefused(f"Scoring failed: {error.message}") from error
        except httpx2.ReadTimeout as error:
            raise self._late(seconds) from error
        except (httpx2.TransportError, httpx2.DecodingError, RuntimeError, OSError) as error:
            if self._sockets.closed:
                raise self._closed() from error
            if (distrust := _distrust(error)) is not None:
                raise AccessRefused(
                    f"Scoring failed: the certificate of the {self.where} is not trusted ({distrust}), and nothing was "
                    "sent there; check the address, or let the machines of the workers trust who signed it."
                ) from error
            cause = one_line(str(error), 200) or type(error).__name__
            broken = isinstance(error, httpx2.ReadError | httpx2.WriteError | httpx2.RemoteProtocolError)
            kind = _Broken if broken else ServerUnavailable
            raise kind(f"Scoring failed: the {self.where} does not answer ({cause}); is it running?") from error

    def _late(self, seconds: float) -> ServerUnavailable:
        if self._sockets.closed:
            return self._closed()
        return ServerUnavailable(f"Scoring failed: the {self.where} gave no whole answer within {seconds:g} seconds.")

    def _closed(self) -> ServerUnavailable:
        return ServerUnavailable(f"Scoring stopped: the connection to the {self.where} was closed.")


def refusal(where: str, reply: Reply, said: str) -> ScoringError:
    """Return the error that a status other than 200 means; `said` is the server's reason, one line."""
    status = reply.status
    told = f"Scoring failed: the {where} says: {said or 'nothing'} (status {status})"
    if status == 413:
        return TooLarge(told)
    if status in {429, 503}:
        return Overloaded(told, retry_after(reply.headers.get("retry-after")))
    if status in {401, 403}:
        return AccessRefused(f"{told}; check its key.")
    if status in {404, 405, 406, 415} or 300 <= status < 400:
        return AccessRefused(f"{told}; check the address, the kind of server and its options.")
    if 400 <= status < 500 and status != 408:
        return DataRefused(said or f"the server refused the rows (status {status})")
    return ServerUnavailable(told)


def retry_after(text: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which is a number or a date; None for neither."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _distrust(error: BaseException | None) -> str | None:
    """Return what is wrong with the other side's certificate, None where that is not what the call failed of."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return one_line(error.verify_message, 200)
        error = error.__cause__ or error.__context__
    return None


class _Broken(ServerUnavailable):
    """A connection that was there and is gone."""


class _Sockets:
    """The sockets of a client, so that calls in flight can be ended from another thread.

    Closing a client, or a socket, does not wake a thread that waits in it; shutting the socket down does.
    """

    def __init__(self) -> None:
        self.closed = False
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def watch(self, event: str, info: dict[str, Any]) -> None:
        """Trace hook of the HTTP library."""
        if event != "connection.connect_tcp.complete":
            return
        stream = info.get("return_value")
        sock = stream.get_extra_info("socket") if stream is not None else None
        if not isinstance(sock, socket.socket):
            return
        with self._lock:
            self._open = {known for known in self._open if known.fileno() >= 0} | {sock}
            if self.closed:
                _shut(sock)

    def shut(self) -> None:
        """End everything that is in flight or begins later."""
        with self._lock:
            self.closed = True
            for sock in self._open:
                _shut(sock)
            self._open.clear()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        sock.shutdown(socket.SHUT_RDWR)
