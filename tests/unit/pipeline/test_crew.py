"""Work side by side: results in order, no more held than agreed, errors in their place."""

import random
import threading
import time

import pytest

from scoreline.pipeline.crew import Crew, NoMore


def results(crew):
    found = []
    while True:
        try:
            got = crew.take(1.0)
        except NoMore:
            return found
        if got is not None:
            found.append(got)


def test_in_order_whoever_is_first():
    def work(item):
        time.sleep(random.random() * 0.002)
        return item + 1

    assert results(Crew(iter(range(200)), work, threads=4, held=lambda: 6)) == list(range(1, 201))


def test_no_more_is_held_than_agreed():
    taken_in = []

    def source():
        for i in range(50):
            taken_in.append(i)
            yield i + 1

    crew = Crew(source(), lambda item: item, threads=2, held=lambda: 4)
    for taken in range(50):
        time.sleep(0.002)
        assert len(taken_in) - taken <= 4
        assert crew.in_flight <= 4
        assert crew.take(1.0) == taken + 1
    with pytest.raises(NoMore):
        crew.take(1.0)
    assert crew.stop(1.0)


def test_errors_come_where_they_happened():
    def source():
        yield from range(1, 4)
        raise KeyError("source")

    def work(item):
        if item == 3:
            raise ValueError("work")
        return item

    crew = Crew(source(), work, threads=3, held=lambda: 5)
    assert [crew.take(1.0), crew.take(1.0)] == [1, 2]
    with pytest.raises(ValueError, match="work"):
        crew.take(1.0)
    with pytest.raises(KeyError):
        crew.take(1.0)


def test_stopping_waits_for_work_under_way_and_takes_no_more():
    go = threading.Event()
    crew = Crew(iter(range(100)), lambda item: go.wait(10), threads=2, held=lambda: 4)
    assert crew.take(0.01) is None
    assert not crew.stop(0.01)
    go.set()
    assert crew.stop(5.0)
