"""Connections to addresses that users name: made to what was checked, also after redirects, also by other drivers."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import socket
import threading

import httpx2
import pytest

from scoreline import outbound
from scoreline.errors import Forbidden
from scoreline.network import Reach


class Server(http.server.ThreadingHTTPServer):
    """Answers with what it was sent; `/to/URL` sends the caller on."""

    daemon_threads = True

    def __init__(self, host="127.0.0.1"):
        super().__init__((host, 0), _Handler)
        self.seen = []
        self.place = f"{host}:{self.server_port}"
        self.url = f"http://{self.place}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, dict(self.headers), hashlib.sha256(body).hexdigest()))
        to = self.path.partition("/to/")[2]
        self.send_response(307 if to else 200)
        if to:
            self.send_header("Location", to)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = _answer

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def server(host="127.0.0.1"):
    running = Server(host)
    threading.Thread(target=running.serve_forever, args=(0.02,)).start()
    try:
        yield running
    finally:
        running.shutdown()
        running.server_close()


@pytest.fixture(scope="module")
def opened():
    with server() as running:
        yield running


@pytest.fixture(scope="module")
def inner():
    """A server that nobody may be led to."""
    with server() as running:
        yield running
    assert running.seen == []


def client(reach):
    return httpx2.Client(
        transport=outbound.transport(reach, "Intake: the URL"),
        follow_redirects=True,
        max_redirects=outbound.MOST_REDIRECTS,
    )


def test_redirects_are_checked_one_by_one(opened, inner):
    with client(Reach(allowed=(opened.place,))) as http_client:
        assert http_client.get(f"{opened.url}/to/{opened.url}/x").status_code == 200
        with pytest.raises(Forbidden, match=r"^Intake: the URL leads to the private address 127\.0\.0\.1"):
            http_client.get(f"{opened.url}/to/{inner.url}/latest/meta-data")
        with pytest.raises(Forbidden, match=r"leads to 169\.254\.169\.254, which is no address"):
            http_client.get(f"{opened.url}/to/http://169.254.169.254/")
        with pytest.raises(httpx2.TooManyRedirects):
            http_client.get(opened.url + f"/to/{opened.url}" * 7)
        with pytest.raises(httpx2.ConnectError, match="cannot be found"):
            http_client.get("http://no-such-host.invalid/")


def test_the_connection_goes_where_the_check_looked(inner, monkeypatch):
    with server("127.0.0.2") as checked:
        real, looked_up = socket.getaddrinfo, []

        def moves(host, *given, **more):
            """Answer the first question with another address than the next ones."""
            if host != "moves.test":
                return real(host, *given, **more)
            looked_up.append(host)
            return real("127.0.0.2" if len(looked_up) == 1 else "127.0.0.1", *given, **more)

        with client(Reach(allowed=("127.0.0.2/32",))) as http_client, monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", moves)
            answer = http_client.get(f"http://moves.test:{checked.server_port}/x")
        assert answer.status_code == 200
        assert looked_up == ["moves.test"]
        assert checked.seen[0][2]["Host"] == f"moves.test:{checked.server_port}"


def test_own_parts_are_no_place_to_go(inner):
    reach = Reach(allowed=("127.0.0.0/8",), own=(f"0.0.0.0:{inner.server_port}",))
    with client(reach) as http_client, pytest.raises(Forbidden, match="part of this installation"):
        http_client.get(inner.url)


@pytest.fixture
def relay(opened):
    with outbound.Relay(Reach(allowed=(opened.place,)), "Output: the endpoint") as running:
        yield running


def through(relay, **options):
    return httpx2.Client(proxy=relay.url, trust_env=False, **options)


def test_drivers_reach_through_the_relay_what_is_open_and_nothing_else(opened, inner, relay):
    body = os.urandom(5 << 20)
    with through(relay, follow_redirects=True) as driver:
        answer = driver.put(f"{opened.url}/bucket/key?x=1", content=body)
        assert (answer.status_code, answer.content) == (200, body)
        method, path, headers, digest = opened.seen[-1]
        assert (method, path, digest) == ("PUT", "/bucket/key?x=1", hashlib.sha256(body).hexdigest())
        assert not any(name.lower().startswith("proxy-") for name in headers)
        assert [driver.get(f"{opened.url}/{n}").status_code for n in range(3)] == [200] * 3
        assert relay.refused is None
        answer = driver.get(f"{opened.url}/to/{inner.url}/latest/meta-data")
        assert answer.status_code == 403
        assert "private address 127.0.0.1" in answer.text
        assert relay.refused is not None
        assert relay.refused.message == answer.text
        assert driver.get("http://no-such-host.invalid/").status_code == 502


def ask(relay, head, more=b""):
    with socket.create_connection(("127.0.0.1", httpx2.URL(relay.url).port), 5) as sock:
        sock.sendall(head.encode() + b"\r\n\r\n" + more)
        parts = []
        while piece := sock.recv(65536):
            parts.append(piece)
            if b"200 Connection established" in b"".join(parts) and more:
                sock.sendall(more)
                more = b""
        return b"".join(parts)


def test_tunnels_lead_within_reach_only_and_have_a_password(opened, inner, relay):
    import base64

    url = httpx2.URL(relay.url)
    password = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    known = f"\r\nProxy-Authorization: Basic {password}"
    inside = f"GET /in-tunnel HTTP/1.1\r\nHost: {opened.place}\r\nConnection: close\r\n\r\n".encode()
    answer = ask(relay, f"CONNECT {opened.place} HTTP/1.1{known}", inside)
    assert answer.startswith(b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200")
    assert opened.seen[-1][1] == "/in-tunnel"
    for target in (inner.place, "169.254.169.254:80", "[::ffff:127.0.0.1]:" + str(inner.server_port)):
        assert ask(relay, f"CONNECT {target} HTTP/1.1{known}").startswith(b"HTTP/1.1 403 ")
    for wrong in ("", "\r\nProxy-Authorization: Basic AAAA", f"\r\nAuthorization: Basic {password}"):
        assert ask(relay, f"GET {opened.url}/stranger HTTP/1.1{wrong}").startswith(b"HTTP/1.1 407 ")
    for unreadable in ("nonsense", "GET /path HTTP/1.1", "GET ftp://host/ HTTP/1.1", "GET http://host:0/ HTTP/1.1"):
        assert ask(relay, f"{unreadable}{known}").startswith(b"HTTP/1.1 400 ")
    assert all(path != "/stranger" for _, path, *_ in opened.seen)


def test_closing_cuts_calls_under_way(opened):
    silent = socket.create_server(("127.0.0.1", 0))
    with outbound.Relay(Reach(allowed=(f"127.0.0.1:{silent.getsockname()[1]}",)), "it") as relay, silent:
        threading.Timer(0.2, relay.close).start()
        with through(relay, timeout=20) as driver, pytest.raises(httpx2.TransportError):
            driver.get(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        with through(relay, timeout=20) as driver, pytest.raises(httpx2.TransportError):
            driver.get(f"{opened.url}/late")
