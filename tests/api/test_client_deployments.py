"""Running deployments from the official client alone: every call that changes one, and what it reads back."""

from __future__ import annotations

import io
import json
import threading
import warnings

import httpx2
import lightgbm
import numpy as np
import pytest

from tests.support.boosters import COLUMNS, as_csv, read_csv, sample


@pytest.fixture(scope="module")
def versions(server, models, tmp_path_factory):
    """A function that registers a model with the client: LightGBM's parameters in, the version and the model out."""
    folder = tmp_path_factory.mktemp("versions")
    numbers = iter(range(100))

    def make(dr, seed, *, columns=COLUMNS, objective="regression", **fields):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(500, len(columns)))
        wanted = rows @ rng.normal(size=len(columns))
        if objective == "binary":
            wanted = (wanted > 0).astype(float)
        params = {"objective": objective, "verbose": -1, "num_leaves": 7, "num_threads": 1, "deterministic": True}
        booster = lightgbm.train(params, lightgbm.Dataset(rows, wanted, feature_name=list(columns)), 10)
        file = folder / f"{next(numbers)}.txt"
        booster.save_model(file)
        with server.http() as http:
            location = http.post("modelArtifacts/", content=file.read_bytes()).json()["location"]
        kind = {"regression": "Regression", "binary": "Binary"}[objective]
        version = dr.RegisteredModelVersion.create_for_external(
            f"model {seed} of {file.stem}",
            {"name": "late", "type": kind} | fields,
            model_description={"location": location},
        )
        return version, booster

    return make


@pytest.fixture
def deployment(dr, versions):
    version, booster = versions(dr, 1)
    made = dr.Deployment.create_from_registered_model_version(version.id, "to run")
    yield made, version, booster
    made.delete()


def realtime(server, deployment, rows):
    """Ask the prediction server as `datarobot-predict` does; return its numbers."""
    url = f"{deployment.default_prediction_server['url']}/predApi/v1.0/deployments/{deployment.id}/predictions"
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "text/csv"}
    with httpx2.Client(trust_env=False, timeout=30) as http:
        response = http.post(url, content=as_csv(rows), headers=headers)
    assert response.status_code == 200, response.text
    return np.array([each["prediction"] for each in response.json()["data"]])


def batch(dr, deployment, rows, path, **options):
    dr.BatchPredictionJob.score(
        deployment.id,
        intake_settings={"type": "localFile", "file": io.BytesIO(as_csv(rows))},
        output_settings={"type": "localFile", "path": str(path)},
        **options,
    )
    return np.array([float(value) for value in read_csv(path.read_bytes())["late_PREDICTION"]])


def test_a_model_is_replaced_for_batch_and_real_time_alike(dr, server, versions, deployment, tmp_path):
    made, first, old = deployment
    second, new = versions(dr, 2)
    rows = sample(200)
    status, message, checks = made.validate_replacement_model(new_registered_model_version_id=second.id)
    assert (status, message) == ("passing", "The model can replace the deployment's model.")
    assert {each["status"] for each in checks.values()} == {"passing"}
    assert (realtime(server, made, rows) == old.predict(rows, num_threads=1)).all()
    made.perform_model_replace(second.id, dr.enums.MODEL_REPLACEMENT_REASON.ACCURACY)
    assert made.model_package["id"] == second.id
    assert made.model["id"] == second.model_id
    assert (realtime(server, made, rows) == new.predict(rows, num_threads=1)).all()
    assert (batch(dr, made, rows, tmp_path / "new.csv") == new.predict(rows, num_threads=1)).all()
    assert made.get_champion_model_package().id == second.id
    assert [each["percentiles"] for each in [made.get_prediction_intervals_settings()]] == [[]]
    status, message, _ = made.validate_replacement_model(new_registered_model_version_id=second.id)
    assert status == "failing"
    assert "already" in message
    with pytest.raises(dr.errors.ClientError, match="already") as refused:
        made.perform_model_replace(second.id, "OTHER")
    assert refused.value.status_code == 422
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dr.errors.DataRobotDeprecationWarning)
        status, _, _ = made.validate_replacement_model(new_model_id=first.model_id)
        assert status == "passing"
        made.replace_model(first.model_id, "ERRORS")
        assert made.model_package["id"] == first.id
        made.replace_model(None, "OTHER", new_registered_model_version_id=second.id)
    with server.http() as http:
        history = http.get(f"deployments/{made.id}/modelHistory/").json()["data"]
        pinned = http.post("batchPredictions/", json={"deploymentId": made.id, "pinnedModelId": first.model_id}).json()
        http.put(pinned["links"]["csvUpload"], content=as_csv(rows), headers={"Content-Type": "text/csv"})
        found = read_csv(http.get(pinned["links"]["download"]).content)
    assert [(each["modelPackage"]["id"], each["reason"]) for each in history] == [
        (second.id, "OTHER"),
        (first.id, "ERRORS"),
        (second.id, "ACCURACY"),
        (first.id, None),
    ]
    assert [float(value) for value in found["late_PREDICTION"]] == old.predict(rows, num_threads=1).tolist()
    for version, current in ((first, False), (second, True)):
        [use] = version.list_associated_deployments(search="RUN")
        assert (use.id, use.label, use.currently_deployed, use.is_challenger) == (made.id, "to run", current, False)
        assert (use.registered_model_version, use.status) == (1, "active")
    model = dr.RegisteredModel.get(second.registered_model_id)
    key = dr.enums.RegisteredModelDeploymentSortKey.LABEL
    assert [use.id for use in model.list_associated_deployments(sort_key=key)] == [made.id]


