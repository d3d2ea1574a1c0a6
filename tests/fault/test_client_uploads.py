"""The official client, unmodified, when its upload breaks off: behind a gateway that sends it again, and by itself."""

from __future__ import annotations

import http.client
import io
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from urllib.parse import urlsplit

import pytest

from tests.fault.conftest import Case
from tests.fault.test_uploads import HALF, rows_done
from tests.support.cluster import Cluster
from tests.support.served import until
from tests.support.server import ADMIN_TOKEN

pytestmark = pytest.mark.slow


@contextmanager
def official(endpoint: str) -> Iterator[ModuleType]:
    """Give the official client, connected."""
    with warnings.catch_warnings():
        # About the client's own use of urllib3.
        warnings.filterwarnings("ignore", "Using an empty collection for 'allowed_methods'", FutureWarning)
        datarobot = pytest.importorskip("datarobot")
        datarobot.Client(token=ADMIN_TOKEN, endpoint=endpoint)
        yield datarobot


@contextmanager
def gateway(target: str, broken: Callable[[str], None]) -> Iterator[tuple[str, list[int]]]:
    """A gateway that loses its connection over the first upload, and says 502; give its address and answers.

    broken: called, with the job's id, between the loss of the connection's first half and the answer.
    """
    answers: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            upstream = http.client.HTTPConnection(urlsplit(target).netloc)
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders()
            if self.command == "PUT" and not answers:
                upstream.send(body[:HALF])
                broken(self.path.split("/")[-3])
                upstream.close()
                self._answer(502, [], b"")
                return
            upstream.send(body)
            self._pass_on(upstream)

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            upstream = http.client.HTTPConnection(urlsplit(target).netloc)
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            self._pass_on(upstream)

        do_POST = do_DELETE = do_GET

        def _pass_on(self, upstream: http.client.HTTPConnection) -> None:
            reply = upstream.getresponse()
            content = reply.read()
            kept = [pair for pair in reply.getheaders() if pair[0].lower() in ("content-type", "location")]
            upstream.close()
            self._answer(reply.status, kept, content)

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            if self.command == "PUT":
                answers.append(status)
            self.send_response(status)
            for name, value in [*headers, ("Content-Length", str(len(content)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/api/v2", answers
        finally:
            server.shutdown()
            thread.join()


def test_an_upload_that_a_gateway_lost_is_sent_again_by_the_client(here: Cluster, case: Case, tmp_path) -> None:
    (tmp_path / "in.csv").write_bytes(case.data)

    def broken(job_id: str) -> None:
        until(lambda: rows_done(here, job_id) > 500, 30, "rows")

    with gateway(here.api_url, broken) as (endpoint, answers), official(endpoint) as dr:
        job = dr.BatchPredictionJob.score(
            here.deployment,
            intake_settings={"type": "localFile", "file": str(tmp_path / "in.csv")},
            output_settings={"type": "localFile", "path": str(tmp_path / "out.csv")},
            passthrough_columns=["id"],
            chunk_size=20_000,
        )
    assert answers == [502, 202]
    assert (tmp_path / "out.csv").read_bytes() == case.clean
    here.check_whole(job.id, case.clean)


class Halting(io.BytesIO):
    """A file whose second half takes long."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= HALF:
            time.sleep(0.3)
        return super().read(size)


def test_the_client_is_told_that_the_api_died_over_its_upload(here: Cluster, case: Case, tmp_path) -> None:
    def kill() -> None:
        until(lambda: newest() and rows_done(here, newest()) > 500, 30, "rows")
        here.restart("api")

    def newest() -> str:
        with here.http() as http:
            found = http.get("batchPredictions/", params={"status": "RUNNING"}).json()["data"]
        return str(found[0]["id"]) if found else ""

    killer = threading.Thread(target=kill)
    killer.start()
    with official(f"{here.api_url}/api/v2") as dr, pytest.raises(Exception, match=r"broken|reset|aborted|Max retries"):
        dr.BatchPredictionJob.score(
            here.deployment,
            intake_settings={"type": "localFile", "file": Halting(case.data)},
            passthrough_columns=["id"],
            chunk_size=20_000,
        )
    killer.join()
    with here.http() as http:
        job_id = http.get("batchPredictions/").json()["data"][0]["id"]
    assert here.ended(job_id, 15) == "ABORTED"
    here.check_aborted(job_id, "the API server that received it ended after", "not sent again within 5 s")
