"""An HTTP proxy that can misbehave on purpose, between a scorer and a real server."""

from __future__ import annotations

import json
import threading
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
        reply = self._client.request(method, self.target + path, content=body, headers=kept)
        self.keys.append(headers.get("authorization"))
        content = reply.content
        if method == "POST" and reply.status_code == 200 and (self.rows or self.edit):
            content = self._changed(content)
        told = {name: reply.headers[name] for name in _PASSED_BACK if name in reply.headers}
        return reply.status_code, told | self.headers, content

    def close(self) -> None:
        self.release.set()
        self._client.close()

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
