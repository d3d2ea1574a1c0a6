"""How large chunks are: as quick as is good for a run that may choose, and never other than the user says."""

import pytest

from scoreline.errors import TooLarge
from scoreline.pipeline.pace import AIM_SECONDS, FIRST_BYTES, FIXED_BYTES, LEAST_BYTES, MOST_BYTES, Pace
from scoreline.types import Counts, PacePlan
from tests.unit.pipeline.stand_ins import DoublingScorer
from tests.unit.pipeline.whole import Setting, expected, source


@pytest.mark.parametrize("rule", ["auto", "dynamic"])
def test_chunks_grow_while_they_are_quick_and_shrink_when_they_are_not(rule):
    pace = Pace(PacePlan(rule, 1))
    sizes = [pace.target()]
    for _ in range(6):
        pace.done(pace.target(), AIM_SECONDS / 100)
        sizes.append(pace.target())
    assert sizes == [min(FIRST_BYTES << i, MOST_BYTES) for i in range(7)]
    pace.done(MOST_BYTES, 4 * AIM_SECONDS)
    assert pace.target() == MOST_BYTES // 4
    pace.done(MOST_BYTES // 4, 1000 * AIM_SECONDS)
    assert pace.target() == LEAST_BYTES
    pace.done(LEAST_BYTES // 3, AIM_SECONDS / 100)  # the end of a file says nothing about larger chunks
    assert pace.target() == LEAST_BYTES


def test_a_size_that_a_server_refused_is_not_tried_again():
    pace = Pace(PacePlan("auto", 1))
    pace.too_large(FIRST_BYTES)
    for _ in range(6):
        pace.done(pace.target(), AIM_SECONDS / 100)
    assert pace.target() == FIRST_BYTES // 2
    pace.too_large(10)
    assert pace.target() == LEAST_BYTES


@pytest.mark.parametrize(("rule", "size"), [("fixed", FIXED_BYTES), (1, 1), (7_000_000, 7_000_000)])
def test_a_size_that_was_asked_for_holds(rule, size):
    pace = Pace(PacePlan(rule, 1))
    pace.done(size, 1e-6)
    pace.done(size, 100 * AIM_SECONDS)
    pace.too_large(size)
    assert pace.target() == size


def test_a_run_takes_more_at_once_after_its_first_chunks():
    rows = 400_000
    it = Setting(source(rows), block=1 << 20, concurrency=1)
    assert it.run().counts == Counts(rows, rows)
    assert it.scorer.calls[0] * len("r00000,1.5\n") < FIRST_BYTES * 1.1
    assert max(it.scorer.calls) > 2 * it.scorer.calls[0]


def test_a_run_with_a_size_of_the_users_asks_in_parts_and_keeps_to_it():
    def few(values):
        if len(values) > 10:
            raise TooLarge("too many at once")

    it = Setting(source(400), size=400, concurrency=1, scorer=DoublingScorer(few))
    it.run()
    assert it.output.text.decode() == expected(400)
    assert sum(calls > 20 for calls in it.scorer.calls) >= 12  # every chunk was as large as was asked for