def test_what_does_not_fit_is_told_and_not_done(dr, versions, deployment):
    made, first, _ = deployment
    other_target, _ = versions(dr, 3, name="early")
    status, message, checks = made.validate_replacement_model(new_registered_model_version_id=other_target.id)
    assert status == "failing"
    assert checks["target"] == {"status": "failing", "message": "The model predicts 'early', not 'late'."}
    assert checks["target"]["message"] in message
    with pytest.raises(dr.errors.ClientError, match="'early', not 'late'"):
        made.perform_model_replace(other_target.id, "OTHER")
    more, _ = versions(dr, 4, columns=(*COLUMNS, "wind"))
    status, _, checks = made.validate_replacement_model(new_registered_model_version_id=more.id)
    assert (status, checks["features"]["status"]) == ("warning", "warning")
    assert dr.Deployment.get(made.id).model_package["id"] == first.id
    with pytest.raises(dr.errors.ClientError) as refused:
        made.perform_model_replace("0" * 24, "OTHER")
    assert refused.value.status_code == 404


def test_no_real_time_request_fails_while_models_change(dr, server, versions, deployment):
    made, first, old = deployment
    second, new = versions(dr, 5)
    rows = sample(20)
    expected = {version.id: booster.predict(rows, num_threads=1) for version, booster in ((first, old), (second, new))}
    stop, problems, answers = threading.Event(), [], []

    def ask():
        while not stop.is_set():
            try:
                numbers = realtime(server, made, rows)
            except AssertionError as error:
                problems.append(str(error))
                return
            answers.append(next((name for name, good in expected.items() if (numbers == good).all()), None))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(4):
            wanted = (second, first)[turn % 2]
            made.perform_model_replace(wanted.id, "SCHEDULED_REFRESH")
            assert (realtime(server, made, rows) == expected[wanted.id]).all()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert set(answers) <= set(expected)
    assert len(answers) > 4


def test_a_switched_off_deployment_refuses_at_once_and_in_words(dr, server, deployment):
    made, _, _ = deployment
    realtime(server, made, sample(1))
    made.deactivate()
    assert made.status == dr.Deployment.get(made.id).status == "inactive"
    url = f"{made.default_prediction_server['url']}/predApi/v1.0/deployments/{made.id}/predictions"
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "text/csv"}
    with httpx2.Client(trust_env=False, timeout=30) as http:
        response = http.post(url, content=as_csv(sample(1)), headers=headers)
    assert response.status_code == 422
    assert "inactive" in response.json()["message"]
    with pytest.raises(dr.errors.ClientError, match="'to run' is inactive"):
        dr.BatchPredictionJob.score(made.id, intake_settings={"type": "localFile", "file": io.BytesIO(b"age\n1\n")})
    made.activate()
    assert made.status == "active"
    realtime(server, made, sample(1))


