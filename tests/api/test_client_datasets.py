"""Scoring datasets of the catalogue with the official client, on a whole installation."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.api.test_client_scoring import as_csv, numbers, read_csv, sample
from tests.support.boosters import COLUMNS
from tests.support.served import scoreline


def as_parquet(rows):
    body = io.BytesIO()
    table = {name: rows[:, number] for number, name in enumerate(COLUMNS)}
    parquet.write_table(pa.table({**table, "id": np.arange(len(rows))}), body, row_group_size=700)
    return body.getvalue()


FORMS = {
    "csv": as_csv,
    "gzip": lambda rows: gzip.compress(as_csv(rows)),
    "zstd": lambda rows: pa.Codec("zstd").compress(as_csv(rows), asbytes=True),
    "parquet": as_parquet,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_dataset_is_scored(dr, models, tmp_path, form):
    rows = sample(5000)
    content = FORMS[form](rows)
    dataset = dr.Dataset.create_from_file(filelike=io.BytesIO(content))
    job = dr.BatchPredictionJob.score(
        models.regression.deployment_id,
        intake_settings={"type": "dataset", "dataset": dataset},
        output_settings={"type": "localFile", "path": str(tmp_path / "out.csv")},
    )
    out = read_csv((tmp_path / "out.csv").read_bytes())
    assert (numbers(out["late_PREDICTION"]) == models.regression.predict(rows)).all()
    status = job.get_status()
    assert (status["scored_rows"], status["failed_rows"]) == (5000, 0)
    assert status["job_spec"]["intake_settings"]["dataset_version_id"] == dataset.version_id
    assert job.get_status()["job_intake_size"] <= len(content)
    dr.Dataset.delete(dataset.id)


def test_a_job_keeps_the_version_that_it_was_made_for(dr, models, tmp_path):
    rows = sample(200)
    first = dr.Dataset.create_from_file(filelike=io.BytesIO(as_csv(rows[:100])))
    dr.Dataset.create_version_from_file(first.id, filelike=io.BytesIO(as_csv(rows)))
    for given, count in ((first, 100), (dr.Dataset.get(first.id), 200)):
        job = dr.BatchPredictionJob.score(
            models.regression.deployment_id,
            intake_settings={"type": "dataset", "dataset": given},
            output_settings={"type": "localFile", "path": str(tmp_path / f"{count}.csv")},
        )
        assert job.get_status()["scored_rows"] == count
    dr.Dataset.delete(first.id)
    with pytest.raises(dr.errors.ClientError, match="There is no dataset"):
        dr.BatchPredictionJob.score(
            models.regression.deployment_id,
            intake_settings={"type": "dataset", "dataset": first},
            output_settings={"type": "localFile"},
        )


def test_the_command_line(server, models, tmp_path):
    env = {"SCORELINE_URL": server.url, "SCORELINE_TOKEN": server.token}
    to = ["--deployment", models.regression.deployment_id]

    def run(*words):
        done = scoreline("datasets", *words, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    file = tmp_path / "rows.csv"
    file.write_bytes(as_csv(sample(50)))
    dataset_id = run("add", str(file), "--name", "some rows").strip()
    assert "some rows" in run("list")
    file.write_bytes(as_csv(sample(60)))
    assert run("add", str(file), "--to", "some rows").strip() == dataset_id
    shown = run("show", "some rows")
    assert "60" in shown
    assert all(name in shown for name in (*COLUMNS, "Numeric"))
    for number, name in enumerate(("some rows", dataset_id)):
        target = tmp_path / f"scored{number}.csv"
        done = scoreline("score", f"dataset://{name}", "-o", str(target), *to, env=env)
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("Job ")
        assert len(target.read_bytes().splitlines()) == 61
    for words in (["dataset://none", "-o", "x.csv"], [str(file), "-o", "dataset://some rows"]):
        done = scoreline("score", *words, *to, env=env)
        assert (done.returncode, "dataset" in done.stderr) == (1, True)
    broken = tmp_path / "broken.csv"
    broken.write_bytes(b"a,a\n1,2\n")
    done = scoreline("datasets", "add", str(broken), env=env)
    assert (done.returncode, "column 'a' more than once" in done.stderr) == (1, True)
    run("remove", dataset_id)
    assert "some rows" not in run("list")
    run("restore", dataset_id)
    run("remove", "some rows")
    done = scoreline("datasets", "show", "some rows", env=env)
    assert (done.returncode, "There is no dataset" in done.stderr) == (1, True)
