"""Reading from web servers that break off, change, redirect, ask for passwords, or send something else than data."""

from __future__ import annotations

import datetime as dt
import email.utils
import hashlib
import io
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pyarrow import parquet

from scoreline import adapters, outbound, redact
from scoreline.adapters import webcalls
from scoreline.credentials import BasicSecret, OAuthSecret, Secret
from scoreline.engines.local import secrets_of
from scoreline.errors import Forbidden, RunStopped, SourceError
from scoreline.network import Reach
from scoreline.spool import open_spool
from scoreline.types import Range, RunLimits
from tests.contract.matrix import servers, ticket
from tests.support.web import Reply, Web, web

KEY = "in/data.csv"
BODY = os.urandom(1 << 20).hex().encode()
LIMITS = RunLimits(patience_seconds=1.6)
LONG_AGO = "Tue, 01 Apr 2025 10:00:00 GMT"
PROOFS = {"tag": {}, "date": {"tag": "", "changed": LONG_AGO}, "none": {"tag": ""}}


@pytest.fixture
def site() -> Web:
    return servers["get"]("web")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    spool = open_spool(tmp_path / "spool")
    with ExitStack() as stack:

        def opened(settings: dict, keys: Callable[[str], Secret | None] = lambda _: None, **more: Any) -> Any:
            run = replace(ticket(settings, {}, spool), **{"limits": LIMITS, **more})
            stack.enter_context(redact.hiding(secrets_of(run)))
            intake = adapters.open_intake(run, spool, keys)
            stack.callback(intake.close)
            return intake

        yield opened


@pytest.fixture
def read(opened: Callable[..., Any]) -> Callable[..., bytes]:
    return lambda *given, **more: b"".join(opened(*given, **more).blocks(Range(), 0))


@pytest.mark.parametrize("parts", [True, False], ids=["parts", "no parts"])
@pytest.mark.parametrize("proof", PROOFS)
def test_a_read_that_breaks_goes_on_where_it_was(site: Web, read: Any, proof: str, parts: bool) -> None:
    site.put(KEY, BODY, parts=parts, **PROOFS[proof])
    site.next[f"/{KEY}"] = [Reply(cut=300_000), Reply(cut=900_000), Reply(status=503), Reply(lost=True)]
    assert read(site.at(KEY)) == BODY
    first, *later = site.came(KEY)
    assert first.headers["range"] == "bytes=0-"
    in_parts = parts and proof != "none"
    assert [call.headers.get("if-range") for call in later] == [_proof(site) if in_parts else None] * len(later)
    assert (later[0].headers.get("range") == "bytes=300000-") is in_parts
    assert {call.headers["accept-encoding"] for call in site.calls} == {"identity"}


def _proof(site: Web) -> str:
    page = site.pages[f"/{KEY}"]
    return page.tag or page.changed


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_a_server_that_says_nothing_is_read_again_as_long_as_it_sends_the_same(
    site: Web, read: Any, chunked: bool
) -> None:
    site.put(KEY, BODY, tag="", parts=False, chunked=chunked)
    site.next[f"/{KEY}"] = [Reply(cut=500_000), Reply(cut=700_000)]
    assert read(site.at(KEY)) == BODY
    other = BODY[:400_000] + b"X" + BODY[400_001:]
    site.next[f"/{KEY}"] = [
        Reply(cut=500_000, then=lambda: site.put(KEY, BODY, tag="", parts=False, chunked=chunked)),
        Reply(then=lambda: site.put(KEY, other, tag="", parts=False, chunked=chunked)),
    ]
    with pytest.raises(SourceError, match=r"has changed since the job began .*first \d+ bytes are others"):
        read(site.at(KEY))