def test_every_field_of_a_deployment(dr, server, deployment):
    made, version, _ = deployment
    found = dr.Deployment.get(made.id)
    place = dr.PredictionServer.list()[0]
    assert (found.id, found.label, found.description, found.status) == (made.id, "to run", None, "active")
    assert found.importance is None
    assert found.default_prediction_server == {
        "id": place.id,
        "url": place.url,
        "datarobot-key": place.datarobot_key,
    }
    assert {name: found.model[name] for name in ("id", "type", "target_name", "target_type")} == {
        "id": version.model_id,
        "type": "lightgbm",
        "target_name": "late",
        "target_type": "Regression",
    }
    assert found.model_package == {
        "id": version.id,
        "name": version.name,
        "registered_model_id": version.registered_model_id,
    }
    assert found.prediction_usage == {"daily_rates": []}
    for health in (found.service_health, found.model_health, found.accuracy_health, found.fairness_health):
        assert health["status"] == "unknown"
    assert {"CAN_MAKE_PREDICTIONS", "CAN_EDIT_DEPLOYMENT", "CAN_DELETE_DEPLOYMENT"} <= set(found.permissions)
    assert found.owners["count"] == 1
    assert found.creator == found.owners["preview"][0]
    assert found.prediction_environment["id"] == place.id
    assert found.prediction_environment["platform"] == "datarobot"
    assert found.governance is None
    assert found.tags == []
    assert found.get_uri() == f"{server.url}/deployments/{made.id}/overview"
    assert [(each["name"], each["feature_type"]) for each in found.get_features()] == [
        (name, "Numeric") for name in COLUMNS
    ]
    able = {each["name"]: each["supported"] for each in found.get_capabilities()}
    assert able["supports_model_replacement"]
    assert able["supports_prediction_warning"]
    assert not able["supports_challenger_models"]
    found.update(label="renamed", description="about", importance="HIGH")
    again = dr.Deployment.get(made.id)
    assert (again.label, again.description, again.importance) == ("renamed", "about", "HIGH")


def test_settings_that_are_built(dr, deployment):
    made, _, _ = deployment
    made.update_association_id_settings(column_names=["id"], required_in_prediction_requests=True)
    assert made.get_association_id_settings() == {"column_names": ["id"], "required_in_prediction_requests": True}
    made.update_association_id_settings(required_in_prediction_requests=False)
    assert made.get_association_id_settings() == {"column_names": ["id"], "required_in_prediction_requests": False}
    made.update_prediction_warning_settings(True, use_default_boundaries=False, lower_boundary=-1.5, upper_boundary=2)
    wanted = {"enabled": True, "custom_boundaries": {"lower": -1.5, "upper": 2.0}}
    assert made.get_prediction_warning_settings() == wanted
    made.update_prediction_warning_settings(False)
    assert made.get_prediction_warning_settings() == wanted | {"enabled": False}
    made.update_prediction_warning_settings(False, use_default_boundaries=True)
    assert made.get_prediction_warning_settings() == {"enabled": False}


def test_drift_tracking_is_switched(deployment):
    made, _, _ = deployment
    for target, feature in ((True, True), (False, True), (False, False)):
        made.update_drift_tracking_settings(target_drift_enabled=target, feature_drift_enabled=feature)
        shown = {"target_drift": {"enabled": target}, "feature_drift": {"enabled": feature}}
        assert made.get_drift_tracking_settings() == shown
    drift = [each for each in made.get_capabilities() if "drift" in each["name"]]
    assert len(drift) == 2
    assert not any(each["supported"] for each in drift)  # nothing is tracked yet, and that is said


def test_settings_that_are_not_built_may_be_off_and_are_refused_by_name(dr, deployment):
    made, _, _ = deployment
    assert made.get_challenger_models_settings() == {"enabled": False}
    assert made.get_segment_analysis_settings() == {"enabled": False, "attributes": []}
    assert made.get_predictions_by_forecast_date_settings() == {"enabled": False}
    assert made.get_prediction_intervals_settings() == {"enabled": False, "percentiles": []}
    assert made.get_bias_and_fairness_settings() is None
    made.update_challenger_models_settings(False)
    made.update_segment_analysis_settings(False)
    made.update_predictions_by_forecast_date_settings(False)
    made.update_prediction_intervals_settings([], enabled=False)
    for name, change in (
        ("challengerModels", lambda: made.update_challenger_models_settings(True)),
        ("segmentAnalysis", lambda: made.update_segment_analysis_settings(True, ["age"])),
        ("predictionsDataCollection", lambda: made.update_predictions_data_collection_settings(True)),
        ("predictionsByForecastDate", lambda: made.update_predictions_by_forecast_date_settings(True, "d", "%Y")),
        ("biasAndFairness", lambda: made.update_bias_and_fairness_settings(["age"], "equalParity", 0.8, True)),
    ):
        with pytest.raises(dr.errors.ClientError, match=name) as refused:
            change()
        assert refused.value.status_code == 422
        assert list(refused.value.json["errors"]) == [name]
    with pytest.raises(
        dr.errors.ClientError, match=r"no projects and computes nothing.* prediction intervals included"
    ):
        made.update_prediction_intervals_settings([80])


