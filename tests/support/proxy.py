"""Proxies that misbehave on purpose: one for HTTP, which can change answers, and one for any bytes over TCP."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2

_PASSED_ON = {"content-type", "accept", "authorization", "datarobot-key"}
_PASSED_BACK = ("content-type", "x-scoreline-model", "retry-after")


class FaultProxy:
    """Passes everything on to `target`, save for what its fields say; they may be changed at any time.

    most_bytes: larger bodies get 413. busy: so many calls get `status` with `retry_after` and
    `refusal` first. hang: calls wait until
    `release`. cut: answers end in the middle. rows: change of the number of predictions. edit: changes an answer's
    document. headers: more of an answer. sizes: bodies that were passed on; keys: the Authorization they came with.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.most_bytes: int | None = None
        self.busy = 0
        self.status = 429
        self.refusal = b'{"message": "slow down"}'
        self.retry_after = "1"
        self.hang = False
        self.release = threading.Event()
        self.cut = False
        self.rows = 0
        self.edit = None
        self.sizes: list[int] = []
        self.keys: list[str | None] = []
        self.headers: dict[str, str] = {}
        self.refused = 0
        self.url = ""
        self._lock = threading.Lock()
        self._idle = threading.Condition()
        self._under_way = 0
        self._over = False
        self._client = httpx2.Client(trust_env=False, timeout=60)

    def answer(self, method: str, path: str, headers, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if method == "POST":
            with self._lock:
                if self.busy > 0:
                    self.busy -= 1
                    return self.status, {"Retry-After": self.retry_after}, self.refusal
                if self.most_bytes is not None and len(body) > self.most_bytes:
                    self.refused += 1
                    return 413, {}, b"too large"
                self.sizes.append(len(body))
            if self.hang:
                self.release.wait(60)
        kept = {name: value for name, value in headers.items() if name.lower() in _PASSED_ON}
        reply = self._asked(method, path, kept, body)
        self.keys.append(headers.get("authorization"))
        content = reply.content
        if method == "POST" and reply.status_code == 200 and (self.rows or self.edit):
            content = self._changed(content)
        told = {name: reply.headers[name] for name in _PASSED_BACK if name in reply.headers}
        return reply.status_code, told | self.headers, content

    def close(self) -> None:
        """Wait for the calls under way: a client that is closed meanwhile would leave their connections open."""
        self.release.set()
        with self._idle:
            self._over = True
            assert self._idle.wait_for(lambda: not self._under_way, 60)
        self._client.close()

    def _asked(self, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx2.Response:
        with self._idle:
            if self._over:
                raise ConnectionAbortedError
            self._under_way += 1
        try:
            return self._client.request(method, self.target + path, content=body, headers=headers)
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify()

    def _changed(self, content: bytes) -> bytes:
        document = json.loads(content)
        if self.edit:
            document = self.edit(document) or document
        if self.rows:
            if "predictions" in document:
                kept = document["predictions"]
                document["predictions"] = kept[:-1] if self.rows < 0 else [*kept, kept[-1]]
            else:
                output = document["outputs"][0]
                rows, width = output["shape"]
                output["shape"][0] = rows + self.rows
                output["data"] = output["data"][:-width] if self.rows < 0 else output["data"] + output["data"][-width:]
        return json.dumps(document).encode()


@contextmanager
def fault_proxy(target: str) -> Iterator[FaultProxy]:
    proxy = FaultProxy(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, content = proxy.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if proxy.cut and self.command == "POST":
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
            else:
                self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *arguments) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # the other side was cut
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield proxy
        finally:
            proxy.close()
            server.shutdown()
            thread.join()


_BLOCK = 1 << 16
_TURN = 0.05  # seconds after which a thread that waits looks what is wanted
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class _Line:
    """One connection passed on; the two threads that pump close it, so that no other thread meets a reused handle."""

    def __init__(self, caller: socket.socket, target: socket.socket) -> None:
        self.ends = (caller, target)
        self.cut = threading.Event()
        self.closed = threading.Event()
        self._lock = threading.Lock()
        self._pumps = 2
        for end in self.ends:
            end.settimeout(_TURN)

    def leave(self) -> None:
        with self._lock:
            self._pumps -= 1
            if self._pumps:
                return
        for end in self.ends:
            if self.cut.is_set():
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.close()
        self.closed.set()


class TcpProxy:
    """Passes connections on to a port of this machine, save for what its fields say.

    They may be changed at any time, and hold for open connections too. `up` is what the caller sends, `down` what
    comes back. latency: seconds for which every block is held. rate: bytes a second of each connection and direction.
    clogged: directions in which nothing passes, though connections stay open. refusing: new connections are reset.
    cut: a direction and the bytes after which the next connection to send so many is reset, once.
    connections: how many there were.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.latency = 0.0
        self.rate: float | None = None
        self.clogged: frozenset[str] = frozenset()
        self.refusing = False
        self.cut: tuple[str, int] | None = None
        self.connections = 0
        self._lock = threading.Lock()
        self._lines: list[_Line] = []
        self._over = False
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._server.settimeout(_TURN)
        self.port = int(self._server.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def clog(self, *directions: str) -> None:
        """Let nothing pass in these directions, both if none is named."""
        self.clogged = frozenset(directions or ("up", "down"))

    def clean(self) -> None:
        """Pass everything again."""
        self.latency, self.rate, self.clogged, self.refusing, self.cut = 0.0, None, frozenset(), False, None

    def reset(self) -> int:
        """Reset all open connections; return how many there were."""
        with self._lock:
            lines = [line for line in self._lines if not line.closed.is_set()]
        for line in lines:
            line.cut.set()
        for line in lines:
            assert line.closed.wait(10)
        return len(lines)

    def close(self) -> None:
        self._over = True
        self._thread.join(10)
        self._server.close()
        self.reset()

    def _accept(self) -> None:
        while not self._over:
            try:
                caller, _ = self._server.accept()
            except TimeoutError:
                continue
            self.connections += 1
            try:
                if self.refusing:
                    raise ConnectionError
                line = _Line(caller, socket.create_connection(("127.0.0.1", self.target), 5))
            except OSError:
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                caller.close()
                continue
            with self._lock:
                self._lines = [line, *(old for old in self._lines if not old.closed.is_set())]
            for way, (source, sink) in (("up", line.ends), ("down", line.ends[::-1])):
                threading.Thread(target=self._pump, args=(way, line, source, sink), daemon=True).start()

    def _pump(self, way: str, line: _Line, source: socket.socket, sink: socket.socket) -> None:
        sent = 0
        try:
            while not line.cut.is_set():
                if way in self.clogged:
                    time.sleep(_TURN)
                    continue
                size = _BLOCK if self.rate is None else max(1, min(_BLOCK, int(self.rate / 10)))
                try:
                    block = source.recv(size)
                except TimeoutError:
                    continue
                if not block:
                    sink.shutdown(socket.SHUT_WR)
                    return
                time.sleep(self.latency + (len(block) / self.rate if self.rate else 0.0))
                while way in self.clogged and not line.cut.is_set():
                    time.sleep(_TURN)
                most = self._before_the_cut(way, sent, len(block))
                _send(sink, block[:most], line.cut)
                sent += len(block)
                if most is not None:
                    line.cut.set()
        except OSError:
            line.cut.set()
        finally:
            line.leave()

    def _before_the_cut(self, way: str, sent: int, size: int) -> int | None:
        """Return how much of a block passes when the connection is to be cut in it; the cut is used up."""
        with self._lock:
            if self.cut is None or self.cut[0] != way or sent + size < self.cut[1]:
                return None
            most = max(0, self.cut[1] - sent)
            self.cut = None
            return most


def _send(sink: socket.socket, block: bytes, cut: threading.Event) -> None:
    rest = memoryview(block)
    while rest and not cut.is_set():
        with suppress(TimeoutError):
            rest = rest[sink.send(rest) :]
