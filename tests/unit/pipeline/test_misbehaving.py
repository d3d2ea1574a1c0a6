"""Whole runs against a server of MLflow's protocol, through a proxy that misbehaves: no row is lost or shifted."""

import csv
import io
import json
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scoreline.engines import MemoryLedger, run_ticket
from scoreline.errors import AccessRefused, Overloaded, ServerUnavailable, WrongAnswer
from scoreline.pipeline import ask
from scoreline.types import (
    Counts,
    CsvDialect,
    ErrorPlan,
    PacePlan,
    Range,
    RunLimits,
    RunTicket,
    ServerAddress,
)
from tests.support.proxy import fault_proxy
from tests.unit.pipeline.stand_ins import PLAN, SeenProgress


class Doubling(BaseHTTPRequestHandler):
    """Predicts 2x; refuses the whole request for a 13, as servers do."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        values = [row[0] for row in body["dataframe_split"]["data"]]
        if 13 in values:
            status, answer = 400, {"error_code": "BAD_REQUEST", "message": "13 is not a good number"}
        else:
            status, answer = 200, {"predictions": [2 * value for value in values]}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass

    def handle(self):
        with suppress(ConnectionError):
            super().handle()


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Doubling) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(server):
    with fault_proxy(server) as proxy:
        yield proxy


@pytest.fixture
def score(proxy, tmp_path):
    """Score numbers; return the output's rows, the summary and the log."""

    def score(values, *, size=1 << 20, concurrency=2, limits=None, **errors):
        (tmp_path / "in.csv").write_text("id,x\n" + "".join(f"r{i},{value}\n" for i, value in enumerate(values)))
        progress = SeenProgress()
        ticket = RunTicket(
            job_id="j" * 24,
            fence=1,
            part=Range(),
            intake={"type": "filesystem", "path": str(tmp_path / "in.csv")},
            output={"type": "filesystem", "path": str(tmp_path / "out.csv")},
            dialect=CsvDialect(),
            plan=PLAN,
            pace=PacePlan(size, concurrency),
            errors=ErrorPlan(**errors),
            server=ServerAddress(proxy.url, "p", "", kind="mlflow"),
            spool=str(tmp_path / "spool"),
            package_hash="",
            limits=limits or RunLimits(),
        )
        done = run_ticket(ticket, MemoryLedger(), progress)
        rows = list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text())))[1:]
        return rows, done, progress.lines

    return score


def expected(values):
    return [
        ["", "ERROR: 13 is not a good number", f"r{i}"] if value == 13 else [f"{2 * value}.0", "OK", f"r{i}"]
        for i, value in enumerate(values)
    ]


GOOD = [100 + i for i in range(300)]


def test_413_asks_for_less(proxy, score):
    proxy.most_bytes = 1000
    rows, done, _ = score(GOOD)
    assert rows == expected(GOOD)
    assert done.counts == Counts(300, 300)
    assert proxy.refused <= 6
    assert max(proxy.sizes) <= 1000


def test_rows_that_are_refused_are_found_though_the_whole_request_is(proxy, score):
    values = [13 if i in {0, 77, 299} else 100 + i for i in range(300)]
    rows, done, _ = score(values)
    assert rows == expected(values)
    assert done.counts == Counts(300, 297, 3)
    assert len(proxy.sizes) <= 60


def test_413_and_refused_rows_together(proxy, score):
    proxy.most_bytes = 600
    values = [13 if i % 50 == 7 else 100 + i for i in range(300)]
    rows, done, _ = score(values, concurrency=4, size=2000)
    assert rows == expected(values)
    assert done.counts == Counts(300, 294, 6)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_429_waits_as_long_as_is_asked(proxy, score, form):
    proxy.busy = 1
    in_two = format_datetime(datetime.now(UTC) + timedelta(seconds=2.5), usegmt=True)
    proxy.retry_after = "1" if form == "seconds" else in_two
    begun = time.monotonic()
    rows, _, log = score(GOOD)
    assert rows == expected(GOOD)
    assert 1 <= time.monotonic() - begun < 60
    assert any("slow down" in line and "429" in line for line in log)