def test_frames_with_an_association_id(dr, deployment, capsys):
    """The client joins the frame with all columns of the output, so one that is in both comes out twice."""
    import pandas as pd

    made, _, _ = deployment
    made.update_association_id_settings(["id"])
    frame = pd.DataFrame(sample(3), columns=list(COLUMNS)).assign(id=["007", "b", "c"])
    twice = made.predict_batch(frame)
    assert list(twice) == [*COLUMNS, "id_x", "late_PREDICTION", "id_y"]
    once = dr.BatchPredictionJob.score_pandas(made.id, frame, column_names_remapping={"id": None})[1]
    assert list(once) == [*COLUMNS, "id", "late_PREDICTION"]
    assert list(once["id"]) == ["007", "b", "c"]


def test_tags(dr, deployment):
    made, _, _ = deployment
    found = dr.models.deployment.DeploymentListFilters
    tag = made.create_tag("team", "ops")
    assert set(tag) == {"id", "name", "value"}
    assert dr.Deployment.get(made.id).tags == [tag]
    assert [each.id for each in dr.Deployment.list(filters=found(tag_keys=["crew", "team"]))] == [made.id]
    made.update_tag(tag["id"], "team", "data")
    assert dr.Deployment.list(filters=found(tag_keys="team", tag_values=["ops"])) == []
    assert [each.id for each in dr.Deployment.list(filters=found(tag_values=["data"]))] == [made.id]
    made.delete_tag(tag["id"])
    assert dr.Deployment.get(made.id).tags == []


def test_environments(dr, versions):
    place = dr.PredictionEnvironment.create(
        "edge",
        dr.enums.PredictionEnvironmentPlatform.AWS,
        description="far away",
        supported_model_formats=["datarobot"],
    )
    assert (place.name, place.platform, place.description) == ("edge", "aws", "far away")
    assert (place.supported_model_formats, place.is_deleted) == (["datarobot"], False)
    version, _ = versions(dr, 6)
    made = dr.Deployment.create_from_registered_model_version(
        version.id, "at the edge", prediction_environment_id=place.id
    )
    assert made.prediction_environment["id"] == place.id
    assert made.default_prediction_server["id"] == dr.PredictionServer.list()[0].id
    with pytest.raises(dr.errors.ClientError) as refused:
        place.delete()
    assert refused.value.status_code == 409
    made.delete()
    place.delete()
    assert place.id not in [each.id for each in dr.PredictionEnvironment.list()]
    with pytest.raises(dr.errors.ClientError):
        dr.PredictionEnvironment.get(place.id)
    with pytest.raises(dr.errors.ClientError, match="isManagedByManagementAgent"):
        dr.PredictionEnvironment.create("agent", "aws", is_managed_by_management_agent=True)


def test_real_time_at_the_apis_own_address(dr, server, deployment):
    made, _, booster = deployment
    rows, path = sample(50), f"deployments/{made.id}/predictions"
    with server.http() as http:
        headers = {"Content-Type": "text/csv", "Accept": "text/csv"}
        answer = http.post(f"{path}?passthroughColumns=age", content=as_csv(rows), headers=headers)
        assert answer.status_code == 200, answer.text
        found = read_csv(answer.content)
        assert [float(value) for value in found["late_PREDICTION"]] == booster.predict(rows, num_threads=1).tolist()
        assert found["age"] == [repr(value) for value in rows[:, 0].tolist()]
        assert int(answer.headers["x-datarobot-execution-time"]) >= 0
        assert len(answer.headers.get_list("x-request-id")) == 1
        assert (
            http.post(path, content=as_csv(rows), headers={"Content-Type": "text/csv"}).json()["data"][0]["rowId"] == 0
        )
        wrong = http.post(path, content=b"age\n1\n", headers=headers)
        assert (wrong.status_code, "columns" in wrong.json()["message"]) == (422, True)
        absent = http.post("deployments/none/predictions", content=as_csv(rows), headers=headers)
        assert absent.status_code == 404
        stranger = http.post(path, content=b"", headers={"Authorization": "Bearer nobody"})
        assert stranger.status_code == 401
        big = http.post(path, content=b"age\n" + b"1" * (60 << 20), headers=headers)
        assert big.status_code == 413


