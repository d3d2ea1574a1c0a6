"""Tickets run in this process: what is opened, what is closed, and what is left behind after each kind of end."""

from dataclasses import replace

import pytest

from scoreline import scorers
from scoreline.engines import MemoryLedger, run_ticket
from scoreline.errors import AccessRefused, Cancelled, LostLease, ShuttingDown, SourceError, SpoolAway, StoreError
from scoreline.types import Counts
from tests.unit.pipeline.stand_ins import DoublingScorer, SeenProgress, ticket


@pytest.fixture
def files(tmp_path):
    """A source of 100 rows, and a ticket from there to a target."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("id,x\n" + "".join(f"r{i},{i}\n" for i in range(100)))
    whole = replace(
        ticket(size=200),
        intake={"type": "filesystem", "path": str(source)},
        output={"type": "filesystem", "path": str(target)},
        spool=str(tmp_path / "spool"),
    )
    return whole, source, target


def left(target):
    return sorted(path.name for path in target.parent.iterdir() if path.name not in {"in.csv", "spool"})


def test_a_file_is_scored_into_a_file(files):
    whole, source, target = files
    scorer = DoublingScorer()
    done = run_ticket(whole, MemoryLedger(), SeenProgress(), scorer=scorer)
    assert target.read_text() == "y_PREDICTION,prediction_status,id\n" + "".join(
        f"{2 * i}.0,OK,r{i}\n" for i in range(100)
    )
    assert done.counts == Counts(100, 100)
    assert (done.bytes_in, done.bytes_out) == (source.stat().st_size, target.stat().st_size)
    assert scorer.closed.is_set()
    assert left(target) == ["out.csv"]


def test_the_scorer_that_the_ticket_names_is_used(files, monkeypatch):
    whole, _, target = files
    monkeypatch.setattr(scorers, "open_scorer", lambda server, plan: DoublingScorer())
    assert run_ticket(whole, MemoryLedger(), SeenProgress()).counts.scored == 100
    assert target.exists()


@pytest.mark.parametrize("problem", [AccessRefused("no"), ValueError("a bug"), KeyboardInterrupt(), Cancelled("user")])
def test_nothing_is_left_after_a_failure(files, problem):
    whole, _, target = files
    target.write_text("as before")

    def refuse(values):
        raise problem

    with pytest.raises(type(problem)):
        run_ticket(whole, MemoryLedger(), SeenProgress(), scorer=DoublingScorer(refuse))
    assert left(target) == ["out.csv"]
    assert target.read_text() == "as before"


def test_a_source_that_is_not_there(files):
    whole, source, target = files
    source.unlink()
    with pytest.raises(SourceError):
        run_ticket(whole, MemoryLedger(), SeenProgress(), scorer=DoublingScorer())
    assert left(target) == []


@pytest.mark.parametrize("problem", [LostLease("gone"), ShuttingDown("down"), StoreError("away"), SpoolAway("away")])
def test_a_run_that_goes_on_elsewhere_leaves_its_work(files, problem):
    whole, _, target = files
    ledger = MemoryLedger()
    keep = ledger.record

    def record(flush):
        if len(ledger.flushes()) == 2:
            raise problem
        keep(flush)

    ledger.record = record
    with pytest.raises(type(problem)):
        run_ticket(whole, ledger, SeenProgress(), scorer=DoublingScorer())
    assert not target.exists()
    assert len(left(target)) == 2  # the temporary file and its journal
    ledger.record = keep
    assert run_ticket(whole, ledger, SeenProgress(), scorer=DoublingScorer()).counts == Counts(100, 100)
    assert len(target.read_text().splitlines()) == 101
    assert left(target) == ["out.csv"]
