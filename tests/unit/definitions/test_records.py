from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from scoreline.definitions import records
from scoreline.jobs import outcomes, service, states
from scoreline.jobs.model import JobState
from scoreline.jobs.outcomes import Origin
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.states import Run
from scoreline.jobs.store import JobFilter
from scoreline.store import now
from scoreline.types import Counts

DUE = datetime(2026, 3, 1, 16, 0, tzinfo=UTC)


def find(world, definition_id):
    with world.store.read() as connection:
        return records.find(connection, definition_id)


def run(world, definition_id, due=None, name="nightly"):
    spec = JobSpec.from_document({"deploymentId": world.deployment_id})
    origin = Origin(definition_id, name, due)
    return service.create(world.store, world.caller, spec, source="schedule", origin=origin)


def end(world, job_id, how):
    def work(connection):
        states.enqueue(connection, job_id)
        held = states.claim(connection, world.server_id, "w")
        assert held == Run(job_id, 1, "w")
        if how == "completed":
            assert states.complete(connection, held, Counts(1, 1, 0, 0), 1, 1)
        else:
            assert states.fail(connection, held, how)

    world.store.run(work)


def test_a_definition_comes_back_as_it_was_stored(world, define):
    schedule = {"minute": ["*"], "hour": [16], "dayOfMonth": [1], "month": ["*"], "dayOfWeek": ["mon"]}
    body = {"deploymentId": world.deployment_id, "intakeSettings": {"type": "s3", "url": "s3://b/{{ x }}.csv"}}
    found = find(world, define(name="nightly", body=body, schedule=schedule, next_run_at=DUE, disable_after=3))
    assert (found.name, found.body, found.schedule, found.next_run_at) == ("nightly", body, schedule, DUE)
    assert (found.owner.username, found.updated_by.username) == ("ada", "ada")
    assert (found.overlap, found.catch_up, found.disable_after) == ("queue", "once", 3)
    assert (found.version, found.failures, found.trouble, found.last_job_state) == (1, 0, None, None)


def test_names_are_unique_until_deleted(world, define):
    first = define(name="nightly")
    with pytest.raises(sa.exc.IntegrityError):
        define(name="nightly")
    with world.store.begin() as connection:
        assert records.taken(connection, world.org_id, "nightly") == first
        assert records.change(connection, first, 1, {"deleted_at": now()})
        assert records.taken(connection, world.org_id, "nightly") is None
    assert find(world, first) is None
    assert define(name="nightly") != first


def test_a_change_that_came_first_wins(world, define):
    definition_id = define()
    with world.store.begin() as connection:
        assert records.change(connection, definition_id, 1, {"name": "a"})
        assert not records.change(connection, definition_id, 1, {"name": "b"})
    assert (find(world, definition_id).name, find(world, definition_id).version) == ("a", 2)


def test_a_definition_tells_of_its_runs(world, define):
    definition_id = define(name="nightly")
    first = run(world, definition_id)
    seen = find(world, definition_id)
    assert (seen.last_job_id, seen.last_started_at, seen.last_job_state) == (
        first.id, first.created_at, JobState.INITIALIZING,
    )  # fmt: skip
    end(world, first.id, "completed")
    seen = find(world, definition_id)
    finished = service.get(world.store, world.caller, first.id).finished_at
    assert seen.last_job_state is JobState.COMPLETED
    assert abs((seen.last_succeeded_at - finished).total_seconds()) < 60
    assert (seen.last_failed_at, seen.failures, seen.message) == (None, 0, None)

    end(world, run(world, definition_id).id, "the disk burns")
    seen = find(world, definition_id)
    assert (seen.failures, seen.message, seen.last_job_state) == (1, "the disk burns", JobState.ABORTED)
    assert seen.last_failed_at >= seen.last_succeeded_at

    service.abort(world.store, world.caller, run(world, definition_id).id)
    assert find(world, definition_id).failures == 1, "what nobody wants any more did not fail"

    end(world, run(world, definition_id).id, "completed")
    assert (find(world, definition_id).failures, find(world, definition_id).message) == (0, None)


def test_so_many_failed_runs_in_a_row_disable_a_definition(world, define):
    definition_id = define(next_run_at=DUE, disable_after=2)
    end(world, run(world, definition_id).id, "first")
    seen = find(world, definition_id)
    assert (seen.enabled, seen.next_run_at, seen.version) == (True, DUE, 1)
    with world.store.begin() as connection:
        outcomes.refused(connection, definition_id, now(), "no such bucket")
    seen = find(world, definition_id)
    assert (seen.enabled, seen.next_run_at, seen.version) == (False, None, 2)
    assert seen.message == "Disabled, because 2 runs in a row failed; the last one: no such bucket"


def test_other_definitions_and_jobs_are_left_alone(world, define):
    one, other = define(disable_after=1), define(disable_after=1)
    end(world, world.job(), "on its own")
    end(world, run(world, one).id, "one failed")
    assert not find(world, one).enabled
    assert (find(world, other).enabled, find(world, other).failures) == (True, 0)


def test_a_due_run_is_made_once(world, define):
    definition_id, other = define(), define()
    first = run(world, definition_id, DUE)
    assert run(world, definition_id, DUE).id == first.id
    assert run(world, definition_id, DUE.replace(hour=17)).id != first.id
    assert run(world, other, DUE).id != first.id
    assert run(world, definition_id).id != run(world, definition_id).id, "whoever asks twice gets two"
    with pytest.raises(sa.exc.IntegrityError):
        world.job(definition_id=definition_id, scheduled_for=DUE)


def test_a_job_shows_its_definition_also_when_that_is_gone(world, define):
    definition_id = define(name="nightly")
    job = run(world, definition_id, DUE)
    with world.store.begin() as connection:
        assert records.change(connection, definition_id, 1, {"deleted_at": now()})
    seen = service.get(world.store, world.caller, job.id)
    assert (seen.made_from.id, seen.made_from.name, seen.made_from.owner_id) == (
        definition_id, "nightly", world.user_id,
    )  # fmt: skip
    assert world.logs(job.id)[1] == "Made from job definition 'nightly' of ada, due at 2026-03-01 16:00:00.000000"
    world.job()
    listed = service.list_jobs(world.store, world.caller, JobFilter(definition_id=definition_id))
    assert [each.id for each in listed.items] == [job.id]
    assert service.list_jobs(world.store, world.caller, JobFilter(definition_id="none")).total == 0


def test_pages(world, define):
    ids = [define(name=name) for name in ("Nightly one", "nightly two", "100%")]
    with world.store.read() as connection:
        page = records.page(connection, world.caller, limit=2)
        assert ([each.id for each in page.items], page.total) == ([ids[2], ids[1]], 3)
        assert records.page(connection, world.caller, search="NIGHTLY").total == 2
        assert records.page(connection, world.caller, search="%").total == 1
        assert records.page(connection, world.caller, deployment_id=world.deployment_id).total == 3
        assert records.page(connection, world.caller, deployment_id="none").total == 0
        due = records.select(connection, sa.true(), order=records.table.c.created_at, limit=2)
        assert [each.id for each in due] == ids[:2]
