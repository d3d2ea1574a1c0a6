"""Sending to web servers that fail, redirect, lose answers or refuse: what is sent again, what is not, what is said."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from scoreline import adapters, redact
from scoreline.credentials import BasicSecret
from scoreline.engines.local import secrets_of
from scoreline.errors import Cancelled, Forbidden, OutputError
from scoreline.network import Reach
from scoreline.spool import Spool, open_spool
from scoreline.types import Receipt, RunLimits, ScoredChunk
from tests.contract.matrix import JOB, servers, ticket
from tests.support import stores
from tests.support.web import Reply, Web, web

KEY = "out/result.csv"
CHUNKS = [ScoredChunk(number, number, bytes([65 + number]) * 700_000, 1) for number in range(3)]
WHOLE = b"".join(chunk.body for chunk in CHUNKS)
LIMITS = RunLimits(patience_seconds=1.6)


class Line:
    """A seal that tells when it was crossed. stops: how many times it may be asked before the run must end."""

    def __init__(self) -> None:
        self.crossed = 0
        self.stops = 1 << 30

    def check(self) -> None:
        self.stops -= 1
        if self.stops < 0:
            raise Cancelled("aborted")

    def cross(self) -> None:
        self.check()
        self.crossed += 1


class Sender:
    """Runs of one job, which write the same rows."""

    def __init__(self, spool: Spool, stack: ExitStack) -> None:
        self.spool, self._stack = spool, stack
        self.seal = Line()

    def open(self, settings: dict, fence: int = 1, keys: Any = lambda _: None, **more: Any) -> Any:
        run = replace(ticket({}, settings, self.spool, fence=fence), **{"limits": LIMITS, **more})
        self._stack.enter_context(redact.hiding(secrets_of(run)))
        output = adapters.open_output(run, self.spool, keys)
        self._stack.callback(output.close)
        return output

    def send(self, settings: dict, **more: Any) -> tuple[Any, list[Receipt]]:
        self.spool.delete_stream(f"staged/{JOB}")
        output = self.open(settings, **more)
        output.open(output.prepare())
        receipts = [output.write(chunk) for chunk in CHUNKS]
        output.finish(receipts, self.seal)
        output.commit(receipts)
        return output, receipts


@pytest.fixture
def site() -> Web:
    return servers["get"]("web")


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    with ExitStack() as stack:
        yield Sender(open_spool(tmp_path / "spool"), stack)


@pytest.mark.parametrize("method", ["PUT", "post"])
def test_all_is_sent_once_with_its_length(site: Web, sender: Sender, method: str) -> None:
    headers = {"X-Ms-Blob-Type": "BlockBlob", "accept": "text/plain"}
    output, receipts = sender.send(site.at(KEY, method=method, headers=headers), keys=lambda _: BasicSecret("u", "p"))
    [call] = site.calls
    assert (call.method, call.body) == (method.upper(), WHOLE)
    assert call.headers["content-length"] == str(len(WHOLE))
    assert "transfer-encoding" not in call.headers
    assert call.headers["content-type"] == "text/csv"
    assert call.headers["authorization"] == "Basic dTpw"
    assert (call.headers["x-ms-blob-type"], call.headers["accept"]) == ("BlockBlob", "text/plain")
    output.commit(receipts)
    again = sender.open(site.at(KEY, method=method), fence=2)
    again.open({}, receipts)
    again.commit(receipts)
    assert len(site.calls) == 1
    again.abort({})
    assert sender.spool.blobs.list("staged") == []


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"format": "parquet"}, "application/vnd.apache.parquet"),
        ({"compression": "gzip"}, "application/gzip"),
        ({"format": "jsonl", "compression": "none"}, "application/x-ndjson"),
        ({"headers": {"content-TYPE": "text/plain"}}, "text/plain"),
        ({"query": "?Signature=x&Expires=1"}, None),
        ({"query": "?X-Amz-Signature=x"}, "text/csv"),
    ],
)
def test_what_is_sent_has_a_type(site: Web, sender: Sender, settings: dict, kind: str | None) -> None:
    query = settings.pop("query", "")
    sender.send(site.at(KEY + query, **settings))
    assert site.calls[0].headers.get("content-type") == kind


@pytest.mark.parametrize("version", ["s3v4", "s3"], ids=["four", "two"])
def test_urls_that_s3_has_signed(sender: Sender, version: str) -> None:
    if version == "s3" and os.environ.get("SCORELINE_TEST_S3"):
        pytest.skip("this S3 server knows no signatures of version 2; moto does")
    store = servers["get"]("s3")
    client = boto3.client(
        "s3",
        endpoint_url=store.url,
        region_name="us-east-1",
        aws_access_key_id=stores.KEY,
        aws_secret_access_key=stores.SECRET,
        config=Config(signature_version=version, s3={"addressing_style": "path"}),
    )
    named = {"Bucket": store.bucket, "Key": f"out/{version} ä.csv"}
    put = client.generate_presigned_url("put_object", named)
    sender.send({"type": "http", "method": "PUT", "url": put})
    assert store.get(named["Key"]) == WHOLE
    get = client.generate_presigned_url("get_object", named)
    intake = adapters.open_intake(ticket({"type": "http", "url": get}, {}, sender.spool), sender.spool)
    [part] = intake.partitions(1)
    assert b"".join(intake.blocks(part, 7)) == WHOLE[7:]
    assert intake.identity()["version"].strip('"') in client.head_object(**named)["ETag"]
    intake.close()
    client.close()


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_until_its_end_goes_a_request_can_be_stopped_and_made_anew(site: Web, sender: Sender, method: str) -> None:
    settings = site.at(KEY, method=method)
    for stops in range(len(CHUNKS) + 1):  # before the request, and before each piece
        sender.seal.stops = stops
        with pytest.raises(Cancelled):
            sender.send(settings)
        assert sender.seal.crossed == 0
    assert site.get(KEY) is None
    assert WHOLE not in [call.body for call in site.calls]
    sender.seal.stops = len(CHUNKS) + 1
    sender.send(settings)
    assert (site.get(KEY), sender.seal.crossed) == (WHOLE, 1)


@pytest.mark.parametrize("fault", [Reply(503), Reply(500), Reply(lost=True), Reply(502, unread=True)], ids=str)
def test_a_put_is_sent_until_it_is_answered(site: Web, sender: Sender, fault: Reply) -> None:
    site.next[f"/{KEY}"] = [fault] * 2
    sender.send(site.at(KEY))
    assert site.get(KEY) == WHOLE
    assert len(site.came(KEY)) == 3


@pytest.mark.parametrize("fault", [Reply(503), Reply(500), Reply(lost=True), Reply(wait=3)], ids=str)
def test_a_post_that_may_have_arrived_is_not_sent_again(site: Web, sender: Sender, fault: Reply) -> None:
    settings = site.at(KEY, method="POST")
    site.next[f"/{KEY}"] = [fault] * 2
    with pytest.raises(OutputError, match=r"whether .*result.csv took the rows of the POST is not known \(.+\), and"):
        sender.send(settings)
    assert len(site.came(KEY)) == 1


def test_a_post_is_sent_again_where_it_cannot_have_arrived_or_the_job_says_so(site: Web, sender: Sender) -> None:
    settings = site.at(KEY, method="POST")
    site.next[f"/{KEY}"] = [Reply(503, {"Retry-After": "0"}), Reply(429)]
    sender.send(settings)
    site.next[f"/{KEY}"] = [Reply(500), Reply(lost=True)]
    sender.send(settings | {"sendAgain": True})
    assert [call.method for call in site.calls] == ["POST"] * 6


@pytest.mark.parametrize(
    ("more", "sent"), [({"method": "POST"}, 1), ({}, 2), ({"method": "POST", "sendAgain": True}, 2)]
)
def test_a_run_that_follows_one_that_died_while_it_sent(
    site: Web, sender: Sender, monkeypatch: pytest.MonkeyPatch, more: dict, sent: int
) -> None:
    settings = site.at(KEY, **more)
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "put_marker", _dies_after_the_answer(Spool.put_marker))
        with pytest.raises(KeyboardInterrupt):
            sender.send(settings)
    assert len(site.calls) == 1
    again = sender.open(settings, fence=2)
    receipts = [again.write(chunk) for chunk in CHUNKS]
    if sent == 1:
        with pytest.raises(OutputError, match=r"not known \(the worker that sent it ended before it noted an answer\)"):
            again.commit(receipts)
    else:
        again.commit(receipts)
    assert len(site.calls) == sent
    assert site.get(KEY) == WHOLE


def _dies_after_the_answer(put: Callable[..., None]) -> Callable[..., None]:
    def dying(spool: Spool, name: str, body: bytes) -> None:
        if name.endswith("/sent"):
            raise KeyboardInterrupt
        put(spool, name, body)

    return dying


def test_redirects_that_keep_method_and_body_are_followed(site: Web, sender: Sender) -> None:
    site.next["/first"] = [Reply(307, {"Location": "/second"}, unread=True)]
    site.next["/second"] = [Reply(308, {"Location": f"{site.url}/{KEY}"})]
    sender.send(site.at("first", method="PUT"))
    assert site.get(KEY) == WHOLE
    for status in (301, 302, 303):
        site.next["/other"] = [Reply(status, {"Location": "/out/x?secret=1"})]
        with pytest.raises(
            OutputError, match=rf"status {status} points to /out/x\?\[redacted\], which is not followed"
        ):
            sender.send(site.at("other", method="PUT"))
    with web() as inner:
        site.next["/away"] = [Reply(307, {"Location": f"{inner.url}/x"})]
        with pytest.raises(Forbidden, match="Output: the URL leads to the private address"):
            sender.send(site.at("away", method="PUT"), reach=Reach(allowed=(site.place,)))
        assert inner.calls == []
        site.next["/away"] = [Reply(307, {"Location": f"{inner.url}/x"})]
        sender.send(site.at("away", method="PUT", headers={"X-Key": "k"}), keys=lambda _: BasicSecret("u", "p"))
        assert not {"x-key", "authorization"} & set(inner.calls[0].headers)
        assert inner.get("x") == WHOLE


def test_refusals_are_told_in_a_line_without_secrets(site: Web, sender: Sender) -> None:
    said = "<html><style>b {}</style><h1>Too\n large</h1> for ?sig=abcdefgh1 and <b>topsecret</b></html>"
    settings = site.at(KEY, headers={"X-Key": "topsecret"}) | {"url": f"{site.url}/{KEY}?sig=abcdefgh1"}
    for status, words in (
        (413, r"the server refused .*result.csv\?\[redacted\] \(status 413: Too large for \?\[redacted\] and \[red"),
        (403, r"access to .* was refused \(status 403"),
        (404, r"there is no .* \(status 404"),
        (409, r"status 409"),
    ):
        site.next[f"/{KEY}"] = [Reply(status, {"Content-Type": "text/html"}, said.encode())]
        with pytest.raises(OutputError, match=words) as refused:
            sender.send(settings | {"method": "POST"})
        assert "secret" not in str(refused.value)
        assert "abcdefgh" not in str(refused.value)
    assert site.get(KEY) is None


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_server_that_nobody_can_reach(sender: Sender, method: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/x"
        began = time.monotonic()
        with pytest.raises(OutputError, match=r"the server of http://.*/x does not answer \(.*refused\)"):
            sender.send({"type": "http", "method": method, "url": url})
        assert 1.6 < time.monotonic() - began < 60
