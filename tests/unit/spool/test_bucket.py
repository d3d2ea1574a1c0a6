"""What a bucket has and a folder has not: answers that fail, pieces of objects, preconditions, credentials."""

from __future__ import annotations

import io
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scoreline.errors import SetupError, SpoolError, SpoolFull
from scoreline.settings import Settings
from scoreline.spool import Spool, open_spool, pieces, spool_of
from tests.support import spools, stores
from tests.support.misbehaving import Fault, Misbehaving, misbehaving

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
BODY = random.Random(3).randbytes(100_000)


@pytest.fixture
def proxy(store_server: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Misbehaving]:
    """S3, with something between that fails as it is told."""
    server = store_server("s3")
    with misbehaving(server.url) as between:
        for name, value in spools.environment("s3", server, between.url).items():
            monkeypatch.setenv(name, value)
        yield between


@pytest.fixture
def bucket(proxy: Misbehaving, store_server: Callable[[str], Any]) -> Spool:
    return open_spool(spools.address("s3", store_server("s3")), patience=10)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT .*/a.seg", status=503, body=SLOW_DOWN, times=2),
        Fault("GET .*/a.seg", status=500, times=2),
        Fault("PUT .*/a.seg", lost=True),
        Fault("PUT .*/a.seg", unsent=True, times=2),
        Fault("GET .*/a.seg", cut=50_000, times=2),
        Fault("HEAD .*/a.seg", status=429),
    ],
    ids=["busy", "broken", "lost answer", "unsent", "cut answer", "too many"],
)
def test_what_passes_is_tried_again(bucket: Spool, proxy: Misbehaving, fault: Fault) -> None:
    times = fault.times
    proxy.faults.append(fault)
    receipt = bucket.put_segment("results/j", "a", BODY)
    assert b"".join(bucket.read_segment("results/j", "a")) == BODY
    assert bucket.commit("results/j", [receipt]).size == len(BODY)
    assert fault.times == 0
    assert proxy.calls(fault.calls) > times


def test_who_comes_first_is_known_even_when_the_answer_is_lost(bucket: Spool, proxy: Misbehaving) -> None:
    proxy.faults.append(Fault("PUT .*/mark", lost=True))
    assert bucket.put_marker_once("uploads/j/mark", b"one")
    assert not bucket.put_marker_once("uploads/j/mark", b"one")
    proxy.faults.append(Fault("PUT .*/mark", status=503, body=SLOW_DOWN))
    assert not bucket.put_marker_once("uploads/j/mark", b"two")
    assert bucket.get_marker("uploads/j/mark") == b"one"


def test_a_store_that_stays_away_is_waited_for_and_then_named(proxy: Misbehaving) -> None:
    bucket = spool_of(Settings(spool_url="s3://box/away", patience_seconds=0.5))
    proxy.faults.append(Fault("PUT", status=503, body=SLOW_DOWN, times=1000))
    begun = time.monotonic()
    with pytest.raises(SpoolError, match=r"cannot write results/j/a\.seg: s3://box .*SlowDown, status 503") as refused:
        bucket.put_segment("results/j", "a", b"1")
    assert 0.5 <= time.monotonic() - begun < 60
    assert stores.KEY not in refused.value.message
    assert 2 < proxy.calls("PUT") < 20


def test_waiting_ends_when_the_spool_is_closed(proxy: Misbehaving) -> None:
    bucket = spool_of(Settings(spool_url="s3://box/closed", patience_seconds=60))
    proxy.faults.append(Fault("GET", status=503, times=1000, then=bucket.close))
    begun = time.monotonic()
    with pytest.raises(SpoolError, match="does not answer as it should"):
        bucket.get_marker("uploads/j/x")
    assert time.monotonic() - begun < 30


def test_a_full_store_is_full(bucket: Spool, proxy: Misbehaving) -> None:
    proxy.faults.append(Fault("PUT", status=507))
    with pytest.raises(SpoolFull, match="s3://box is full"):
        bucket.put_segment("results/j", "a", b"1")


DENIED = b"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>AWS4 secret</StringToSign></Error>"


