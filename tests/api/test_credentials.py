"""Stored credentials through the official client, raw requests and the command line."""

from __future__ import annotations

import inspect
import io
import json
import os
import stat
import sys
import warnings
from dataclasses import replace
from types import ModuleType

import pytest

from scoreline import adapters
from scoreline.access import credentials as stored
from scoreline.adapters import localfile
from scoreline.cli.app import run
from tests.unit.test_credentials import PEM, WHOLE

SECRET = "n0b0dy-sees-this"
MADE = {
    "create_basic": {"user": "scott", "password": SECRET},
    "create_oauth": {"token": SECRET, "refresh_token": SECRET},
    "create_s3": {"aws_access_key_id": "AKID", "aws_secret_access_key": SECRET, "aws_session_token": SECRET},
    "create_azure": {"azure_connection_string": f"AccountName=a;AccountKey={SECRET}"},
    "create_snowflake_key_pair": {"user": "u", "private_key": PEM, "passphrase": SECRET},
    "create_databricks_access_token": {"databricks_access_token": SECRET},
    "create_databricks_service_principal": {"client_id": "cid", "client_secret": SECRET},
    "create_azure_service_principal": {"client_id": "cid", "client_secret": SECRET, "azure_tenant_id": "t"},
    "create_adls_oauth": {"client_id": "cid", "client_secret": SECRET, "oauth_scopes": ["a", "b"]},
    "create_external_oauth_provider": {"authentication_id": SECRET},
    "create_box_jwt": {
        "client_id": "cid",
        "client_secret": SECRET,
        "enterprise_id": "e",
        "public_key_id": "k",
        "private_key_str": PEM,
        "passphrase": SECRET,
    },
    "create_gcp": {"gcp_key": {"type": "service_account", "project_id": "p_1", "private_key_id": SECRET}},
}


@pytest.fixture
def dr(api):
    with warnings.catch_warnings():
        # About the client's own use of urllib3.
        warnings.filterwarnings("ignore", "Using an empty collection for 'allowed_methods'", FutureWarning)
        datarobot = pytest.importorskip("datarobot")
        datarobot.Client(token=api.token, endpoint=api.endpoint)
        yield datarobot
        for each in datarobot.Credential.list():
            each.delete()


def secret_of(api, credential_id):
    """What a run would be handed."""
    from scoreline.access.outside import Outside

    vault = Outside.of(api.store, api.settings).vault
    return stored.open_secret(api.store, vault, api.user.user_id, credential_id)


def test_everything_that_the_client_can_create(dr, api):
    creators = {name for name, _ in inspect.getmembers(dr.Credential) if name.startswith("create_")}
    assert creators == set(MADE)
    for name, given in MADE.items():
        made = getattr(dr.Credential, name)(name=name, description="what for", **given)
        found = dr.Credential.get(made.credential_id)
        assert (found.name, found.description) == (name, "what for")
        assert found.credential_type == made.credential_type
        assert found.creation_date.tzinfo is not None
    assert {each.credential_type for each in dr.Credential.list()} == {each.value for each in dr.enums.CredentialTypes}
    by_name = {each.name: each.credential_id for each in dr.Credential.list()}
    assert secret_of(api, by_name["create_basic"]).password == SECRET
    assert secret_of(api, by_name["create_adls_oauth"]).scopes == ("a", "b")
    assert secret_of(api, by_name["create_gcp"]).key["project_id"] == "p_1"
    assert secret_of(api, by_name["create_box_jwt"]).private_key == PEM
    assert secret_of(api, by_name["create_snowflake_key_pair"]).passphrase == SECRET
    with api.client() as client:
        shown = "".join(client.get(f"credentials/{each}").text for each in ("", *by_name.values()))
    assert SECRET not in shown
    assert "BEGIN PRIVATE KEY" not in shown


