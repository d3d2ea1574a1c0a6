"""Deployments, packages, models and servers."""

from __future__ import annotations

import pytest

from scoreline.store import new_id

FROM_JSON = {"name": "flights v2", "target": {"name": "late", "type": "Binary"}}


def test_a_deployment_in_full(api):
    with api.client() as client:
        document = client.get(f"deployments/{api.deployment_id}/").json()
    assert document["id"] == api.deployment_id
    assert (document["label"], document["status"], document["description"]) == ("flights", "active", None)
    assert set(document["defaultPredictionServer"]) == {"id", "url", "datarobot-key"}
    assert document["model"]["targetName"] == "late"
    assert document["model"]["targetType"] == "Binary"
    assert document["modelPackage"]["id"] == api.package_id
    assert document["predictionEnvironment"]["platform"] == "datarobot"
    assert document["serviceHealth"] == {"status": "unknown", "message": "", "startDate": None, "endDate": None}
    assert document["owners"]["count"] == 1
    assert "CAN_MAKE_PREDICTIONS" in document["permissions"]
    with api.client() as client:
        assert client.get("deployments/0000/").status_code == 404


def test_deploying_a_package_as_the_client_does(api):
    location = f"artifact:{api.artifact()}"
    with api.client() as client:
        made = client.post("modelPackages/fromJSON/", json=FROM_JSON | {"modelDescription": {"location": location}})
        assert made.status_code == 201
        package = made.json()
        body = {"modelPackageId": package["id"], "label": "second", "description": None, "importance": "HIGH"}
        response = client.post("deployments/fromModelPackage/", json=body)
        assert response.status_code == 202
        assert response.headers["location"].startswith(f"{api.endpoint}/status/")
        assert response.headers["location"].endswith("/")
        status = client.get(response.headers["location"])
        assert status.status_code == 303
        assert status.headers["location"] == f"{api.endpoint}/deployments/{response.json()['id']}/"
        assert client.get(status.headers["location"]).json()["importance"] == "HIGH"
        assert client.get(f"modelPackages/{package['id']}/").json()["activeDeploymentCount"] == 1
        uses = client.get(f"registeredModels/{package['registeredModelId']}/versions/{package['id']}/deployments/")
        assert [use["label"] for use in uses.json()["data"]] == ["second"]


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"modelPackageId": "0000"}, 404, "package"),
        ({"modelPackageId": None}, 422, "modelPackageId is required"),
        ({"label": ""}, 422, "label"),
        ({"labels": "x"}, 422, "did you mean 'label'"),
        ({"importance": "HUGE"}, 422, "importance"),
        ({"defaultPredictionServerId": "0000"}, 404, "server"),
        ({"defaultPredictionServerId": "a", "predictionEnvironmentId": "b"}, 422, "not both"),
    ],
)
def test_wrong_deployments_are_refused(api, change, status, words):
    with api.client() as client:
        body = {"modelPackageId": api.package_id, "label": "x"} | change
        response = client.post("deployments/fromModelPackage/", json=body)
    assert response.status_code == status, response.text
    assert words in response.json()["message"]


def test_changing_and_removing_a_deployment(api):
    _, deployment_id = api.deploy("to change")
    path = f"deployments/{deployment_id}/"
    with api.client() as client:
        changed = client.patch(path, json={"label": "changed", "description": "text"})
        assert (changed.status_code, changed.content) == (204, b"")
        assert client.get(path).json()["label"] == "changed"
        assert client.patch(path, json={"owner": "x"}).status_code == 422
        off = client.patch(f"{path}status/", json={"status": "inactive"})
        assert off.status_code == 202
        assert client.get(off.headers["location"]).headers["location"] == f"{api.endpoint}/{path}"
        assert client.get(path).json()["status"] == "inactive"
        refused = client.post("batchPredictions/", json={"deploymentId": deployment_id})
        assert refused.status_code == 422
        assert "inactive" in refused.json()["message"]
        assert client.patch(f"{path}status/", json={"status": "off"}).status_code == 422
        assert client.delete(path).status_code == 204
        assert client.get(path).status_code == 404
        assert client.delete(path).status_code == 404
        assert client.get(off.headers["location"]).status_code == 404


