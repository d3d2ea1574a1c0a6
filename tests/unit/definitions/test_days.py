"""Whole days of schedules in simulated time, with schedulers that die at any moment: no run twice, none missing.

SCORELINE_WHOLE_DAYS=1 lets the slow ones simulate a day of 1,000 definitions and a month of 20, each of them due every
minute: 2.3 million runs, 1.4 ms each.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from scoreline.definitions.due import Scheduler
from scoreline.definitions.records import Definition
from scoreline.jobs import outcomes
from scoreline.jobs.model import JobState, UploadState
from scoreline.jobs.outcomes import Origin
from scoreline.jobs.templates import Moments
from scoreline.store import new_id
from scoreline.store.tables.definitions import job_definitions
from scoreline.store.tables.jobs import jobs
from tests.unit.definitions.conftest import defining
from tests.unit.jobs import world as worlds

WHOLE = bool(os.environ.get("SCORELINE_WHOLE_DAYS"))
START = datetime(2027, 3, 1, tzinfo=UTC)
ALWAYS = {"minute": ["*"], "hour": ["*"], "dayOfMonth": ["*"], "month": ["*"], "dayOfWeek": ["*"]}
OFTEN = ALWAYS | {"minute": [0], "hour": [0, 6, "12", 18]}
NIGHTLY = ALWAYS | {"minute": [30], "hour": [2]}
WEEKLY = ALWAYS | {"minute": ["15"], "hour": [6], "dayOfMonth": [1, 31], "dayOfWeek": ["mon"]}


class Killed(BaseException):
    """The end of a process."""


class Days:
    """An installation whose time is made here. Jobs are rows only, and over as soon as they are made."""

    def __init__(self, store, seed: int, *, deaths: float) -> None:
        self.world = worlds.build(store)
        self.store = store
        self.moment = START
        self.deaths = deaths
        self.died = 0
        self.random = random.Random(seed)
        self.schedulers = [self.scheduler() for _ in range(2)]

    def scheduler(self) -> Scheduler:
        return Scheduler(self.store, self.make, clock=lambda: self.moment)

    def make(self, definition: Definition, origin: Origin, moments: Moments) -> None:
        self.may_die()
        with self.store.begin() as connection:
            assert origin.claim is not None
            origin.claim(connection)
            self.may_die()
            self.insert(connection, definition, origin)
            self.may_die()
        self.may_die()

    def insert(self, connection, definition: Definition, origin: Origin) -> None:
        job_id = new_id()
        row = {
            "id": job_id,
            "owner_id": self.world.user_id,
            "org_id": self.world.org_id,
            "package_id": self.world.package_id,
            "package_hash": "",
            "server_id": self.world.server_id,
            "target": {},
            "spec": {},
            "intake_type": "filesystem",
            "output_type": "filesystem",
            "definition_id": definition.id,
            "scheduled_for": origin.scheduled_for,
            "state": JobState.COMPLETED,
            "upload_state": UploadState.NONE,
            "created_at": self.moment,
            "cleaned_at": self.moment,
        }
        connection.execute(jobs.insert().values(row))
        outcomes.started(connection, origin, job_id, self.moment)

    def may_die(self) -> None:
        if self.random.random() < self.deaths:
            raise Killed

    def live_until(self, end: datetime, step: timedelta) -> None:
        """Let time pass, in steps of about so much; who died is started again a moment later."""
        while self.moment < end:
            place = self.random.randrange(len(self.schedulers))
            try:
                self.schedulers[place].look()
                self.moment += self.random.uniform(0.5, 1.0) * step
            except Killed:
                self.died += 1
                self.moment += timedelta(seconds=self.random.uniform(0, 2))
                self.schedulers[place] = self.scheduler()
        self.moment = end + timedelta(seconds=1)
        self.deaths = 0.0
        for scheduler in self.schedulers:
            scheduler.look()

    def runs(self) -> dict[str, list[datetime]]:
        """Return the due times of all jobs by definition, in order."""
        query = sa.select(jobs.c.definition_id, jobs.c.scheduled_for).order_by(jobs.c.scheduled_for)
        found: dict[str, list[datetime]] = {}
        with self.store.read() as connection:
            for definition_id, due in connection.execute(query):
                found.setdefault(definition_id, []).append(due)
        return found

    def last_jobs(self) -> int:
        with self.store.read() as connection:
            query = (
                sa.select(sa.func.count())
                .select_from(job_definitions)
                .join(jobs, jobs.c.id == job_definitions.c.last_job_id)
            )
            return connection.scalar(query.where(jobs.c.scheduled_for == job_definitions.c.last_scheduled_at))


def every(step: timedelta, end: datetime) -> list[datetime]:
    return [START + step * number for number in range((end - START) // step + 1)]


def lived(store, seed: int, count: int, days: float, *, deaths: float, schedule=ALWAYS, every_minutes=1) -> Days:
    """Let `count` definitions run, and check that each made each of its runs once."""
    here = Days(store, seed, deaths=deaths)
    define = defining(here.world)
    definitions = [define(schedule=schedule, next_run_at=START) for _ in range(count)]
    end = START + timedelta(days=days)
    here.live_until(end, timedelta(seconds=40))
    runs = here.runs()
    expected = every(timedelta(minutes=every_minutes), end)
    for definition_id in definitions:
        made = runs[definition_id]
        assert made == expected, (Counter(made) - Counter(expected), Counter(expected) - Counter(made))
    assert here.last_jobs() == count
    return here


def test_an_hour(store):
    assert lived(store, 1, 5, 1 / 24, deaths=0.02).died > 10


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("count", "days"), [(1000, 1.0), (20, 31.0)] if WHOLE else [(1000, 1 / 24), (20, 2.0)], ids=["thousand", "twenty"]
)
def test_many_definitions_and_many_days(sqlite_store, count, days):
    assert lived(sqlite_store, 3, count, days, deaths=0.0005).died > 10


def test_a_month_of_rare_runs(sqlite_store):
    """Hours that come twice and days that do not exist are others' business: these clocks show UTC."""
    here = Days(sqlite_store, 5, deaths=0.05)
    define = defining(here.world)
    often, nightly, weekly = (
        define(schedule=schedule, next_run_at=START + first)
        for schedule, first in (
            (OFTEN, timedelta()),
            (NIGHTLY, timedelta(hours=2, minutes=30)),
            (WEEKLY, timedelta(hours=6, minutes=15)),
        )
    )
    here.live_until(START + timedelta(days=31), timedelta(hours=3))
    runs = here.runs()
    assert runs[often] == every(timedelta(hours=6), START + timedelta(days=31))
    assert runs[nightly] == [START + timedelta(days=day, hours=2, minutes=30) for day in range(31)]
    assert [f"{due:%d %H:%M}" for due in runs[weekly]] == [f"{day:02} 06:15" for day in (1, 8, 15, 22, 29, 31)]
