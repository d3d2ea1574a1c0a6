"""Ten random deaths of any process, in the middle of jobs; `make soak` does hundreds of them."""

from __future__ import annotations

import os
import random
from pathlib import Path

from tests.fault.killing import kill_at_random
from tests.support import tiny
from tests.support.served import until
from tests.support.storm import Storm

VICTIMS = ("worker",) * 3 + ("api", "predictor", "model") * 2 + ("supervisor",)  # a supervisor takes longest to start
ROWS = 40_000
PROCESSES = 5  # supervisor, API, worker, prediction server and its model process


def test_ten_random_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    seed = os.environ.get("SCORELINE_SEED") or str(random.SystemRandom().randrange(10**6))
    print(f"SCORELINE_SEED={seed}")  # noqa: T201 -- shown when the test fails
    chance = random.Random(seed)
    storm = Storm(tmp_path, chance)
    try:
        tally = kill_at_random(storm, *tiny.scored(ROWS), chance.sample(VICTIMS, len(VICTIMS)))
        until(lambda: storm.processes() == PROCESSES, 30, f"{storm.processes()} processes")
    finally:
        storm.close()
    assert (tally.lost, tally.doubled, tally.torn, tally.aborted) == (0, 0, 0, []), str(tally)
    assert storm.processes() == 0
