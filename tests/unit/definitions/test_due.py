"""The scheduler with a clock that tests move: what is made, put off, left out, refused, and that it is so once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
import structlog

from scoreline.access import users
from scoreline.access.outside import Outside
from scoreline.definitions import claims, due, records
from scoreline.definitions.due import Scheduler
from scoreline.definitions.schedule import Schedule, zone_named
from scoreline.definitions.service import Rules
from scoreline.errors import StoreAway, StoreFull
from scoreline.jobs import rendering, states
from scoreline.jobs.model import JobState
from scoreline.settings import Settings
from scoreline.store import new_id, now
from scoreline.store.tables import registry as registry_tables
from scoreline.store.tables.definitions import job_definitions
from scoreline.store.tables.jobs import jobs
from tests.unit.definitions.conftest import defining
from tests.unit.jobs import world as worlds

START = datetime(2027, 3, 1, 7, 0, tzinfo=UTC)
HOURLY = {"minute": [0], "hour": ["*"], "dayOfMonth": ["*"], "month": ["*"], "dayOfWeek": ["*"]}
ALWAYS = HOURLY | {"minute": ["*"]}
FILES = {
    "intakeSettings": {"type": "filesystem", "path": "in.csv"},
    "outputSettings": {"type": "filesystem", "path": "out.csv"},
}


class Clock:
    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def to(self, text: str) -> datetime:
        """Set it to a time of the day, of the day `2 07:30` of the month."""
        day, _, time = text.rpartition(" ")
        at = datetime.strptime(time if time.count(":") == 2 else f"{time}:00", "%H:%M:%S").time()  # noqa: DTZ007
        date = self.moment.date().replace(day=int(day)) if day else self.moment.date()
        self.moment = datetime.combine(date, at, tzinfo=UTC)
        return self.moment


class Site:
    """An installation with a scheduler that was there all the time."""

    def __init__(self, world, define, folder) -> None:
        self.world, self.store = world, world.store
        self.clock = Clock(START)
        self._define = define
        self.rules = Rules(Outside.of(world.store, Settings(data_dir=folder)), files_open=True)
        self.scheduler = self.another()
        self.scheduler.look()

    def another(self) -> Scheduler:
        made = due.scheduler(self.store, self.rules, lambda: None)
        made._clock = self.clock
        return made

    def define(self, schedule=HOURLY, next_run_at=START, body=FILES, **values) -> str:
        body = {"deploymentId": self.world.deployment_id, **body}
        return self._define(schedule=schedule, next_run_at=next_run_at, body=body, **values)

    def look(self, text: str | None = None) -> int:
        if text is not None:
            self.clock.to(text)
        return self.scheduler.look()

    def get(self, definition_id):
        with self.store.read() as connection:
            return records.find(connection, definition_id)

    def runs(self, definition_id) -> list[str]:
        """Return the due times of the jobs that were made, in the order of their making."""
        query = sa.select(jobs.c.scheduled_for).where(jobs.c.definition_id == definition_id).order_by(jobs.c.created_at)
        with self.store.read() as connection:
            return [f"{at:%H:%M}" for at in connection.scalars(query)]

    def live(self, definition_id) -> list[str]:
        with self.store.read() as connection:
            return claims.live(connection, definition_id)

    def end(self, definition_id, *, well=True) -> None:
        """End the run that goes on."""
        [job_id] = self.live(definition_id)
        run = self.store.run(lambda connection: states.claim(connection, self.world.server_id, "w"))
        assert run.job_id == job_id
        if well:
            counts = self.world.get(job_id).counts
            assert self.store.run(lambda connection: states.complete(connection, run, counts, 0, 0))
        else:
            assert self.store.run(lambda connection: states.fail(connection, run, "Reading the intake failed."))

    def change(self, definition_id, **values) -> None:
        with self.store.begin() as connection:
            connection.execute(job_definitions.update().where(job_definitions.c.id == definition_id).values(values))


@pytest.fixture
def site(sqlite_store, tmp_path):
    world = worlds.build(sqlite_store)
    return Site(world, defining(world), tmp_path)


@pytest.fixture
def sites(world, define, tmp_path):
    """The same on SQLite and on PostgreSQL."""
    return Site(world, define, tmp_path)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2027-03-01T{text}+00:00")


def test_what_is_due_is_made_once(sites):
    definition_id = sites.define(next_run_at=at("08:00"))
    assert (sites.look("07:59:59"), sites.runs(definition_id)) == (0, [])
    assert (sites.look("08:00:01"), sites.runs(definition_id)) == (1, ["08:00"])
    assert sites.look() == 0
    found = sites.get(definition_id)
    assert (found.next_run_at, found.last_scheduled_at, found.waiting_for) == (at("09:00"), at("08:00"), None)
    [job_id] = sites.live(definition_id)
    job = sites.world.get(job_id)
    assert (job.source, job.owner.username, job.made_from.id) == ("schedule", "ada", definition_id)
    assert (job.state, job.queue_position) == (JobState.INITIALIZING, 0)
    assert found.last_job_id == job_id
    assert [line.partition(" at 20")[0] for line in sites.world.logs(job_id)] == [
        "Job created by ada",
        f"Made from job definition {found.name!r} of ada, due",
        "Job submitted to the queue",
    ]
    sites.end(definition_id)
    assert sites.get(definition_id).last_job_state is JobState.COMPLETED
    assert sites.look("09:00:00") == 1
    assert sites.runs(definition_id) == ["08:00", "09:00"]


def test_times_in_names_are_those_of_the_definition(site):
    name = "{{ last_scheduled_run_time.hour }}-{{ current_run_time.hour }}-{{ next_scheduled_run_time.hour }}.csv"
    body = FILES | {"outputSettings": {"type": "filesystem", "path": name}}
    definition_id = site.define(body=body, last_started_at=at("06:00"), last_succeeded_at=at("06:30"))
    site.look("07:00:01")
    job = site.world.get(site.live(definition_id)[0])
    assert rendering.values(job.spec, job.moments) == {"outputSettings.path": "6-7-8.csv"}
    assert job.moments.last_completed == at("06:30")


def test_several_schedulers_at_once_make_each_run_once(sites):
    definitions = [sites.define(schedule=ALWAYS, overlap="skip") for _ in range(6)]
    sites.clock.to("07:00:01")
    others = [sites.another() for _ in range(3)]
    barrier = threading.Barrier(3)
    failed: list[Exception] = []

    def look(scheduler: Scheduler) -> None:
        barrier.wait()
        try:
            scheduler.look()
        except StoreAway as error:  # no other error is one of the database's
            failed.append(error)

    for _ in range(2):
        threads = [threading.Thread(target=look, args=(one,)) for one in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed
    assert [sites.runs(one) for one in definitions] == [["07:00"]] * 6
    assert {sites.get(one).next_run_at for one in definitions} == {at("07:01")}


def test_a_scheduler_that_dies_leaves_the_run_to_the_next(sites):
    class Killed(BaseException):
        pass

    definition_id = sites.define()
    real = sites.scheduler._make

    def dies(definition, origin, moments):
        claim = origin.claim

        def claim_and_die(connection):
            claim(connection)
            raise Killed

        object.__setattr__(origin, "claim", claim_and_die)
        real(definition, origin, moments)

    sites.scheduler._make = dies
    with pytest.raises(Killed):
        sites.look("07:00:01")
    assert sites.runs(definition_id) == []
    sites.scheduler = sites.another()
    assert (sites.look("07:00:05"), sites.runs(definition_id)) == (1, ["07:00"])
    assert sites.look() == 0


def test_somebody_changes_it_meanwhile(sites):
    definition_id = sites.define()
    real = sites.scheduler._make

    def changed_before(definition, origin, moments):
        sites.change(definition_id, version=2, next_run_at=at("12:00"))
        real(definition, origin, moments)

    sites.scheduler._make = changed_before
    sites.look("07:00:01")
    assert sites.runs(definition_id) == []
    assert sites.get(definition_id).next_run_at == at("12:00")


class TestMissed:
    def restarted(self, site, text):
        site.clock.to(text)
        site.scheduler = site.another()
        site.look()

    def test_one_run_makes_up_for_all(self, site):
        definition_id = site.define(next_run_at=at("08:00"))
        self.restarted(site, "10:30")
        assert site.runs(definition_id) == ["10:00"]
        found = site.get(definition_id)
        assert (found.next_run_at, found.last_scheduled_at) == (at("11:00"), at("10:00"))
        [line] = [line for line in site.world.logs(site.live(definition_id)[0]) if "No scheduler" in line]
        assert "what was due from 2027-03-01 08:00:00.000000 to 2027-03-01 10:00:00.000000" in line
        assert found.trouble is None

    def test_or_none(self, sites):
        definition_id = sites.define(next_run_at=at("08:00"), catch_up="none")
        self.restarted(sites, "10:30")
        found = sites.get(definition_id)
        assert (sites.runs(definition_id), found.next_run_at, found.last_skipped_at) == ([], at("11:00"), at("10:00"))
        assert "No scheduler was there for what was due from 2027-03-01 08:00" in found.message
        assert found.failures == 0
        sites.look("11:00:00")
        assert sites.runs(definition_id) == ["11:00"]

    def test_what_is_due_now_makes_up_for_it_too(self, site):
        for catch_up in ("once", "none"):
            definition_id = site.define(next_run_at=at("08:00"), catch_up=catch_up)
            self.restarted(site, "10:00:30")
            assert site.runs(definition_id) == ["10:00"]
            assert site.get(definition_id).next_run_at == at("11:00")
            site.clock.to("07:00")

    def test_a_short_restart_misses_nothing(self, site):
        definition_id = site.define(next_run_at=at("08:00"), catch_up="none")
        site.look("07:59:58")
        self.restarted(site, "08:00:40")
        assert site.runs(definition_id) == ["08:00"]
        assert not [line for line in site.world.logs(site.live(definition_id)[0]) if "No scheduler" in line]

    def test_a_scheduler_that_is_slow_misses_nothing(self, site):
        definition_id = site.define(schedule=ALWAYS, overlap="replace")
        for minute in range(5):
            site.look(f"06:{55 + minute}:30")  # it is there
        site.scheduler._seen = site.clock.to("07:02:30")  # and busy with others
        site.look("07:03:10")
        assert site.runs(definition_id) == ["07:00", "07:01", "07:02", "07:03"]

    def test_a_machine_that_slept(self, site):
        definition_id = site.define(next_run_at=at("08:00"))
        site.look("07:59:59")
        site.look("12:30")
        assert site.runs(definition_id) == ["12:00"]

    def test_a_database_that_was_away(self, site, monkeypatch):
        definition_id = site.define(next_run_at=at("08:00"), catch_up="none")

        def gone(connection, moment):
            raise StoreAway("The database does not answer.")

        with monkeypatch.context() as patch:
            patch.setattr(claims, "due", gone)
            for text in ("07:59:30", "08:30", "09:30"):
                with pytest.raises(StoreAway):
                    site.look(text)
        site.look("09:31:00")
        assert (site.runs(definition_id), site.get(definition_id).next_run_at) == ([], at("10:00"))

    def test_a_database_that_took_no_changes(self, site, monkeypatch):
        definition_id = site.define(next_run_at=at("08:00"), schedule=ALWAYS, overlap="replace")
        real = site.scheduler._make

        def full(definition, origin, moments):
            raise StoreFull("The disk is full.")

        site.look("07:59:59")
        site.scheduler._make = full
        for text in ("08:00:10", "08:01:00", "08:30", "09:30"):
            with pytest.raises(StoreFull):
                site.look(text)
        site.scheduler._make = real
        site.look("09:30:20")
        assert site.runs(definition_id) == ["09:30"]
        assert site.get(definition_id).failures == 0


class TestOverlap:
    def test_one_run_waits(self, sites):
        definition_id = sites.define()
        sites.look("07:00:01")
        sites.look("08:00:01")
        found = sites.get(definition_id)
        assert (sites.runs(definition_id), found.waiting_for, found.next_run_at) == (
            ["07:00"],
            at("08:00"),
            at("09:00"),
        )
        sites.look("09:00:01")
        found = sites.get(definition_id)
        assert (found.waiting_for, found.next_run_at, found.last_skipped_at) == (at("08:00"), at("10:00"), at("09:00"))
        assert f"due at 2027-03-01 09:00:00.000000 was left out, because job {found.last_job_id}" in found.message
        assert sites.look("09:30") == 0
        sites.end(definition_id)
        assert sites.look("09:30:01") == 1
        assert sites.runs(definition_id) == ["07:00", "08:00"]
        assert sites.get(definition_id).waiting_for is None
        assert "It waited for the end of the run before" in sites.world.logs(sites.live(definition_id)[0])
        sites.look("10:00:00")
        assert sites.get(definition_id).waiting_for == at("10:00")

    def test_or_is_left_out(self, site):
        definition_id = site.define(overlap="skip")
        site.look("07:00:01")
        site.look("08:00:01")
        found = site.get(definition_id)
        assert (found.waiting_for, found.last_skipped_at, found.next_run_at) == (None, at("08:00"), at("09:00"))
        assert "was left out, because job " in found.message
        assert found.failures == 0
        site.end(definition_id)
        site.look("09:00:01")
        assert site.runs(definition_id) == ["07:00", "09:00"]

    def test_or_takes_the_place_of_the_other(self, sites):
        definition_id = sites.define(overlap="replace")
        sites.look("07:00:01")
        [first] = sites.live(definition_id)
        sites.look("08:00:01")
        assert sites.runs(definition_id) == ["07:00", "08:00"]
        job = sites.world.get(first)
        assert job.state is JobState.ABORTED
        assert job.reason.startswith("Replaced by the run of job definition 'nightly ")
        assert sites.get(definition_id).failures == 0

    def test_unless_that_puts_its_output_in_place(self, site):
        definition_id = site.define(overlap="replace")
        site.look("07:00:01")
        [first] = site.live(definition_id)
        site.world.set(first, committing_at=now())
        site.look("08:00:01")
        assert site.live(definition_id) == [first]
        assert site.get(definition_id).waiting_for == at("08:00")
        site.world.set(first, state=JobState.COMPLETED)
        site.look("08:00:05")
        assert site.runs(definition_id) == ["07:00", "08:00"]

    def test_runs_by_hand_count(self, site):
        definition_id = site.define(next_run_at=at("08:00"))
        by_hand = site.world.job()
        site.world.set(by_hand, definition_id=definition_id)
        site.look("08:00:01")
        assert site.get(definition_id).waiting_for == at("08:00")
        site.world.set(by_hand, state=JobState.ABORTED)
        site.look("08:00:02")
        assert len(site.live(definition_id)) == 1


class TestFailures:
    def test_no_job_but_the_reason(self, site):
        definition_id = site.define()
        deployment = sa.select(registry_tables.deployments.c.id).scalar_subquery()
        with site.store.begin() as connection:
            table = registry_tables.deployments
            connection.execute(table.update().where(table.c.id == deployment).values(status="inactive"))
        assert site.look("07:00:01") == 1
        found = site.get(definition_id)
        assert (site.runs(definition_id), found.failures, found.next_run_at) == ([], 1, at("08:00"))
        assert found.last_failed_at == at("07:00:01")
        assert "is inactive: activate it before scoring" in found.message
        assert site.look("07:30") == 0  # it is not tried again before its time

    def test_so_many_in_a_row_disable_it(self, sites):
        definition_id = sites.define(disable_after=3)
        for hour in ("07", "08"):
            sites.look(f"{hour}:00:01")
            sites.end(definition_id, well=False)
        assert (sites.get(definition_id).enabled, sites.get(definition_id).failures) == (True, 2)
        users.disable(sites.store, "ada")
        sites.look("09:00:01")
        found = sites.get(definition_id)
        assert (found.enabled, found.next_run_at, found.failures) == (False, None, 3)
        assert found.message.startswith("Disabled, because 3 runs in a row failed; the last one: ")
        assert "cannot run for its owner" in found.message
        users.enable(sites.store, "ada")
        assert sites.look("10:00:01") == 0

    def test_a_run_that_goes_well_begins_the_count_anew(self, site):
        definition_id = site.define(disable_after=2)
        for hour, well in (("07", False), ("08", True), ("09", False)):
            site.look(f"{hour}:00:01")
            site.end(definition_id, well=well)
        found = site.get(definition_id)
        assert (found.enabled, found.failures, found.next_run_at) == (True, 1, at("10:00"))

    def test_who_lost_the_right_to_write(self, site):
        definition_id = site.define()
        users.update(site.store, "ada", role="observer")
        site.look("07:00:01")
        assert "is an observer and cannot create" in site.get(definition_id).message

    def test_a_credential_that_is_gone(self, site):
        body = FILES | {"outputSettings": {"type": "s3", "url": "s3://b/k", "credentialId": new_id()}}
        definition_id = site.define(body=body)
        site.look("07:00:01")
        found = site.get(definition_id)
        assert found.message.startswith("outputSettings.credentialId: There is no credential")
        assert (site.runs(definition_id), found.failures) == ([], 1)

    def test_a_fault_of_the_program_hurts_no_other_definition(self, site):
        broken, sound = site.define(), site.define()
        real = site.scheduler._make

        def make(definition, origin, moments):
            if definition.id == broken:
                raise ZeroDivisionError
            real(definition, origin, moments)

        site.scheduler._make = make
        with structlog.testing.capture_logs() as said:
            assert site.look("07:00:01") == 2
        assert [entry["event"] for entry in said if entry["log_level"] == "error"] == ["due run failed"]
        assert (site.runs(broken), site.runs(sound)) == ([], ["07:00"])
        assert "fault of the server" in site.get(broken).message

    def test_a_time_zone_that_is_not_known_any_more(self, site):
        definition_id = site.define(time_zone="Europe/Atlantis")
        site.look("07:00:01")
        found = site.get(definition_id)
        assert (found.enabled, found.next_run_at) == (False, None)
        assert "schedule cannot be read any more: timeZone 'Europe/Atlantis'" in found.message

    def test_the_scheduler_goes_on_after_the_database_was_away(self, site, monkeypatch):
        definition_id = site.define()
        site.clock.to("07:00:01")
        stop, answers = threading.Event(), [StoreAway("away"), StoreAway("away"), ValueError("what?"), None, None]
        real = claims.due

        def by_turns(connection, moment):
            wrong = answers.pop(0)
            if not answers:
                stop.set()
            if wrong is not None:
                raise wrong
            return real(connection, moment)

        monkeypatch.setattr(claims, "due", by_turns)
        monkeypatch.setattr(due, "_LOOK_SECONDS", 0.0)
        with structlog.testing.capture_logs() as said:
            site.scheduler.keep(stop)
        assert [entry["event"] for entry in said] == [
            "schedules cannot be looked after now",
            "schedules could not be looked after",
            "schedules are looked after again",
        ]
        assert site.runs(definition_id) == ["07:00"]


class TestClocks:
    def test_one_that_is_set_back_makes_nothing_twice(self, site):
        definition_id = site.define(overlap="replace")
        site.look("07:00:01")
        site.look("08:00:01")
        for text in ("06:59", "07:00:01", "07:59:59", "08:00:00", "08:30"):
            assert site.look(text) == 0
        site.look("09:00:01")
        assert site.runs(definition_id) == ["07:00", "08:00", "09:00"]

    def test_one_that_is_put_forward_by_a_day_makes_one_run(self, site):
        definition_id = site.define(overlap="replace")
        site.look("07:00:01")
        site.look("2 07:30")
        assert site.runs(definition_id) == ["07:00", "07:00"]
        assert site.get(definition_id).next_run_at == datetime(2027, 3, 2, 8, tzinfo=UTC)
        site.look("1 09:00:01")
        assert len(site.runs(definition_id)) == 2

    @pytest.mark.parametrize(
        ("day", "made"), [("2027-03-28", ["01:00"]), ("2027-10-31", ["00:30"]), ("2027-06-01", ["00:30"])]
    )
    def test_days_on_which_clocks_change(self, site, day, made):
        """02:30 in Berlin: at 03:00 summer time where there is none, the first time where there are two."""
        before = datetime.fromisoformat(f"{day}T00:00:00+00:00") - timedelta(hours=12)
        schedule = HOURLY | {"minute": [30], "hour": [2]}
        zone = {"schedule": schedule, "time_zone": "Europe/Berlin", "next_run_at": before}
        definition_id = site.define(**zone)
        first = Schedule.from_document(schedule).next_after(before, zone_named("Europe/Berlin"))
        site.change(definition_id, next_run_at=first)
        moment = before
        while moment < before + timedelta(hours=24):
            site.clock.moment = moment
            site.look()
            moment += timedelta(minutes=5)
        assert site.runs(definition_id) == made


def test_what_is_asked_every_second_reads_an_index(site):
    with site.store.read() as connection:
        query = str(claims._DUE.compile(connection.engine, compile_kwargs={"render_postcompile": True}))
        plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}".replace("?", "'1'"))]

    assert not [line for line in plan if line.startswith("SCAN")], plan
    assert any("ix_jobs_live_definition_id" in line for line in plan), plan
