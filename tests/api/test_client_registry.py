"""The official client's deployments, models and servers against a whole installation."""

from __future__ import annotations

import pytest


def test_version_check_is_silent(dr, server):
    dr.Client(token=server.token, endpoint=server.endpoint + "/")


def test_deployments(dr, models):
    found = {each.id: each for each in dr.Deployment.list()}
    assert {models.binary.deployment_id, models.regression.deployment_id} <= set(found)
    deployment = dr.Deployment.get(models.binary.deployment_id)
    assert (deployment.label, deployment.status) == ("binary", "active")
    assert deployment.model["target_type"] == "Binary"
    assert deployment.default_prediction_server["datarobot-key"]
    assert [each["name"] for each in deployment.get_features()] == ["age", "distance", "delay"]
    assert deployment.get_capabilities()
    assert [each.label for each in dr.Deployment.list(search="regress")] == ["regression"]
    assert [each.label for each in dr.Deployment.list(order_by="-label", limit=1)] == ["regression"]
    filters = dr.models.deployment.DeploymentListFilters(importance=["HIGH", "LOW"], tag_keys=["a", "b"])
    assert dr.Deployment.list(filters=filters) == []


def test_settings(dr, models):
    deployment = dr.Deployment.get(models.binary.deployment_id)
    assert deployment.get_association_id_settings()["column_names"] == []
    assert deployment.get_drift_tracking_settings()["target_drift"] == {"enabled": False}
    assert deployment.get_predictions_data_collection_settings() == {"enabled": False}
    deployment.update_predictions_data_collection_settings(enabled=False)


def test_a_model_from_version_to_deployment(dr, server, models):
    with server.http() as http:
        package_id = http.get(f"deployments/{models.regression.deployment_id}/").json()["modelPackage"]["id"]
        location = f"artifact:{http.get(f'modelPackages/{package_id}/').json()['artifact']}"
    version = dr.RegisteredModelVersion.create_for_external(
        "regression again",
        {"name": "late", "type": "Regression"},
        model_description={"location": location},
        registered_model_name="regression again",
    )
    assert version.registered_model_version == 1
    server_id = dr.PredictionServer.list()[0].id
    deployment = dr.Deployment.create_from_registered_model_version(
        version.id, "again", description="once more", default_prediction_server_id=server_id
    )
    assert (deployment.label, deployment.description) == ("again", "once more")
    deployment.update(label="and again")
    deployment.deactivate()
    assert deployment.status == "inactive"
    deployment.activate()
    assert dr.Deployment.get(deployment.id).label == "and again"
    model = dr.RegisteredModel.get(version.registered_model_id)
    assert model.last_version_num == 1
    assert [each.id for each in model.list_versions()] == [version.id]
    assert [each.label for each in model.list_associated_deployments()] == ["and again"]
    assert model.id in [each.id for each in dr.RegisteredModel.list()]
    deployment.delete()
    with pytest.raises(dr.errors.ClientError):
        dr.Deployment.get(deployment.id)
    dr.RegisteredModel.archive(model.id)


def test_a_model_that_is_only_described_cannot_be_deployed(dr):
    version = dr.RegisteredModelVersion.create_for_external("elsewhere", {"name": "y", "type": "Regression"})
    with pytest.raises(dr.errors.ClientError, match="artifact") as refused:
        dr.Deployment.create_from_registered_model_version(version.id, "elsewhere")
    assert refused.value.status_code == 422


def test_servers_and_environments(dr):
    server = dr.PredictionServer.list()[0]
    assert server.url.startswith("http://")
    environment = dr.PredictionEnvironment.list()[0]
    assert dr.PredictionEnvironment.get(environment.id).name == environment.name == "default"
