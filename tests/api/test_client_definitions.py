"""Job definitions through the official client, against a whole installation."""

from __future__ import annotations

import csv
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import tiny
from tests.support.served import scoreline

SCHEDULE = {"day_of_week": ["mon"], "month": ["*"], "hour": [16], "minute": [0], "day_of_month": [1]}


@pytest.fixture(scope="module")
def churn(server: Any, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A deployment, a file of 500 rows in the folder that is open to jobs."""
    folder = tmp_path_factory.mktemp("churn")
    deployment = server.deploy(tiny.save(folder / "model.txt"), "churn", tiny.TARGET, classNames=list(tiny.LABELS))
    files = server.folder / "files"
    (files / "definitions-in.csv").write_text(tiny.rows(500)[0])
    return SimpleNamespace(deployment=deployment, files=files)


@pytest.fixture
def definitions(dr: Any) -> Any:
    yield dr.BatchPredictionJobDefinition
    for each in dr.BatchPredictionJobDefinition.list(limit=0):
        each.delete()


def body(churn: SimpleNamespace, **values: Any) -> dict[str, Any]:
    return {
        "num_concurrent": 2,
        "deployment_id": churn.deployment,
        "intake_settings": {"type": "filesystem", "path": "definitions-in.csv"},
        "output_settings": {"type": "filesystem", "path": "definitions-out.csv"},
        **values,
    }


def test_all_that_the_client_does_with_definitions_is_tried_here(dr: Any) -> None:
    own = {
        name
        for name, member in vars(dr.BatchPredictionJobDefinition).items()
        if not name.startswith("_") and callable(getattr(member, "__func__", member)) and not inspect.isclass(member)
    }
    assert own == {"get", "list", "create", "update", "run_on_schedule", "run_once", "delete"}


def test_create_get_update_and_delete(dr: Any, definitions: Any, churn: SimpleNamespace) -> None:
    made = definitions.create(
        enabled=False,
        batch_prediction_job=body(churn, csv_settings={"delimiter": "tab"}, max_explanations=0),
        name="nightly",
        schedule=SCHEDULE,
    )
    assert (made.name, made.enabled, made.schedule) == ("nightly", False, SCHEDULE)
    assert made.batch_prediction_job["num_concurrent"] == 2
    assert made.batch_prediction_job["csv_settings"]["delimiter"] == "tab"
    found = definitions.get(made.id)
    assert vars(found) == vars(made)

    updated = found.update(enabled=True, name="nightly2")
    assert (updated.id, updated.name, updated.enabled) == (made.id, "nightly2", True)
    assert updated.batch_prediction_job == made.batch_prediction_job
    updated = found.update(enabled=False, batch_prediction_job=body(churn, num_concurrent=4))
    assert updated.batch_prediction_job["num_concurrent"] == 4
    assert updated.batch_prediction_job["csv_settings"]["delimiter"] == "tab", "a change is a merge"
    scheduled = found.run_on_schedule({**SCHEDULE, "hour": ["*"], "minute": [30, 59]})
    assert (scheduled.enabled, scheduled.schedule["minute"]) == (True, [30, 59])

    found.delete()
    with pytest.raises(dr.errors.ClientError, match="no job definition") as gone:
        definitions.get(made.id)
    assert gone.value.status_code == 404


def test_without_a_name_and_twice_the_same(dr: Any, definitions: Any, churn: SimpleNamespace) -> None:
    unnamed = definitions.create(enabled=False, batch_prediction_job=body(churn))
    assert unnamed.name
    assert unnamed.schedule is None
    with pytest.raises(dr.errors.ClientError, match="choose another name") as taken:
        definitions.create(enabled=False, batch_prediction_job=body(churn), name=unnamed.name)
    assert taken.value.status_code == 409
    other = definitions.create(enabled=False, batch_prediction_job=unnamed.batch_prediction_job)
    assert other.batch_prediction_job == unnamed.batch_prediction_job, "one is made of the other's settings"
    with pytest.raises(dr.errors.ClientError, match="schedule is required"):
        unnamed.update(enabled=True)


def test_lists(definitions: Any, churn: SimpleNamespace) -> None:
    made = [
        definitions.create(enabled=False, batch_prediction_job=body(churn), name=f"n{number:02}").id
        for number in range(12)
    ]
    assert [each.id for each in definitions.list(limit=0)] == made[::-1]
    assert [each.id for each in definitions.list(limit=3, offset=2)] == made[-3:-6:-1]
    assert [each.id for each in definitions.list(search_name="N1", limit=0)] == made[:9:-1]
    assert len(definitions.list(deployment_id=churn.deployment, limit=5)) == 5
    assert definitions.list(deployment_id="none", limit=0) == []


def test_a_run(dr: Any, definitions: Any, churn: SimpleNamespace) -> None:
    names = [{"input_name": "churn_PREDICTION", "output_name": "label"}, {"input_name": "THRESHOLD"}]
    made = definitions.create(
        enabled=False, batch_prediction_job=body(churn, passthrough_columns=["id"], column_names_remapping=names)
    )
    status = _finished(made.run_once())
    assert status["source"] == "jobDefinition"
    assert status["batch_prediction_job_definition"]["id"] == made.id
    rows = _output(churn)
    assert len(rows) == 500
    assert "label" in rows[0]
    assert "THRESHOLD" not in rows[0], "a name without a new one is dropped"
    seen = definitions.get(made.id)
    assert seen.last_successful_run_time is not None
    assert seen.last_failed_run_time is None
    made.delete()
    assert dr.BatchPredictionJob.get(status["id"]).get_status()["status"] == "COMPLETED"


def test_names_that_the_client_puts_in_camel_case_are_understood(definitions: Any, churn: SimpleNamespace) -> None:
    made = definitions.create(
        enabled=False, batch_prediction_job=body(churn, column_names_remapping={"churn_yes_PREDICTION": "p"})
    )
    assert made.batch_prediction_job["column_names_remapping"] != {"churn_yes_PREDICTION": "p"}
    status = _finished(made.run_once())
    assert "p" in _output(churn)[0]
    assert any("is taken for 'churn_yes_PREDICTION'" in line for line in status["logs"])


def test_the_command_line_runs_definitions_to_their_end(
    server: Any, definitions: Any, churn: SimpleNamespace, tmp_path: Path
) -> None:
    local = {"intake_settings": {"type": "localFile"}, "output_settings": {"type": "localFile"}}
    definitions.create(enabled=False, batch_prediction_job=body(churn, **local), name="upload")
    definitions.create(enabled=False, batch_prediction_job=body(churn), name="files")
    env = {"SCORELINE_URL": server.url, "SCORELINE_TOKEN": server.token}
    text, expected = tiny.scored(500)
    (tmp_path / "in.csv").write_bytes(text)
    words = ("--input", "in.csv", "-o", "out.csv")
    done = scoreline("definitions", "run", "upload", *words, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    columns = [",".join(line.split(",")[:-1]) for line in expected.decode().splitlines()]
    assert (tmp_path / "out.csv").read_text().splitlines() == columns
    (churn.files / "definitions-out.csv").unlink(missing_ok=True)
    done = scoreline("definitions", "run", "files", "--wait", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(_output(churn)) == 500


def _finished(job: Any) -> dict[str, Any]:
    job.wait_for_completion()
    return {**job.get_status(), "id": job.id}


def _output(churn: SimpleNamespace) -> list[dict[str, str]]:
    with (churn.files / "definitions-out.csv").open(newline="") as file:
        return list(csv.DictReader(file))