@pytest.mark.parametrize("proof", ["tag", "date"])
def test_a_file_that_changes_while_it_is_read_ends_the_job(site: Web, read: Any, opened: Any, proof: str) -> None:
    def change() -> None:
        given = {"tag": ""} | {"changed": LONG_AGO.replace("2025", "2024")} if proof == "date" else {}
        site.put(KEY, BODY[::-1], **given)

    span = f"bytes 300000-{len(BODY) - 1}/{len(BODY)}"
    for second in (
        Reply(then=change),
        Reply(206, {"Content-Range": span, "ETag": '"other"'}, BODY[300_000:]),
        Reply(206, {"Content-Range": f"bytes 300000-{len(BODY)}/{len(BODY) + 1}", "ETag": '"other"'}, BODY[300_000:]),
        Reply(412),
        Reply(416),
        *([Reply(206, {"Content-Range": span}, BODY[300_000:])] if proof == "tag" else []),
    ):
        site.put(KEY, BODY, **PROOFS[proof])
        site.next[f"/{KEY}"] = [Reply(cut=300_000), second]
        with pytest.raises(SourceError, match=r"in/data.csv has changed since the job began"):
            read(site.at(KEY))
    site.put(KEY, BODY, **PROOFS[proof])
    intake = opened(site.at(KEY))
    before = intake.identity()
    assert intake.identity() == before
    change()
    assert intake.identity() != before


def test_other_bytes_than_those_asked_for(site: Web, read: Any) -> None:
    site.put(KEY, BODY)
    tag = site.pages[f"/{KEY}"].tag
    whole = {"Content-Range": f"bytes 0-{len(BODY) - 1}/{len(BODY)}", "ETag": tag}
    site.next[f"/{KEY}"] = [Reply(cut=300_000), Reply(206, whole, BODY)]
    with pytest.raises(SourceError, match="other bytes than those asked for, which begin at 300000"):
        read(site.at(KEY))


@pytest.mark.parametrize("given", [{"tag": ""}, {"tag": 'W/"1"'}, {"tag": "", "changed": "now"}], ids=str)
def test_what_cannot_be_proven_is_copied_by_a_job(site: Web, opened: Any, given: dict) -> None:
    if "changed" in given:
        given = given | {"changed": email.utils.formatdate(time.time() + 5, usegmt=True)}
    site.put(KEY, BODY, **given)
    with pytest.raises(
        SourceError, match=r"cannot be read from byte 5 on, since its server does not say which version"
    ):
        next(opened(site.at(KEY)).blocks(Range(), 5))

    def run(fence: int) -> Any:
        return opened(site.at(KEY), goes_on=True, fence=fence)

    broken = run(1)
    site.next[f"/{KEY}"] = [Reply(cut=300_000), *[Reply(503)] * 20]
    with pytest.raises(SourceError):
        broken.identity()
    site.next.clear()
    first = run(2)
    identity = first.identity()
    assert identity == {"bytes": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest()}
    site.put(KEY, b"another file", **given)
    calls = len(site.calls)
    for intake in (first, run(3), run(9)):
        assert intake.identity() == identity
        assert b"".join(intake.blocks(Range(), 5)) == BODY[5:]
        assert intake.size() == len(BODY)
    assert len(site.calls) == calls


def test_what_is_proven_is_not_copied(site: Web, opened: Any, tmp_path: Path) -> None:
    site.put(KEY, BODY)
    intake = opened(site.at(KEY), goes_on=True)
    assert b"".join(intake.blocks(Range(), 5)) == BODY[5:]
    assert "sha256" not in intake.identity()
    assert not open_spool(tmp_path / "spool").blobs.list("uploads")


def test_one_call_is_enough_for_a_file(site: Web, opened: Any) -> None:
    site.put(KEY, BODY, tag="", parts=False)
    intake = opened(site.at(KEY))
    assert b"".join(intake.blocks(Range(), 0)) == BODY
    intake.identity()
    intake.identity()
    assert len(site.calls) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"open_end": True, "parts": False}, "neither a length nor an end"),
        ({"length": len(BODY) + 9, "parts": False, "tag": ""}, "breaks again and again"),
        ({"encoding": "br"}, "content-encoding 'br', which was not asked for"),
        ({"body": b" <!DOCTYPE html><form>", "kind": "text/html"}, "web page instead of data, from 127.0.0.1/in/data"),
        ({"body": b"<p>Hi", "kind": "text/html; charset=utf-8"}, "web page instead of data"),
        ({"body": b"\xef\xbb\xbf<html><p>", "kind": "text/csv"}, "web page instead of data"),
    ],
    ids=lambda given: given if isinstance(given, str) else None,
)
def test_what_is_no_whole_file(site: Web, read: Any, given: dict, said: str) -> None:
    site.put(KEY, **{"body": BODY} | given)
    with pytest.raises(SourceError, match=said):
        read(site.at(KEY))


