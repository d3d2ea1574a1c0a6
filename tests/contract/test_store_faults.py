"""Object stores that fail: each verb once, connections that break, keys that expire, answers that are lost."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scoreline import adapters
from scoreline.credentials import AzureSecret, S3Secret
from scoreline.errors import Cancelled, OutputError, SourceError
from scoreline.protocols import Output
from scoreline.spool import Spool, open_spool
from scoreline.types import Range, Receipt, ScoredChunk
from tests.contract.matrix import PATIENCE, servers, ticket
from tests.support.misbehaving import Fault, Misbehaving, misbehaving

KEY = "out/result.csv"
SLOW = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
BROKEN = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We failed.</Message></Error>"
DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>No.</Message></Error>"
EXPIRED = b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>"
GONE = b"<?xml version='1.0'?><Error><Code>NoSuchUpload</Code><Message>It is gone.</Message></Error>"
LINES = b"0123456789abcde\n"
BIG = 9 << 20  # more than a part


@dataclass
class Case:
    """A store behind a proxy. calls: what each step looks like there."""

    server: Any
    proxy: Misbehaving
    spool: Spool
    calls: dict[str, str]
    settings: Callable[..., dict]
    secret: Any
    stack: ExitStack = field(default_factory=ExitStack)

    def keys(self, _: str) -> Any:
        return self.secret

    def output(self, fence: int = 1, **more: Any) -> Output:
        run = ticket({}, self.settings(KEY, **more), self.spool, fence=fence)
        made = adapters.open_output(run, self.spool, self.keys)
        self.stack.callback(made.close)
        return made

    def read(self, key: str, offset: int = 0) -> Iterator[bytes]:
        intake = adapters.open_intake(ticket(self.settings(key), {}, self.spool), self.spool, self.keys)
        self.stack.callback(intake.close)
        return intake.blocks(Range(), offset)


CALLS = {
    "s3": {
        "begin": r"POST .*\?uploads",
        "part": r"PUT .*partNumber=",
        "complete": r"POST .*uploadId=",
        "look": r"HEAD /box/",
        "get": r"GET /box/in",
        "abort": r"DELETE .*uploadId=",
    },
    "azure": {
        "part": r"PUT .*comp=block&",
        "complete": r"PUT .*comp=blocklist",
        "look": r"HEAD ",
        "get": r"GET .*/in/",
    },
    "gcp": {
        "begin": r"POST /upload/",
        "part": r"PUT .*upload_id=",
        "look": r"GET /storage/v1/b/box/o/.*csv(\?fields|$)",
        "get": r"GET .*alt=media",
        "abort": r"DELETE .*upload_id=",
    },
}


@pytest.fixture(params=CALLS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    store = {"s3": "s3", "azure": "azurite", "gcp": "gcs"}[request.param]
    server = servers["get"](store)
    spool = open_spool(tmp_path / "spool")
    with ExitStack() as stack:
        if store == "gcs":
            proxy, settings, secret = server.proxy, server.at, None
        elif store == "s3":
            proxy = stack.enter_context(misbehaving(server.url))
            settings, secret = lambda key, **more: server.at(key, endpointUrl=proxy.url, **more), server.keys("")
        else:
            proxy = stack.enter_context(misbehaving(server.url.rpartition("/")[0]))
            secret = AzureSecret(server.connection_string.replace(server.url, f"{proxy.url}/devstoreaccount1"))

            def settings(key: str, **more: Any) -> dict:
                return {"type": "azure", "url": f"{proxy.url}/devstoreaccount1/box/{key}", **more}

        made = Case(server, proxy, spool, CALLS[request.param], settings, secret)
        made.proxy.clear()
        with made.stack:
            yield made
        made.proxy.clear()


def blocks(count: int, size: int = BIG) -> list[ScoredChunk]:
    return [ScoredChunk(number, number, bytes([65 + number]) * size, 1) for number in range(count)]


def write(output: Output, chunks: list[ScoredChunk]) -> list[Receipt]:
    return [output.write(chunk) for chunk in chunks]


def whole(chunks: list[ScoredChunk]) -> bytes:
    return b"".join(chunk.body for chunk in chunks)


def settle(output: Any, parts: int) -> None:
    """Wait until so many parts are in the store."""
    deadline = time.monotonic() + 20
    while len(output._sender._parts) < parts:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("kind", ["refused", "unsent", "lost"])
def test_each_step_of_writing_fails_once(case: Case, kind: str) -> None:
    how = {"refused": {"status": 503, "body": SLOW}, "unsent": {"unsent": True}, "lost": {"lost": True}}[kind]
    armed = [Fault(calls, **how) for step, calls in case.calls.items() if step not in ("get", "abort")]
    case.proxy.faults += armed
    output = case.output(ifExists="error")
    output.open(output.prepare())
    chunks = blocks(2)
    output.commit(write(output, chunks))
    assert [fault.calls for fault in armed if fault.times] == []
    assert case.server.get(KEY) == whole(chunks)
    assert case.server.names() == [KEY]
    assert case.spool.blobs.list("staged") == []


def test_the_last_look_fails_once(case: Case) -> None:
    output = case.output()
    output.open(output.prepare())
    receipts = write(output, blocks(1, 10))
    case.proxy.faults.append(Fault(case.calls["look"], 503, SLOW))
    output.finish(receipts, NoSeal())
    case.proxy.faults.append(Fault(case.calls["look"], 503, SLOW))
    output.commit(receipts)
    assert case.server.get(KEY) == b"A" * 10


@pytest.mark.parametrize("fault", [{"cut": 300_000}, {"status": 503, "body": SLOW}, {"lost": True}], ids=str)
def test_reading_goes_on_where_it_broke(case: Case, fault: dict) -> None:
    body = os.urandom(BIG)
    case.server.put("in/data.csv", body)
    case.proxy.faults += [Fault(case.calls["get"], times=2, **fault), Fault(case.calls["look"], 500, BROKEN)]
    assert b"".join(case.read("in/data.csv", 5)) == body[5:]
    assert all(fault.times == 0 for fault in case.proxy.faults)


def test_a_source_that_is_replaced_while_it_is_read(case: Case) -> None:
    case.server.put("in/data.csv", LINES * 600_000)
    case.proxy.faults.append(Fault(case.calls["get"], cut=200_000))
    reading = case.read("in/data.csv")
    next(reading)
    case.server.put("in/data.csv", LINES[::-1] * 600_000)
    case.proxy.faults.append(Fault(case.calls["get"], 503, SLOW))
    with pytest.raises(SourceError, match="has changed since the job began"):
        list(reading)


def test_a_store_that_stays_away_is_given_up_in_words(case: Case) -> None:
    case.server.put("in/data.csv", LINES)
    case.proxy.faults.append(Fault(".", 503, SLOW, times=1000))
    began = time.monotonic()
    with pytest.raises(SourceError, match=r"the store of .*in/data.csv does not answer .*503"):
        list(case.read("in/data.csv"))
    assert PATIENCE < time.monotonic() - began < 20 * PATIENCE


def test_a_store_that_nobody_listens_for(case: Case) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        place = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        here = case.proxy.url
        settings = {name: value.replace(here, place) for name, value in case.settings("in/data.csv").items()}
        secret = case.secret
        if isinstance(secret, AzureSecret):
            secret = AzureSecret(secret.connection_string.replace(here, place))
        run = ticket(settings, {}, case.spool)
        with pytest.raises(SourceError, match=r"the store of .*in/data.csv does not answer"):
            adapters.open_intake(run, case.spool, lambda _: secret)


def test_refused_access_is_told_at_once_and_without_secrets(case: Case) -> None:
    case.server.put("in/data.csv", LINES)
    case.proxy.faults.append(Fault(".", 403, DENIED, times=1000))
    with pytest.raises(SourceError, match=r"access to .*in/data.csv was refused .*403") as refused:
        list(case.read("in/data.csv"))
    with pytest.raises(OutputError, match=r"access to .*result.csv was refused .*403") as closed:
        case.output(ifExists="error").prepare()
    for error in (refused, closed):
        assert "secret" not in str(error.value)
        assert "Signature" not in str(error.value)


def test_a_killed_run_goes_on_with_the_same_upload(case: Case) -> None:
    chunks = blocks(5)
    dead = case.output()
    state = dead.prepare()
    dead.open(state)
    recorded = write(dead, chunks[:3])
    settle(dead, 2)
    recorded += write(dead, chunks[3:4])
    lost = dead.write(chunks[4])  # the ledger never hears of it
    assert sum(len(receipt.data["parts"]) for receipt in recorded) in (2, 3)
    dead.close()
    begun = case.proxy.calls(case.calls.get("begin", "none at all"))
    sent = case.proxy.calls(case.calls["part"])
    output = case.output(fence=2)
    output.open(state, recorded)
    again = ScoredChunk(4, 4, b"other" * 1000, 1)
    receipts = [*recorded, output.write(again)]
    output.commit(receipts)
    assert lost not in receipts
    assert case.server.get(KEY) == whole([*chunks[:4], again])
    assert case.proxy.calls(case.calls.get("begin", "none at all")) == begun
    assert case.proxy.calls(case.calls["part"]) <= sent + 5
    assert case.server.unfinished() == []
    assert case.spool.blobs.list("staged") == []


def test_what_is_uploaded_is_staged_no_longer(case: Case) -> None:
    output = case.output()
    state = output.prepare()
    output.open(state)
    chunks = blocks(4)
    write(output, chunks[:3])
    settle(output, 2)
    output.write(chunks[3])
    output.write(ScoredChunk(4, 4, b"x", 1))
    kept = [key for key in case.spool.blobs.list("staged") if key.endswith(".seg")]
    assert len(kept) <= 4
    output.abort(state)
    assert case.server.get(KEY) is None
    assert case.server.unfinished() == []
    assert case.spool.blobs.list("staged") == []


def test_an_object_that_must_not_be_there(case: Case) -> None:
    case.server.put(KEY, b"old")
    with pytest.raises(OutputError, match=r"there is .*result.csv already"):
        case.output(ifExists="error").prepare()
    named = case.output(ifExists="newName")
    named.open(named.prepare())
    named.commit(write(named, blocks(1, 10)))
    assert sorted(case.server.names()) == ["out/result-0123456789abcdef01234567.csv", KEY]
    assert case.server.get(KEY) == b"old"
    replaced = case.output()
    replaced.open(replaced.prepare())
    replaced.commit(write(replaced, blocks(1, 10)))
    assert case.server.get(KEY) == b"A" * 10


def test_an_object_that_comes_in_between(case: Case, request: pytest.FixtureRequest) -> None:
    if "gcp" in request.node.name:
        pytest.skip("the emulator does not look for the object when an upload ends")
    output = case.output(ifExists="error")
    state = output.prepare()
    output.open(state)
    receipts = write(output, blocks(1, 10))
    case.server.put(KEY, b"somebody else's")
    with pytest.raises(OutputError, match=r"there is .*result.csv already"):
        output.commit(receipts)
    output.abort(state)
    assert case.server.get(KEY) == b"somebody else's"


@pytest.fixture
def s3(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    server = servers["get"]("s3")
    with misbehaving(server.url) as proxy, ExitStack() as stack:
        made = Case(
            server,
            proxy,
            open_spool(tmp_path / "spool"),
            CALLS["s3"],
            lambda key, **more: server.at(key, endpointUrl=proxy.url, **more),
            server.keys(""),
            stack,
        )
        yield made


def test_s3_puts_an_error_in_an_answer_that_begins_well(s3: Case) -> None:
    output = s3.output()
    output.open(output.prepare())
    s3.proxy.faults.append(Fault(s3.calls["complete"], 200, BROKEN, times=2))
    output.commit(write(output, blocks(1, 10)))
    assert s3.server.get(KEY) == b"A" * 10
    assert s3.proxy.calls(s3.calls["complete"]) == 3


def test_s3_puts_an_error_in_every_answer_that_begins_well(s3: Case) -> None:
    output = s3.output()
    state = output.prepare()
    output.open(state)
    receipts = write(output, blocks(1, 10))
    s3.proxy.faults.append(Fault(s3.calls["complete"], 200, BROKEN, times=1000))
    with pytest.raises(OutputError, match="InternalError"):
        output.commit(receipts)
    output.abort(state)
    assert s3.server.names() == s3.server.unfinished() == []


@pytest.mark.parametrize("renewed", [False, True])
def test_s3_keys_that_expire_in_the_middle(s3: Case, *, renewed: bool) -> None:
    if "SCORELINE_TEST_S3" in os.environ:
        pytest.skip("the new keys are made up")
    body = LINES * 200_000
    s3.server.put("in/data.csv", body)

    def renew() -> None:
        if renewed:
            s3.secret = S3Secret(f"AKID{time.monotonic_ns()}", "new secret", "new token")

    s3.proxy.faults += [Fault(s3.calls["get"], cut=100_000), Fault(s3.calls["get"], 400, EXPIRED, then=renew)]
    reading = s3.read("in/data.csv")
    if renewed:
        assert b"".join(reading) == body
    else:
        with pytest.raises(SourceError, match=r"the credentials for s3://box/in/data.csv have expired .*ExpiredToken"):
            list(reading)
    output = s3.output()
    state = output.prepare()
    output.open(state)
    s3.proxy.faults.append(Fault(s3.calls["part"], 400, EXPIRED, then=renew))
    receipts = write(output, blocks(1, 10))
    if renewed:
        output.commit(receipts)
        assert s3.server.get(KEY) == b"A" * 10
    else:
        with pytest.raises(OutputError, match=r"the credentials for s3://box/out/result.csv have expired"):
            output.commit(receipts)
        output.abort(state)
    assert s3.server.unfinished() == []


def test_s3_upload_that_somebody_ended(s3: Case) -> None:
    output = s3.output()
    state = output.prepare()
    output.open(state)
    receipts = write(output, blocks(1, 10))
    s3.server.empty()
    s3.proxy.faults.append(Fault(s3.calls["part"], 404, GONE, times=1000))
    with pytest.raises(OutputError, match=r"dropped the unfinished upload of s3://box/out/result.csv .*run the job"):
        output.commit(receipts)


def test_s3_upload_that_a_killed_run_told_nobody_of_is_ended_by_the_next(s3: Case) -> None:
    s3.output().prepare()
    assert s3.server.unfinished() == [KEY]
    output = s3.output(fence=2)
    state = output.prepare()
    output.open(state)
    output.commit(write(output, blocks(1, 10)))
    assert s3.server.unfinished() == []


WAITS = {"begin": "begin", "part": "part", "last part": "part", "look": "look", "read": "get"}


@pytest.mark.parametrize("step", WAITS)
def test_who_waits_for_a_store_hears_soon_that_the_run_is_over(case: Case, step: str) -> None:
    if WAITS[step] not in case.calls:
        pytest.skip("the store has no such call")
    case.server.put("in/data.csv", LINES)
    ended = threading.Event()

    def check() -> None:
        if ended.is_set():
            raise Cancelled("It was aborted.")

    def work() -> None:
        if step == "look":
            case.proxy.faults.append(Fault(case.calls["look"], 503, SLOW, times=1000))
            list(case.read("in/data.csv"))
        reading = case.read("in/data.csv") if step == "read" else iter(())
        case.proxy.faults.append(Fault(case.calls[WAITS[step]], 503, SLOW, times=1000))
        list(reading)
        output = case.output()
        output.open(output.prepare())
        output.finish(write(output, blocks(12 if step == "part" else 1, BIG if step == "part" else 10)), NoSeal())

    threading.Timer(0.7, ended.set).start()
    with adapters.stopped_by(check), pytest.raises(Cancelled):
        work()


class NoSeal:
    def check(self) -> None:
        pass

    def cross(self) -> None:
        pass


OTHER_KEY = b"<?xml version='1.0'?><Error><Code>InvalidRequest</Code><Message>Another key.</Message></Error>"


def test_an_object_that_is_encrypted_otherwise_is_replaced_and_is_there(s3: Case) -> None:
    """Amazon tells nothing of an object to who asks without its key, or with a key where there is none: status 400."""
    s3.server.put(KEY, b"of an earlier job")
    # The library asks twice, with the region of the bucket.
    s3.proxy.faults += [Fault(r"HEAD /box/out", 400, times=2), Fault(r"GET /box/out", 400, OTHER_KEY)]
    with pytest.raises(OutputError, match=r"there is s3://box/out/result.csv already"):
        s3.output(ifExists="error").prepare()
    s3.proxy.faults += [Fault(r"HEAD /box/out", 400, times=4), Fault(r"GET /box/out", 400, OTHER_KEY, times=2)]
    output = s3.output()
    output.open(output.prepare())
    receipts = write(output, blocks(1, 10))
    output.finish(receipts, NoSeal())
    output.commit(receipts)
    assert s3.server.get(KEY) == b"A" * 10


def test_s3_keys_that_expire_before_the_end_are_renewed(s3: Case) -> None:
    """An answer to HEAD has no body that could say that keys have expired."""
    if "SCORELINE_TEST_S3" in os.environ:
        pytest.skip("the new keys are made up")
    output = s3.output()
    output.open(output.prepare())
    receipts = write(output, blocks(1, 10))

    def renew() -> None:
        s3.secret = S3Secret(f"AKID{time.monotonic_ns()}", "new secret", "new token")

    s3.proxy.faults += [Fault(r"HEAD /box/out", 400, times=2), Fault(r"GET /box/out", 400, EXPIRED, then=renew)]
    output.finish(receipts, NoSeal())
    output.commit(receipts)
    assert s3.server.get(KEY) == b"A" * 10
