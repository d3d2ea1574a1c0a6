"""The API as a server in a thread, with a database, a spool and people, but neither worker nor prediction server.

What these would do is done by hand: `run` claims a job, `rows` writes a block of its result, `complete` ends it.
"""

from __future__ import annotations

import http.client
import shutil
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from scoreline.access import Caller, service_token, tokens, users
from scoreline.api import create_app
from scoreline.api.server import serve_app
from scoreline.jobs import lease, states
from scoreline.jobs.ledger import StoreLedger
from scoreline.jobs.states import Run
from scoreline.registry import deployments, packages, servers
from scoreline.registry.records import info_to_json
from scoreline.settings import Settings
from scoreline.spool import Spool, spool_of
from scoreline.store import Store, new_id, now
from scoreline.store.tables.registry import artifacts
from scoreline.types import Counts, Feature, FeatureType, Flush, ModelInfo, Position, Receipt, TargetType
from tests.support.conform import Conform

BINARY = ModelInfo(
    "lightgbm",
    TargetType.BINARY,
    (Feature("x", FeatureType.NUMERIC), Feature("carrier", FeatureType.TEXT)),
    ("no", "yes"),
    outputs=2,
)


@dataclass
class Api:
    """A running API. `user` is who calls unless a test says otherwise; `token` is theirs."""

    url: str
    settings: Settings
    store: Store
    spool: Spool
    user: Caller
    token: str
    predictor_token: str
    deployment_id: str = ""
    package_id: str = ""
    runs: dict[str, list] = field(default_factory=dict)
    deviations: list[str] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"{self.url}/api/v2"

    def client(self, token: str | None = None, **options) -> httpx2.Client:
        headers = {"Authorization": f"Token {token or self.token}"} | options.pop("headers", {})
        return httpx2.Client(base_url=f"{self.endpoint}/", headers=headers, trust_env=False, timeout=30, **options)

    def other(self, name: str, **values) -> str:
        """Make another user; return a token of theirs."""
        return tokens.create(self.store, users.create(self.store, name, **values).id, "test")[1]

    def artifact(self, info: ModelInfo = BINARY, content: bytes = b"not really a tar") -> str:
        """Store the record of an artefact that has been inspected; return its hash."""
        sha256 = (new_id() * 3)[:64]
        with self.store.begin() as connection:
            connection.execute(
                artifacts.insert().values(
                    id=new_id(),
                    owner_id=self.user.user_id,
                    org_id=self.user.org_id,
                    sha256=sha256,
                    filename="model.txt",
                    size=10,
                    format=info.format,
                    runs_code=False,
                    trusted=False,
                    info=info_to_json(info),
                    created_at=now(),
                )
            )
        file = self.settings.data_dir / "artifact"
        file.write_bytes(content)
        with file.open("rb") as body:
            self.spool.put_object(f"artifacts/{sha256}.tar", body)
        return sha256

    def deploy(self, label: str, info: ModelInfo = BINARY) -> tuple[str, str]:
        """Make a package and a deployment; return their ids."""
        body = {
            "name": label,
            "target": {"name": "late", "type": info.target_type},
            "modelDescription": {"location": f"artifact:{self.artifact(info)}"},
        }
        package = packages.create_from_json(self.store, self.user, body)
        return package.id, deployments.create(self.store, self.user, package.id, label).id

    def job(self, **values) -> dict:
        """Create a job through the API; return its document."""
        with self.client() as client:
            response = client.post("batchPredictions/", json={"deploymentId": self.deployment_id} | values)
        assert response.status_code == 202, response.text
        return response.json()

    def status(self, job_id: str) -> dict:
        with self.client() as client:
            response = client.get(f"batchPredictions/{job_id}/")
        assert response.status_code == 200, response.text
        return response.json()

    def upload(self, job_id: str, data: bytes = b"x,carrier\n1,AA\n") -> None:
        with self.client() as client:
            path = f"batchPredictions/{job_id}/csvUpload/"
            response = client.put(path, content=data, headers={"Content-Type": "text/csv"})
        assert response.status_code == 202, response.text

    # A worker's part

    def run(self, job_id: str) -> Run:
        """Claim the job, which must be the first in line."""
        server = servers.list_servers(self.store, self.user)[0]
        run = wait_for(lambda: lease.claim(self.store, server.id, "worker"))
        assert run.job_id == job_id
        self.runs[job_id] = [StoreLedger(self.store, run), 0, Counts(), 0]
        self.runs[job_id][0].begin({"stream": f"results/{job_id}"})
        return run

    def rows(self, run: Run, body: bytes, count: int = 0, failed: bytes = b"") -> None:
        """Write the next block of the result, and of the list of failed rows."""
        ledger, number, counts, size = self.runs[run.job_id]
        receipt = self.spool.put_segment(f"results/{run.job_id}", f"{number:06d}", body)
        added = Counts(count, count)
        errors = Receipt(self.spool.put_segment(f"errors/{run.job_id}", f"{number:06d}", failed)) if failed else None
        end = Position(0, number + 1, counts.read + count)
        ledger.record(Flush(number, number, end, added, Receipt(receipt), len(body), errors))
        self.runs[run.job_id] = [ledger, number + 1, counts + added, size + len(body)]

    def complete(self, run: Run) -> None:
        _, _, counts, size = self.runs[run.job_id]
        assert self.store.run(lambda c: states.complete(c, run, counts, 100, size))

    def fail(self, run: Run, reason: str) -> None:
        assert self.store.run(lambda c: states.fail(c, run, reason))

    def end_all(self) -> None:
        """Abort what is still in line or running, so that the next test has the server for itself."""
        with self.client() as client:
            query = {"status": ["INITIALIZING", "RUNNING"], "limit": 1000}
            for job in client.get("batchPredictions/", params=query).json()["data"]:
                client.delete(f"batchPredictions/{job['id']}/")