def test_data_that_looks_odd_is_data(site: Web, read: Any) -> None:
    for body, given in ((b"<a>,b\n1,2\n", {}), (b"a,b\n1,2\n", {"kind": "text/html"}), (BODY, {"encoding": "gzip"})):
        site.put(KEY, body, **given)
        assert read(site.at(KEY)) == body


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (401, {}, b"", r"access to .* was refused \(status 401; the job names no credential\)"),
        (403, {}, b"<Error><Code>AccessDenied</Code>\n<M>No</M></Error>", r"refused \(status 403: AccessDenied No; "),
        (403, {}, b"Request has expired", r"the credentials for .* have expired \(status 403: Request has expired\)"),
        (404, {}, b"", r"there is no http://127.0.0.1:\d+/in/data.csv \(status 404\); check the url"),
        (410, {}, b"", "there is no"),
        (400, {}, b"a" * 5000, r"the server refused .*\(status 400: a{900,1020}.?\)"),
        (204, {}, b"", "status 204"),
        (302, {}, b"", "status 302"),
        (300, {"Location": "/x?secret"}, b"", r"status 300 points to /x\?\[redacted\], which is not followed"),
        (501, {}, b"", "status 501"),
        (206, {}, b"ab", "status 206"),
        (206, {"Content-Range": "bytes 5-6/9"}, b"ab", "status 206"),
    ],
)
def test_refusals_are_told_at_once(site: Web, read: Any, status: int, headers: dict, body: bytes, said: str) -> None:
    site.put(KEY, BODY)
    site.next[f"/{KEY}"] = [Reply(status, headers, body)]
    with pytest.raises(SourceError, match=said):
        read(site.at(KEY))
    assert len(site.calls) == 1


def test_a_server_that_asks_to_wait_is_waited_for(site: Web, read: Any) -> None:
    site.put(KEY, BODY)
    soon = email.utils.formatdate(time.time() + 2, usegmt=True)
    site.next[f"/{KEY}"] = [Reply(503, {"Retry-After": "1"}), Reply(429, {"Retry-After": soon}), Reply(429)]
    began = time.monotonic()
    assert read(site.at(KEY), limits=RunLimits(patience_seconds=4)) == BODY
    assert time.monotonic() - began > 1.8


def test_a_server_that_never_has_time(site: Web, read: Any) -> None:
    site.next[f"/{KEY}"] = [Reply(429, {"Retry-After": "3600"}, b"busy")] * 9
    began = time.monotonic()
    with pytest.raises(SourceError, match=r"the server of .* does not answer \(status 429: busy\)"):
        read(site.at(KEY))
    assert 1.6 < time.monotonic() - began < 60


def test_slow_is_no_fault_and_silent_is_one(site: Web, read: Any) -> None:
    small = BODY[:6000]
    site.put(KEY, small)
    site.next[f"/{KEY}"] = [Reply(wait=1.3), Reply(drip=0.3)]
    assert read(site.at(KEY)) == small
    assert len(site.calls) == 2


def test_heads_without_an_end_and_answers_that_are_none(site: Web, read: Any) -> None:
    site.put(KEY, BODY)
    site.next[f"/{KEY}"] = [Reply(200, {"X-Much": "x" * 200_000})] * 99
    with pytest.raises(SourceError, match=r"the server of .* does not answer"):
        read(site.at(KEY))


def test_closing_ends_a_read_that_waits(site: Web, opened: Any) -> None:
    site.put(KEY, BODY)
    site.next[f"/{KEY}"] = [Reply(wait=20)]
    intake = opened(site.at(KEY), limits=RunLimits(patience_seconds=600))
    threading.Timer(0.3, intake.close).start()
    began = time.monotonic()
    with pytest.raises((RunStopped, SourceError)):
        list(intake.blocks(Range(), 0))
    assert time.monotonic() - began < 15


def _to(url: str, status: int = 302) -> list[Reply]:
    return [Reply(status, {"Location": url})] * 20


