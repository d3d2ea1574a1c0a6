"""A web server on loopback that behaves, or misbehaves, as tests tell it to, answer by answer."""

from __future__ import annotations

import email.utils
import hashlib
import re
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.misbehaving import CuttingHandler


@dataclass
class Page:
    """What a path holds. tag, changed: ETag and Last-Modified, none if empty. length: told, if it is not the real one.

    chunked: no length is told, but chunks; open_end: neither.
    """

    body: bytes
    tag: str = ""
    changed: str = ""
    parts: bool = True
    kind: str = "text/csv"
    encoding: str = ""
    chunked: bool = False
    open_end: bool = False
    length: int | None = None


@dataclass
class Reply:
    """What one call is answered instead, or what happens to its answer.

    status: 0 for the usual answer. cut: it is cut behind so many bytes of its body. then: called first. wait: seconds
    before anything is sent. lost: the work is done and the connection cut. unread: the call's body is not read.
    drip: seconds between pieces of 1 KiB.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    wait: float = 0.0
    lost: bool = False
    unread: bool = False
    drip: float = 0.0
    then: Callable[[], object] | None = None


@dataclass
class Call:
    """One call that came, with its body; names of headers in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Web:
    """The server: pages by path, and what is to happen to the next calls of a path (without its query)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.place = url.partition("://")[2]
        self.pages: dict[str, Page] = {}
        self.next: defaultdict[str, list[Reply]] = defaultdict(list)
        self.calls: list[Call] = []
        self.user = ""  # "user:password" that every call has to bear, as Basic has it

    def put(self, key: str, body: bytes, **more: Any) -> None:
        given = {"tag": f'"{hashlib.sha256(body).hexdigest()}"', **more}
        self.pages[f"/{key}"] = Page(body, **given)

    def get(self, key: str) -> bytes | None:
        page = self.pages.get(f"/{key}")
        return None if page is None else page.body

    def at(self, key: str, **more: Any) -> dict[str, Any]:
        sent = {"method": "PUT"} if key.startswith("out/") else {}
        return {"type": "http", "url": f"{self.url}/{key}"} | sent | more

    def delete(self, key: str) -> None:
        del self.pages[f"/{key}"]

    def names(self) -> list[str]:
        return [path[1:] for path in self.pages]

    def unfinished(self) -> list[str]:
        return []

    def empty(self) -> None:
        self.pages.clear()
        self.next.clear()
        self.calls.clear()
        self.user = ""

    @staticmethod
    def keys(_: str) -> None:
        return None

    def came(self, key: str, method: str = "") -> list[Call]:
        return [call for call in self.calls if call.path == f"/{key}" and method in ("", call.method)]


class _Handler(CuttingHandler):
    web: Web

    def _any(self) -> None:
        path = self.path.partition("?")[0]
        reply = self.web.next[path].pop(0) if self.web.next[path] else Reply()
        body = b""
        if not reply.unread:
            size = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(size)
            if len(body) < size:  # the other side was cut
                self.close_connection = True
                return
        self.web.calls.append(
            Call(self.command, path, {name.lower(): value for name, value in self.headers.items()}, body)
        )
        if reply.then:
            reply.then()
        time.sleep(reply.wait)
        if reply.status:
            self.close_connection = reply.unread
            self._send(reply.status, reply.headers, reply.body, reply)
        elif self.web.user and self.headers.get("authorization") != self.web.user:
            self._send(401, {"WWW-Authenticate": "Basic"}, b"who are you?", reply)
        elif self.command == "GET":
            self._page(path, reply)
        else:
            self.web.put(path[1:], body)
            self.cut() if reply.lost else self._send(201, {}, b"", reply)

    do_GET = do_HEAD = do_PUT = do_POST = _any

    def _page(self, path: str, reply: Reply) -> None:
        page = self.web.pages.get(path)
        if page is None:
            self._send(404, {"Content-Type": "text/html"}, b"<h1>Not <b>found</b></h1>", reply)
            return
        told = {"Content-Type": page.kind, "ETag": page.tag, "Last-Modified": page.changed}
        told = {name: value for name, value in told.items() if value}
        if page.encoding:
            told["Content-Encoding"] = page.encoding
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", "")) if page.parts else None
        wanted = self.headers.get("if-range")
        if span is None or (wanted is not None and wanted not in (page.tag, page.changed)):
            self._send(200, told, page.body, reply, page)
            return
        start, end = int(span[1]), int(span[2] or len(page.body)) + 1
        if start >= len(page.body):
            self._send(416, {"Content-Range": f"bytes */{len(page.body)}"}, b"", reply)
            return
        part = page.body[start:end]
        told["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(page.body)}"
        self._send(206, told, part, reply)

    def _send(self, status: int, headers: dict[str, str], body: bytes, reply: Reply, page: Page | None = None) -> None:
        chunked, open_end = page is not None and page.chunked, page is not None and page.open_end
        length = len(body) if page is None or page.length is None else page.length
        ends = {} if open_end else {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(length)}
        self.send_response_only(status)
        for name, value in ({"Date": email.utils.formatdate(usegmt=True)} | ends | headers).items():
            self.send_header(name, value)
        self.end_headers()
        sent = body if reply.cut is None else body[: reply.cut]
        step = 1024 if reply.drip else 1 << 20
        for at in range(0, len(sent), step):
            piece = sent[at : at + step]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            time.sleep(reply.drip)
        if chunked and reply.cut is None:
            self.wfile.write(b"0\r\n\r\n")
        if reply.cut is not None or open_end or length != len(body):
            self.cut()


@contextmanager
def web(_: Path | None = None, *, tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        made = Web(f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}")
        handler.web = made
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