def test_older_ways_to_deploy(dr, versions):
    version, _ = versions(dr, 7, objective="binary", classNames=["no", "yes"], predictionThreshold=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dr.errors.DataRobotDeprecationWarning)
        for create in (dr.Deployment.create_from_learning_model, dr.Deployment.create_from_leaderboard):
            made = create(version.model_id, "old", "way", importance="LOW", prediction_threshold=0.3, status="inactive")
            assert (made.model_package["id"], made.status, made.importance) == (version.id, "inactive", "LOW")
            made.delete()
            with pytest.raises(dr.errors.ClientError, match=r"0\.3"):
                create(version.model_id, "old", prediction_threshold=0.4)


def test_a_deployment_that_is_in_use_is_not_deleted(dr, server, versions):
    version, _ = versions(dr, 8)
    made = dr.Deployment.create_from_registered_model_version(version.id, "busy")
    with server.http() as http:
        job = http.post("batchPredictions/", json={"deploymentId": made.id}).json()
        parts = threading.Event()

        def body():
            yield as_csv(sample(10))
            parts.wait(30)

        def upload():
            with server.http() as other:
                other.put(job["links"]["csvUpload"], content=body(), headers={"Content-Type": "text/csv"})

        thread = threading.Thread(target=upload)
        thread.start()
        try:
            while http.get(job["links"]["self"]).json()["status"] != "RUNNING":
                pass
            with pytest.raises(dr.errors.ClientError, match=job["id"]) as refused:
                made.delete()
            assert refused.value.status_code == 422
        finally:
            parts.set()
            thread.join()
        assert http.get(job["links"]["download"]).status_code == 200
    made.delete()
    with pytest.raises(dr.errors.ClientError):
        dr.Deployment.get(made.id)
    assert json.dumps([each.label for each in dr.Deployment.list(search="busy")]) == "[]"


def test_versions_and_models_are_listed_with_every_filter_that_means_something(dr, versions):
    from datetime import UTC, datetime, timedelta

    from datarobot.models.model_registry.registered_model import (
        RegisteredModelListFilters,
        RegisteredModelVersionsListFilters,
    )

    version, _ = versions(dr, 9, objective="binary", classNames=["no", "yes"], predictionThreshold=0.37)
    model = dr.RegisteredModel.get(version.registered_model_id)

    def listed(**wanted):
        return [each.id for each in model.list_versions(filters=RegisteredModelVersionsListFilters(**wanted))]

    for wanted in (
        {"target_name": "late", "target_type": "Binary"},
        {"prediction_threshold": 0.37},
        {"compatible_with_model_package_id": version.id},
        {"imported": False},
        {"prediction_environment_id": dr.PredictionEnvironment.list()[0].id},
    ):
        assert listed(**wanted) == [version.id], wanted
    for wanted in (
        {"target_name": "early"},
        {"prediction_threshold": 0.5},
        {"imported": True},
        {"build_status": "complete"},
        {"tags": ["nope"]},
        {"compatible_with_leaderboard_model_id": "x"},
        {"use_case_id": "x"},
    ):
        assert listed(**wanted) == [], wanted
    for key in (dr.enums.RegisteredModelVersionSortKey.VERSION, dr.enums.RegisteredModelVersionSortKey.MODIFIED_AT):
        assert [each.id for each in model.list_versions(sort_key=key)] == [version.id]
    moment = datetime.now(UTC)

    def models(**wanted):
        return [each.id for each in dr.RegisteredModel.list(filters=RegisteredModelListFilters(**wanted))]

    assert models(prediction_threshold=0.37, created_by="admin") == [model.id]
    assert models(prediction_threshold=0.37, created_at_start=moment - timedelta(hours=1)) == [model.id]
    assert models(prediction_threshold=0.37, created_at_end=moment - timedelta(hours=1)) == []
    assert models(prediction_threshold=0.37, modified_at_start=moment + timedelta(hours=1)) == []
    assert models(created_by="nobody") == []