def test_a_key_that_is_revoked_in_mid_run_ends_it_and_names_the_server(proxy, score, tmp_path):
    def revoke(_):
        if len(proxy.sizes) == 2:
            proxy.busy, proxy.status, proxy.refusal = 10**9, 401, b'{"message": "this key is revoked"}'

    proxy.edit = revoke
    with pytest.raises(AccessRefused, match=r"127\.0\.0\.1.*this key is revoked \(status 401\); check its key"):
        score(GOOD, size=500, concurrency=1)
    assert len(proxy.sizes) == 2
    assert not (tmp_path / "out.csv").exists()


def test_429_for_ever_ends_the_run_and_names_it(proxy, score, tmp_path):
    proxy.busy, proxy.retry_after = 10**9, "0"
    with pytest.raises(Overloaded, match=r"127\.0\.0\.1.*slow down.*429"):
        score(GOOD, limits=RunLimits(patience_seconds=1))
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_burst_of_failures_fails_no_row(proxy, score, status, monkeypatch):
    monkeypatch.setattr(ask, "_FIRST_DELAY", 0.01)
    proxy.busy, proxy.status, proxy.refusal = 6, status, b"<html>a gateway</html>"
    proxy.retry_after = ""
    rows, done, log = score(GOOD, size=500)
    assert rows == expected(GOOD)
    assert done.counts.failed == 0
    assert any(str(status) in line for line in log)


def test_a_hung_server_hits_the_time_limit(proxy, score):
    proxy.hang = True
    begun = time.monotonic()
    with pytest.raises(ServerUnavailable, match=r"gave no whole answer within 0\.5 seconds"):
        score(GOOD, limits=RunLimits(answer_seconds=0.5, patience_seconds=0.1))
    assert time.monotonic() - begun < 30


def test_a_server_that_hung_once_is_asked_again(proxy, score):
    proxy.hang = True
    threading.Timer(0.8, lambda: setattr(proxy, "hang", False)).start()
    rows, done, log = score(GOOD, limits=RunLimits(answer_seconds=0.5))
    assert rows == expected(GOOD)
    assert done.counts == Counts(300, 300)
    assert any("within 0.5 seconds" in line for line in log)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_number_of_rows_is_a_failed_call(proxy, score, change, tmp_path, monkeypatch):
    monkeypatch.setattr(ask, "_FIRST_DELAY", 0.01)
    proxy.rows = change
    with pytest.raises(WrongAnswer, match=f"{300 + change} predictions for 300 rows"):
        score(GOOD)
    assert len(proxy.sizes) == ask.WRONG_ANSWERS
    assert not (tmp_path / "out.csv").exists()


def test_a_wrong_number_of_rows_that_does_not_come_again(proxy, score, monkeypatch):
    monkeypatch.setattr(ask, "_FIRST_DELAY", 0.01)
    wrong = []

    def drop_one(document):
        if len(wrong) < 2:
            wrong.append(document["predictions"].pop())

    proxy.edit = drop_one
    rows, done, _ = score(GOOD)
    assert rows == expected(GOOD)
    assert done.counts == Counts(300, 300)


def test_an_answer_that_is_cut_is_asked_for_again(proxy, score, monkeypatch):
    monkeypatch.setattr(ask, "_FIRST_DELAY", 0.05)
    proxy.cut = True
    threading.Timer(0.3, lambda: setattr(proxy, "cut", False)).start()
    rows, done, _ = score(GOOD)
    assert rows == expected(GOOD)
    assert done.counts.failed == 0


def test_without_row_level_handling_nothing_is_looked_for(proxy, score):
    values = [13 if i == 150 else 100 + i for i in range(300)]
    _, done, _ = score(values, row_level=False, abort_on_error=False)
    assert done.counts == Counts(300, 0, 300)
    assert len(proxy.sizes) == 1
