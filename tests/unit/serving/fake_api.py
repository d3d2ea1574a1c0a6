"""The API as the prediction server sees it, over real HTTP on a free port."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

OWN_TOKEN = "scl_predictor"


class FakeApi:
    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.deployments: dict[tuple[str, str], dict[str, Any]] = {}
        self.packages: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[str, bytes] = {}
        self.registered: list[dict[str, Any]] = []
        self.asked: Counter[str] = Counter()
        self.down = False
        self.url = ""

    def add_token(self, token: str, *, user: str = "u1", kind: str = "user", packages=None, rights=()) -> str:
        self.tokens[token] = {
            "active": True, "userId": user, "username": user, "kind": kind, "packageIds": packages,
            "rights": list(rights), "expiresIn": None,
        }  # fmt: skip
        return token

    def add_model(self, package: str, sha256: str, path: Path, *, user: str = "u1", **document: Any) -> None:
        """One artefact, its package, and a deployment `d-<package>` that `user` may see."""
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as file:
            for item in [path] if path.is_file() else sorted(path.iterdir()):
                file.add(item, item.name)
        self.artifacts[sha256] = tar.getvalue()
        full = {
            "deploymentId": None, "label": package, "status": "active", "packageId": package, "artifact": sha256,
            "format": "lightgbm", "trusted": False, "targetName": "y", "targetType": "Regression",
            "classLabels": None, "positiveClass": None, "threshold": 0.5, "features": [],
        } | document  # fmt: skip
        self.packages[package] = full
        self.deployments[(f"d-{package}", user)] = full | {"deploymentId": f"d-{package}"}

    def answer(self, method: str, path: str, query: str, body: bytes, token: str) -> tuple[int, bytes]:
        self.asked[f"{method} {path}"] += 1
        if self.down:
            return 503, b"{}"
        if token != f"Bearer {OWN_TOKEN}":
            return 403, b'{"message": "no"}'
        kind, _, name = path.removeprefix("/api/v2/internal/").strip("/").partition("/")
        found: Any = None
        match method, kind:
            case "POST", "introspect":
                found = self.tokens.get(json.loads(body)["token"], {"active": False})
            case "GET", "packages":
                found = self.packages.get(name)
            case "GET", "deployments":
                found = self.deployments.get((name, query.partition("userId=")[2]))
            case "GET", "artifacts":
                tar = self.artifacts.get(name)
                return (200, tar) if tar is not None else (404, b"{}")
            case "PUT", "predictors":
                self.registered.append(json.loads(body))
                found = {}
        return (404, b'{"message": "nothing"}') if found is None else (200, json.dumps(found).encode())

    @contextmanager
    def serving(self) -> Iterator[FakeApi]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self) -> None:
                path, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                status, answer = api.answer(self.command, path, query, body, self.headers.get("authorization", ""))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = _do

            def log_message(self, *arguments: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            self.url = f"http://127.0.0.1:{server.server_address[1]}"
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()
