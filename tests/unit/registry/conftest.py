"""People, and models that are registered without any file: their records are written as inspection would leave them."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scoreline.access import Caller, tokens, users
from scoreline.registry import servers
from scoreline.registry.records import info_to_json
from scoreline.store import new_id, now
from scoreline.store.tables.registry import artifacts
from scoreline.types import Feature, FeatureType, ModelInfo, TargetType


@dataclass(frozen=True)
class People:
    ann: Caller  # a user with the right to register code
    bob: Caller  # a user beside her
    boss: Caller  # their admin
    watcher: Caller  # their observer
    eve: Caller  # the admin of another organisation
    predictor: Caller  # a prediction server of the installation


@pytest.fixture
def people(store):
    def made(name, **values):
        return users.create(store, name, **values).caller()

    boss = made("boss", role="admin")
    return People(
        ann=made("ann", rights=["code"]),
        bob=made("bob"),
        boss=boss,
        watcher=made("watcher", role="observer"),
        eve=made("eve", role="admin", organisation="theirs"),
        predictor=Caller(boss.user_id, "boss", boss.org_id, "admin", frozenset({"predictor"}), "service"),
    )


BINARY = ModelInfo(
    "lightgbm",
    TargetType.BINARY,
    (Feature("age", FeatureType.NUMERIC), Feature("carrier", FeatureType.TEXT)),
    ("no", "yes"),
    outputs=2,
)


@pytest.fixture
def inspected(store):
    """Give a function that stores the record of an inspected artefact and returns its hash."""

    def add(owner: Caller, info: ModelInfo | None = BINARY, sha256: str | None = None, **values) -> str:
        row = {
            "id": new_id(),
            "owner_id": owner.user_id,
            "org_id": owner.org_id,
            "sha256": sha256 or (new_id() * 3)[:64],
            "filename": "model.txt",
            "size": 10,
            "format": "lightgbm" if info is None else info.format,
            "runs_code": False,
            "trusted": False,
            "info": None if info is None else info_to_json(info),
            "created_at": now(),
        } | values
        with store.begin() as connection:
            connection.execute(artifacts.insert().values(row))
        return row["sha256"]

    return add


def body(sha256: str | None = None, **values):
    """Return a request for a package, as the client sends it."""
    result = {"name": "late flights", "target": {"name": "late", "type": "Binary"}}
    if sha256 is not None:
        result["modelDescription"] = {"location": f"artifact:{sha256}"}
    return result | values


@pytest.fixture
def predictor(store, people):
    """Give a function that starts a server with the answers it is to give in turn, and registers it."""
    running = []

    def start(*answers, name="default"):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                secret = self.headers["Authorization"].removeprefix("Bearer ")
                server.asked.append((self.path, request, secret, tokens.authenticate(store, secret)))
                status, document = answers[min(len(server.asked), len(answers)) - 1]
                data = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.asked = []
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        running.append(server)
        servers.upsert(store, people.predictor, name, f"http://127.0.0.1:{server.server_port}", 1, slots=1)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()
