"""Runs that are due on a real server: its own scheduler makes them, its workers score them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from scoreline.store import Store, now
from scoreline.store.tables.definitions import job_definitions
from tests.support.boosters import as_csv, read_csv, sample
from tests.support.served import until

FAR = (now() + timedelta(days=180)).strftime("%B")  # a month that is not this one, nor the next


@pytest.fixture
def store(server):
    store = Store(f"sqlite:///{server.folder / 'data' / 'scoreline.db'}")
    yield store
    store.dispose()


@pytest.fixture
def definition(dr, server, models):
    files = server.folder / "files"
    (files / "due.csv").write_bytes(as_csv(sample(30), [str(number) for number in range(30)]))
    made = dr.BatchPredictionJobDefinition.create(
        enabled=True,
        name=f"due {models.regression.deployment_id}",
        batch_prediction_job={
            "deployment_id": models.regression.deployment_id,
            "num_concurrent": 1,
            "intake_settings": {"type": "filesystem", "path": "due.csv"},
            "output_settings": {"type": "filesystem", "path": "due-{{ last_scheduled_run_time.year }}.csv"},
            "passthrough_columns": ["id"],
        },
        schedule={"minute": [0], "hour": [3], "day_of_month": [1], "month": [FAR], "day_of_week": ["*"]},
    )
    yield made
    made.delete()


def test_a_run_that_is_due_is_made_within_seconds_and_scored(server, store, definition):
    due = now() + timedelta(seconds=0.5)
    with store.begin() as connection:
        change = job_definitions.update().where(job_definitions.c.id == definition.id)
        connection.execute(change.values(next_run_at=due))
    query = {"batchPredictionJobDefinitionId": definition.id, "source": "schedule"}
    with server.http() as http:

        def jobs():
            return http.get("batchPredictions/", params=query).json()["data"]

        until(jobs, 20)
        until(lambda: jobs()[0]["status"] == "COMPLETED")
        [job] = jobs()
        shown = http.get(f"batchPredictionJobDefinitions/{definition.id}/").json()
    created = datetime.fromisoformat(job["created"])
    assert timedelta() <= created - due < timedelta(seconds=10)  # 2 on a machine that does nothing else
    assert job["rendered"] == {"outputSettings.path": "due-1900.csv"}
    assert job["batchPredictionJobDefinition"]["id"] == definition.id
    assert (shown["lastStartedJobId"], shown["lastStartedJobStatus"]) == (job["id"], "COMPLETED")
    assert datetime.fromisoformat(shown["lastScheduledRunTime"]) == due
    assert datetime.fromisoformat(shown["lastSuccessfulRunTime"]) > due
    following = datetime.fromisoformat(shown["nextScheduledRunTime"])
    assert (following.strftime("%B"), following.day, following.hour) == (FAR, 1, 3)
    assert following > datetime.now(UTC) + timedelta(days=30)
    out = read_csv((server.folder / "files" / "due-1900.csv").read_bytes())
    assert out["id"] == [str(number) for number in range(30)]
