"""Random kills of one big job after another, for the tests (ten) and for `make soak` (hundreds)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.support.storm import Storm, differences

OVER = ("COMPLETED", "ABORTED")
ROWS_A_SECOND = 80_000  # about; a death comes within the time that the rows take


@dataclass
class Tally:
    """What came of some kills. recoveries: the part and the seconds until all ran again."""

    kills: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    aborted: list[str] = field(default_factory=list)
    recoveries: list[tuple[str, float]] = field(default_factory=list)

    @property
    def slowest(self) -> tuple[str, float]:
        return max(self.recoveries, key=lambda recovery: recovery[1], default=("", 0.0))

    def __str__(self) -> str:
        times = sorted(seconds for _, seconds in self.recoveries)
        return (
            f"{self.kills.total()} kills {dict(self.kills)}, {self.jobs} jobs: {self.lost} rows lost, "
            f"{self.doubled} doubled, {self.torn} torn, {len(self.aborted)} jobs aborted {self.aborted}; running again "
            f"after {times[len(times) // 2]:.1f} s (median), {self.slowest[1]:.1f} s at most ({self.slowest[0]})"
        )


def kill_at_random(
    storm: Storm, data: bytes, clean: bytes, victims: Sequence[str], tell: Callable[[str], None] = lambda _: None
) -> Tally:
    """Kill these processes in turn while jobs over the data run; every job is looked at in the end.

    Raises AssertionError when a job does not go on, or leaves anything behind; what is wrong in outputs is counted.
    """
    tally = Tally()
    longest = clean.count(b"\n") / ROWS_A_SECOND
    while tally.kills.total() < len(victims):
        job_id = storm.again(storm.job)
        assert storm.again(lambda job_id=job_id: storm.put(job_id, data)).status_code == 202
        while tally.kills.total() < len(victims):
            time.sleep(storm.random.uniform(0, longest))
            if storm.status(job_id) in OVER:
                break
            name = victims[tally.kills.total()]
            seconds = storm.kill_and_wait(name, job_id)
            tally.kills[name] += 1
            tally.recoveries.append((name, seconds))
            tell(f"{tally.kills.total()}: {name}, running again after {seconds:.1f} s")
        _look_at(storm, job_id, clean, tally)
    return tally


def _look_at(storm: Storm, job_id: str, clean: bytes, tally: Tally) -> None:
    tally.jobs += 1
    if storm.ended(job_id, 300) == "ABORTED":
        tally.aborted.append(storm.check_aborted(job_id))
        return
    written = storm.again(lambda: storm.download(job_id))
    if written != clean:
        lost, doubled, torn = differences(written, clean)
        tally.lost, tally.doubled, tally.torn = tally.lost + lost, tally.doubled + doubled, tally.torn + torn
        return
    storm.check_whole(job_id, clean)
