"""Requests to the prediction server as bytes: broken, oversized and meaningless ones."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

PATH = "/predApi/v1.0/deployments/d-regression/predictions"


def send(url: str, request: bytes, *, ends: bool = False) -> bytes:
    """All that the server says until it closes the connection. ends: say that no more comes."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as sock:
        sock.sendall(request)
        if ends:
            sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def post(body: bytes = b"", *headers: str, host: str = "Host: x", path: str = PATH) -> bytes:
    lines = [f"POST {path} HTTP/1.1", *([host] if host else []), "Authorization: Bearer user", *headers]
    return "\r\n".join([*lines, "Content-Type: text/csv", "Connection: close", "", ""]).encode("latin-1") + body


def parsed(answer: bytes):
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"]
    return int(first.split()[1]), json.loads(body)["message"]


UNREADABLE = {
    "tls": (b"\x16\x03\x01 a greeting of TLS", 400, "no HTTP request"),
    "version": (b"GET / SPDY/9\r\n\r\n", 400, "no HTTP request"),
    "no host": (post(host=""), 400, "no Host"),
    "two lengths": (post(b"", "Content-Length: 2", "Content-Length: 3"), 400, "no HTTP request"),
    "large header": (post(b"", "X-A: " + "a" * 70_000), 431, "65536"),
    "many headers": (post(b"", *(f"X-{n}: {'a' * 100}" for n in range(700))), 431, "65536"),
    "endless header": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000, 431, "65536"),
    "long address": (post(path=f"{PATH}?a={'a' * 40_000}"), 414, "32768"),
    # Characters are counted, not bytes: without its last digit the last row would still be one.
    "cut body": (post("age,name\n1,é\n2,30".encode(), "Content-Length: 17"), 400, "rows are missing"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_told_in_json(url, name):
    request, status, words = UNREADABLE[name]
    answered, message = parsed(send(url, request))
    assert answered == status
    assert words in message


@settings(max_examples=150)
@given(st.one_of(st.binary(min_size=1, max_size=300), st.binary(max_size=200).map(lambda body: post(body, "A: b"))))
def test_meaningless_bytes_make_no_failure(url, noise):
    answer = send(url, noise, ends=True)
    assert not answer or int(answer.split(maxsplit=2)[1]) < 500
