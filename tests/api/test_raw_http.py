"""Requests as bytes: odd, oversized and hostile ones. Each gets an answer in JSON, and the server lives on."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest

JOBS = "/api/v2/batchPredictions/"
OWN = "own"


def send(api, request: bytes) -> bytes:
    """All that the server says until it closes the connection."""
    place = urlsplit(api.url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as sock:
        sock.sendall(request)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def get(api, path=JOBS, *, host="Host: x", headers=(), version="1.1", method="GET", body="") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", *([host] if host else []), f"Authorization: Token {api.token}"]
    return "\r\n".join([*lines, *headers, "Connection: close", "", body]).encode("latin-1")


def parsed(answer: bytes):
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, json.loads(body)


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("Host: scores.example.com", "http://scores.example.com/"),
        ("Host: scores.example.com:8080", "http://scores.example.com:8080/"),
        ("Host: [::1]:80", "http://[::1]:80/"),
        ('Host: evil.example"><script>', OWN),
        ("Host: user@evil.example", OWN),
        ("Host: evil.example/path?x=", OWN),
        ("Host: evil.example:port", OWN),
        ("Host: ex\xe4mple.com", OWN),
        ("Host:", OWN),
    ],
)
def test_links_have_a_host_only_if_it_is_one(api, host, base):
    job_id = api.job()["id"]
    status, _, document = parsed(send(api, get(api, f"{JOBS}{job_id}/", host=host)))
    assert status == 200
    base = f"{api.url}/" if base is OWN else base
    assert document["links"]["self"] == f"{base}api/v2/batchPredictions/{job_id}/"


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        (["X-Forwarded-Proto: https"], "https://x/"),
        (["X-Forwarded-Proto: HTTPS, http", "X-Forwarded-Host: a.example, b.example"], "https://a.example/"),
        (["X-Forwarded-Proto: javascript"], "http://x/"),
        (["X-Forwarded-Host: evil/path"], "http://x/"),
        (["X-Forwarded-Prefix: /one/two/"], "http://x/one/two/"),
        (["X-Forwarded-Prefix: //evil.example"], "http://x/"),
        (["X-Forwarded-Prefix: /../.."], "http://x/"),
        (["X-Forwarded-Prefix: /a/../b"], "http://x/"),
        (["X-Forwarded-Prefix: /.well"], "http://x/.well/"),
    ],
)
def test_links_behind_a_proxy(api, headers, base):
    job_id = api.job()["id"]
    _, _, document = parsed(send(api, get(api, f"{JOBS}{job_id}/", headers=headers)))
    assert document["links"]["self"] == f"{base}api/v2/batchPredictions/{job_id}/"


CONTENT = "Content-Type: application/json"
POST = {"method": "POST", "body": "{}"}


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({"path": f"{JOBS}?source={'a' * 40_000}"}, 414, "32768"),
        ({"path": f"{JOBS}?source={'a' * 400_000}"}, 414, "32768"),
        ({"headers": ["X-A: " + "a" * 70_000]}, 431, "65536"),
        ({"headers": [f"X-{n}: {'a' * 100}" for n in range(700)]}, 431, "65536"),
        ({"host": None}, 400, "no Host"),
        ({"host": "Host: a\r\nHost: b"}, 400, "2 Host"),
        ({"headers": ["X-A: a\r\n b"]}, 400, "no HTTP"),
        ({"method": "NONSENSE"}, 400, "no HTTP"),
        ({"path": f"{JOBS}a b/"}, 400, "no HTTP"),
        ({"path": f"{JOBS}é/"}, 400, "no HTTP"),
        ({**POST, "headers": [CONTENT, "Content-Length: 2", "Transfer-Encoding: chunked"]}, 400, "no HTTP"),
        ({**POST, "headers": [CONTENT, "Content-Length: 2", "Content-Length: 3"]}, 400, "no HTTP"),
        ({**POST, "headers": [CONTENT, "Content-Length: -2"]}, 400, "no HTTP"),
        ({"path": "/api/v2/../v2/version/"}, 404, "nothing"),
        ({"path": f"{JOBS}a%2f..%2fb/"}, 404, "nothing"),
        ({"path": f"{JOBS}%zz/"}, 404, "%zz"),
        ({"path": f"{JOBS}a%00b/"}, 404, "NUL"),
        ({"path": f"{JOBS}{'a' * 30_000}/"}, 404, "no batch prediction job"),
        ({"path": "*", "method": "OPTIONS"}, 404, "nothing"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value),
)
def test_what_cannot_be_read_is_told(api, options, status, words):
    answer, headers, document = parsed(send(api, get(api, **options)))
    assert answer == status
    assert words in document["message"]
    assert len(document["message"]) < 2000 or status == 404
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"]
    with api.client() as client:
        assert client.get("version/").status_code == 200


def test_a_head_without_an_end_is_cut(api):
    place = urlsplit(api.url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000)
        assert parsed(b"".join(iter(lambda: sock.recv(65536), b"")))[0] == 431


def test_a_connection_that_says_nothing_is_closed(api, monkeypatch):
    monkeypatch.setattr("scoreline.connection._HEAD_SECONDS", 0.2)
    place = urlsplit(api.url)
    for begun in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"):
        with socket.create_connection((place.hostname, place.port), timeout=5) as sock:
            sock.sendall(begun)
            assert sock.recv(1) == b""


def test_a_body_that_does_not_come(api, monkeypatch):
    monkeypatch.setattr("scoreline.api.jsonio._BODY_SECONDS", 0.2)
    answer = send(api, get(api, method="POST", headers=[CONTENT, "Content-Length: 100"], body="{"))
    assert parsed(answer)[0] == 408


@pytest.mark.parametrize(
    "headers",
    [
        ["Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13"],
        ["Accept:"],
        ["Accept: text/html", "Accept-Encoding: gzip, br"],
        ["X-Request-Id: a%0d%0aX-Evil: 1"],
        ["X-Request-Id: " + "a" * 300],
    ],
)
def test_odd_headers_change_nothing(api, headers):
    status, found, _ = parsed(send(api, get(api, headers=headers)))
    assert status == 200
    assert "content-encoding" not in found
    assert len(found["x-request-id"]) <= 64
    assert "x-evil" not in found


def test_http_1_0_is_spoken(api):
    status, _, document = parsed(send(api, get(api, "/api/v2/version/", host=None, version="1.0")))
    assert status == 200
    assert document["major"] == 2


def test_expect_100_continue(api):
    body = json.dumps({"deploymentId": api.deployment_id})
    headers = [CONTENT, "Expect: 100-continue", f"Content-Length: {len(body)}"]
    answer = send(api, get(api, method="POST", headers=headers, body=body))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n")


def test_requests_in_a_row_on_one_connection(api):
    one = get(api, "/api/v2/version/").replace(b"Connection: close\r\n", b"")
    answer = send(api, one + one + get(api, "/api/v2/version/"))
    assert answer.count(b"HTTP/1.1 200 OK") == 3


def test_a_download_is_never_compressed(api):
    job_id = api.job(csvSettings={"encoding": "latin-1", "delimiter": ";"})["id"]
    api.upload(job_id)
    run = api.run(job_id)
    rows = "a;é\n".encode("latin-1") * 10_000
    api.rows(run, rows, 10_000)
    api.complete(run)
    with api.client(headers={"Accept-Encoding": "gzip, deflate, br"}) as client:
        response = client.get(f"batchPredictions/{job_id}/download")
    assert "content-encoding" not in response.headers
    assert response.headers["content-type"] == "text/csv; charset=latin-1"
    assert response.headers["content-disposition"] == f"attachment;filename=result-{job_id}.csv"
    assert response.content == rows