def test_redirects_are_followed_up_to_five(site: Web, read: Any) -> None:
    site.put(KEY, BODY)
    for number in range(7):
        to = f"/hop{number - 1}" if number else f"/{KEY}"
        site.next[f"/hop{number}"] = _to(to, (301, 302, 303, 307, 308)[number % 5])
    assert read(site.at("hop4")) == BODY
    with pytest.raises(SourceError, match="redirects more than 5 times"):
        read(site.at("hop5"))
    site.next["/loop"] = _to(f"{site.url}/loop")
    with pytest.raises(SourceError, match="redirects more than 5 times"):
        read(site.at("loop"))
    for to, said in (
        ("ftp://x/y?z=1", r"redirects to ftp://x/y\?\[redacted\], which"),
        ("http://[1", "which is no address|cannot be read"),
    ):
        site.next["/odd"] = _to(to)
        with pytest.raises(SourceError, match=said):
            read(site.at("odd"))


def test_no_redirect_leads_out_of_reach(site: Web, read: Any) -> None:
    with web() as inner:
        inner.put("secret", b"a\n1\n")
        for to, said in (
            (f"{inner.url}/secret", "Intake: the URL leads to the private address 127.0.0.1"),
            (inner.url.replace("127.0.0.1", "2130706433") + "/secret", "private address 127.0.0.1"),
            ("http://169.254.169.254/latest/meta-data", "leads to 169.254.169.254"),
        ):
            site.next["/away"], site.next["/first"] = _to(to), _to("/away")
            with pytest.raises(Forbidden, match=said):
                read(site.at("first"), reach=Reach(allowed=(site.place,)))
        assert inner.calls == []


def test_what_proves_who_asks_stays_with_the_server_that_was_named(site: Web, read: Any) -> None:
    with web() as other:
        site.put(KEY, BODY)
        site.user = "Basic dTpwJnc="
        site.next["/away"], other.next["/back"] = _to(f"{other.url}/back"), _to(f"{site.url}/{KEY}")
        asked = site.at("away", headers={"X-Key": "k", "Accept": "text/csv"})
        assert read(asked, lambda _: BasicSecret("u", "p&w")) == BODY
        assert read(asked | {"url": asked["url"].replace("://", "://u:p%26w@")}) == BODY
        for call in other.calls:
            assert not {"authorization", "x-key", "referer", "cookie"} & {name.lower() for name in call.headers}
        assert {call.headers["authorization"] for call in site.calls} == {site.user}
        assert {call.headers["x-key"] for call in site.calls} == {"k"}
        site.user = "Bearer t0ken"
        assert read(site.at(KEY), lambda _: OAuthSecret("t0ken", "")) == BODY


def test_a_credential_that_was_changed_is_taken_as_it_is_now(site: Web, read: Any) -> None:
    site.put(KEY, BODY)
    site.user = "Bearer new"
    known = [OAuthSecret("old", ""), OAuthSecret("new", "")]
    assert read(site.at(KEY), lambda _: known.pop(0) if len(known) > 1 else known[0]) == BODY
    with pytest.raises(SourceError, match=r"refused \(status 401: who are you\?\); check the credential"):
        read(site.at(KEY), lambda _: OAuthSecret("wrong", ""))