class SlowUpload:
    """An upload whose body is sent by hand; `path` is below batchPredictions/."""

    def __init__(self, api, path, *headers):
        self.connection = http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=20)
        self.connection.connect()
        self.sock = self.connection.sock
        lines = [f"PUT /api/v2/batchPredictions/{path} HTTP/1.1", "Host: x", f"Authorization: Token {api.token}"]
        lines += [*headers, "Content-Type: text/csv", "", ""]
        self.sock.sendall("\r\n".join(lines).encode())

    def send(self, data):
        self.sock.sendall(data)

    def chunk(self, data):
        self.sock.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def answer(self):
        response = http.client.HTTPResponse(self.sock)
        response.begin()
        return response.status, response.read()

    def close(self):
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.connection.close()


def wait_for(found, seconds: float = 10.0):
    """Return what `found` returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return value


@contextmanager
def running_api(folder: Path, migrated: Path, **settings):
    """Start the API in a thread; stop it at the end."""
    database = folder / "scoreline.db"
    shutil.copyfile(migrated, database)
    chosen = Settings(data_dir=folder, port=0, min_free_bytes=0, **settings)
    store = Store(f"sqlite:///{database}")
    spool = spool_of(chosen)
    boss = users.create(store, "boss", role="admin")
    ann = users.create(store, "ann", rights=["code"])
    token = tokens.create(store, ann.id, "test")[1]
    secret = service_token(store, "predictor", ["predictor"])
    stop, ready, address = threading.Event(), threading.Event(), []

    def on_ready(url: str) -> None:
        address.append(url)
        ready.set()

    app = create_app(chosen, store, spool)
    app.add_middleware(Conform, document=app.openapi(), found=(deviations := []))
    options = {"stop": stop, "ready": on_ready}
    thread = threading.Thread(target=serve_app, args=(app, "127.0.0.1", 0), kwargs=options, daemon=True)
    thread.start()
    assert ready.wait(20)
    api = Api(address[0], chosen, store, spool, ann.caller(), token, secret, deviations=deviations)
    service = Caller(boss.id, "boss", boss.org_id, "admin", frozenset({"predictor"}), "service")
    servers.upsert(store, service, "default", "http://127.0.0.1:1", 3, slots=1)
    api.package_id, api.deployment_id = api.deploy("flights")
    try:
        yield api
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        assert not deviations, deviations
        store.dispose()
