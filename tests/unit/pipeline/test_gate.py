"""How many calls are made at once: the user's number exactly, or what a server likes best."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from scoreline import pipeline
from scoreline.errors import Overloaded
from scoreline.pipeline.gate import MOST_BYTES, Gate
from scoreline.types import PacePlan, RunLimits
from tests.unit.pipeline.stand_ins import (
    DoublingScorer,
    MemoryIntake,
    MemoryLedger,
    MemoryOutput,
    SeenProgress,
    ticket,
)


class Simulated:
    """A server that scores `rate(calls at once)` rows a second; time passes only here."""

    def __init__(self, plan: PacePlan, rate, *, chunk_bytes=lambda: 0, rows=lambda: 1000):
        self.now = 100.0
        self.gate = Gate(plan, lambda: None, chunk_bytes=chunk_bytes, clock=lambda: self.now)
        self.rate, self.rows = rate, rows
        self.limits: list[int] = []

    def run(self, calls: int) -> list[int]:
        under_way: list[ExitStack] = []
        for _ in range(calls):
            while len(under_way) < self.gate.limit:
                stack = ExitStack()
                stack.enter_context(self.gate.turn())
                under_way.append(stack)
            self.now += self.rows() / self.rate(len(under_way))
            self.gate.scored(self.rows())
            under_way.pop(0).close()
            while len(under_way) > self.gate.limit:
                under_way.pop(0).close()
            self.limits.append(self.gate.limit)
        for stack in under_way:
            stack.close()
        return self.limits[-calls // 3 :]


@pytest.mark.parametrize("best", [1, 2, 5, 12])
def test_it_finds_what_the_server_can_do_at_once(best):
    server = Simulated(PacePlan("auto", 1, 16), lambda calls: 1000 * min(calls, best))
    late = server.run(3000)
    assert best <= sum(late) / len(late) < best + 0.5
    assert max(late) <= best + 1


def test_a_server_that_gets_slower_with_more_calls_is_left_alone():
    server = Simulated(PacePlan("auto", 2, 16), lambda calls: 1000 * min(calls, 2) / max(1, calls - 1))
    late = server.run(1000)
    assert sum(late) / len(late) < 2.3


def test_it_stays_within_its_bounds():
    assert set(Simulated(PacePlan("auto", 3, 5), lambda calls: calls).run(1000)) == {5}
    chunk = MOST_BYTES // 4
    assert max(Simulated(PacePlan("auto", 1, 16), lambda calls: calls, chunk_bytes=lambda: chunk).run(1000)) == 4


def test_a_number_that_was_asked_for_holds():
    server = Simulated(PacePlan("auto", 3), lambda calls: calls)
    server.gate.busy(0.0)
    server.now += 10
    assert set(server.run(500)) == {3}


def test_calls_of_another_size_are_no_proof():
    """Chunks grow at the beginning: that a call then brings more rows says nothing about calls at once."""
    size = iter([1000 * 2 ** min(n // 8, 4) for n in range(10**6)])
    server = Simulated(PacePlan("auto", 1, 16), lambda calls: 1000.0, rows=lambda: next(size))
    assert max(server.run(50)) <= 2


def test_a_busy_server_halves_once_for_all_calls_under_way():
    server = Simulated(PacePlan("auto", 8, 16), lambda calls: 1000)
    for _ in range(6):
        server.gate.busy(5.0)
    assert server.gate.limit == 4
    server.now += 6
    server.gate.busy(None)
    assert server.gate.limit == 2
    for _ in range(5):
        server.now += 100
        server.gate.busy(None)
    assert server.gate.limit == 1


class Counted(Exception):
    pass


def test_a_pause_is_kept_by_all():
    now = [0.0]

    def stop():
        raise Counted

    gate = Gate(PacePlan("auto", 4), stop, clock=lambda: now[0])
    gate.busy(7.0)
    for moment in (0.0, 3.0, 6.99):
        now[0] = moment
        with pytest.raises(Counted), gate.turn():
            pass
    gate = Gate(PacePlan("auto", 4), lambda: None, clock=lambda: now[0])
    now[0] = 0.0
    gate.busy(7.0)
    gate.busy(1.0)  # a shorter one does not end it
    assert gate._wait() > 6.9
    now[0] = 7.31  # with some spread
    with gate.turn():
        assert gate.limit == 4


def run(pace: PacePlan, scorer, rows: int = 4000):
    text = "id,x\n" + "".join(f"r{row},{row}\n" for row in range(rows))
    output, progress = MemoryOutput(), SeenProgress()
    made = ticket(size=pace.chunk_size)
    made = type(made)(**{name: getattr(made, name) for name in made.__slots__} | {"pace": pace, "limits": RunLimits()})
    summary = pipeline.run(made, MemoryIntake([text.encode()]), scorer, output, MemoryLedger(), progress)
    lines = output.text.decode().splitlines()[1:]
    assert [float(line.split(",")[0]) for line in lines] == [2 * row for row in range(rows)]
    return summary, progress


@pytest.mark.parametrize("wanted", [1, 3])
def test_a_run_makes_exactly_as_many_calls_as_were_asked_for(wanted):
    scorer = DoublingScorer(seconds=0.01)
    _, progress = run(PacePlan(400, wanted), scorer)
    assert scorer.most == wanted
    assert {report.concurrency for report in progress.reports} == {wanted}


def test_a_run_goes_up_with_a_server_that_takes_more():
    scorer = DoublingScorer(seconds=0.02)
    _, progress = run(PacePlan(100, 1, 8), scorer, rows=6000)
    assert scorer.most >= 4
    assert progress.reports[-1].concurrency >= 3


def test_a_run_comes_down_to_what_a_server_takes():
    """It answers 429 to more than two calls at once, and everybody waits as long as it says."""
    lock, under_way, refused, begun = threading.Lock(), [0], [], []

    class Narrow(DoublingScorer):
        def score(self, features, options):
            with lock:
                begun.append(time.monotonic())
                under_way[0] += 1
                many = under_way[0] > 2
            try:
                if many:
                    refused.append(time.monotonic())
                    raise Overloaded("busy", 0.3)
                return super().score(features, options)
            finally:
                with lock:
                    under_way[0] -= 1

    run(PacePlan(1000, 8, 16), Narrow(seconds=0.01))
    assert refused
    for moment in refused:
        # Calls that were about to be made when it came are under way; later ones wait.
        assert not [start for start in begun if moment + 0.05 < start < moment + 0.29]
