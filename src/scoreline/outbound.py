"""Connections to addresses that users name. Each is judged when it is made, by the address that it is made to.

`transport` is for HTTP of our own: names are looked up once, and every redirect that is followed makes a connection of
its own. `Relay` is for drivers that connect by themselves, and follow redirects wherever they lead: it is their proxy.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import socket
import ssl
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Self

import httpcore2
import httpx2

from scoreline.errors import Forbidden, InvalidRequest
from scoreline.network import Reach, split_url

MOST_REDIRECTS = 5

_CONNECT_SECONDS = 10.0
_HEAD_SECONDS = 30.0
_MOST_HEAD = 64 << 10
_PIECE = 256 << 10
_END = b"\r\n\r\n"
_HOP_BY_HOP = re.compile(rb"(?i)(proxy-[a-z-]+|connection|keep-alive)\s*:")


def transport(
    reach: Reach,
    what: str,
    *,
    limits: httpx2.Limits | None = None,
    verify: Any = True,
) -> Transport:
    """Return a transport for `httpx2.Client` whose connections stay within reach; proxies are not used.

    A connection that would lead elsewhere raises Forbidden, with `what` as its subject ("Intake: the URL"), before
    anything is sent. For redirects give the client `max_redirects=MOST_REDIRECTS`.
    """
    return Transport(_Checked(reach, what), limits or httpx2.Limits(), verify)


class Transport(httpx2.HTTPTransport):
    """Connections within reach, which `shut` ends from any thread."""

    def __init__(self, backend: _Checked, limits: httpx2.Limits, verify: Any) -> None:
        """Connect by `backend`."""
        self._backend = backend
        # The base class offers no place for the backend; what it does with its pool is inherited.
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context(verify=verify, trust_env=False),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=backend,
        )

    def shut(self) -> None:
        """End what is under way, and what begins later: threads that wait in it get an error. It may be called again.

        Closing a connection does not wake a thread that waits in it.
        """
        self._backend.shut()


class _Checked(httpcore2.SyncBackend):
    """Connects to what was looked up and checked, never to a name."""

    def __init__(self, reach: Reach, what: str) -> None:
        self._reach = reach
        self._what = what
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._shut = False

    def shut(self) -> None:
        """End all connections."""
        with self._lock:
            self._shut = True
            for sock in self._open:
                _shut(sock)
            self._open.clear()

    def keep(self, sock: socket.socket) -> None:
        """Let `shut` end this one, too."""
        with self._lock:
            self._open = {known for known in self._open if known.fileno() >= 0} | {sock}
            if self._shut:
                _shut(sock)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address within reach that answers. Raises Forbidden, ConnectError, ConnectTimeout."""
        try:
            addresses = self._reach.resolve(host, port, self._what)
        except OSError as error:
            raise httpcore2.ConnectError(f"{host} cannot be found") from error
        for address in addresses[:-1]:
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return _Kept(super().connect_tcp(address, port, timeout, local_address, socket_options), self)
        return _Kept(super().connect_tcp(addresses[-1], port, timeout, local_address, socket_options), self)

    def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> httpcore2.NetworkStream:
        """Raise Forbidden: a file is no address."""
        raise Forbidden(f"{self._what} leads to the file {path}, which is no address of a server.")


