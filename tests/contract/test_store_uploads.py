"""What each store promises by itself: large parts, keys, encryption, addresses, libraries that are missing."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from scoreline.adapters import azure, gcp, s3
from scoreline.adapters.files import Uploads
from scoreline.adapters.staging import Span, Staged, first_span
from scoreline.credentials import AzureSecret, GcpSecret
from scoreline.errors import Forbidden, InvalidRequest, OutputError, SetupError, SourceError
from scoreline.network import Reach
from scoreline.protocols import Output
from scoreline.spool import Spool, open_spool
from scoreline.types import Receipt, RunTicket, ScoredChunk
from tests.contract.matrix import servers, ticket
from tests.support import stores
from tests.support.misbehaving import Fault, misbehaving

pytestmark = pytest.mark.slow

STORES: dict[str, ModuleType] = {"s3": s3, "azurite": azure, "gcs": gcp}
KEY = "out/result.csv"
LARGE = 20 << 20


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return open_spool(tmp_path / "spool")


def _uploads(name: str, run: RunTicket, keys: Callable[[str], Any]) -> Uploads:
    if name == "s3":
        return s3.S3Uploads(s3.S3Store(run, run.output, keys), run.output)
    if name == "azurite":
        return azure.AzureUploads(azure.AzureStore(run, run.output, keys), run.output)
    return gcp.GcpUploads(gcp.GcpStore(run, run.output, keys), run.output)


@pytest.mark.parametrize("name", STORES)
def test_a_part_that_is_read_as_it_is_sent(name: str, spool: Spool) -> None:
    server = servers["get"](name)
    staged = Staged(spool, "job", 1)
    for number in range(5):
        staged.add(Receipt(staged.put(ScoredChunk(number, number, bytes([number]) * (5 << 20), 1))))
    uploads = _uploads(name, ticket({}, server.at(KEY), spool), server.keys)
    upload = uploads.begin(KEY, "mark.1", again=False)
    parts = []
    for span, last in ((Span(1, 0, LARGE), False), (Span(2, LARGE, 5 << 20), True)):
        body = staged.body(span)
        assert isinstance(body, bytes) == last
        parts.append({**uploads.part(upload, span.number, span.start, body, last=last), "number": span.number})
    uploads.complete(upload, parts, 25 << 20, new=False)
    assert uploads.finished(upload, 25 << 20)
    assert not uploads.finished(upload, 24 << 20)
    assert not uploads.finished({**upload, "mark": "mark.2"}, 25 << 20)
    uploads.close()
    assert server.get(KEY) == b"".join(bytes([number]) * (5 << 20) for number in range(5))


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "text/csv"),
        ({"format": "parquet"}, "application/vnd.apache.parquet"),
        ({"format": "jsonl", "compression": "gzip"}, "application/gzip"),
    ],
    ids=["csv", "parquet", "gzip"],
)
def test_an_object_says_what_it_holds(name: str, settings: dict, kind: str, spool: Spool) -> None:
    server = servers["get"](name)
    run = ticket({}, server.at(KEY, **settings), spool)
    output = STORES[name].open_output(run, spool, server.keys)
    output.open(output.prepare())
    output.commit([output.write(ScoredChunk(0, 0, b"some bytes", 0))])
    output.close()
    assert server.kind(KEY) == kind


def test_a_body_is_a_file(spool: Spool) -> None:
    staged = Staged(spool, "job", 1)
    whole = bytes(range(256)) * (17 << 12)
    for number, at in enumerate(range(0, len(whole), 3_000_001)):
        staged.add(Receipt(staged.put(ScoredChunk(number, number, whole[at : at + 3_000_001], 1))))
    body = staged.body(Span(1, 10, len(whole) - 20))
    assert not isinstance(body, bytes)
    wanted = whole[10:-10]
    assert len(body) == len(wanted)
    assert (body.seek(0, 2), body.tell(), body.seek(0)) == (len(wanted), len(wanted), 0)
    assert (body.read(7), body.read(0), body.tell()) == (wanted[:7], b"", 7)
    pieces = iter(lambda: body.read(100_000), b"")
    assert wanted[:7] + b"".join(pieces) == wanted
    assert (body.seek(5_000_000), body.read()) == (5_000_000, wanted[5_000_000:])
    assert (body.seek(-3, 1), body.read(), body.read()) == (len(wanted) - 3, wanted[-3:], b"")


@pytest.mark.parametrize(("most", "count", "least"), [(5 << 30, 10_000, 38 << 40), (4000 << 20, 50_000, 180 << 40)])
def test_parts_grow_so_that_only_the_store_sets_the_limit(most: int, count: int, least: int) -> None:
    span, end, sizes = first_span(most), 0, set()
    for number in range(1, count + 1):
        assert (span.number, span.start) == (number, end)
        assert span.size % (256 << 10) == 0
        end, sizes = span.end, sizes | {span.size}
        span = span.next(most)
    assert min(sizes) == 8 << 20
    assert max(sizes) == most
    assert end >= least


@pytest.fixture
def heard() -> Iterator[tuple[Any, list[dict[str, str]]]]:
    """S3 behind a proxy, and the headers of every call."""
    server = servers["get"]("s3")
    calls: list[dict[str, str]] = []
    with misbehaving(server.url) as proxy:

        def listen(path: str, headers: dict[str, str], _: bytes, __: Any) -> None:
            calls.append({"path": path} | {name.lower(): value for name, value in headers.items()})

        proxy.mended = listen
        yield proxy, calls


@pytest.mark.parametrize(
    ("encryption", "begun", "each"),
    [
        ({"algorithm": "AES256"}, {"x-amz-server-side-encryption": "AES256"}, {}),
        (
            {"algorithm": "aws:kms", "kmsKeyId": "key-1", "kmsEncryptionContext": "e30="},
            {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": "key-1",
                "x-amz-server-side-encryption-context": "e30=",
            },
            {},
        ),
    ],
)
def test_s3_encrypts(heard: Any, spool: Spool, encryption: dict, begun: dict, each: dict) -> None:
    proxy, calls = heard
    server = servers["get"]("s3")
    settings = server.at(KEY, endpointUrl=proxy.url, serverSideEncryption=encryption)
    output = s3.open_output(ticket({}, settings, spool), spool, server.keys)
    output.open(output.prepare())
    output.commit([output.write(ScoredChunk(0, 0, b"a\n1\n", 1))])
    output.close()
    first = next(call for call in calls if "?uploads" in call["path"])
    assert first.items() >= begun.items()
    assert all(call.items() >= each.items() for call in calls)
    assert server.get(KEY) == b"a\n1\n"


def test_s3_is_given_a_customers_key_with_every_call(heard: Any, spool: Spool) -> None:
    """Over plain HTTP the library refuses it, as S3 does: so what it would send is looked at."""
    key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    store = s3.S3Store(ticket({}, {"url": "s3://box/k"}, spool), {"url": "s3://box/k"}, servers["get"]("s3").keys)
    said: list[tuple[str, dict]] = []
    store.call = lambda name, **arguments: (
        said.append((name, arguments))
        or {  # type: ignore[method-assign]
            "UploadId": "u",
            "ETag": '"e"',
            "Metadata": {"scoreline": "m"},
            "ContentLength": 1,
        }
    )
    uploads = s3.S3Uploads(store, {"serverSideEncryption": {"customerKey": key}})
    upload = uploads.begin("k", "m", again=False)
    part = uploads.part(upload, 1, 0, b"x", last=True)
    uploads.complete(upload, [{**part, "number": 1}], 1, new=False)
    assert uploads.finished(upload, 1)
    assert [name for name, _ in said] == [
        "create_multipart_upload",
        "upload_part",
        "complete_multipart_upload",
        "head_object",
    ]
    for _, arguments in said:
        assert arguments["SSECustomerKey"] == b"0123456789abcdef0123456789abcdef"
        assert arguments["SSECustomerAlgorithm"] == "AES256"


def _signature(**permissions: bool) -> str:
    return generate_container_sas(
        stores.AZURE_ACCOUNT,
        "box",
        stores.AZURE_KEY,
        permission=ContainerSasPermissions(**permissions),
        expiry=datetime.now(UTC) + timedelta(hours=-1 if permissions.get("list") else 1),
    )


def test_azure_takes_a_shared_access_signature(spool: Spool) -> None:
    server = servers["get"]("azurite")

    def run(signature: str, *, delete: bool = False) -> None:
        secret = AzureSecret(f"BlobEndpoint={server.url};SharedAccessSignature={signature}")
        output = azure.open_output(ticket({}, server.at(KEY), spool), spool, lambda _: secret)
        try:
            state = output.prepare()
            output.open(state)
            receipts = [output.write(ScoredChunk(0, 0, b"a\n1\n", 1))]
            if delete:
                output.sha256(receipts)
                output.abort(state)
            else:
                output.commit(receipts)
        finally:
            output.close()

    run(_signature(read=True, write=True, create=True))
    assert server.get(KEY) == b"a\n1\n"
    with pytest.raises(OutputError, match=r"access to .* was refused") as refused:
        run(_signature(read=True))
    with pytest.raises(OutputError, match="have expired") as expired:
        run(_signature(read=True, write=True, create=True, list=True))
    for error in (refused, expired):
        assert "sig=" not in str(error.value)


def test_azure_refuses_the_credential_of_another_account(spool: Spool) -> None:
    server = servers["get"]("azurite")
    other = AzureSecret(f"DefaultEndpointsProtocol=https;AccountName=other;AccountKey={stores.AZURE_KEY}")
    with pytest.raises(InvalidRequest, match=r"for https://other\.blob\.core\.windows\.net, and url is at http://127"):
        azure.open_intake(ticket(server.at("in.csv"), {}, spool), spool, lambda _: other)
    signed = AzureSecret("BlobEndpoint=https://other.blob.core.windows.net/?sv=1&sig=c2VjcmV0")
    with pytest.raises(InvalidRequest, match=r"for https://other\.blob") as refused:
        azure.open_intake(ticket(server.at("in.csv"), {}, spool), spool, lambda _: signed)
    assert "c2VjcmV0" not in refused.value.message
    with pytest.raises(InvalidRequest, match="neither AccountName nor BlobEndpoint"):
        azure.open_intake(ticket(server.at("in.csv"), {}, spool), spool, lambda _: AzureSecret("AccountKey=x"))


def test_gcp_asks_for_a_token_with_the_accounts_key(spool: Spool) -> None:
    server = servers["get"]("gcs")
    server.put("in.csv", b"a\n1\n")
    asked, heard, plain = [], [], server.proxy.mended

    class Tokens(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["content-length"])))
            body = json.dumps({"access_token": "token-of-google", "expires_in": 3600, "token_type": "Bearer"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    def listen(path: str, headers: dict[str, str], body: bytes, forward: Any) -> Any:
        heard.append({name.lower(): value for name, value in headers.items()}.get("authorization"))
        return plain(path, headers, body, forward)

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with HTTPServer(("127.0.0.1", 0), Tokens) as tokens:
        thread = threading.Thread(target=tokens.serve_forever, args=(0.05,))
        thread.start()
        secret = GcpSecret(
            {
                "type": "service_account",
                "client_email": "robot@project.iam.gserviceaccount.com",
                "private_key": private.decode(),
                "private_key_id": "1",
                "token_uri": f"http://127.0.0.1:{tokens.server_port}/token",
            }
        )
        server.proxy.mended = listen
        try:
            intake = gcp.open_intake(ticket(server.at("in.csv"), {}, spool), spool, lambda _: secret)
            assert intake.size() == 4
            intake.close()
        finally:
            server.proxy.mended = plain
            tokens.shutdown()
            thread.join()
    assert len(asked) == 1
    assert b"jwt-bearer" in asked[0]
    assert heard == ["Bearer token-of-google"]
    with pytest.raises(InvalidRequest, match="no key of a service account"):
        gcp.open_intake(ticket(server.at("in.csv"), {}, spool), spool, lambda _: GcpSecret({"private_key": "no"}))


@pytest.mark.parametrize("name", STORES)
def test_addresses_out_of_reach_are_not_connected_to(name: str, spool: Spool) -> None:
    server = servers["get"](name)
    server.put("in.csv", b"a\n1\n")
    run = ticket(server.at("in.csv"), server.at(KEY), spool)
    near, closed = Reach(allowed=("127.0.0.1/32",)), Reach()
    intake = STORES[name].open_intake(_within(run, near), spool, server.keys)
    assert intake.size() == 4
    intake.close()
    with pytest.raises(Forbidden, match=r"leads to the private address 127\.0\.0\.1"):
        STORES[name].open_intake(_within(run, closed), spool, server.keys)
    output = STORES[name].open_output(_within(run, closed), spool, server.keys)
    with pytest.raises(Forbidden, match=r"leads to the private address 127\.0\.0\.1"):
        _write(output)
    output.close()
    assert server.get(KEY) is None


def _write(output: Output) -> None:
    output.open(output.prepare())
    output.commit([output.write(ScoredChunk(0, 0, b"x", 0))])


def _within(run: RunTicket, reach: Reach) -> RunTicket:
    return replace(run, reach=reach)


@pytest.mark.parametrize(
    ("name", "missing"), [("s3", "botocore"), ("azurite", "azure.storage.blob"), ("gcs", "google.auth")]
)
def test_a_missing_library_names_the_extra(
    name: str, missing: str, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers["get"](name)
    monkeypatch.setitem(sys.modules, missing, None)
    extra = {"s3": "s3", "azurite": "azure", "gcs": "gcp"}[name]
    with pytest.raises(SetupError, match=rf"pip install 'scoreline\[{extra}\]'"):
        STORES[name].open_intake(ticket(server.at("in.csv"), {}, spool), spool, server.keys)


def test_s3_tells_what_is_wrong_where_heads_have_no_body(spool: Spool) -> None:
    server = servers["get"]("s3")
    server.put("in.csv", b"a\n1\n")
    body = b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>It has expired.</Message></Error>"
    with misbehaving(server.url) as proxy:
        proxy.faults += [Fault("HEAD", 400, times=10), Fault("GET", 400, body)]
        with pytest.raises(SourceError, match=r"have expired .ExpiredToken"):
            s3.open_intake(ticket(server.at("in.csv", endpointUrl=proxy.url), {}, spool), spool, server.keys)
