"""Models that misbehave with what they share with the front: sockets, descriptors, processes of their own."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from scoreline.errors import ModelCrashed, ServerUnavailable
from scoreline.serving import frozen, process
from scoreline.types import ScoreOptions
from tests.unit.serving import models_for_tests as models
from tests.unit.serving.conftest import filled_api, predictor
from tests.unit.serving.test_batches import OPTIONS, batch, model_processes, scorer_of

ENDS = {
    "fork": (models.FORK_AND_END, "exit code 5"),
    "junk": (models.JUNK, "nonsense"),
    "close": (models.CLOSE, "ended by"),
}


def settled(cache, wanted: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 15
    while len(found := model_processes(cache)) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("how", list(ENDS))
def test_the_end_of_a_process_is_seen_whatever_became_of_its_socket(url, cache, how):
    sign, cause = ENDS[how]
    scorer = scorer_of(url, "moody")
    scorer.score(batch([1.0]), OPTIONS)
    began = time.monotonic()
    with pytest.raises(ModelCrashed, match=cause):
        scorer.score(batch([sign]), OPTIONS)
    assert time.monotonic() - began < 10
    assert len(settled(cache, 2)) == 2
    # Both processes work again, and the front is not busy with a socket that is over.
    for _ in range(4):
        assert scorer.score(batch([1.0, 4.0]), OPTIONS).values.tolist() == [[2.0], [8.0]]
    front = psutil.Process()
    before = sum(front.cpu_times()[:2])
    time.sleep(0.5)
    assert sum(front.cpu_times()[:2]) - before < 0.3


def test_a_process_that_stands_still_is_ended_and_one_that_goes_on_is_not(url, cache, monkeypatch):
    monkeypatch.setattr(frozen, "SECONDS", 0.6)
    scorer = scorer_of(url, "moody")
    scorer.score(batch([1.0]), OPTIONS)
    first, second = settled(cache, 2)
    first.suspend()
    time.sleep(0.2)
    first.resume()
    second.suspend()
    deadline = time.monotonic() + 15
    while second.is_running():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert first.is_running()
    for _ in range(4):
        assert scorer.score(batch([1.0, 4.0]), OPTIONS).values.tolist() == [[2.0], [8.0]]


def test_processes_that_a_model_made_end_with_it(made, tmp_path):
    with filled_api(made).serving() as api, predictor(api, tmp_path, processes=1) as url:
        scorer = scorer_of(url, "moody")
        assert scorer.score(batch([models.FORK]), OPTIONS).values.tolist() == [[2 * models.FORK]]
        family = settled(tmp_path, 2)
        assert len(family) == 2
    _, alive = psutil.wait_procs(family, 10)
    assert not alive


@pytest.mark.skipif(not psutil.LINUX, reason="only Linux chooses by a number")
def test_a_machine_without_memory_ends_a_models_process_first(url, cache):
    scorer_of(url).score(batch([1.0]), OPTIONS)
    for child in settled(cache, 2):
        assert int(Path(f"/proc/{child.pid}/oom_score_adj").read_text()) >= 500


def hang(url: str) -> None:
    """Ask for what never comes; nobody waits for it after a second."""
    with pytest.raises(ServerUnavailable):
        scorer_of(url, "moody").score(batch([models.HANG]), ScoreOptions(timeout=1.0))


def test_work_that_nobody_waits_for_any_more_does_not_block_what_comes_after(made, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_ABANDONED_SECONDS", 0.5)
    with filled_api(made).serving() as api, predictor(api, tmp_path, processes=1) as url:
        scorer = scorer_of(url, "moody")
        scorer.score(batch([1.0]), OPTIONS)
        hang(url)
        assert scorer.score(batch([1.0]), OPTIONS).values.tolist() == [[2.0]]


def test_quick_requests_go_past_a_process_that_hangs(made, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_LATE_SECONDS", 0.5)
    with (
        filled_api(made).serving() as api,
        predictor(api, tmp_path, processes=2) as url,
        ThreadPoolExecutor(3) as threads,
    ):
        scorer = scorer_of(url, "moody")

        def both(x: float) -> float:
            began = time.monotonic()
            list(threads.map(lambda _: scorer.score(batch([x]), OPTIONS), range(2)))
            return time.monotonic() - began

        while both(models.SLOW) > 1.6:
            pass  # until two processes share the work
        hang(url)  # and goes on doing so, for _ABANDONED_SECONDS
        began = time.monotonic()
        answers = list(threads.map(lambda x: scorer.score(batch([x]), OPTIONS).values.tolist(), range(12)))
        assert answers == [[[2.0 * x]] for x in range(12)]
        assert time.monotonic() - began < process._ABANDONED_SECONDS - 3
