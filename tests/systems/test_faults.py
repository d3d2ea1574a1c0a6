"""What goes wrong between a job and real servers: sizes, hangs, cuts, wrong counts, busy servers, another model."""

from __future__ import annotations

import time

import pytest

from scoreline.engines.local import MemoryLedger
from scoreline.errors import ModelChanged, ServerUnavailable, WrongAnswer
from scoreline.pipeline import ask
from scoreline.types import RunLimits, ServerAddress
from tests.support.proxy import fault_proxy
from tests.systems.conftest import v2_server
from tests.systems.scoring import run
from tests.systems.test_good_rows import V2, check_binary

KINDS = ("drum", "mlflow", "v2")


@pytest.fixture(params=KINDS)
def place(request):
    """A kind of server: its address behind a proxy, the proxy, the system it comes from, how near its values are."""
    names = {"drum": ("drum", "drum_binary"), "mlflow": ("mlflow", "mlflow_binary"), "v2": ("mlserver", "mlserver_url")}
    system, url = map(request.getfixturevalue, names[request.param])
    options = V2 if request.param == "v2" else {}
    with fault_proxy(url) as proxy:
        yield request.param, options, proxy, system, 1e-9 if request.param == "drum" else 1e-12


def reached(kind, options, proxy, **more) -> ServerAddress:
    return ServerAddress(proxy.url, "", "", kind, {**options, **more})


def test_413_splits_the_rows(tmp_path, place):
    kind, options, proxy, system, close = place
    proxy.most_bytes = 1500
    rows, done, _ = run(tmp_path, reached(kind, options, proxy), system.rows, chunk_size=1 << 20)
    check_binary(rows, system.own(), close)
    assert proxy.refused
    assert max(proxy.sizes) <= 1500
    assert done.counts.failed == 0


def test_own_limits_split_before_anything_is_sent(tmp_path, place):
    kind, options, proxy, system, close = place
    server = reached(kind, options, proxy, maxBytes="1800", maxRows="20")
    rows, _, _ = run(tmp_path, server, system.rows, chunk_size=1 << 20)
    check_binary(rows, system.own(), close)
    assert max(proxy.sizes) <= 1800
    assert len(proxy.sizes) >= len(rows) / 20


def test_429_waits_as_long_as_is_asked(tmp_path, place):
    kind, options, proxy, system, close = place
    proxy.busy = 2
    began = time.monotonic()
    rows, _, log = run(tmp_path, reached(kind, options, proxy), system.rows, chunk_size=1 << 20)
    assert time.monotonic() - began >= 2
    check_binary(rows, system.own(), close)
    assert any("slow down" in line for line in log)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_number_of_rows_is_a_failed_call(tmp_path, place, change):
    kind, options, proxy, system, _ = place
    proxy.rows = change
    with pytest.raises(WrongAnswer, match="predictions for"):
        run(tmp_path, reached(kind, options, proxy), system.rows, chunk_size=1 << 20)
    assert len(proxy.sizes) == ask.WRONG_ANSWERS
    assert not (tmp_path / "scored.csv").exists()


def test_a_hung_server_hits_the_time_limit(tmp_path, place):
    kind, options, proxy, system, _ = place
    proxy.hang = True
    with pytest.raises(ServerUnavailable, match="within 1 seconds"):
        run(
            tmp_path,
            reached(kind, options, proxy, timeout="1"),
            system.rows,
            chunk_size=1 << 20,
            limits=RunLimits(patience_seconds=0.5),
        )


def test_a_cut_answer_is_asked_for_again(tmp_path, place):
    kind, options, proxy, system, close = place
    proxy.cut = True
    calls = []

    def heal(document):
        calls.append(1)
        proxy.cut = len(calls) < 3

    proxy.edit = heal
    rows, _, _ = run(tmp_path, reached(kind, options, proxy), system.rows, chunk_size=1 << 20)
    check_binary(rows, system.own(), close)
    assert len(calls) >= 3


def test_a_row_alone_that_is_too_large_fails_alone(tmp_path, drum, drum_binary):
    source = tmp_path / "wide.csv"
    source.write_text(f"age,visits,city\n30,1,x\n40,2,{'y' * 3000}\n50,3,z\n")
    rows, done, _ = run(tmp_path, ServerAddress(drum_binary, "", "", "drum", {"maxBytes": "2000"}), source)
    assert [row["prediction_status"][:5] for row in rows] == ["OK", "ERROR", "OK"]
    assert done.counts.failed == 1


def test_another_model_version_ends_the_job_in_a_later_run_too(tmp_path, mlserver):
    ledger = MemoryLedger()
    with v2_server(mlserver, "v1") as url:
        run(tmp_path, ServerAddress(url, "", "", "v2", V2), mlserver.rows, ledger=ledger)
    again = MemoryLedger()
    assert again.pin_model(ledger.pin_model("other")) == "binary:v1"
    with v2_server(mlserver, "v2") as url, pytest.raises(ModelChanged, match=r"binary:v2.*began with binary:v1"):
        run(tmp_path, ServerAddress(url, "", "", "v2", V2), mlserver.rows, ledger=again)


def test_a_change_in_mid_job_ends_it(tmp_path, mlserver, mlserver_url):
    with fault_proxy(mlserver_url) as proxy:
        calls = []

        def swap(document):
            calls.append(1)
            if len(calls) > 2:
                document["model_version"] = "v9"

        proxy.edit = swap
        with pytest.raises(ModelChanged, match="binary:v9"):
            run(tmp_path, ServerAddress(proxy.url, "", "", "v2", V2), mlserver.rows)
    assert not (tmp_path / "scored.csv").exists()
