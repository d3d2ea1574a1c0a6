"""Every kind of target from its model file to its golden output: by jobs, and by the Prediction API."""

from __future__ import annotations

import csv
import io
import json

import httpx2
import joblib
import numpy as np
import pandas as pd
import pytest

from tests.api.test_client_scoring import ended
from tests.support import kinds
from tests.support.kinds import BODIES, GOLDEN
from tests.support.served import scoreline

pytestmark = pytest.mark.timeout(400)  # eight models are loaded first, two of them by MLflow
NAMES = tuple(BODIES)
TARGETS = {
    "regression": ("Regression", "rent"),
    "binary": ("Binary", "churn"),
    "multiclass": ("Multiclass", "pet"),
    "multilabel": ("Multilabel", "tags"),
    "anomaly": ("Anomaly", None),
    "clustering": ("Multiclass", None),
    "textgeneration": ("TextGeneration", "resultText"),
    "extra": ("Regression", "price"),
}


@pytest.fixture(scope="module")
def made(server, tmp_path_factory):
    return kinds.deploy_all(server, tmp_path_factory.mktemp("kinds"))


@pytest.fixture(scope="module")
def predictor(server):
    """The address of the prediction server."""
    with server.http() as http:
        return http.get("predictionServers/").json()["data"][0]["url"]


def score(dr, deployment_id, data: bytes, path, **options):
    """Score with the official client; return the job and the output."""
    intake = {"type": "localFile", "file": io.BytesIO(data)}
    output = {"type": "localFile", "path": str(path)}
    job = dr.BatchPredictionJob.score(deployment_id, intake_settings=intake, output_settings=output, **options)
    return job, path.read_bytes()


def predict(server, predictor, deployment_id, data: bytes, accept="text/csv", **query):
    """Ask the Prediction API."""
    address = f"{predictor}/predApi/v1.0/deployments/{deployment_id}/predictions"
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "text/csv", "Accept": accept}
    return httpx2.post(address, content=data, params=query, headers=headers, timeout=60)


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def settings(server, deployment_id, **change):
    with server.http() as http:
        answer = http.patch(f"deployments/{deployment_id}/settings/", json=change)
        assert answer.status_code == 202, answer.text


