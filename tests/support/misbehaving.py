"""An HTTP proxy in front of an object store that fails as tests tell it to, call by call."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Fault:
    """What happens to the next `times` calls that `calls` matches, a pattern for "METHOD path?query".

    status and body: the answer, instead of the store's. lost: the store does its work, and the connection is cut before
    its answer. cut: the answer is cut after so many bytes of its body. unsent: the call is cut beforehand.
    then: called beforehand. after: so many calls that match pass unharmed first.
    """

    calls: str
    status: int = 0
    body: bytes = b""
    lost: bool = False
    cut: int | None = None
    unsent: bool = False
    times: int = 1
    after: int = 0
    then: Callable[[], object] | None = None


@dataclass
class Misbehaving:
    """The proxy; `faults` may be changed at any time. seen: all calls, in order."""

    url: str = ""
    target: str = ""
    faults: list[Fault] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    mended: Callable[[str, dict[str, str], bytes, Forward], Answer | None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, call: str) -> Fault | None:
        with self._lock:
            self.seen.append(call)
            for fault in self.faults:
                if fault.times and re.search(fault.calls, call):
                    if fault.after:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def calls(self, pattern: str) -> int:
        return sum(re.search(pattern, call) is not None for call in self.seen)

    def clear(self) -> None:
        with self._lock:
            self.faults.clear()
            self.seen.clear()


Answer = tuple[int, list[tuple[str, str]], bytes]
Forward = Callable[[dict[str, str], bytes], Answer]


class CuttingHandler(BaseHTTPRequestHandler):
    """What servers that break off in the middle have in common."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *arguments: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError, ValueError):  # the other side was cut
            super().handle()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()


class _Handler(CuttingHandler):
    proxy: Misbehaving

    def _any(self) -> None:
        size = self.headers.get("content-length")
        if self.headers.get("expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(int(size)) if size else b""
        if len(body) < int(size or 0):  # the other side was cut
            self.close_connection = True
            return
        fault = self.proxy.fault(f"{self.command} {self.path}")
        if fault is not None:
            if fault.then:
                fault.then()
            if fault.unsent:
                self.cut()
                return
            if fault.status:
                self._reply(fault.status, [("Content-Type", "application/xml")], fault.body)
                return
        headers = dict(self.headers.items())
        if not size:
            headers.pop("Content-Length", None)
        answer = self.proxy.mended(self.path, headers, body, self._forward) if self.proxy.mended else None
        status, told, content = answer or self._forward(headers, body)
        if fault is not None and fault.lost:
            self.cut()
            return
        self._reply(status, told, content, cut=fault.cut if fault else None)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

    def _forward(self, headers: dict[str, str], body: bytes) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(self.proxy.target).netloc, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _reply(self, status: int, headers: list[tuple[str, str]], body: bytes, cut: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(body)))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.cut()


@contextmanager
def misbehaving(target: str = "") -> Iterator[Misbehaving]:
    """Stand in front of `target`, an address that may be set later."""
    proxy = Misbehaving(target=target)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