class _Kept(httpcore2.NetworkStream):
    """A connection that its backend can shut."""

    def __init__(self, stream: httpcore2.NetworkStream, backend: _Checked) -> None:
        self._stream = stream
        self._backend = backend
        backend.keep(stream.get_extra_info("socket"))

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return the next bytes."""
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """Return the connection with TLS on it."""
        return _Kept(self._stream.start_tls(ssl_context, server_hostname, timeout), self._backend)

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""
        return self._stream.get_extra_info(info)


class Relay:
    """A proxy on this machine, for one driver, that connects within reach only. `refused` says what it did not do.

    Give `url` to the driver as its proxy for http and https. It holds a password, so that nobody else can use it.
    """

    def __init__(self, reach: Reach, what: str) -> None:
        """Listen on a free port of the loopback address."""
        self._reach = reach
        self._what = what
        password = secrets.token_urlsafe(24)
        self._expected = b"Basic " + base64.b64encode(f"relay:{password}".encode())
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://relay:{password}@127.0.0.1:{self._server.getsockname()[1]}"
        self.refused: Forbidden | None = None
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut all connections; calling it again is harmless."""
        with self._lock:
            self._closed = True
            for sock in (self._server, *self._open):
                _shut(sock)
            self._open.clear()
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(client,), name="relay call", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if not self._keep(client):
                return
            try:
                self._relay(client)
            finally:
                self._forget(client)

    def _relay(self, client: socket.socket) -> None:
        client.settimeout(_HEAD_SECONDS)
        head, rest = _read_head(client)
        lines = head.split(b"\r\n")
        if not any(self._is_password(line) for line in lines[1:]):
            _answer(client, 407, "this proxy is not for you")
            return
        words = lines[0].split(b" ")
        if len(words) != 3:
            _answer(client, 400, "the request cannot be read")
            return
        method, target, version = words
        try:
            url = f"https://{target.decode('ascii')}" if method == b"CONNECT" else target.decode("ascii")
            _, host, port = split_url(url, self._what)
            server = self._connect(host, port)
        except (InvalidRequest, UnicodeDecodeError):
            _answer(client, 400, "the address cannot be read")
            return
        except Forbidden as error:
            self.refused = error
            _answer(client, 403, error.message)
            return
        except OSError as error:
            _answer(client, 502, f"{host}:{port} cannot be reached ({error.strerror or error})")
            return
        with server:
            if not self._keep(server):
                return
            try:
                if method == b"CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established" + _END)
                    server.sendall(rest)
                else:
                    server.sendall(_request_head(method, target, version, lines[1:]) + rest)
                _splice(client, server, tunnel=method == b"CONNECT")
            finally:
                self._forget(server)

    def _connect(self, host: str, port: int) -> socket.socket:
        addresses = self._reach.resolve(host, port, self._what)
        for address in addresses[:-1]:
            with suppress(OSError):
                return socket.create_connection((address, port), _CONNECT_SECONDS)
        return socket.create_connection((addresses[-1], port), _CONNECT_SECONDS)

    def _is_password(self, line: bytes) -> bool:
        name, _, value = line.partition(b":")
        return name.strip().lower() == b"proxy-authorization" and hmac.compare_digest(value.strip(), self._expected)

    def _keep(self, sock: socket.socket) -> bool:
        with self._lock:
            if not self._closed:
                self._open.add(sock)
            return not self._closed

    def _forget(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.discard(sock)


def _read_head(sock: socket.socket, read: bytes = b"") -> tuple[bytes, bytes]:
    """Return a message's head without its end, and what came after it. Raises OSError when none comes."""
    while _END not in read:
        piece = sock.recv(_PIECE)
        if not piece or len(read) > _MOST_HEAD:
            raise OSError("no message came")
        read += piece
    head, _, rest = read.partition(_END)
    return head, rest


def _request_head(method: bytes, target: bytes, version: bytes, fields: list[bytes]) -> bytes:
    path = b"/" + target.split(b"://", 1)[1].partition(b"/")[2]
    return _last(b" ".join((method, path, version)), fields)


def _last(first: bytes, fields: list[bytes]) -> bytes:
    """Return a head that says that nothing comes after its message: the next request may be for another server."""
    kept = [field for field in fields if not _HOP_BY_HOP.match(field)]
    return b"\r\n".join([first, *kept, b"Connection: close"]) + _END


def _pass_answer_head(server: socket.socket, client: socket.socket) -> None:
    """Pass an answer on to the end of its head, and what came with it; interim answers before it stay as they are."""
    head, rest = _read_head(server)
    while head.split(b" ", 2)[1:2] and head.split(b" ", 2)[1].startswith(b"1"):
        client.sendall(head + _END)
        head, rest = _read_head(server, rest)
    first, *fields = head.split(b"\r\n")
    client.sendall(_last(first, fields) + rest)


def _splice(client: socket.socket, server: socket.socket, *, tunnel: bool) -> None:
    """Pass bytes on in both directions until both are at their end."""
    for sock in (client, server):
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    up = threading.Thread(target=_pass_on, args=(client, server), name="relay up", daemon=True)
    up.start()
    try:
        if not tunnel:
            _pass_answer_head(server, client)
        _pass_on(server, client)
    finally:
        _shut(client)
        _shut(server)
        up.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    buffer = bytearray(_PIECE)
    view = memoryview(buffer)
    try:
        while count := source.recv_into(view):
            target.sendall(view[:count])
    except OSError:
        _shut(source)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _answer(client: socket.socket, status: int, text: str) -> None:
    body = text.encode()
    head = f"HTTP/1.1 {status} Relay\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    client.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # that of TLS would change it under a thread that reads
