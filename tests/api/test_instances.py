"""`predictionInstance` and keys of foreign servers, as the official client sends them."""

from __future__ import annotations

import json
import sqlite3
from urllib.parse import urlsplit

import pytest

from tests.support.boosters import as_csv, read_csv, sample
from tests.support.proxy import fault_proxy
from tests.support.served import scoreline

ROWS = as_csv(sample(3000), [f"r{row}" for row in range(3000)])
KEY = "key-that-nobody-may-see-123"


@pytest.fixture
def own(dr):
    """Address of the installation's own prediction server."""
    return next(server.url for server in dr.PredictionServer.list() if server.url.startswith("http://127"))


@pytest.fixture
def score(dr, models, tmp_path):
    """Score the rows through an instance; return the job and the output's bytes."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(ROWS)

    def run(instance, model="binary", **options):
        job = dr.BatchPredictionJob.score(
            getattr(models, model).deployment_id,
            intake_settings={"type": "localFile", "file": str(source)},
            output_settings={"type": "localFile", "path": str(target)},
            passthrough_columns=["id"],
            prediction_instance=instance,
            **options,
        )
        return job, target.read_bytes()

    return run


def document(server, job) -> dict:
    with server.http() as client:
        return client.get(f"batchPredictions/{job.id}/").json()


@pytest.mark.parametrize("model", ["binary", "regression", "multiclass"])
def test_our_own_server_as_a_foreign_one_gives_the_same_bytes(server, own, score, model):
    _, plain = score(None, model)
    with fault_proxy(own) as proxy:
        place = urlsplit(proxy.url).netloc
        job, output = score({"hostName": place, "sslEnabled": False, "apiKey": server.token}, model)
    assert output == plain
    assert len(ROWS) * 0.5 < sum(proxy.sizes)
    assert set(proxy.keys) == {f"Bearer {server.token}"}
    shown = document(server, job)["jobSpec"]
    assert shown["predictionInstance"] == {"hostName": place, "sslEnabled": False, "apiKey": "[redacted]"}
    assert shown["redactedFields"] == ["predictionInstance.apiKey"]


def test_our_own_server_by_its_name_needs_no_key(server, own, score):
    _, plain = score(None)
    job, output = score({"hostName": urlsplit(own).netloc})
    assert output == plain
    assert document(server, job)["jobSpec"]["redactedFields"] == []


def test_keys_are_sealed_from_the_moment_they_arrive(server, dr, own, models):
    """And a server that repeats a key in its answer cannot have it shown."""
    from datarobot.errors import AsyncProcessUnsuccessfulError

    with fault_proxy(own) as proxy:
        place = urlsplit(proxy.url)
        keys = {"apiKey": KEY, "datarobotKey": f"{KEY}-second"}
        proxy.busy, proxy.status = 10**9, 401
        proxy.refusal = json.dumps({"message": f"the keys {KEY} and {KEY}-second are not known"}).encode()
        with server.http() as client:
            body = {"deploymentId": models.binary.deployment_id}
            body["predictionInstance"] = {"hostName": place.netloc, "sslEnabled": False, **keys}
            made = client.post("batchPredictions/", json=body)
            assert made.status_code == 202, made.text
            assert KEY not in made.text
            upload = client.put(made.json()["links"]["csvUpload"], content=ROWS, headers={"Content-Type": "text/csv"})
            assert upload.status_code == 202
            job = dr.BatchPredictionJob.get(made.json()["id"])
            with pytest.raises(
                AsyncProcessUnsuccessfulError, match=r"the keys \[redacted\] and \[redacted\] are not known"
            ):
                job.wait_for_completion(30)
            assert KEY not in client.get(f"batchPredictions/{job.id}/").text
            copied = client.post(
                "batchPredictions/", json=body | {"predictionInstance": made.json()["jobSpec"]["predictionInstance"]}
            )
            assert copied.status_code == 422
            assert "is masked here" in copied.json()["message"]
    files = [path for path in (server.folder / "data").rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    with sqlite3.connect(server.folder / "data" / "scoreline.db") as database:
        (sealed,) = database.execute(
            "SELECT s.sealed FROM jobs j JOIN secrets s ON s.id = j.secret_id WHERE j.id = ?", [job.id]
        ).fetchone()
    assert len(sealed) > 2 * len(KEY)


def test_a_job_is_repeated_with_its_keys(server, dr, own, score):
    with fault_proxy(own) as proxy:
        place = urlsplit(proxy.url).netloc
        job, plain = score({"hostName": place, "sslEnabled": False, "apiKey": server.token})
        again = dr.BatchPredictionJob.score_from_existing(job.id)
        with server.http() as client:
            client.put(f"batchPredictions/{again.id}/csvUpload/", content=ROWS, headers={"Content-Type": "text/csv"})
        again.wait_for_completion(60)
        calls = len(proxy.keys)
        assert again.get_result_when_complete() == plain
    assert calls > 1


@pytest.mark.parametrize(
    ("instance", "status", "words"),
    [
        ({"hostName": "8.8.8.8"}, 422, "apiKey is missing"),
        ({"hostName": "169.254.169.254", "apiKey": "k"}, 403, "no address of a server"),
        ({"hostName": "[::ffff:169.254.169.254]:80", "apiKey": "k"}, 403, "no address of a server"),
        ({"hostName": "https://x.example", "apiKey": "k"}, 422, "sslEnabled says"),
        ({"hostName": "user@x.example", "apiKey": "k"}, 422, "is like"),
        ({"hostName": "x.example/path", "apiKey": "k"}, 422, "is like"),
        ({"hostName": "x.example:0", "apiKey": "k"}, 422, "is like"),
        ({"hostName": "x.example:99999", "apiKey": "k"}, 422, "is like"),
        ({"hostName": "１２７.0.0.1", "apiKey": "k"}, 422, "is like"),
        ({"hostName": "no.such.host.invalid", "apiKey": "k"}, 422, "cannot be found"),
        ({"apiKey": "k"}, 422, "hostName is missing"),
        ({"hostName": "x", "apiKey": "a\nb"}, 422, "printable ASCII"),
        ({"hostName": "x", "apikey": "k"}, 422, "did you mean 'apiKey'"),
        ({"hostName": "x", "apiKey": 5}, 422, "apiKey must be a text"),
        ({"hostName": "x", "sslEnabled": "yes"}, 422, "true or false"),
    ],
)
def test_what_is_refused(server, models, instance, status, words):
    with server.http() as client:
        body = {"deploymentId": models.binary.deployment_id, "predictionInstance": instance}
        answer = client.post("batchPredictions/", json=body)
    assert answer.status_code == status
    assert words in answer.json()["message"]


def test_a_model_that_changes_in_mid_job_ends_it(server, dr, own, score):
    with fault_proxy(own) as proxy:
        place = urlsplit(proxy.url).netloc

        def change(document):
            if len(proxy.keys) > 2:
                proxy.headers = {"x-scoreline-model": "another"}

        proxy.edit = change
        # The client reads the reason in the job's status, or in the answer to a download that comes too late.
        with pytest.raises((RuntimeError, dr.errors.ClientError), match="now has the model another"):
            score({"hostName": place, "sslEnabled": False, "apiKey": server.token}, chunk_size=4000, num_concurrent=1)


def test_a_deployment_on_another_servers_prediction_api(server, own, models, tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(ROWS)
    env = {"SCORELINE_URL": server.url, "SCORELINE_TOKEN": server.token, "THEIR_KEY": server.token}
    about = ["--target", "late", "--target-type", "Binary", "--class-labels", "no,yes"]
    there = ["--server", "datarobot", own, "--server-option", f"deployment={models.binary.deployment_id}"]
    missing = scoreline("deploy", *there, "--name", "x", *about, "--key-env", "NOT_SET", env=env)
    assert "no variable NOT_SET" in missing.stderr
    for name, key in (("keyed", ["--key-env", "THEIR_KEY"]), ("keyless", [])):
        made = scoreline("deploy", *there, "--name", name, *about, *key, "--json", env=env)
        assert made.returncode == 0, made.stderr
        assert json.loads(made.stdout)["server"]["hasKey"] is bool(key)
        assert server.token not in made.stdout
    done = scoreline("score", "--deployment", "keyed", str(source), "-o", str(target), env=env)
    assert done.returncode == 0, done.stderr
    scored = [float(cell) for cell in read_csv(target.read_bytes())["late_yes_PREDICTION"]]
    assert scored == models.binary.predict(sample(3000)).tolist()
    done = scoreline("score", "--deployment", "keyless", str(source), "-o", str(target), env=env)
    assert done.returncode != 0
    assert "check its key" in done.stderr
    assert server.token not in (server.folder / "serve.log").read_text()