@pytest.mark.parametrize(
    ("url", "fault", "words"),
    [
        ("s3://nobody-made-it", None, "there is no s3://nobody-made-it .NoSuchBucket"),
        ("s3://box/x", Fault("PUT", status=403, body=DENIED), "refuses this process.*SignatureDoesNotMatch"),
        ("s3://box/x", Fault("GET .*list-type", status=403, body=DENIED), "refuses this process"),
        ("s3://box/x", Fault("DELETE|POST", status=403, body=DENIED), "refuses this process"),
    ],
    ids=["bucket", "keys", "listing", "deleting"],
)
def test_what_cannot_be_used_is_said_at_the_start(
    proxy: Misbehaving, url: str, fault: Fault | None, words: str
) -> None:
    proxy.faults += [fault] if fault else []
    with pytest.raises(SetupError, match=f"SCORELINE_SPOOL_URL cannot be used.*{words}") as refused:
        spool_of(Settings(spool_url=url, patience_seconds=5)).check()
    assert "secret" not in refused.value.message


@pytest.mark.skipif("SCORELINE_TEST_S3" in os.environ, reason="a server that looks at signatures takes no changes")
def test_a_store_that_replaces_what_was_to_be_new_is_refused(bucket: Spool, proxy: Misbehaving) -> None:
    bucket.check()
    proxy.mended = lambda path, headers, body, forward: forward(
        {name: value for name, value in headers.items() if name.lower() != "if-none-match"}, body
    )
    with pytest.raises(SetupError, match="If-None-Match"):
        bucket.check()


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///x", "s3://key:secret@box/x", "ftp://box/x", "https://box/x", "gs://box/x#part"]
)
def test_what_is_no_place_is_refused_without_secrets(url: str) -> None:
    with pytest.raises(SetupError) as refused:
        spool_of(Settings(spool_url=url))
    assert "secret" not in refused.value.message


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(SetupError, match=r"scoreline\[spool\]"):
        spool_of(Settings(spool_url="s3://box/x"))


def test_an_upload_of_a_gigabyte_is_hundreds_of_requests_and_not_thousands(bucket: Spool, proxy: Misbehaving) -> None:
    """Of 1/20 of that, in blocks as they come from a connection, with pauses that make no segment by their age."""
    block = bytes(256 << 10)
    with bucket.writer("uploads/j/0") as writer:
        for _ in range(200):
            writer.write(block)
        writer.finish()
    assert b"".join(bucket.reader("uploads/j/0").blocks()) == block * 200
    assert proxy.calls("PUT") <= 20
    assert proxy.calls("GET|HEAD") <= 25


def test_an_object_of_many_pieces_is_one_file(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 10_000)
    monkeypatch.setattr(pieces, "_LEAST_BYTES", 1_000)
    assert spool.put_object("datasets/d", io.BytesIO(BODY[:95_000])) == 95_000
    assert (spool.size("datasets/d"), spool.exists("datasets/d")) == (95_000, True)
    assert spool.blobs.list("datasets") == ["datasets/d"]
    draw = random.Random(5)
    with spool.open_object("datasets/d") as file:
        for _ in range(60):
            start, length = draw.randrange(96_000), draw.randrange(25_000)
            assert file.seek(start) == start
            assert file.read(length) == BODY[:95_000][start : start + length]
        assert file.seek(-10, 2) == 94_990
        assert file.read() == BODY[94_990:95_000]
    spool.put_object("datasets/d", io.BytesIO(b""))
    assert spool.size("datasets/d") == 0
    with spool.open_object("datasets/d") as file:
        assert file.read() == b""


def test_pieces_go_with_their_object_and_those_of_none_after_a_day(
    bucket: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1_000)
    bucket.put_object("artifacts/a.tar", io.BytesIO(BODY[:2_500]))
    bucket.put_object("artifacts/b.tar", io.BytesIO(BODY[:2_500]))
    left = bucket.blobs.list("pieces/artifacts/b.tar")
    assert len(left) == 3
    bucket.delete_object("artifacts/a.tar")
    assert bucket.blobs.list("pieces") == left
    bucket.put_object("artifacts/b.tar", io.BytesIO(BODY[:500]))  # who reads the old ones may go on
    with pytest.raises(OSError, match="cut"):
        bucket.put_object("datasets/c", Cut(BODY[:2_500]))
    assert len(bucket.blobs.list("pieces")) == 4
    bucket.blobs.put("pieces/datasets/d/0011223344556677/000000", [b"of a process that was killed"])
    bucket.blobs.put("checks/0011223344556677", [b"of another one"])
    assert bucket.sweep() == 0
    assert bucket.sweep(-60) == 4
    assert bucket.blobs.list("checks") == []
    assert len(bucket.blobs.list("pieces")) == 1
    with bucket.open_object("artifacts/b.tar") as file:
        assert file.read() == BODY[:500]


class Cut(io.BytesIO):
    """A file that breaks off behind its bytes."""

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        if not found:
            raise OSError("cut")
        return found