def test_no_message_shows_what_a_url_hides(site: Web, read: Any) -> None:
    signed = "X-Amz-Signature=0123abcd%2Fef&X-Amz-Date=20260101T000000Z"
    url = site.at(KEY)["url"].replace("://", "://me:pass%2Fword@") + f"?{signed}#part"
    echo = f"{signed} 0123abcd/ef 0123abcd%2Fef pass/word bWU6cGFzcy93b3Jk topsecret2".encode()
    site.next[f"/{KEY}"] = [Reply(400, {}, echo)]
    with pytest.raises(SourceError) as refused:
        read({"type": "http", "url": url, "headers": {"X-Key": "Key topsecret2"}})
    assert "/in/data.csv?[redacted] (status 400: [redacted]" in str(refused.value)
    for hidden in ("0123", "20260101", "pass", "bWU6", "topsecret", "me:"):
        assert hidden not in str(refused.value)
    assert site.calls[0].path == f"/{KEY}"
    site.next["/first"] = _to("/second?token=of-the-redirect")
    site.next["/second"] = [Reply(400, {}, b"bad of-the-redirect")]
    with pytest.raises(SourceError, match=r"\(status 400: bad \[redacted\]\)"):
        read(site.at("first"))


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Web]:
    """A server with a certificate that it has signed by itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path / "both.pem"
    file.write_bytes(private + made.sign(key, hashes.SHA256()).public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with web(tls=context) as server:
        yield server


def test_a_certificate_that_nobody_vouches_for_ends_the_job_at_once(read: Any, secure: Web) -> None:
    secure.put(KEY, BODY)
    began = time.monotonic()
    with pytest.raises(SourceError, match=r"TLS: .*self.signed"):
        read(secure.at(KEY), limits=RunLimits(patience_seconds=60))
    assert time.monotonic() - began < 15
    assert secure.calls == []


def test_over_tls(
    site: Web, secure: Web, read: Any, opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting = ssl.create_default_context(cafile=tmp_path / "both.pem")
    monkeypatch.setattr(webcalls, "transport", partial(outbound.transport, verify=trusting))
    for server in (site, secure):
        server.put(KEY, BODY)
    secure.next[f"/{KEY}"] = [Reply(cut=300_000)]
    assert read(secure.at(KEY)) == BODY
    site.next["/up"], secure.next["/down"] = _to(f"{secure.url}/{KEY}"), _to(f"{site.url}/{KEY}")
    assert read(site.at("up")) == BODY
    with pytest.raises(SourceError, match=r"redirects from https to http://.*, which is not encrypted"):
        read(secure.at("down"))
    secure.next["/silent"] = [Reply(wait=20)]
    intake = opened(secure.at("silent"), limits=RunLimits(patience_seconds=600))
    threading.Timer(0.5, intake.close).start()
    began = time.monotonic()
    with pytest.raises((RunStopped, SourceError)):
        list(intake.blocks(Range(), 0))
    assert time.monotonic() - began < 15


TABLE = pa.table({"id": range(200_000), "x": [str(number) for number in range(200_000)]})


def _parquet() -> bytes:
    file = io.BytesIO()
    parquet.write_table(TABLE, file, row_group_size=50_000)
    return file.getvalue()


def _rows(intake: Any, row: int = 0) -> pa.Table:
    return pa.Table.from_batches(intake.batches(Range(), row, ["id", "x"]))


@pytest.mark.parametrize("proof", ["tag", "date", "new"])
def test_parquet_is_read_in_parts(site: Web, opened: Any, proof: str) -> None:
    new = {"tag": "", "changed": email.utils.formatdate(time.time(), usegmt=True)}
    body = _parquet()
    site.put("t.parquet", body, kind="text/plain", **(new if proof == "new" else PROOFS[proof]))
    intake = opened(site.at("t.parquet?a=b", format="parquet"))
    assert intake.size() == len(body)
    site.next["/t.parquet"] = [Reply(cut=1000), Reply(503)]
    assert _rows(intake).equals(TABLE)
    assert _rows(intake, 120_000).equals(TABLE.slice(120_000))
    assert all(call.headers["range"] != "bytes=0-" for call in site.calls)
    site.put("t.parquet", body, tag='"2"')
    with pytest.raises(SourceError, match="has changed since the job began"):
        _rows(intake)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"parts": False}, "does not send parts of a file"),
        ({"tag": 'W/"x"'}, "does not send parts of a file"),
        ({"tag": ""}, "does not send parts of a file"),
        ({"kind": "text/html"}, "web page instead of data"),
        ({"encoding": "gzip"}, "content-encoding 'gzip'"),
        ({"body": b"id\n1\n"}, r"t.parquet is no whole Parquet file"),
    ],
    ids=lambda given: given if isinstance(given, str) else None,
)
def test_parquet_that_cannot_be_read_in_parts(site: Web, opened: Any, given: dict, said: str) -> None:
    site.put("t.parquet", **{"body": _parquet()} | given)
    with pytest.raises(SourceError, match=said):
        opened(site.at("t.parquet", format="parquet"))