def test_changing_and_deleting(dr, api):
    made = dr.Credential.create_basic("b", "u", "p")
    assert made.description == ""
    made.update(name="n2", user="u2")
    assert dr.Credential.get(made.credential_id).name == "n2"
    assert (secret_of(api, made.credential_id).user, secret_of(api, made.credential_id).password) == ("u2", "p")
    made.update(description="d")
    made.update(password=SECRET)
    found = dr.Credential.get(made.credential_id)
    assert (found.name, found.description, secret_of(api, made.credential_id).password) == ("n2", "d", SECRET)
    gcp = dr.Credential.create_gcp("g", gcp_key=json.dumps(WHOLE["gcp"]["gcpKey"]))
    gcp.update(gcp_key={"type": "service_account", "private_key_id": "new"})
    assert secret_of(api, gcp.credential_id).key == {"type": "service_account", "private_key_id": "new"}
    for create, words in (
        (lambda: dr.Credential.create_basic("n2", "u", "p"), "name 'n2' already"),
        (lambda: gcp.update(name="n2"), "name 'n2' already"),
    ):
        with pytest.raises(dr.errors.ClientError, match=words) as refused:
            create()
        assert refused.value.status_code == 409
    with pytest.raises(dr.errors.ClientError, match="no shared configurations are kept here") as refused:
        dr.Credential.create_s3("s", config_id="c")
    assert (refused.value.status_code, list(refused.value.json["errors"])) == (422, ["configId"])
    made.delete()
    with pytest.raises(dr.errors.ClientError) as gone:
        dr.Credential.get(made.credential_id)
    assert gone.value.status_code == 404


def test_a_list_has_pages_and_filters(dr, api):
    for number in range(5):
        dr.Credential.create_databricks_access_token(f"t{number}", SECRET)
    dr.Credential.create_basic("b", "u", "p")
    with api.client() as client:
        types = ["databricks_access_token_account", "gcp"]
        page = client.get("credentials/", params={"limit": 2, "types": types}).json()
        assert ([each["name"] for each in page["data"]], page["totalCount"]) == (["t0", "t1"], 5)
        rest = client.get(page["next"]).json()
        assert [each["name"] for each in rest["data"]] == ["t2", "t3"]
        assert "types=gcp" in rest["next"]
        assert client.get("credentials/", params={"types": "nonsense"}).status_code == 422
        assert client.put("credentials/x/associations/dataconnection:y/", json={"isDefault": True}).status_code == 404


def test_raw_bodies_that_are_no_credential(api, dr):
    good = {"name": "raw", "credentialType": "basic", "username": "u", "password": SECRET, "description": None}
    with api.client() as client:
        for change, field in (
            ({"name": None}, "name"),
            ({"name": 5}, "name"),
            ({"credentialType": None}, "credentialType"),
            ({"credentialType": "jdbc"}, "credentialType"),
            ({"description": 5}, "description"),
            ({"password": None}, "password"),
            ({"password": {"a": SECRET}}, "password"),
            ({"owner": "x"}, "owner"),
            ({"credentialId": "x"}, "credentialId"),
        ):
            refused = client.post("credentials/", json=good | change)
            assert (refused.status_code, list(refused.json()["errors"])) == (422, [field]), change
            assert SECRET not in refused.text
        made = client.post("credentials/", json=good)
        assert made.status_code == 201
        assert set(made.json()) == {"credentialId", "name", "credentialType", "creationDate", "description"}
        place = f"credentials/{made.json()['credentialId']}/"
        for change in ({"name": 5}, {"description": []}, {"token": "x"}, {"credentialType": "s3"}, {"password": 1}):
            assert client.patch(place, json=change).status_code == 422
        assert client.patch(place, json={}).json() == made.json()


@pytest.fixture
def s3(monkeypatch, api):
    """An adapter that takes a key; nothing runs here, so it is never opened."""
    module = ModuleType("scoreline.adapters.tested")
    module.open_output = localfile.open_output
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(adapters.REGISTRY, "s3", replace(adapters.REGISTRY["s3"], module="tested"))
    yield
    # The document describes the types that are really there.
    api.deviations[:] = [one for one in api.deviations if "s3://b/out.csv" not in one]