def test_a_deployment_with_jobs_that_are_not_over_is_not_removed(api):
    _, deployment_id = api.deploy("busy")
    job_id, paused, waiting, late = [api.job(deploymentId=deployment_id)["id"] for _ in range(4)]
    token = api.other("colleague")
    with api.client(token) as client:
        foreign = client.post("batchPredictions/", json={"deploymentId": deployment_id}).json()["id"]
    api.upload(job_id)
    run = api.run(job_id)
    api.upload(waiting)
    with api.client() as client:
        assert client.post(f"batchPredictions/{paused}/pause/").is_success
        response = client.delete(f"deployments/{deployment_id}/")
        assert response.status_code == 422
        assert response.json()["message"] == (
            f"Deployment 'busy' is in use by ann's job {job_id} (running), ann's job {paused} (paused), ann's job "
            f"{waiting} (waiting in line) and 2 more: wait for their end, or abort what is not needed."
        )
        api.complete(run)
        for each in (paused, waiting, late):
            client.delete(f"batchPredictions/{each}/")
        response = client.delete(f"deployments/{deployment_id}/")
        assert response.status_code == 422
        assert response.json()["message"] == (
            f"Deployment 'busy' is in use by colleague's job {foreign} (waiting for its data): wait for its end, or "
            "abort it if it is not needed."
        )
    with api.client(token) as client:
        client.delete(f"batchPredictions/{foreign}/")
    with api.client() as client:
        assert client.delete(f"deployments/{deployment_id}/").status_code == 204
        assert client.get(f"batchPredictions/{job_id}/").json()["status"] == "COMPLETED"


def _package(api, **values):
    with api.client() as client:
        made = client.post("modelPackages/fromJSON/", json=FROM_JSON | _versioned(api) | values)
    assert made.status_code == 201, made.text
    return made.json()


def test_replacing_a_model(api):
    package_id, deployment_id = api.deploy("replaced")
    path = f"deployments/{deployment_id}/"
    new = _package(api, name="better")
    with api.client() as client:
        report = client.post(f"{path}model/validation/", json={"modelPackageId": new["id"]})
        assert (report.status_code, report.json()["status"]) == (200, "passing")
        assert set(report.json()) == {"status", "message", "checks"}
        assert all(set(each) == {"status", "message"} for each in report.json()["checks"].values())
        assert report.json()["checks"]["notCurrentModel"]["status"] == "passing"
        response = client.patch(f"{path}model/", json={"modelPackageId": new["id"], "reason": "ACCURACY"})
        assert response.status_code == 202, response.text
        assert response.json() == {"id": deployment_id} | report.json()
        status = client.get(response.headers["location"])
        assert (status.status_code, status.headers["location"]) == (303, f"{api.endpoint}/{path}")
        document = client.get(path).json()
        assert document["modelPackage"]["id"] == new["id"]
        assert document["model"]["id"] == new["modelId"]
        assert client.get(f"{path}championModelPackage/").json()["id"] == new["id"]
        history = client.get(f"{path}modelHistory/").json()
        assert history["totalCount"] == 2
        last, first = history["data"]
        assert (last["number"], last["reason"], last["replacedAt"]) == (2, "ACCURACY", None)
        assert (last["modelPackage"]["id"], last["model"]["id"]) == (new["id"], new["modelId"])
        assert last["deployedBy"]["email"] == "ann"
        assert (first["modelPackage"]["id"], first["replacedAt"]) == (package_id, last["deployedAt"])
        assert document["model"]["deployedAt"] == last["deployedAt"]
        assert [each["number"] for each in client.get(f"{path}modelHistory/?limit=1&offset=1").json()["data"]] == [1]
        again = client.patch(f"{path}model/", json={"modelPackageId": new["id"], "reason": "ACCURACY"})
        assert again.status_code == 422
        assert "already" in again.json()["message"]


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"reason": None}, 422, "reason"),
        ({"reason": "accuracy"}, 422, "reason"),
        ({"modelPackageId": None}, 422, "modelPackageId"),
        ({"modelId": "x"}, 422, "modelPackageId"),
        ({"modelPackageId": "0000"}, 404, None),
        ({"modelPackageId": None, "modelId": "0000"}, 404, None),
        ({"modelPackage": "x"}, 422, "modelPackage"),
    ],
)
def test_wrong_replacements_are_refused(api, change, status, field):
    with api.client() as client:
        body = {"modelPackageId": api.package_id, "reason": "OTHER"} | change
        response = client.patch(f"deployments/{api.deployment_id}/model/", json=body)
    assert response.status_code == status, response.text
    assert field is None or field in response.json()["errors"]


def test_jobs_with_a_model_alone_and_with_a_pinned_one(api):
    package_id, deployment_id = api.deploy("pinned")
    new = _package(api, name="next")
    with api.client() as client:
        body = {"modelPackageId": new["id"], "reason": "OTHER"}
        assert client.patch(f"deployments/{deployment_id}/model/", json=body).status_code == 202
        pinned = client.post("batchPredictions/", json={"deploymentId": deployment_id, "pinnedModelId": package_id})
        assert pinned.status_code == 202, pinned.text
        assert pinned.json()["jobSpec"]["pinnedModelId"] == package_id
        alone = client.post("batchPredictions/", json={"modelPackageId": new["id"]})
        assert alone.status_code == 202, alone.text
        assert alone.json()["jobSpec"]["deploymentId"] is None
        assert alone.json()["jobSpec"]["modelPackageId"] == new["id"]
        by_model = {job["id"] for job in client.get(f"batchPredictions/?modelId={new['modelId']}").json()["data"]}
        assert by_model == {alone.json()["id"]}
        both = client.post("batchPredictions/", json={"deploymentId": deployment_id, "modelPackageId": new["id"]})
        assert both.status_code == 422
        assert list(both.json()["errors"]) == ["modelPackageId"]
        other = client.post("batchPredictions/", json={"deploymentId": deployment_id, "pinnedModelId": api.package_id})
        assert list(other.json()["errors"]) == ["pinnedModelId"]


