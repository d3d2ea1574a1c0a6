"""Jobs through the API: what may be asked for, what a document holds, lists, hiding, aborting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from scoreline import adapters

REQUIRED = {  # of the client's schema, with the types it insists on
    "id": str,
    "status": str,
    "statusDetails": str,
    "percentageCompleted": (int, float),
    "elapsedTimeSec": int,
    "created": str,
    "createdBy": dict,
    "scoredRows": int,
    "failedRows": int,
    "skippedRows": int,
    "jobIntakeSize": int,
    "jobOutputSize": int,
    "queued": bool,
    "resultsDeleted": bool,
    "source": str,
    "logs": list,
    "links": dict,
    "jobSpec": dict,
}


def check(document, endpoint):
    for name, kind in REQUIRED.items():
        assert isinstance(document[name], kind), name
        assert kind is not int or not isinstance(document[name], bool), name
    assert document["status"] in ("INITIALIZING", "RUNNING", "COMPLETED", "ABORTED")
    assert document["statusDetails"]
    assert isinstance(document["jobSpec"]["numConcurrent"], int)
    assert document["links"]["self"] == f"{endpoint}/batchPredictions/{document['id']}/"
    assert document["created"].endswith("Z")
    assert all(isinstance(line, str) for line in document["logs"])
    assert {"userId", "username", "fullName"} == set(document["createdBy"])


def test_a_new_job_is_complete_and_names_its_links(api):
    with api.client() as client:
        response = client.post("batchPredictions/", json={"deploymentId": api.deployment_id})
    document = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == document["links"]["self"]
    check(document, api.endpoint)
    assert document["status"] == "INITIALIZING"
    assert "CSV data" in document["statusDetails"]
    assert document["queuePosition"] is None
    assert document["queued"] is False
    assert document["source"] == "api"
    assert document["links"]["csvUpload"] == document["links"]["self"] + "csvUpload/"
    assert document["links"]["download"] == document["links"]["self"] + "download/"
    assert document["jobSpec"]["numConcurrent"] == 3  # what the server takes at once
    assert document["jobSpec"]["csvSettings"] == {"delimiter": ",", "quotechar": '"', "encoding": "utf-8"}
    assert document["jobSpec"]["intakeSettings"] == {"type": "localFile"}
    assert document["jobSpec"]["redactedFields"] == []


def test_all_fields_that_are_built_are_taken_and_shown(api):
    asked = {
        "numConcurrent": 2,
        "chunkSize": 20,
        "abortOnError": False,
        "disableRowLevelErrorHandling": True,
        "skipDriftTracking": True,
        "passthroughColumns": ["id", ""],
        "includePredictionStatus": True,
        "includeProbabilities": False,
        "includeProbabilitiesClasses": ["yes"],
        "predictionThreshold": 0.25,
        "columnNamesRemapping": {"late_PREDICTION": "p", "THRESHOLD": None},
        "csvSettings": {"delimiter": "tab", "quotechar": "'", "encoding": "latin-1"},
        "intakeSettings": {"type": "localFile", "multipart": True, "async": False},
        "outputSettings": {"type": "localFile"},
        "maxExplanations": 0,
        "explanationAlgorithm": None,
    }
    spec = api.job(**asked)["jobSpec"]
    assert {name: spec[name] for name in asked} == asked


@pytest.mark.parametrize("kind", ["local_file", "localFile", "LOCALFILE"])
def test_other_spellings_of_a_type_are_shown_in_its_own(api, kind):
    spec = api.job(intakeSettings={"type": kind}, outputSettings={"type": kind})["jobSpec"]
    assert spec["intakeSettings"]["type"] == spec["outputSettings"]["type"] == "localFile"


def test_renaming_as_a_list_is_taken_as_it_is(api):
    pairs = [{"inputName": "late_PREDICTION", "outputName": "p"}, {"inputName": "THRESHOLD", "outputName": None}]
    assert api.job(columnNamesRemapping=pairs)["jobSpec"]["columnNamesRemapping"] == pairs


REFUSED = [
    ({"numConcurent": 2}, "numConcurent", "numConcurrent"),
    ({"numConcurrent": 0}, "numConcurrent", "whole number"),
    ({"numConcurrent": "2"}, "numConcurrent", "whole number"),
    ({"numConcurrent": True}, "numConcurrent", "whole number"),
    ({"chunkSize": "huge"}, "chunkSize", "dynamic"),
    ({"chunkSize": 0}, "chunkSize", "bytes"),
    ({"predictionThreshold": 1.5}, "predictionThreshold", "0 to 1"),
    ({"passthroughColumns": "id"}, "passthroughColumns", "list"),
    ({"passthroughColumnsSet": "some"}, "passthroughColumnsSet", "all"),
    ({"includeProbabilitiesClasses": ["maybe"]}, "includeProbabilitiesClasses", "maybe"),
    ({"csvSettings": {"delimiter": ";;"}}, "csvSettings.delimiter", "single"),
    ({"csvSettings": {"encoding": "zlib"}}, "csvSettings.encoding", "zlib"),
    ({"csvSettings": {"quote": "x"}}, "csvSettings.quote", "quotechar"),
    ({"intakeSettings": {"type": "localfiles"}}, "intakeSettings.type", "localFile"),
    ({"intakeSettings": {"type": "localFile", "url": "x"}}, "intakeSettings.url", "url"),
    ({"outputSettings": {"type": "localFile", "path": "x"}}, "outputSettings.path", "path"),
    ({"maxExplanations": 3}, "maxExplanations", "not supported yet"),
    ({"maxNgramExplanations": "all"}, "maxNgramExplanations", "not supported yet"),
    ({"maxNGramExplanations": 2}, "maxNgramExplanations", "not supported yet"),
    ({"explanationAlgorithm": "guess"}, "explanationAlgorithm", "'shap' or 'xemp'"),
    ({"timeseriesSettings": {"type": "forecast"}}, "timeseriesSettings", "not supported yet"),
    ({"predictionInstance": {"apiKey": "k"}}, "predictionInstance.hostName", "is missing"),
    ({"predictionWarningEnabled": True}, "predictionWarningEnabled", "regression"),
    ({"monitoringColumns": {"predictionsColumns": "p"}}, "monitoringColumns", "not supported yet"),
    ({"deploymentId": None}, "deploymentId", "required"),
]


@pytest.mark.parametrize(("change", "field", "words"), REFUSED, ids=[case[1] for case in REFUSED])
def test_what_cannot_be_done_is_refused_by_name(api, change, field, words):
    with api.client() as client:
        response = client.post("batchPredictions/", json={"deploymentId": api.deployment_id} | change)
    assert response.status_code == 422, response.text
    document = response.json()
    assert words in document["message"]
    assert document["errors"] == {field: document["message"]}


NOT_BUILT = [
    (kind, side) for kind in adapters.REGISTRY for side in ("intake", "output") if kind not in adapters.names(side)
]


@pytest.mark.parametrize(("kind", "side"), NOT_BUILT)
def test_types_that_are_not_built_are_refused_by_name(api, kind, side):
    body = {"deploymentId": api.deployment_id, f"{side}Settings": {"type": kind, "url": "x"}}
    with api.client() as client:
        response = client.post("batchPredictions/", json=body)
    assert response.status_code == 422
    message = response.json()["errors"][f"{side}Settings.type"]
    assert kind in message
    assert "localFile" in message  # what can be used


def test_an_unknown_deployment_is_not_found(api):
    with api.client() as client:
        response = client.post("batchPredictions/", json={"deploymentId": "0" * 24})
    assert response.status_code == 404


def test_a_job_through_all_its_states(api):
    job_id = api.job()["id"]
    logs = api.status(job_id)["logs"]
    api.upload(job_id, b"x,carrier\n1,AA\n2,BB\n")
    waiting = api.status(job_id)
    check(waiting, api.endpoint)
    assert waiting["status"] == "INITIALIZING"
    assert waiting["queued"] is True
    assert waiting["queuePosition"] == 0
    run = api.run(job_id)
    api.rows(run, b"late_PREDICTION\n")
    api.rows(run, b"0.5\n0.25\n", 2)
    running = api.status(job_id)
    check(running, api.endpoint)
    assert running["status"] == "RUNNING"
    assert running["scoredRows"] == 2
    api.complete(run)
    ended = api.status(job_id)
    check(ended, api.endpoint)
    assert ended["status"] == "COMPLETED"
    assert ended["percentageCompleted"] == 100
    assert ended["jobOutputSize"] == len(b"late_PREDICTION\n0.5\n0.25\n")
    for later in (waiting, running, ended):
        assert later["logs"][: len(logs)] == logs
        logs = later["logs"]


def test_a_queue_shows_the_place_of_those_who_wait(api):
    ids = [api.job()["id"] for _ in range(3)]
    for job_id in ids:
        api.upload(job_id)
    run = api.run(ids[0])
    places = [api.status(job_id)["queuePosition"] for job_id in ids]
    assert places == [None, 1, 2]
    assert "2 jobs ahead" in api.status(ids[2])["statusDetails"]
    api.complete(run)
    assert [api.status(job_id)["queuePosition"] for job_id in ids] == [None, 0, 1]
    with api.client() as client:
        server = client.get("predictionServers/").json()["data"][0]
    assert server["batchPredictions"] == {"processing": 0, "queued": 2}
    assert {"id", "url", "datarobot-key"} <= set(server)


def test_abort(api):
    job_id = api.job()["id"]
    with api.client() as client:
        first = client.delete(f"batchPredictions/{job_id}/")
        again = client.delete(f"batchPredictions/{job_id}/")
        unknown = client.delete("batchPredictions/0000/")
    assert (first.status_code, first.content) == (202, b"")
    assert (again.status_code, unknown.status_code) == (409, 404)
    document = api.status(job_id)
    check(document, api.endpoint)
    assert document["status"] == "ABORTED"
    assert "ann" in document["statusDetails"]
    assert document["links"]["download"]


def test_hidden_jobs_leave_the_lists_and_can_come_back(api):
    job_id = api.job()["id"]
    path = f"batchPredictions/{job_id}/"
    with api.client() as client:
        early = client.patch(path, json={"hidden": True})
        client.delete(path)
        hidden = client.patch(path, json={"hidden": True})
        listed = client.get("batchPredictions/", params={"jobId": job_id}).json()["data"]
        direct = client.get(path)
        shown = client.patch(path, json={"hidden": False})
        other = client.patch(path, json={"status": "COMPLETED", "scoredRows": 3})
        wrong = client.patch(path, json={"hidden": "yes"})
        empty = client.patch(path, json={})
        unknown = client.patch("batchPredictions/0000/", json={"hidden": True})
    assert early.status_code == 409
    assert hidden.status_code == 200
    assert hidden.json()["hidden"].endswith("Z")
    assert listed == []
    assert direct.status_code == 200
    assert shown.json()["hidden"] is None
    assert other.status_code == wrong.status_code == empty.status_code == 422
    assert set(other.json()["errors"]) == {"status", "scoredRows", "hidden"}
    assert unknown.status_code == 404


def test_list_filters(api):
    _, other_deployment = api.deploy("other")
    first, second = api.job()["id"], api.job(deploymentId=other_deployment)["id"]
    with api.client() as client:
        client.delete(f"batchPredictions/{first}/")

        def ids(**query):
            response = client.get("batchPredictions/", params=query | {"limit": 1000})
            assert response.status_code == 200, response.text
            return [job["id"] for job in response.json()["data"]]

        assert first in ids(status="ABORTED")
        assert second not in ids(status="ABORTED")
        assert {first, second} <= set(ids(status=["ABORTED", "INITIALIZING"]))
        assert ids(status="FAILED") == []
        assert ids(deploymentId=other_deployment) == [second]
        assert ids(jobId=first) == [first]
        assert {first, second} <= set(ids(source="api"))
        assert ids(source="-api") == []
        assert {first, second} <= set(ids(intakeType="local_file", outputType=["localFile", "s3"], allJobs="True"))
        assert ids(intakeType="s3") == []
        assert ids(batchJobType="monitoring") == []
        assert first in ids(batchJobType="prediction", cutoffHours=1, hostname="127.0.0.1")
        assert ids(hostname="elsewhere") == []
        assert ids(batchPredictionJobDefinitionId="x") == []
        moment = datetime.now(UTC)
        assert ids(startDateTime=(moment + timedelta(hours=1)).isoformat()) == []
        assert first in ids(startDateTime=(moment - timedelta(hours=1)).isoformat(), endDateTime=moment.isoformat())
        assert ids(endDateTime="2020-01-01T00:00:00") == []
        newest = ids(orderBy="-created")
        assert newest.index(second) < newest.index(first)
        assert ids(orderBy="created") == newest[::-1]
        assert client.get("batchPredictions/", params={"intakeType": "nope"}).status_code == 422
        assert client.get("batchPredictions/", params={"orderBy": "size"}).status_code == 422


def test_from_existing_takes_the_settings_of_the_old_job(api):
    old = api.job(passthroughColumns=["id"], chunkSize=1000, csvSettings={"delimiter": ";"})
    with api.client() as client:
        response = client.post("batchPredictions/fromExisting/", json={"predictionJobId": old["id"]})
        unknown = client.post("batchPredictions/fromExisting/", json={"predictionJobId": "0000"})
        nothing = client.post("batchPredictions/fromExisting/", json={})
        definition = client.post("batchPredictions/fromJobDefinition/", json={"jobDefinitionId": "abc"})
    assert response.status_code == 202
    new = response.json()
    assert response.headers["location"] == new["links"]["self"]
    assert new["id"] != old["id"]
    assert new["jobSpec"] == old["jobSpec"]
    assert unknown.status_code == 404
    assert nothing.status_code == 422
    assert definition.status_code == 404


def test_others_do_not_see_my_jobs_and_observers_change_nothing(api):
    stranger, watcher = api.other("bob"), api.other("watcher", role="observer")
    outsider = api.other("eve", role="admin", organisation="theirs")
    job_id = api.job()["id"]
    for token in (stranger, outsider):
        with api.client(token) as client:
            assert client.get(f"batchPredictions/{job_id}/").status_code == 404
            assert client.delete(f"batchPredictions/{job_id}/").status_code == 404
            assert client.get(f"batchPredictions/{job_id}/download/").status_code == 404
            upload = client.put(
                f"batchPredictions/{job_id}/csvUpload/", content=b"x\n", headers={"Content-Type": "text/csv"}
            )
            assert upload.status_code == 404
            assert client.get("batchPredictions/").json()["data"] == []
    with api.client(watcher) as client:
        assert client.get(f"batchPredictions/{job_id}/").status_code == 200
        assert client.delete(f"batchPredictions/{job_id}/").status_code == 403
        assert client.post("batchPredictions/", json={"deploymentId": api.deployment_id}).status_code == 403
    assert api.status(job_id)["status"] == "INITIALIZING"


@pytest.mark.parametrize("moment", ["0", "1700000000", "1.5e9", "yesterday", "2026-13-01T00:00:00Z"])
def test_times_in_filters_are_iso_8601(api, moment):
    with api.client() as client:
        response = client.get("batchPredictions/", params={"startDateTime": moment})
    assert response.status_code == 422
    assert list(response.json()["errors"]) == ["startDateTime"]


def test_a_job_rests_and_goes_on(api):
    job = api.job(priority=3, retentionHours=0.5)
    assert (job["jobSpec"]["priority"], job["jobSpec"]["retentionHours"], job["paused"]) == (3, 0.5, None)
    api.upload(job["id"])
    api.run(job["id"])
    with api.client() as client:
        paused = client.post(f"batchPredictions/{job['id']}/pause/")
        assert paused.status_code == 200
        assert (paused.json()["status"], paused.json()["queued"]) == ("INITIALIZING", False)
        assert paused.json()["paused"]
        assert paused.json()["statusDetails"].startswith("Paused since")
        resumed = client.post(f"batchPredictions/{job['id']}/resume/").json()
        assert (resumed["paused"], resumed["queuePosition"]) == (None, 0)
        client.delete(f"batchPredictions/{job['id']}/")
        for verb in ("pause", "resume"):
            assert client.post(f"batchPredictions/{job['id']}/{verb}/").status_code == 409
            assert client.post(f"batchPredictions/000000000000000000000000/{verb}/").status_code == 404


@pytest.mark.parametrize(
    ("name", "value"), [("priority", 101), ("priority", 1.5), ("retentionHours", -1), ("retentionHours", "2")]
)
def test_settings_of_ours_have_limits(api, name, value):
    with api.client() as client:
        answer = client.post("batchPredictions/", json={"deploymentId": api.deployment_id, name: value})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, [name])
