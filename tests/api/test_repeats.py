"""A request for a job that comes again: with a key, and after its connection was killed."""

from __future__ import annotations

import json
import socket
import struct
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx2
import pytest

from scoreline.jobs import repeats, service
from tests.support.api import wait_for


def post(api, key=None, **body):
    headers = {} if key is None else {"Idempotency-Key": key}
    with api.client() as client:
        return client.post("batchPredictions/", json={"deploymentId": api.deployment_id} | body, headers=headers)


def test_a_key_makes_one_job_of_many_requests(api):
    first = post(api, "one", numConcurrent=2)
    again = post(api, "one", numConcurrent=2)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["location"] == first.headers["location"]
    other = post(api, "one", numConcurrent=3)
    assert other.status_code == 422
    assert first.json()["id"] in other.json()["message"]
    assert list(other.json()["errors"]) == ["Idempotency-Key"]


def test_a_key_answers_with_the_job_as_it_is_now(api):
    job_id = post(api, "two").json()["id"]
    api.upload(job_id)
    run = api.run(job_id)
    api.complete(run)
    assert post(api, "two").json()["status"] == "COMPLETED"


def test_a_key_at_two_addresses_is_two_requests(api):
    job_id = post(api, "three").json()["id"]
    with api.client(headers={"Idempotency-Key": "three"}) as client:
        response = client.post("batchPredictions/fromExisting/", json={"predictionJobId": job_id})
        assert response.status_code == 422
    with api.client(headers={"Idempotency-Key": "four"}) as client:
        made = {
            client.post("batchPredictions/fromExisting", json={"predictionJobId": job_id}).json()["id"],
            client.post("batchPredictions/fromExisting/", json={"predictionJobId": job_id}).json()["id"],
        }
    assert len(made) == 1
    assert job_id not in made


def test_keys_at_once(api):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: post(api, f"at once {n % 2}"), range(16)))
    assert {answer.status_code for answer in answers} == {202}
    assert [len({answer.json()["id"] for answer in answers[n::2]}) for n in range(2)] == [1, 1]


@pytest.mark.parametrize("key", ["", "é".encode(), b"x" * 256])
def test_odd_keys(api, key):
    assert post(api, key).status_code == 422


def test_two_keys_in_one_request(api):
    with api.client() as client:
        headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
        response = client.post("batchPredictions/", json={"deploymentId": api.deployment_id}, headers=headers)
    assert response.status_code == 422


def test_the_same_request_twice_on_purpose_is_two_jobs(api):
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(lambda _: post(api, numConcurrent=5), range(8)), post(api, numConcurrent=5)]
    assert len({answer.json()["id"] for answer in answers}) == 9


class Stopped:
    """Holds the making of jobs at a point, until the client's connection is dead."""

    def __init__(self, monkeypatch, after):
        self.made, self.go_on = threading.Event(), threading.Event()
        self.jobs = []
        create = service.create

        def stop():
            self.made.set()
            assert self.go_on.wait(10)

        def held(*args, **options):
            if not after:
                stop()
            job = create(*args, **options)
            self.jobs.append(job.id)
            if after:
                stop()
            return job

        monkeypatch.setattr(service, "create", held)


def kill(api, stopped, body, ending):
    """Send a request; when its job is being made, end the connection; then let it go on."""
    place = urlsplit(api.url)
    sock = socket.create_connection((place.hostname, place.port), timeout=10)
    data = json.dumps(body).encode()
    head = f"POST /api/v2/batchPredictions/ HTTP/1.1\r\nHost: x\r\nAuthorization: Token {api.token}\r\n"
    sock.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
    assert stopped.made.wait(10)
    if ending == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.fixture
def noted(monkeypatch):
    """What was noted of answers."""
    found = []
    answered = repeats.answered

    def note(store, job_id, *, sent):
        answered(store, job_id, sent=sent)
        found.append((job_id, sent))

    monkeypatch.setattr(repeats, "answered", note)
    return found


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_connection_that_dies_before_the_answer_makes_no_second_job(api, monkeypatch, noted, ending):
    body = {"deploymentId": api.deployment_id, "numConcurrent": 6, "thresholdHigh": None}
    with monkeypatch.context() as patch:
        stopped = Stopped(patch, after=True)
        kill(api, stopped, body, ending)
        threading.Event().wait(0.2)  # the end of the connection reaches the server
        stopped.go_on.set()
        wait_for(lambda: noted)
    [first] = stopped.jobs
    assert noted == [(first, False)]
    with api.client() as client:
        again = client.post("batchPredictions/", json=body)
        assert (again.status_code, again.json()["id"]) == (202, first)
        assert again.headers["location"].endswith(f"/{first}/")
        wait_for(lambda: len(noted) == 2)
        on_purpose = client.post("batchPredictions/", json=body)
    assert on_purpose.json()["id"] != first
    assert noted[1] == (first, True)


def test_a_client_that_is_gone_before_its_job_is_made_gets_none(api, monkeypatch, caplog):
    body = {"deploymentId": api.deployment_id, "numConcurrent": 7}
    with api.client() as client:
        before = client.get("batchPredictions/").json()["totalCount"]
        with monkeypatch.context() as patch:
            stopped = Stopped(patch, after=False)
            kill(api, stopped, body, "close")
            threading.Event().wait(0.2)
            stopped.go_on.set()
            threading.Event().wait(0.2)
        assert stopped.jobs == []
        assert client.get("batchPredictions/").json()["totalCount"] == before
        assert client.post("batchPredictions/", json=body).status_code == 202
    assert "Traceback" not in caplog.text


class Gateway(BaseHTTPRequestHandler):
    """A proxy that loses patience with the first POST: it hangs up on the server and tells the client 504."""

    protocol_version = "HTTP/1.1"
    api = stopped = noted = None
    posts = 0

    def _pass(self):
        kept = {name: value for name, value in self.headers.items() if name in ("Authorization", "Content-Type")}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        first = self.command == "POST" and not self.posts
        type(self).posts += self.command == "POST"
        with httpx2.Client(trust_env=False, timeout=0.3 if first else 20) as http:
            try:
                answer = http.request(self.command, self.api.url + self.path, headers=kept, content=body)
            except httpx2.TimeoutException:
                answer = httpx2.Response(504, headers={"Retry-After": "0"})
        if first:
            threading.Event().wait(0.2)  # the end of the connection reaches the server
            self.stopped.go_on.set()
            wait_for(lambda: self.noted)
        self.send_response(answer.status_code)
        for name in ("content-type", "location", "retry-after"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = _pass

    def log_message(self, *_args):
        """Say nothing."""


def test_the_official_client_repeats_what_a_gateway_gave_up_and_gets_the_same_job(api, monkeypatch, noted):
    datarobot = pytest.importorskip("datarobot")
    stopped = Stopped(monkeypatch, after=True)
    handler = type("Handler", (Gateway,), {"api": api, "stopped": stopped, "noted": noted})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as gateway, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using an empty collection for 'allowed_methods'", FutureWarning)
        thread = threading.Thread(target=gateway.serve_forever, args=(0.05,))
        thread.start()
        client = datarobot.Client(token=api.token, endpoint=f"http://127.0.0.1:{gateway.server_port}/api/v2")
        answer = client.post("batchPredictions/", data={"deployment_id": api.deployment_id, "num_concurrent": 11})
        client.close()
        gateway.shutdown()
        thread.join()
    assert handler.posts == 2
    assert answer.status_code == 202
    assert stopped.jobs == [answer.json()["id"]] * 2
