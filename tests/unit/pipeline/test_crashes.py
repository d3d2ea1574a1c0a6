"""Rows that end the model's process: found with few crashes; a model that ends over every row is given up soon."""

from __future__ import annotations

import csv
import io
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline import pipeline
from scoreline.errors import ModelBroken, ModelCrashed, TooManyBadRows
from scoreline.pipeline import crashes
from tests.unit.pipeline.stand_ins import (
    DoublingScorer,
    MemoryIntake,
    MemoryLedger,
    MemoryOutput,
    SeenProgress,
    ticket,
)


class Fragile:
    """Ends over batches that hold one of `bad`; counts how often, and how many ended at the same time."""

    def __init__(self, bad) -> None:
        self.bad = set(bad)
        self.count = 0
        self.lock = threading.Lock()

    def __call__(self, values) -> None:
        if self.bad & set(values):
            with self.lock:
                self.count += 1
            raise ModelCrashed("The model's process ended by signal 11 (SIGSEGV).")


def scored(rows: int, fragile, *, size=1 << 20, concurrency=1, **errors):
    text = "id,x\n" + "".join(f"r{row},{row}\n" for row in range(rows))
    output, progress = MemoryOutput(), SeenProgress()
    intake, scorer = MemoryIntake([text.encode()]), DoublingScorer(fragile)
    made = ticket(size=size, concurrency=concurrency, **errors)
    summary = pipeline.run(made, intake, scorer, output, MemoryLedger(), progress)
    return list(csv.reader(io.StringIO(output.text.decode())))[1:], summary, progress


@settings(max_examples=30)
@given(st.sets(st.integers(0, 999), min_size=1, max_size=2), st.integers(1, 4))
def test_only_the_rows_at_fault_fail(bad, concurrency):
    fragile = Fragile(bad)
    lines, summary, _ = scored(1000, fragile, size=3000, concurrency=concurrency)
    assert summary.counts.failed == len(bad)
    for row, (value, status, name) in enumerate(lines):
        assert name == f"r{row}"
        if row in bad:
            assert value == ""
            assert status == "ERROR: The model's process ended by signal 11 (SIGSEGV)."
        else:
            assert (float(value), status) == (2 * row, "OK")
    # Twice for the whole chunk, once for each half, twice for the row.
    assert fragile.count <= len(bad) * 20


def test_a_crash_that_does_not_come_again_fails_nothing():
    fragile = Fragile({500})

    def once(values):
        if not fragile.count:
            fragile(values)

    lines, summary, progress = scored(1000, once)
    assert summary.counts.failed == 0
    assert len(lines) == 1000
    assert any("SIGSEGV" in line for line in progress.lines)


@pytest.mark.parametrize("abort", [True, False])
def test_a_model_that_ends_over_every_row_is_given_up_at_once(abort):
    fragile = Fragile(range(100_000))
    with pytest.raises(ModelBroken, match=r"SIGSEGV\); so it did for single rows, too, .* given up"):
        scored(100_000, fragile, size=20_000, concurrency=4, abort_on_error=abort)
    assert fragile.count <= 4 + 3 + 5  # each chunk that was in hand once; twice the first; three single rows


def test_a_file_of_one_row_that_ends_the_model():
    with pytest.raises(TooManyBadRows, match="SIGSEGV"):
        scored(1, Fragile({0}))
    _, summary, _ = scored(1, Fragile({0}), abort_on_error=False)
    assert summary.counts.failed == 1


def test_many_bad_rows_in_a_chunk_cost_a_bounded_number_of_crashes():
    fragile = Fragile(range(0, 1000, 9))
    lines, summary, _ = scored(1000, fragile, abort_on_error=False)
    assert fragile.count <= crashes.MOST_A_CHUNK + 24
    assert 1000 / 9 < summary.counts.failed < 1000
    assert sum(status.startswith("ERROR: not scored: too many rows") for _, status, _ in lines) > 0


def test_a_run_of_nothing_but_crashes_ends():
    """The first chunks are good, so that the model is not given up at the start; later, rows that survive are rare."""
    fragile = Fragile(row for row in range(500, 20_000) if row % 100)
    with pytest.raises(ModelBroken, match="more often than it scored"):
        scored(20_000, fragile, size=1000, abort_on_error=False)
    assert fragile.count <= 3 * crashes.MOST_A_RUN


def test_without_row_level_handling_the_chunk_fails_whole():
    fragile = Fragile({700})
    _, summary, _ = scored(1000, fragile, size=1000, row_level=False, abort_on_error=False)
    assert 1 < summary.counts.failed < 200
    assert fragile.count == 2
