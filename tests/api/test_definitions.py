"""Job definitions through raw requests: every spelling, every refusal, who may do what."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
import yaml

PATH = "batchPredictionJobDefinitions"
NIGHTLY = {"minute": [0], "hour": [2], "dayOfMonth": ["*"], "month": ["*"], "dayOfWeek": ["*"]}
S3 = {"type": "s3", "url": "s3://bucket/in.csv"}
OUT = {"type": "s3", "url": "s3://bucket/out.csv"}
KEY = "n0b0dy-sees-this"


def body(api, **values) -> dict:
    found = {"deploymentId": api.deployment_id, "intakeSettings": S3, "outputSettings": OUT} | values
    return {name: value for name, value in found.items() if value is not ...}


def create(api, client, **values) -> dict:
    response = client.post(f"{PATH}/", json=body(api, **values))
    assert response.status_code == 202, response.text
    return response.json()


def refused(response, status: int, field: str | None = None) -> str:
    assert response.status_code == status, response.text
    if field is not None:
        assert field in response.json()["errors"], response.text
    return response.json()["message"]


def credential(client, name: str, kind: str = "s3") -> str:
    fields = {"s3": {"awsAccessKeyId": "a", "awsSecretAccessKey": KEY}, "basic": {"user": "u", "password": KEY}}[kind]
    made = client.post("credentials/", json={"name": name, "credentialType": kind, **fields})
    assert made.status_code == 201, made.text
    return made.json()["credentialId"]


def test_a_definition_is_kept_and_shown_whole(api, client):
    before = datetime.now(UTC)
    made = create(api, client, name="nightly", enabled=True, schedule=NIGHTLY, numConcurrent=2, chunkSize="fixed")
    assert client.get(f"{PATH}/{made['id']}/").json() == made
    assert (made["name"], made["enabled"], made["schedule"]) == ("nightly", True, NIGHTLY)
    assert made["createdBy"] == made["updatedBy"] == {"userId": api.user.user_id, "username": "ann", "fullName": None}
    job = made["batchPredictionJob"]
    assert (job["deploymentId"], job["numConcurrent"], job["chunkSize"]) == (api.deployment_id, 2, "fixed")
    assert (job["intakeSettings"], job["outputSettings"]) == (S3, OUT)
    assert (job["abortOnError"], job["redactedFields"]) == (True, []), "defaults are filled in"
    assert (made["timeZone"], made["overlap"], made["catchUp"]) == ("UTC", "queue", "once")
    assert made["disableAfterFailures"] is None
    # 02:00 UTC on each of the next five days.
    first = before.replace(hour=2, minute=0, second=0, microsecond=0)
    first += timedelta(days=0 if first > before else 1)
    expected = [(first + timedelta(days=n)).strftime("%Y-%m-%dT%H:%M:%S.000000Z") for n in range(5)]
    assert made["nextRunTimes"] == expected
    assert made["nextScheduledRunTime"] == expected[0]
    for name in ("Scheduled", "Successful", "Failed", "Skipped"):
        assert made[f"last{name}RunTime"] is None
    assert made["lastStartedJobStatus"] is made["lastStartedJobTime"] is made["message"] is None


def test_what_is_left_out_has_defaults(api, client):
    made = create(api, client, name=None)
    assert made["name"]
    assert (made["enabled"], made["schedule"], made["nextRunTimes"]) == (False, None, [])
    assert made["nextScheduledRunTime"] is None
    assert made["batchPredictionJob"]["numConcurrent"] == 3, "what the prediction server takes at once"
    assert create(api, client)["name"] != made["name"]


def test_the_spellings_of_other_programs(api, client):
    # Terraform's provider: numbers, and ["*"] where the first item is "*".
    terraform = {"minute": [15], "hour": [3], "dayOfMonth": ["*"], "month": ["*"], "dayOfWeek": [1]}
    texts = {"minute": ["15"], "hour": ["3"], "dayOfMonth": ["*"], "month": ["Jan", "february"], "dayOfWeek": ["MON"]}
    first = create(api, client, enabled=True, schedule=terraform, jobType=...)
    assert first["schedule"] == terraform
    assert datetime.fromisoformat(first["nextScheduledRunTime"]).strftime("%a %H:%M") == "Mon 03:15"
    second = create(api, client, schedule=texts)
    assert second["schedule"] == texts, "it comes back as it was given"
    assert {time[5:7] for time in second["nextRunTimes"]} <= {"01", "02"}
    assert second["nextScheduledRunTime"] is None, "it is not enabled"
    whole = [{"inputName": "old_name", "outputName": "x"}, {"inputName": "gone", "outputName": None}]
    for remap in ({"old_name": "x", "gone": None}, whole, [whole[0], {"inputName": "gone"}]):
        made = create(api, client, columnNamesRemapping=remap)
        assert made["batchPredictionJob"]["columnNamesRemapping"] == whole, "a list, as Terraform's provider reads it"
    assert create(api, client)["batchPredictionJob"]["columnNamesRemapping"] is None
    # An answer sent as a request makes another one like it.
    again = {name: value for name, value in first["batchPredictionJob"].items() if value is not None}
    copy = client.post(f"{PATH}/", json=again).json()
    assert copy["batchPredictionJob"] == first["batchPredictionJob"]


def test_what_terraform_sends_and_reads(api, client):
    """A resource with nothing but what is required: the provider sends all its defaults, in each change as well."""
    resource = {
        "enabled": False,
        "name": "terraformed",
        "deploymentId": api.deployment_id,
        "abortOnError": True,
        "csvSettings": {"delimiter": ",", "encoding": "utf-8", "quotechar": '"'},
        "explanationAlgorithm": "xemp",
        "includePredictionStatus": False,
        "includeProbabilities": True,
        "intakeSettings": S3,
        "maxExplanations": 0,
        "outputSettings": {"type": "localFile"},
        "predictionWarningEnabled": False,
        "skipDriftTracking": False,
    }
    made = client.post(f"{PATH}/", json=resource).json()
    scheduled = resource | {
        "enabled": True,
        "schedule": {"minute": [15, 45], "hour": ["*"], "month": ["*"], "dayOfMonth": [1], "dayOfWeek": [0, 6]},
        "columnNamesRemapping": {"late_PREDICTION": "late"},
        "numConcurrent": 2,
        "passthroughColumns": ["id"],
        "predictionThreshold": 0.25,
    }
    changed = client.patch(f"{PATH}/{made['id']}/", json=scheduled)
    assert changed.status_code == 200, changed.text
    read = client.get(f"{PATH}/{made['id']}/").json()
    assert (read["name"], read["enabled"]) == ("terraformed", True)
    job = read["batchPredictionJob"]
    # What it compares with its own values on each refresh; another value there would be a difference for ever.
    for field in resource.keys() - {"enabled", "name"}:
        assert job[field] == resource[field], field
    assert (job["numConcurrent"], job["passthroughColumns"], job["predictionThreshold"]) == (2, ["id"], 0.25)
    assert job["columnNamesRemapping"] == [{"inputName": "late_PREDICTION", "outputName": "late"}]
    assert client.delete(f"{PATH}/{made['id']}/").status_code == 204
    refused(client.get(f"{PATH}/{made['id']}/"), 404)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_change_changes_what_it_names(api, client, slash):
    made = create(api, client, name="a", passthroughColumns=["id"], schedule=NIGHTLY)
    url = f"{PATH}/{made['id']}{slash}"
    changed = client.patch(url, json={"enabled": True, "name": "b"}).json()
    differing = {name for name in made if made[name] != changed[name]}
    assert differing == {"enabled", "name", "nextScheduledRunTime", "updated"}
    assert (changed["enabled"], changed["name"]) == (True, "b")
    assert changed["nextScheduledRunTime"] == changed["nextRunTimes"][0]

    changed = client.patch(url, json={"intakeSettings": {"type": "s3", "url": "s3://other/in.csv"}}).json()
    assert changed["batchPredictionJob"] == made["batchPredictionJob"] | {
        "intakeSettings": {"type": "s3", "url": "s3://other/in.csv"}
    }
    changed = client.patch(url, json={"passthroughColumns": None, "enabled": False}).json()
    assert changed["batchPredictionJob"]["passthroughColumns"] is None
    assert (changed["enabled"], changed["nextScheduledRunTime"]) == (False, None)
    changed = client.patch(url, json={"schedule": None, "overlap": "skip", "catchUp": "none"}).json()
    assert (changed["schedule"], changed["overlap"], changed["catchUp"]) == (None, "skip", "none")
    changed = client.patch(url, json={"disableAfterFailures": 3, "timeZone": "Europe/Berlin"}).json()
    assert (changed["disableAfterFailures"], changed["timeZone"], changed["overlap"]) == (3, "Europe/Berlin", "skip")
    assert client.patch(url, json={"disableAfterFailures": None}).json()["disableAfterFailures"] is None
    assert client.patch(url, json={}).json()["timeZone"] == "Europe/Berlin"


def test_names_are_one_s_own(api, client):
    first, second = create(api, client, name="a"), create(api, client, name="b")
    assert "choose another name" in refused(client.post(f"{PATH}/", json=body(api, name="a")), 409)
    assert "'a'" in refused(client.patch(f"{PATH}/{second['id']}", json={"name": "a"}), 409)
    assert client.patch(f"{PATH}/{second['id']}", json={"name": "b"}).status_code == 200
    assert client.delete(f"{PATH}/{first['id']}/").status_code == 204
    assert client.patch(f"{PATH}/{second['id']}", json={"name": "a"}).json()["name"] == "a"
    with api.client(api.other("elsewhere", role="admin", organisation="elsewhere")) as other:
        # Their own deployment is missing there, not the name.
        refused(other.post(f"{PATH}/", json=body(api, name="a")), 404)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"enabled": True}, "schedule"),
        ({"enabled": "yes"}, "enabled"),
        ({"schedule": NIGHTLY | {"hour": [24]}}, "schedule.hour"),
        ({"schedule": {"hour": [1]}}, "schedule.minute"),
        ({"timeZone": "Mars/Olympus"}, "timeZone"),
        ({"overlap": "both"}, "overlap"),
        ({"catchUp": "all"}, "catchUp"),
        ({"disableAfterFailures": 0}, "disableAfterFailures"),
        ({"name": " "}, "name"),
        ({"shcedule": NIGHTLY}, "shcedule"),
        ({"numConcurrent": 0}, "numConcurrent"),
        ({"intakeSettings": {"type": "s3"}}, "intakeSettings.url"),
        ({"intakeSettings": {"type": "tape"}}, "intakeSettings.type"),
        ({"maxExplanations": 3}, "maxExplanations"),
        ({"includeProbabilitiesClasses": ["maybe"]}, "includeProbabilitiesClasses"),
        ({"deploymentId": ...}, "deploymentId"),
        ({"enabled": True, "schedule": NIGHTLY, "intakeSettings": ...}, "intakeSettings.type"),
        ({"enabled": True, "schedule": NIGHTLY, "intakeSettings": {"type": "localFile"}}, "intakeSettings.type"),
    ],
)
def test_it_is_checked_in_full_when_it_is_saved(api, client, values, field):
    refused(client.post(f"{PATH}/", json=body(api, **values)), 422, field)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"enabled": True}, "schedule"),
        ({"schedule": NIGHTLY | {"month": ["never"]}}, "schedule.month"),
        ({"timeZone": "Mars/Olympus"}, "timeZone"),
        ({"shcedule": NIGHTLY}, "shcedule"),
        ({"intakeSettings": {"type": "s3"}}, "intakeSettings.url"),
        ({"intakeSettings": None, "enabled": True, "schedule": NIGHTLY}, "intakeSettings.type"),
        ({"maxExplanations": 3}, "maxExplanations"),
        ({"deploymentId": None}, "deploymentId"),
    ],
)
def test_a_refused_change_changes_nothing(api, client, values, field):
    made = create(api, client)
    refused(client.patch(f"{PATH}/{made['id']}/", json=values), 422, field)
    assert client.get(f"{PATH}/{made['id']}/").json() == made


def test_uploads_are_for_runs_by_hand(api, client):
    made = create(api, client, intakeSettings=..., outputSettings=..., schedule=NIGHTLY)
    message = refused(client.patch(f"{PATH}/{made['id']}/", json={"enabled": True}), 422, "intakeSettings.type")
    assert "by hand" in message
    job = client.post("batchPredictions/fromJobDefinition/", json={"jobDefinitionId": made["id"]}).json()
    api.upload(job["id"])
    assert api.status(job["id"])["queued"]


def test_a_run_by_hand(api, client):
    made = create(api, client, name="nightly", chunkSize=1000)
    response = client.post("batchPredictions/fromJobDefinition/", json={"jobDefinitionId": made["id"]})
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == job["links"]["self"]
    assert job["source"] == "jobDefinition"
    origin = {"id": made["id"], "name": "nightly", "createdBy": api.user.user_id}
    assert job["batchPredictionJobDefinition"] == origin
    assert job["jobSpec"] == made["batchPredictionJob"]
    assert "Made from job definition 'nightly' of ann" in job["logs"]
    seen = client.get(f"{PATH}/{made['id']}/").json()
    assert (seen["lastStartedJobId"], seen["lastStartedJobStatus"]) == (job["id"], "INITIALIZING")
    assert seen["lastStartedJobTime"] == job["created"]

    api.fail(api.run(job["id"]), "the bucket burns")
    seen = client.get(f"{PATH}/{made['id']}/").json()
    assert (seen["lastStartedJobStatus"], seen["message"]) == ("ABORTED", "the bucket burns")
    assert seen["consecutiveFailures"] == 1
    assert seen["lastFailedRunTime"] >= job["created"]

    api.job()
    for query in ({"batchPredictionJobDefinitionId": made["id"]}, {"source": "jobDefinition", "jobId": job["id"]}):
        listed = client.get("batchPredictions/", params=query).json()["data"]
        assert [each["id"] for each in listed] == [job["id"]], query
    assert client.get("batchPredictions/", params={"batchPredictionJobDefinitionId": "none"}).json()["data"] == []
    sources = client.get("batchPredictions/", params={"source": "-jobDefinition", "limit": 1000}).json()["data"]
    assert job["id"] not in [each["id"] for each in sources]
    again = client.post("batchPredictions/fromExisting/", json={"predictionJobId": job["id"]}).json()
    assert (again["batchPredictionJobDefinition"], again["source"]) == (None, "api")

    assert client.delete(f"{PATH}/{made['id']}/").status_code == 204
    assert api.status(job["id"])["batchPredictionJobDefinition"] == origin, "jobs stay what they are"
    refused(client.post("batchPredictions/fromJobDefinition/", json={"jobDefinitionId": made["id"]}), 404)
    refused(client.get(f"{PATH}/{made['id']}/"), 404)


def test_the_same_request_makes_one_job(api, client):
    made = create(api, client)
    headers = {"Idempotency-Key": "monday"}
    asked = {"jobDefinitionId": made["id"]}
    answers = [client.post("batchPredictions/fromJobDefinition/", json=asked, headers=headers) for _ in range(2)]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_lists(api, client):
    ids = [create(api, client, name=name)["id"] for name in ("Nightly one", "nightly two", "weekly")]
    other = api.deploy("other")[1]
    ids.append(create(api, client, name="last", deploymentId=other)["id"])
    page = client.get(f"{PATH}/", params={"limit": 3}).json()
    assert ([each["id"] for each in page["data"]], page["totalCount"]) == (ids[:0:-1], 4)
    rest = client.get(page["next"]).json()
    assert ([each["id"] for each in rest["data"]], rest["next"]) == (ids[:1], None)
    found = client.get(f"{PATH}/", params={"searchName": "NIGHT"}).json()
    assert [each["id"] for each in found["data"]] == ids[1::-1]
    assert [each["id"] for each in client.get(f"{PATH}/", params={"deploymentId": other}).json()["data"]] == ids[3:]
    assert client.get(f"{PATH}/", params={"deploymentId": "none"}).json()["data"] == []
    create(api, client, name="Nächtlich")
    assert client.get(f"{PATH}/", params={"searchName": "NÄCHT"}).json()["totalCount"] == 1
    refused(client.get(f"{PATH}/", params={"serchName": "x"}), 422, "serchName")


def test_keys_are_sealed_and_shown_by_nobody(api, client):
    url = f"https://files.example.com/in.csv?sig={KEY}"
    made = create(
        api,
        client,
        name="http",
        intakeSettings={"type": "http", "url": url, "headers": {"X-Key": KEY}},
        schedule=NIGHTLY,
    )
    assert KEY not in str(made)
    assert made["batchPredictionJob"]["redactedFields"] == ["intakeSettings.url", "intakeSettings.headers.X-Key"]
    assert KEY not in client.get(f"{PATH}/{made['id']}/portable/").text
    with sqlite3.connect(api.settings.data_dir / "scoreline.db") as database:
        assert KEY not in "\n".join(database.iterdump())
    # What does not change keeps its keys; a run opens them, and seals them again for its job.
    changed = client.patch(f"{PATH}/{made['id']}", json={"enabled": True, "chunkSize": 500}).json()
    assert changed["batchPredictionJob"]["intakeSettings"] == made["batchPredictionJob"]["intakeSettings"]
    job = client.post("batchPredictions/fromJobDefinition/", json={"jobDefinitionId": made["id"]}).json()
    assert _keys_of(api, job["id"]) == {"intakeUrl": {"url": url, "headers": {"X-Key": KEY}}}
    masked = made["batchPredictionJob"]["intakeSettings"]
    assert "masked" in refused(client.patch(f"{PATH}/{made['id']}", json={"intakeSettings": masked}), 422)
    before = _secrets(api)
    assert client.patch(f"{PATH}/{made['id']}", json={"intakeSettings": S3}).status_code == 200
    assert _secrets(api) == before - 1, "keys that nobody needs any more are gone"


def _keys_of(api, job_id):
    from scoreline.access.outside import Outside
    from scoreline.jobs import keyring, service

    return keyring.keys_of(service.get(api.store, api.user, job_id), Outside.of(api.store, api.settings))


def _secrets(api) -> int:
    with sqlite3.connect(api.settings.data_dir / "scoreline.db") as database:
        return database.execute("SELECT count(*) FROM secrets").fetchone()[0]


def test_credentials_fit_and_are_in_use(api, client):
    good, wrong = credential(client, "good"), credential(client, "wrong", "basic")
    message = refused(client.post(f"{PATH}/", json=body(api, intakeSettings=S3 | {"credentialId": wrong})), 422)
    assert "of type basic" in message
    refused(client.post(f"{PATH}/", json=body(api, intakeSettings=S3 | {"credentialId": "0" * 24})), 404)
    made = create(api, client, name="nightly", intakeSettings=S3 | {"credentialId": good})
    assert "'nightly'" in refused(client.delete(f"credentials/{good}/"), 409)
    with api.client(api.other("cid")) as other:
        theirs = body(api, intakeSettings=S3 | {"credentialId": good})
        refused(other.post(f"{PATH}/", json=theirs), 404)
    assert client.patch(f"{PATH}/{made['id']}", json={"intakeSettings": S3}).status_code == 200
    assert client.delete(f"credentials/{good}/").status_code == 204
    assert client.delete(f"credentials/{wrong}/").status_code == 204


def test_a_deployment_that_runs_by_schedule_stays(api, client):
    deployment = api.deploy("tonight")[1]
    made = create(api, client, name="nightly", deploymentId=deployment, schedule=NIGHTLY, enabled=True)
    assert "'nightly'" in refused(client.delete(f"deployments/{deployment}/"), 422)
    assert client.patch(f"{PATH}/{made['id']}", json={"enabled": False}).status_code == 200
    assert client.delete(f"deployments/{deployment}/").status_code == 204
    # What it scores with is gone: it can be renamed and deleted, not run.
    assert client.patch(f"{PATH}/{made['id']}", json={"name": "orphan"}).status_code == 200
    refused(client.patch(f"{PATH}/{made['id']}", json={"enabled": True}), 404)
    refused(client.post("batchPredictions/fromJobDefinition/", json={"jobDefinitionId": made["id"]}), 404)


def test_who_may_do_what(api, client):
    made = create(api, client, name="ann's", intakeSettings=..., outputSettings=...)
    url, run = f"{PATH}/{made['id']}/", ("batchPredictions/fromJobDefinition/", {"jobDefinitionId": made["id"]})
    with api.client(api.other("dan")) as user, api.client(api.other("eva", organisation="theirs", role="admin")) as eva:
        for stranger in (user, eva):
            assert stranger.get(f"{PATH}/").json()["totalCount"] == 0
            for response in (
                stranger.get(url),
                stranger.patch(url, json={"name": "mine"}),
                stranger.delete(url),
                stranger.get(f"{url}portable/"),
                stranger.post(run[0], json=run[1]),
            ):
                refused(response, 404)
    with api.client(api.other("olga", role="observer")) as observer:
        assert observer.get(url).json()["name"] == "ann's"
        for response in (
            observer.post(f"{PATH}/", json=body(api)),
            observer.patch(url, json={"name": "mine"}),
            observer.delete(url),
            observer.post(run[0], json=run[1]),
        ):
            refused(response, 403)
    with api.client(api.other("adam", role="admin")) as admin:
        assert "ann" in refused(admin.patch(url, json={"chunkSize": 99}), 403)
        changed = admin.patch(url, json={"name": "adam's", "chunkSize": "auto"}).json()
        assert (changed["name"], changed["updatedBy"]["username"]) == ("adam's", "adam")
        assert changed["createdBy"]["username"] == "ann"
        job = admin.post(run[0], json=run[1]).json()
        assert job["createdBy"]["username"] == "ann", "it has the owner's rights, so it is theirs"
        assert job["logs"][0].startswith("Job created by adam at")
        assert admin.delete(url).status_code == 204


def test_credentials_of_others_are_not_shown(api, client):
    good = credential(client, "mine")
    made = create(api, client, intakeSettings=S3 | {"credentialId": good})
    assert made["batchPredictionJob"]["intakeSettings"]["credentialId"] == good
    with api.client(api.other("oleg", role="observer")) as observer:
        seen = observer.get(f"{PATH}/{made['id']}/").json()["batchPredictionJob"]
        assert seen["intakeSettings"]["credentialId"] == "[redacted]"
        assert good not in observer.get(f"{PATH}/{made['id']}/portable/").text


def test_a_portable_definition_has_names(api, client):
    good = credential(client, "night keys")
    values = {"intakeSettings": S3 | {"credentialId": good}, "schedule": NIGHTLY, "chunkSize": 500}
    made = create(api, client, name="nightly", enabled=True, **values)
    response = client.get(f"{PATH}/{made['id']}/portable/")
    assert response.headers["content-type"].startswith("text/plain")
    assert yaml.safe_load(response.text) == {
        "definitions": [
            {
                "name": "nightly",
                "enabled": True,
                "schedule": NIGHTLY,
                "timeZone": "UTC",
                "overlap": "queue",
                "catchUp": "once",
                "deployment": "flights",
                "intakeSettings": S3 | {"credential": "night keys"},
                "outputSettings": OUT,
                "chunkSize": 500,
            }
        ]
    }


def test_times_in_settings_are_settled_when_it_runs(api, client):
    url = "s3://bucket/{{ current_run_timestamp }}/{{ last_completed_run_time.strftime('%Y') }}.csv"
    output = {"type": "s3", "url": url}
    made = create(api, client, outputSettings=output)
    assert made["batchPredictionJob"]["outputSettings"] == output
    asked = {"jobDefinitionId": made["id"]}
    job = client.post("batchPredictions/fromJobDefinition/", json=asked).json()
    rendered = job["rendered"]["outputSettings.url"]
    created = datetime.fromisoformat(job["created"])
    assert abs(int(rendered.split("/")[3]) - created.timestamp() * 1000) < 5000
    assert rendered.endswith("/1900.csv"), "no run was completed yet"
    api.complete(api.run(job["id"]))
    again = client.post("batchPredictions/fromJobDefinition/", json=asked).json()
    assert again["rendered"]["outputSettings.url"].endswith(f"/{datetime.now(UTC).year}.csv")
    wrong = {"type": "s3", "url": "s3://bucket/{{ config.items() }}.csv"}
    message = refused(client.patch(f"{PATH}/{made['id']}", json={"outputSettings": wrong}), 422, "outputSettings.url")
    assert "at character 16" in message