def test_jobs_name_own_credentials_and_others_do_not_see_which(dr, api, s3):
    mine = dr.Credential.create_s3("mine", "AKID", SECRET)
    wrong = dr.Credential.create_gcp("wrong", {"type": "service_account"})
    output = {"type": "s3", "url": "s3://b/out.csv", "credentialId": mine.credential_id}
    body = {"deploymentId": api.deployment_id, "outputSettings": output}
    observer, admin = api.other("watching", role="observer"), api.other("chief", role="admin")
    with api.client() as client:
        job = client.post("batchPredictions/", json=body).json()
        assert job["jobSpec"]["outputSettings"] == output
        assert job["jobSpec"]["redactedFields"] == []
        other = {"outputSettings": output | {"credentialId": wrong.credential_id}}
        refused = client.post("batchPredictions/", json=body | other)
        assert refused.status_code == 422
        assert refused.json()["errors"] == {
            "outputSettings.credentialId": "outputSettings.credentialId names the credential 'wrong' of type gcp, but "
            "output of type s3 takes a credential of type s3."
        }
        in_use = client.delete(f"credentials/{mine.credential_id}/")
        assert (in_use.status_code, job["id"] in in_use.json()["message"]) == (409, True)
    for token in (observer, admin):
        with api.client(token) as client:
            for document in (
                client.get(f"batchPredictions/{job['id']}/").json(),
                client.get(f"batchPredictions/{job['id']}/manifest/").json(),
                client.get("batchPredictions/", params={"jobId": job["id"]}).json()["data"][0],
            ):
                assert document["jobSpec"]["outputSettings"]["credentialId"] == "[redacted]"
                assert document["jobSpec"]["redactedFields"] == ["outputSettings.credentialId"]
                assert mine.credential_id not in json.dumps(document)
            assert client.get("credentials/").json()["data"] == []
    with api.client(admin) as client:
        unusable = client.post("batchPredictions/", json=body)
        assert (unusable.status_code, "that chief may use" in unusable.json()["message"]) == (404, True)
        assert client.post("batchPredictions/fromExisting/", json={"predictionJobId": job["id"]}).status_code == 404
        names = {each["name"] for each in client.get("credentials/", params={"allOwners": "true"}).json()["data"]}
        assert {"mine", "wrong"} <= names
        assert client.patch(f"credentials/{mine.credential_id}/", json={"name": "x"}).status_code == 403
    with api.client(observer) as client:
        assert client.get("credentials/", params={"allOwners": True}).status_code == 403
        assert client.get(f"credentials/{mine.credential_id}/").status_code == 404
    with api.client() as client:
        client.delete(f"batchPredictions/{job['id']}/")


@pytest.fixture
def here(api, dr, monkeypatch):
    monkeypatch.setenv("SCORELINE_URL", api.url)
    monkeypatch.setenv("SCORELINE_TOKEN", api.token)
    return api


def test_the_command_line_keeps_secrets_out_of_sight(here, monkeypatch, capsys, tmp_path):
    def command(*words, code=0):
        assert run(["credentials", *words]) == code
        return capsys.readouterr()

    monkeypatch.setenv("MY_SECRET", SECRET)
    keys = ("--env", "awsSecretAccessKey=MY_SECRET", "--env", "awsAccessKeyId=HOME")
    made = command("add", "lake", "--type", "s3", *keys)
    assert secret_of(here, made.out.strip()).secret_access_key == SECRET
    key = tmp_path / "key.json"
    key.write_text(json.dumps(WHOLE["gcp"]["gcpKey"], indent=1))
    key.chmod(stat.S_IRUSR)
    google = json.loads(command("add", "google", "--type", "gcp", "--file", f"gcpKey={key}", "--json").out)
    assert secret_of(here, google["credentialId"]).key == WHOLE["gcp"]["gcpKey"]
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"password": SECRET})))
    command("add", "db", "--type", "basic", "--set", "user=scott", "--stdin", "--description", "reports")
    listed = command("list", "--type", "basic", "--type", "s3")
    assert [line.split()[1] for line in listed.out.splitlines()] == ["NAME", "db", "lake"]
    assert "reports" in command("show", "db").out
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    command("update", "db", "--env", "password=HOME", "--name", "database")
    shown = json.loads(command("show", "database", "--json").out)
    assert secret_of(here, shown["credentialId"]).password == os.environ["HOME"]
    command("remove", shown["credentialId"])
    assert "There is no credential 'database'" in command("show", "database", code=1).err
    for words, text in (
        (["add", "x", "--type", "s3", "--set", f"awsSecretAccessKey={SECRET}"], "other users can see"),
        (["add", "x", "--type", "s3", "--env", "awsAccessKeyId=NO_SUCH"], "no variable NO_SUCH"),
        (["add", "x", "--type", "gcp", "--file", "gcpKey=/no/such/file"], "cannot be read"),
        (["update", "lake"], "Say what to change"),
    ):
        assert text in " ".join(command(*words, code=2).err.replace("│", " ").split())
    for words, text in (
        (["add", "x", "--type", "jdbc"], "is not known: it is one of basic"),
        (["add", "x", "--type", "s3"], "awsAccessKeyId is required"),
        (["add", "lake", "--type", "basic", "--set", "user=u", "--env", "password=HOME"], "'lake' already"),
        (["add", "x", "--type", "gcp", "--env", "gcpKey=MY_SECRET"], "gcpKey is not a JSON object"),
    ):
        failed = command(*words, code=1)
        assert text in failed.err
        assert SECRET not in failed.err
