"""The search for refused rows: all of them are found, no other is lost, and the calls are few."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.pipeline.search import LEAST_CALLS, PROBES, Search

ENDLESS = 10**9


def ask(rows, bad, *, names=False, most=None, calls=ENDLESS):
    """Return the number of calls, the rows that were scored, and the messages."""
    search = Search(rows, calls)
    scored, asked = set(), 0
    while (part := search.next()) is not None:
        asked += 1
        start, stop = part
        assert 0 <= start < stop <= rows
        hit = sorted(row for row in bad if start <= row < stop)
        if most is not None and stop - start > most:
            search.too_large(part, "too large")
        elif hit:
            search.refused(part, f"bad {hit[0]}", random.choice(hit) - start if names else None)
        else:
            scored |= set(range(start, stop))
            search.good(part)
    return asked, scored, search.errors


@settings(max_examples=300)
@given(st.integers(1, 150), st.data())
def test_every_row_is_settled_as_it_should_be(rows, data):
    bad = data.draw(st.sets(st.integers(0, rows - 1)))
    names = data.draw(st.booleans())
    most = data.draw(st.one_of(st.none(), st.integers(1, 40)))
    asked, scored, errors = ask(rows, bad, names=names, most=most)
    assert set(errors) == bad
    assert scored == set(range(rows)) - bad
    if not names:
        assert all(errors[row] == f"bad {row}" for row in bad)
    assert asked <= 1.2 * rows + 25 + (0 if most is None else rows / most + 10)


@pytest.mark.parametrize("place", [0, 1, 4999, 9998, 9999])
def test_one_row_in_ten_thousand(place):
    asked, _, errors = ask(10_000, {place})
    assert list(errors) == [place]
    assert asked - 1 <= 40


@pytest.mark.parametrize(
    ("bad", "most"), [(1, 20), (10, 110), (50, 360), (143, 720), (250, 1000), (500, 1150), (900, 1050)]
)
def test_scattered_rows_cost_as_many_calls_as_is_promised(bad, most):
    rows = set(random.Random(1).sample(range(1000), bad))
    asked, scored, errors = ask(1000, rows, calls=1500)
    assert (set(errors), len(scored)) == (rows, 1000 - bad)
    assert asked <= most


@pytest.mark.parametrize(("place", "most"), [(0, None), (5700, None), (9999, None), (5700, 3000)])
def test_one_row_too_large_for_any_request_does_not_make_all_others_go_alone(place, most):
    search, sizes, scored = Search(10_000, ENDLESS), [], set()
    while (part := search.next()) is not None:
        start, stop = part
        sizes.append(stop - start)
        if start <= place < stop or (most is not None and stop - start > most):
            search.too_large(part, "too large")
        else:
            scored |= set(range(start, stop))
            search.good(part)
    assert search.errors == {place: "too large"}
    assert scored == set(range(10_000)) - {place}
    assert len(sizes) < 100


def test_a_thousand_at_the_start_do_not_slow_down_the_rest():
    asked, scored, _ = ask(8000, set(range(1000)))
    assert scored == set(range(1000, 8000))
    assert asked < 1100


def test_a_batch_of_refused_rows_is_given_up():
    asked, scored, errors = ask(100_000, set(range(100_000)))
    assert (len(errors), len(scored)) == (100_000, 0)
    assert asked <= LEAST_CALLS + PROBES + 1
    assert errors[0] == "bad 0"
    assert errors[99_999].startswith("not scored: none of the rows of the same chunk that were tried was taken; the")


def test_a_row_that_is_taken_among_those_tried_keeps_the_search_going():
    bad = set(range(5000))
    assert ask(5200, bad)[1] == set(range(5000, 5200))


@pytest.mark.parametrize("calls", [0, 200, 300])
def test_calls_have_an_end(calls):
    bad = set(range(0, 1000, 2))
    asked, scored, errors = ask(1000, bad, calls=calls)
    assert asked == 1 + max(calls, LEAST_CALLS)
    assert scored | set(errors) == set(range(1000))
    assert bad <= set(errors)
    assert re.fullmatch(
        rf"not scored: {max(calls, LEAST_CALLS)} calls were spent on the refused rows of the same chunk, and no more "
        r"are made \(SCORELINE_REFUSAL_CALLS\); the last refusal was: bad \d+",
        errors[999],
    )


def test_calls_that_only_find_a_size_are_not_counted():
    search = Search(400, 0)
    search.refused(search.next(), "bad", 0)
    while (part := search.next()) is not None:
        search.too_large(part, "too large")
    assert search.errors == {0: "bad"} | dict.fromkeys(range(1, 400), "too large")


def test_rows_whose_refusal_does_not_come_again_are_scored():
    """A server that refuses a part for another reason than its rows, once."""
    search = Search(64, ENDLESS)
    search.refused(search.next(), "a bad moment")
    scored = []
    while (part := search.next()) is not None:
        scored += range(*part)
        search.good(part)
    assert sorted(scored) == list(range(64))
    assert search.errors == {}


def test_parts_can_be_asked_for_again_and_given_up():
    search = Search(8, ENDLESS)
    search.refused(search.next(), "no")
    part = search.next()
    assert part == (0, 4)
    search.again(part)
    assert search.next() == part
    search.fail(part, "given up")
    assert search.next() == (4, 8)
    search.good((4, 8))
    assert search.next() is None
    assert search.errors == dict.fromkeys(range(4), "given up")