def test_deploying_a_model_as_older_clients_do(api):
    package = _package(api, name="old way", modelId="leader")
    with api.client() as client:
        for path in ("fromLearningModel", "fromLeaderboard"):
            made = client.post(
                f"deployments/{path}/",
                json={"modelId": "leader", "label": path, "predictionThreshold": 0.5, "status": "inactive"},
            )
            assert made.status_code == 202, made.text
            assert made.headers["location"].startswith(f"{api.endpoint}/status/")
            found = client.get(f"deployments/{made.json()['id']}/").json()
            assert (found["modelPackage"]["id"], found["status"]) == (package["id"], "inactive")
        wrong = {"modelId": "leader", "label": "x", "predictionThreshold": 0.4}
        assert client.post("deployments/fromLeaderboard/", json=wrong).status_code == 422
        assert client.post("deployments/fromLeaderboard/", json={"modelId": "none", "label": "x"}).status_code == 404


def test_settings_are_shown_and_cannot_ask_for_what_is_not_built(api):
    path = f"deployments/{api.deployment_id}/settings/"
    with api.client() as client:
        settings = client.get(path).json()
        assert settings["predictionIntervals"] == {"enabled": False, "percentiles": []}
        assert settings["associationId"] == {"columnNames": [], "requiredInPredictionRequests": False}
        same = client.patch(path, json={"targetDrift": {"enabled": False}, "humility": None})
        assert same.status_code == 202
        assert client.get(same.headers["location"]).status_code == 303
        humility = client.patch(path, json={"humility": {"enabled": True}})
        unknown = client.patch(path, json={"drift": {"enabled": True}})
    assert humility.status_code == unknown.status_code == 422
    assert list(humility.json()["errors"]) == ["humility"]
    assert list(unknown.json()["errors"]) == ["drift"]


def test_features_and_capabilities(api):
    with api.client() as client:
        features = client.get(f"deployments/{api.deployment_id}/features/").json()
        capabilities = client.get(f"deployments/{api.deployment_id}/capabilities/").json()
    assert [(each["name"], each["featureType"]) for each in features["data"]] == [("x", "Numeric"), ("carrier", "Text")]
    assert features["next"] is None
    assert all({"name", "supported", "messages"} == set(each) for each in capabilities["data"])


def test_list_of_deployments(api):
    for label in ("zebra", "ape"):
        api.deploy(label)
    with api.client() as client:

        def labels(query):
            response = client.get(f"deployments/?{query}")
            assert response.status_code == 200, response.text
            return [each["label"] for each in response.json()["data"]]

        everything = labels("limit=100")
        assert everything == sorted(everything)
        assert labels("orderBy=-label&limit=100") == everything[::-1]
        assert labels("orderBy=serviceHealth&limit=100") == everything
        assert labels("search=ZEB") == ["zebra"]
        assert "zebra" in labels("status=active&role=OWNER&createdByMe=True")
        assert "zebra" not in labels("importance=HIGH%2CLOW")
        assert labels("tagKeys=a&tagKeys=b") == []
        assert labels("serviceHealth=failing") == []
        assert "zebra" in labels("serviceHealth=failing%2Cunknown&isA2AAgent=false")
        assert labels("isA2AAgent=true") == []
        assert len(labels("limit=1")) == 1
        assert client.get("deployments/?orderBy=recentPredictions").status_code == 422
        assert client.get("deployments/?wd=1").status_code == 422