def deploy(server, folder, *words):
    """Deploy with the command line; return what it prints."""
    env = {"SCORELINE_URL": server.url, "SCORELINE_TOKEN": server.token}
    done = scoreline("deploy", *words, "--trust", "--json", env=env, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def job_refused(server, deployment_id, **options) -> str:
    """Ask for a job that cannot be done; return the reason."""
    with server.http() as http:
        answer = http.post("batchPredictions/", json={"deploymentId": deployment_id, **options})
    assert answer.status_code == 422, answer.text
    return answer.json()["message"]


def test_every_golden_file_belongs_to_a_kind():
    assert {path.name.partition(".")[0] for path in GOLDEN.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_job_writes_the_golden_file(dr, made, tmp_path, name):
    kind = made[name]
    columns = list(kind.passthrough)
    _, out = score(dr, kind.deployment_id, kind.golden("rows.csv"), tmp_path / "out.csv", passthrough_columns=columns)
    assert out.decode() == kind.golden("csv").decode()


@pytest.mark.parametrize("name", NAMES)
def test_a_row_that_fails_is_empty_but_stays(dr, made, tmp_path, name):
    kind = made[name]
    data = kind.golden("rows.csv") + kind.golden("bad.csv")
    options = {"passthrough_columns": list(kind.passthrough), "include_prediction_status": True}
    # Chunks of one row each: the same, whatever rows are scored together.
    for chunk_size in ("auto", 1):
        job, out = score(dr, kind.deployment_id, data, tmp_path / "out.csv", chunk_size=chunk_size, **options)
        assert out.decode() == kind.golden("status.csv").decode()
        assert job.get_status()["failed_rows"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_prediction_api_gives_the_same_csv(server, predictor, made, name):
    kind = made[name]
    query = {"passthroughColumns": list(kind.passthrough)}
    answer = predict(server, predictor, kind.deployment_id, kind.golden("rows.csv"), **query)
    assert answer.status_code == 200, answer.text
    assert answer.text == kind.golden("csv").decode()


JSON = {
    "multilabel": {
        "prediction": ["red", "big"],
        "predictionValues": [
            {"label": "red", "value": 0.9, "threshold": 0.5},
            {"label": "big", "value": 0.2, "threshold": 0.1},
        ],
    },
    "anomaly": {"prediction": 0.25, "predictionValues": [{"label": "Anomaly Score", "value": 0.25}]},
    "clustering": {
        "prediction": "Cluster 1",
        "predictionValues": [{"label": "Cluster 1", "value": 1.0}, {"label": "Cluster 2", "value": 0.0}],
    },
    "textgeneration": {
        "prediction": "Köln has 3 rooms,\nthey say.",
        "predictionValues": [{"label": "resultText", "value": "Köln has 3 rooms,\nthey say."}],
    },
    "extra": {
        "prediction": 1.5,
        "predictionValues": [{"label": "price", "value": 1.5}],
        "extraModelOutput": {"low": 0.5, "count": 1, "large": False, "note": None},
    },
}


def test_a_multilabel_model_from_the_command_line(dr, server, tmp_path):
    joblib.dump(kinds.multilabel(), tmp_path / "tags.joblib")
    words = ("--class-labels", "red,big", "--label-threshold", "big=0.1", "--threshold", "0.95")
    made = deploy(server, tmp_path, "tags.joblib", "--name", "tags", "--target-type", "multilabel", *words)
    _, out = score(dr, made["id"], b"size\n0\n", tmp_path / "out.csv")
    assert rows_of(out) == [
        {
            "target_red_PROBABILITY": "0.9",
            "target_red_THRESHOLD": "0.95",
            "target_red_DECISION": "False",
            "target_big_PROBABILITY": "0.2",
            "target_big_THRESHOLD": "0.1",
            "target_big_DECISION": "True",
        }
    ]


@pytest.mark.parametrize("name", JSON)
def test_the_prediction_api_in_json(server, predictor, made, name):
    answer = predict(server, predictor, made[name].deployment_id, made[name].golden("rows.csv"), "application/json")
    first = answer.json()["data"][0]
    assert first == {"rowId": 0, "deploymentApprovalStatus": "APPROVED", **JSON[name]}


@pytest.mark.parametrize("name", NAMES)
def test_the_client_sees_the_target(dr, made, name):
    kind, target = TARGETS[name]
    deployment = dr.Deployment.get(made[name].deployment_id)
    assert (deployment.model["target_type"], deployment.model.get("target_name")) == (kind, target)
    package = made[name].package
    assert (package["target"]["type"], package["target"]["name"]) == (kind, target)
    assert package["modelKind"]["isUnsupervisedLearning"] is (target is None)
    model = dr.RegisteredModel.get(package["registeredModelId"])
    assert model.get_version(package["id"]).target["type"] == kind


@pytest.mark.parametrize("name", ["multilabel", "anomaly", "clustering", "textgeneration"])
def test_the_client_scores_a_frame(dr, made, name):
    kind = made[name]
    frame = pd.read_csv(io.BytesIO(kind.golden("rows.csv")), dtype={"id": str})
    expected = pd.read_csv(io.BytesIO(kind.golden("csv")), dtype={"id": str}).drop(columns="id")
    found = dr.Deployment.get(kind.deployment_id).predict_batch(frame)
    pd.testing.assert_frame_equal(found[list(expected)], expected, check_dtype=False)


def test_outliers_by_boundaries_of_the_deployment(dr, server, predictor, made, tmp_path):
    kind = made["regression"]
    deployment = dr.Deployment.get(kind.deployment_id)
    data = kind.golden("rows.csv")
    assert "customBoundaries" in job_refused(server, kind.deployment_id, predictionWarningEnabled=True)
    refused = predict(server, predictor, kind.deployment_id, data, predictionWarningEnabled="true")
    assert (refused.status_code, "customBoundaries" in refused.text) == (422, True)
    deployment.update_prediction_warning_settings(
        True, use_default_boundaries=False, lower_boundary=0.0, upper_boundary=1183.75
    )
    try:
        # Both boundaries are met exactly by a row, which is usual.
        expected = {"rent_PREDICTION": ["1330.0", "1183.75", "1.0000000000001e+16", "0.0"]}
        expected["IS_OUTLIER_PREDICTION"] = ["True", "False", "True", "False"]
        _, out = score(dr, kind.deployment_id, data, tmp_path / "on.csv")
        assert out.decode() == pd.DataFrame(expected).to_csv(index=False)
        assert predict(server, predictor, kind.deployment_id, data).content == out
        answer = predict(server, predictor, kind.deployment_id, data, "application/json").json()["data"]
        assert [row["isOutlierPrediction"] for row in answer] == [True, False, True, False]
        _, out = score(dr, kind.deployment_id, data, tmp_path / "off.csv", prediction_warning_enabled=False)
        assert out.splitlines()[0] == b"rent_PREDICTION"
        off = predict(server, predictor, kind.deployment_id, data, predictionWarningEnabled="false")
        assert off.content == out
    finally:
        deployment.update_prediction_warning_settings(False)


def test_outliers_are_for_regression_only(server, predictor, made):
    kind = made["binary"]
    assert "regression" in job_refused(server, kind.deployment_id, predictionWarningEnabled=True)
    answer = predict(server, predictor, kind.deployment_id, kind.golden("rows.csv"), predictionWarningEnabled="true")
    assert answer.status_code == 422


def test_outliers_by_the_baseline_of_the_model(dr, server, tmp_path):
    """Areas of 0 to 400 give rents of 1000 to 2000: quartiles 1250 and 1750, boundaries 500 and 2500."""
    usual = pd.DataFrame({"area": np.arange(0, 401, 4.0), "rooms": 0})
    usual.to_csv(tmp_path / "usual.csv", index=False)
    joblib.dump(kinds.regression(), tmp_path / "rent.joblib")
    words = ("--target", "rent", "--baseline", "usual.csv")
    made = deploy(server, tmp_path, "rent.joblib", "--name", "rent with baseline", *words)
    assert made["baseline"] == {
        "rows": 101,
        "lowerQuartile": 1250.0,
        "upperQuartile": 1750.0,
        "lower": 500.0,
        "upper": 2500.0,
    }
    rows = b"area,rooms\n-200,0\n-200.01,0\n600,0\n600.01,0\n"
    _, out = score(dr, made["id"], rows, tmp_path / "out.csv", prediction_warning_enabled=True)
    assert [row["IS_OUTLIER_PREDICTION"] for row in rows_of(out)] == ["False", "True", "False", "True"]
    dr.Deployment.get(made["id"]).update_prediction_warning_settings(True)
    _, out = score(dr, made["id"], rows, tmp_path / "again.csv")
    assert [row["IS_OUTLIER_PREDICTION"] for row in rows_of(out)] == ["False", "True", "False", "True"]


def test_a_baseline_through_the_api(server, made):
    with server.http() as http:
        address = f"modelPackages/{made['extra'].package['id']}/baseline/"
        good = {"rows": 4, "lowerQuartile": 1, "upperQuartile": 2.5}
        answer = http.put(address, json=good)
        assert answer.status_code == 200, answer.text
        assert answer.json()["baseline"] == {**good, "lower": -1.25, "upper": 4.75}
        for wrong in ({"rows": 0}, {"lowerQuartile": 3}, {"upperQuartile": None}, {"more": 1}):
            assert http.put(address, json=good | wrong).status_code == 422
        other = f"modelPackages/{made['binary'].package['id']}/baseline/"
        refused = http.put(other, json=good)
        assert (refused.status_code, "regression" in refused.text) == (422, True)
        assert http.put(f"modelPackages/{'0' * 24}/baseline/", json=good).status_code == 404


def test_the_association_id_is_there_once_and_may_be_required(dr, server, predictor, made, tmp_path):
    kind = made["anomaly"]
    deployment = dr.Deployment.get(kind.deployment_id)
    deployment.update_association_id_settings(column_names=["id"], required_in_prediction_requests=True)
    try:
        data = kind.golden("rows.csv")
        for options in ({}, {"passthrough_columns": ["id"]}, {"passthrough_columns_set": "all"}):
            _, out = score(dr, kind.deployment_id, data, tmp_path / "out.csv", **options)
            header = ["ANOMALY_SCORE", "id", *(["x"] if "passthrough_columns_set" in options else [])]
            assert out.decode().splitlines()[0].split(",") == header
            assert [row["id"] for row in rows_of(out)] == ["1", "2", "3"]
        assert predict(server, predictor, kind.deployment_id, data).content == kind.golden("csv")
        without = b"x\n1\n"
        with pytest.raises(ended(dr), match="requires"):
            score(dr, kind.deployment_id, without, tmp_path / "no.csv")
        refused = predict(server, predictor, kind.deployment_id, without)
        assert (refused.status_code, "'id'" in refused.text) == (422, True)
        deployment.update_association_id_settings(required_in_prediction_requests=False)
        _, out = score(dr, kind.deployment_id, without, tmp_path / "free.csv")
        assert out == b"ANOMALY_SCORE\n1.0\n"
    finally:
        deployment.update_association_id_settings(column_names=[], required_in_prediction_requests=False)


def test_the_approval_status_comes_last_while_approval_is_on(dr, server, predictor, made, tmp_path):
    kind = made["clustering"]
    settings(server, kind.deployment_id, approval={"enabled": True})
    try:
        data = kind.golden("rows.csv")
        _, out = score(dr, kind.deployment_id, data, tmp_path / "out.csv", passthrough_columns=["id"])
        assert rows_of(out)[0] == {**rows_of(kind.golden("csv"))[0], "DEPLOYMENT_APPROVAL_STATUS": "APPROVED"}
        assert out.splitlines()[0].endswith(b",id,DEPLOYMENT_APPROVAL_STATUS")
        assert predict(server, predictor, kind.deployment_id, data, passthroughColumns="id").content == out
    finally:
        settings(server, kind.deployment_id, approval={"enabled": False})


def test_options_that_mean_nothing_here_are_ignored_and_the_log_says_so(dr, made, tmp_path):
    kind = made["multilabel"]
    options = {"prediction_threshold": 0.99, "include_probabilities": False, "include_probabilities_classes": ["none"]}
    data = kind.golden("rows.csv")
    job, out = score(dr, kind.deployment_id, data, tmp_path / "out.csv", passthrough_columns=["id"], **options)
    assert out == kind.golden("csv")
    log = "\n".join(job.get_status()["logs"])
    for field in ("predictionThreshold", "includeProbabilities", "includeProbabilitiesClasses"):
        assert f"{field} is ignored" in log


def test_probabilities_of_some_clusters_only(dr, made, tmp_path):
    kind = made["clustering"]
    options = {"include_probabilities_classes": ["Cluster 2"], "include_prediction_status": True}
    _, out = score(dr, kind.deployment_id, kind.golden("rows.csv"), tmp_path / "out.csv", **options)
    assert out == b"Cluster 2_PREDICTION,PREDICTION,prediction_status\n0.0,Cluster 1,OK\n1.0,Cluster 2,OK\n"


@pytest.mark.parametrize("name", ["multilabel", "textgeneration"])
def test_a_scored_file_is_scored_again(dr, made, tmp_path, name):
    kind = made[name]
    _, first = score(dr, kind.deployment_id, kind.golden("rows.csv"), tmp_path / "a.csv", passthrough_columns_set="all")
    _, second = score(dr, kind.deployment_id, first, tmp_path / "b.csv", passthrough_columns_set="all")
    before, after = rows_of(first), rows_of(second)
    generated = [column for column in before[0] if f"{column}_INPUT" in after[0]]
    assert generated == list(rows_of(kind.golden("csv"))[0])[:-1]
    for old, new in zip(before, after, strict=True):
        assert new == {**old, **{f"{name}_INPUT": old[name] for name in generated}}


def test_renaming_onto_a_column_that_is_there_is_refused(dr, made, tmp_path):
    kind = made["anomaly"]
    data = kind.golden("rows.csv")
    options = {"passthrough_columns": ["id"], "column_names_remapping": {"ANOMALY_SCORE": "id"}}
    with pytest.raises(ended(dr), match="'id'"):
        score(dr, kind.deployment_id, data, tmp_path / "x.csv", **options)
    swapped = {"passthrough_columns": ["id"], "column_names_remapping": {"ANOMALY_SCORE": "id", "id": "key"}}
    _, out = score(dr, kind.deployment_id, data, tmp_path / "y.csv", **swapped)
    assert out.splitlines()[:2] == [b"id,key", b"0.25,1"]


@pytest.mark.parametrize("kind", ["Unstructured", "AgenticWorkflow", "GeoPoint"])
def test_other_kinds_are_refused_in_words(server, made, kind):
    with server.http() as http:
        location = made["anomaly"].package["modelDescription"]
        body = {"name": "no", "target": {"name": "y", "type": kind}, "modelDescription": location}
        answer = http.post("modelPackages/fromJSON/", json=body)
    assert answer.status_code == 422
    assert "TextGeneration" in json.loads(answer.text)["message"]
