"""Webhooks of jobs through the API: taken or refused, sealed, shown to whom they concern, and told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from tests.support.api import running_api, wait_for
from tests.support.served import scoreline
from tests.support.web import Reply, web

KEY = b"a key of 32 bytes for the tests."
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@pytest.fixture(scope="module")
def module_api(tmp_path_factory, migrated_sqlite):
    with running_api(tmp_path_factory.mktemp("api"), migrated_sqlite, allowed_networks="127.0.0.0/8") as api:
        yield api


@pytest.fixture
def receiver():
    with web() as made:
        yield made


def messages(api, job_id, token=None):
    with api.client(token) as client:
        response = client.get(f"batchPredictions/{job_id}/webhooks/")
    assert response.status_code == 200, response.text
    return response.json()["data"]


def settled(api, job_id):
    """Wait until nothing is to be sent any more; return the messages."""

    def found():
        every = messages(api, job_id)
        return every if all(message["settled"] for message in every) else None

    return wait_for(found)


def test_a_job_tells_its_webhooks_how_it_goes(api, receiver):
    hooks = [
        {"url": f"{receiver.url}/all", "events": ["started", "completed", "aborted"], "secret": SECRET},
        {"url": f"{receiver.url}/end?key=abcdefghij"},
        {"url": f"{receiver.url}/bad-end", "events": ["aborted"]},
    ]
    receiver.next["/end"] = [Reply(500), Reply(502)]
    job = api.job(webhooks=hooks)
    api.upload(job["id"])
    run = api.run(job["id"])
    api.rows(run, b"late_PREDICTION\nno\n", 1)
    api.complete(run)
    found = settled(api, job["id"])
    assert [(m["webhook"], m["event"], m["state"], m["status"]) for m in found] == [
        (0, "started", "delivered", 201),
        (0, "completed", "delivered", 201),
        (1, "completed", "delivered", 201),
    ]
    assert [m["tries"] for m in found] == [1, 1, 3]
    assert found[2]["url"] == f"{receiver.url}/end?[redacted]"
    shown = api.status(job["id"])
    for call in receiver.came("all"):
        signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
        expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert call.headers["webhook-signature"] == f"v1,{expected}"
    # They are sent side by side, and may come in another order than they happened.
    told = sorted((json.loads(call.body) for call in receiver.came("all")), key=lambda one: one["type"], reverse=True)
    assert [(one["type"], one["data"]["status"]) for one in told] == [
        ("job.started", "RUNNING"),
        ("job.completed", "COMPLETED"),
    ]
    about = told[1]["data"]
    for name in ("id", "status", "statusDetails", "scoredRows", "failedRows", "skippedRows", "created", "source"):
        assert about[name] == shown[name], name
    assert about["links"] == {
        "self": f"/api/v2/batchPredictions/{job['id']}/",
        "download": f"/api/v2/batchPredictions/{job['id']}/download/",
    }
    end = receiver.came("end")
    assert len(end) == 3
    assert len({call.body for call in end}) == 1
    assert "webhook-signature" not in end[0].headers
    assert receiver.came("bad-end") == []


def test_secrets_are_sealed_and_shown_to_nobody(api, receiver):
    url = f"{receiver.url}/hook"
    made = api.job(webhooks=[{"url": f"{url}?key=abcdefghij", "secret": SECRET}])
    spec = made["jobSpec"]
    assert spec["webhooks"] == [{"url": f"{url}?[redacted]", "secret": "[redacted]"}]
    assert spec["redactedFields"] == ["webhooks.0.url", "webhooks.0.secret"]
    kept = [path for path in api.settings.data_dir.rglob("*") if path.is_file()]
    for secret in (KEY, SECRET.encode(), b"abcdefghij"):
        assert not [path for path in kept if secret in path.read_bytes()]
    with api.client() as client:
        copied = client.post(
            "batchPredictions/", json={"deploymentId": api.deployment_id, "webhooks": spec["webhooks"]}
        )
        assert copied.status_code == 422
        assert "webhooks.0.url" in copied.json()["errors"]
        again = client.post("batchPredictions/fromExisting/", json={"predictionJobId": made["id"]})
        assert again.status_code == 202, again.text
        client.delete(f"batchPredictions/{again.json()['id']}/")
    settled(api, again.json()["id"])
    (call,) = receiver.came("hook")
    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    assert base64.b64decode(call.headers["webhook-signature"][3:]) == hmac.digest(KEY, signed, "sha256")


def test_others_do_not_learn_the_address(api):
    made = api.job(webhooks=[{"url": "http://127.0.0.1:9/T0/B0/path-that-is-a-secret"}])
    assert made["jobSpec"]["webhooks"] == [{"url": "http://127.0.0.1:9/T0/B0/path-that-is-a-secret"}]
    boss = api.other("chief", role="admin")
    with api.client(boss) as client:
        seen = client.get(f"batchPredictions/{made['id']}/")
        assert seen.json()["jobSpec"]["webhooks"] == [{"url": "http://[redacted]"}]
        assert seen.json()["jobSpec"]["redactedFields"] == ["webhooks.0.url"]
        client.delete(f"batchPredictions/{made['id']}/")
    assert [m["url"] for m in messages(api, made["id"], boss)] == ["http://[redacted]"]
    stranger = api.other("stranger")
    with api.client(stranger) as client:
        assert client.get(f"batchPredictions/{made['id']}/webhooks/").status_code == 404


@pytest.mark.parametrize(
    ("url", "status", "words"),
    [
        ("http://10.1.2.3/hook", 403, "webhooks.0.url leads to the private address 10.1.2.3"),
        ("http://169.254.169.254/latest/meta-data", 403, "no address of a server"),
        ("http://[::ffff:10.1.2.3]/hook", 403, "private address"),
        ("file:///etc/passwd", 422, "webhooks.0.url must be an address like"),
        ("http://ann:pw@127.0.0.1/", 422, "has a user in it"),
        ("http://no.such.host.invalid/", 422, "cannot be found"),
    ],
)
def test_addresses_that_are_refused(api, url, status, words):
    with api.client() as client:
        body = {"deploymentId": api.deployment_id, "webhooks": [{"url": url}]}
        answer = client.post("batchPredictions/", json=body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["message"]


def test_the_apis_own_place_is_refused(api):
    with api.client() as client:
        body = {"deploymentId": api.deployment_id, "webhooks": [{"url": f"{api.url}/api/v2/batchPredictions/"}]}
        answer = client.post("batchPredictions/", json=body)
    assert answer.status_code == 403
    assert "a part of this installation itself" in answer.json()["message"]


def test_what_is_given_up_is_told_in_the_jobs_log(api, receiver):
    receiver.next["/hook"] = [Reply(410, body=b"go away")]
    job = api.job(webhooks=[{"url": f"{receiver.url}/hook"}])
    with api.client() as client:
        client.delete(f"batchPredictions/{job['id']}/")
    (message,) = settled(api, job["id"])
    assert (message["state"], message["status"], message["trouble"]) == ("failed", 410, "status 410: go away")
    assert api.status(job["id"])["logs"][-1].endswith(f"sent once to {receiver.place}: status 410: go away")
    shown = scoreline("jobs", "webhooks", job["id"], env={"SCORELINE_URL": api.url, "SCORELINE_TOKEN": api.token})
    assert shown.stdout.splitlines()[1].split() == (
        f"{receiver.url}/hook aborted failed 1 status 410: go away".split()
    ), shown.stderr


def test_a_definitions_jobs_tell_its_webhooks(api, receiver):
    place = {"type": "s3", "url": "s3://bucket/rows.csv"}
    body = {
        "name": "nightly",
        "deploymentId": api.deployment_id,
        "intakeSettings": place,
        "outputSettings": place,
        "webhooks": [{"url": f"{receiver.url}/hook?key=abcdefghij", "secret": SECRET}],
    }
    shown = [{"url": f"{receiver.url}/hook?[redacted]", "secret": "[redacted]"}]
    with api.client() as client:
        path = "batchPredictionJobDefinitions/"
        inside = client.post(path, json=body | {"webhooks": [{"url": "http://10.0.0.1/"}]})
        assert inside.status_code == 403
        made = client.post(path, json=body)
        assert made.status_code == 202, made.text
        definition = made.json()
        assert definition["batchPredictionJob"]["webhooks"] == shown
        changed = client.patch(f"{path}{definition['id']}/", json={"priority": 3})
        assert changed.json()["batchPredictionJob"]["webhooks"] == shown
        run = client.post("batchPredictions/fromJobDefinition/", json={"jobDefinitionId": definition["id"]})
        assert run.status_code == 202, run.text
        job_id = run.json()["id"]
        client.delete(f"batchPredictions/{job_id}/")
        (message,) = settled(api, job_id)
        assert message["state"] == "delivered"
        assert client.delete(f"{path}{definition['id']}/").status_code == 204
    (call,) = receiver.came("hook")
    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    assert base64.b64decode(call.headers["webhook-signature"][3:]) == hmac.digest(KEY, signed, "sha256")
    about = json.loads(call.body)["data"]
    assert about["batchPredictionJobDefinition"] == {"id": definition["id"], "name": "nightly"}