def test_registered_models_and_their_versions(api):
    name = f"model {new_id()}"
    with api.client() as client:
        first = client.post(
            "modelPackages/fromJSON/", json=FROM_JSON | _versioned(api, registeredModelName=name)
        ).json()
        model_id = first["registeredModelId"]
        second = client.post(
            "modelPackages/fromJSON/", json=FROM_JSON | _versioned(api, registeredModelId=model_id)
        ).json()
        assert (first["registeredModelVersion"], second["registeredModelVersion"]) == (1, 2)
        model = client.get(f"registeredModels/{model_id}/").json()
        assert (model["name"], model["lastVersionNum"], model["isArchived"]) == (name, 2, False)
        versions = client.get(f"registeredModels/{model_id}/versions/").json()
        assert [each["registeredModelVersion"] for each in versions["data"]] == [2, 1]
        assert client.get(f"registeredModels/{model_id}/versions/{first['id']}/").json()["id"] == first["id"]
        assert client.get(f"registeredModels/{model_id}/versions/{api.package_id}/").status_code == 404
        assert [each["id"] for each in client.get(f"registeredModels/?search={name}").json()["data"]] == [model_id]
        assert client.get("registeredModels/?targetType=Regression").json()["data"] == []
        assert client.get(f"modelPackages/?modelId={first['modelId']}").json()["totalCount"] == 1
        assert client.patch(f"registeredModels/{model_id}/", json={"name": name + "!"}).json()["name"] == name + "!"
        assert client.get(f"registeredModels/{model_id}/deployments/").json()["data"] == []
        assert client.delete(f"registeredModels/{model_id}/").status_code == 204
        assert client.get(f"registeredModels/?search={name}").json()["data"] == []


def _versioned(api, **values):
    return {"modelDescription": {"location": f"artifact:{api.artifact()}"}} | values


@pytest.mark.parametrize(
    "change",
    [{"target": {"name": "late", "type": "Regression"}}, {"nam": "x"}, {"target": {"name": "late", "type": "Nope"}}],
)
def test_packages_that_contradict_are_refused(api, change):
    with api.client() as client:
        response = client.post("modelPackages/fromJSON/", json=FROM_JSON | _versioned(api) | change)
    assert response.status_code == 422
    assert response.json()["errors"]


def test_servers_and_environments(api):
    with api.client() as client:
        servers = client.get("predictionServers/").json()
        environments = client.get("predictionEnvironments/").json()
        one = client.get(f"predictionEnvironments/{environments['data'][0]['id']}/").json()
    assert servers["data"][0]["url"] == "http://127.0.0.1:1"
    assert servers["next"] is None
    assert one == environments["data"][0]
    assert {"id", "name", "platform", "isDeleted"} <= set(one)


def test_environments_that_people_make(api):
    body = {"name": "edge", "platform": "aws", "description": None, "supportedModelFormats": ["customModel"]}
    with api.client() as client:
        made = client.post("predictionEnvironments/", json=body | {"isManagedByManagementAgent": False})
        assert made.status_code == 201, made.text
        place = made.json()
        assert (place["name"], place["platform"], place["isDeleted"]) == ("edge", "aws", False)
        assert place["supportedModelFormats"] == ["customModel"]
        assert place["importMeta"]["creatorUsername"] == "ann"
        assert client.get(f"predictionEnvironments/{place['id']}/").json() == place
        listed = client.get("predictionEnvironments/").json()["data"]
        assert (listed[0]["platform"], listed[-1]) == ("datarobot", place)
        new = {"modelPackageId": api.package_id, "label": "at the edge", "predictionEnvironmentId": place["id"]}
        deployment_id = client.post("deployments/fromModelPackage/", json=new).json()["id"]
        document = client.get(f"deployments/{deployment_id}/").json()
        assert document["predictionEnvironment"] == place
        assert document["defaultPredictionServer"]["url"] == "http://127.0.0.1:1"
        assert "at the edge" in labels_of(client, "predictionEnvironmentPlatform=aws&limit=100")
        assert "at the edge" not in labels_of(client, "predictionEnvironmentPlatform=datarobot,gcp&limit=100")
        assert client.delete(f"predictionEnvironments/{place['id']}/").status_code == 409
        assert client.delete(f"deployments/{deployment_id}/").status_code == 204
        assert client.delete(f"predictionEnvironments/{place['id']}/").status_code == 204
        assert client.get(f"predictionEnvironments/{place['id']}/").status_code == 404
        assert client.delete(f"predictionEnvironments/{listed[0]['id']}/").status_code == 409
        closed = client.post("predictionEnvironments/", json=body | {"supportedModelFormats": ["externalModel"]})
        new["predictionEnvironmentId"] = closed.json()["id"]
        refused = client.post("deployments/fromModelPackage/", json=new)
        assert list(refused.json()["errors"]) == ["predictionEnvironmentId"]
        for change, field in (
            ({"platform": "moon"}, "platform"),
            ({"name": " "}, "name"),
            ({"supportedModelFormats": ["pmml"]}, "supportedModelFormats"),
            ({"isManagedByManagementAgent": True}, "isManagedByManagementAgent"),
            ({"plugin": "x"}, "plugin"),
            ({"credentialId": "x"}, "credentialId"),
            ({"wd": 1}, "wd"),
        ):
            response = client.post("predictionEnvironments/", json=body | change)
            assert response.status_code == 422
            assert list(response.json()["errors"]) == [field]


def labels_of(client, query):
    response = client.get(f"deployments/?{query}")
    assert response.status_code == 200, response.text
    return [each["label"] for each in response.json()["data"]]
