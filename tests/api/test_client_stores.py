"""From store to store and URL to URL: the official client and the command line, against servers on loopback."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import stores, tiny
from tests.support.served import scoreline, until
from tests.support.server import Server, running_server
from tests.support.web import Reply, web

ROWS = 5_000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """An installation that may reach loopback, three stores, and a deployment whose output for the data is known."""
    folder = tmp_path_factory.mktemp("stores")
    with ExitStack() as stack:
        held = {name: stack.enter_context(getattr(stores, name)(folder)) for name in ("s3", "azurite", "gcs")}
        server = stack.enter_context(
            running_server(folder, SCORELINE_ALLOWED_NETWORKS="127.0.0.1/32", STORAGE_EMULATOR_HOST=held["gcs"].url)
        )
        deployment = server.deploy(tiny.save(folder / "model.txt"), "churn", tiny.TARGET, classNames=list(tiny.LABELS))
        data = tiny.rows(ROWS)[0].encode()
        made = SimpleNamespace(server=server, deployment=deployment, data=data, folder=folder, **held)
        with server.http() as http:
            made.s3_key = _credential(http, credentialType="s3", awsAccessKeyId=stores.KEY, awsSecretAccessKey="s/e+c")
            made.azure_key = _credential(
                http, credentialType="azure", azureConnectionString=held["azurite"].connection_string
            )
        made.clean = _scored_locally(server, deployment, data)
        made.web = stack.enter_context(web())
        for store in (*held.values(), made.web):
            store.put("in/data.csv", data)
        yield made


def _credential(http: Any, **fields: str) -> str:
    made = http.post("credentials/", json={"name": fields["credentialType"], **fields})
    assert made.status_code == 201, made.text
    return str(made.json()["credentialId"])


def _scored_locally(server: Server, deployment: str, data: bytes) -> bytes:
    with server.http() as http:
        job = http.post("batchPredictions/", json={"deploymentId": deployment, "passthroughColumns": ["id"]}).json()
        http.put(f"batchPredictions/{job['id']}/csvUpload/", content=data, headers={"Content-Type": "text/csv"})
        return bytes(http.get(f"batchPredictions/{job['id']}/download/").content)


@pytest.fixture
def dr(world: SimpleNamespace) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using an empty collection for 'allowed_methods'", FutureWarning)
        datarobot = pytest.importorskip("datarobot")
        datarobot.Client(token=world.server.token, endpoint=world.server.endpoint)
        yield datarobot


def _whole(job: Any, store: Any, key: str, clean: bytes) -> None:
    job.wait_for_completion()
    status = job.get_status()
    assert status["status"] == "COMPLETED", status["status_details"]
    assert (status["scored_rows"], status["failed_rows"], status["percentage_completed"]) == (ROWS, 0, 100.0)
    assert store.get(key) == clean
    assert store.unfinished() == []
    assert [name for name in store.names() if name.startswith("out/")] == [key]
    store.delete(key)


def test_score_s3(world: SimpleNamespace, dr: Any) -> None:
    job = dr.BatchPredictionJob.score_s3(
        world.deployment,
        "s3://box/in/data.csv",
        "s3://box/out/scored.csv",
        credential=world.s3_key,
        endpoint_url=world.s3.url,
        passthrough_columns=["id"],
    )
    _whole(job, world.s3, "out/scored.csv", world.clean)


def test_score_azure(world: SimpleNamespace, dr: Any) -> None:
    container = f"{world.azurite.url}/box"
    job = dr.BatchPredictionJob.score_azure(
        world.deployment,
        f"{container}/in/data.csv",
        f"{container}/out/scored.csv",
        credential=world.azure_key,
        passthrough_columns=["id"],
    )
    _whole(job, world.azurite, "out/scored.csv", world.clean)


def test_score_gcp(world: SimpleNamespace, dr: Any) -> None:
    job = dr.BatchPredictionJob.score_gcp(
        world.deployment, "gs://box/in/data.csv", "gs://box/out/scored.csv", passthrough_columns=["id"]
    )
    _whole(job, world.gcs, "out/scored.csv", world.clean)


def test_one_store_to_another_by_command(world: SimpleNamespace) -> None:
    env = {"SCORELINE_URL": world.server.url, "SCORELINE_TOKEN": world.server.token}
    words = ["score", "s3://box/in/data.csv", "-o", "gs://box/out/moved.csv", "--deployment", "churn"]
    done = scoreline(
        *words, "--passthrough", "id", "--input-credential", "s3", "--input-endpoint", world.s3.url, env=env
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0].startswith("Job ")
    assert world.gcs.get("out/moved.csv") == world.clean
    world.gcs.delete("out/moved.csv")
    file = world.folder / "down.csv"
    done = scoreline(
        *words[:2],
        "-o",
        str(file),
        *words[4:],
        "--passthrough",
        "id",
        "--input-endpoint",
        world.s3.url,
        "--input-credential",
        "s3",
        env=env,
    )
    assert done.returncode == 0, done.stderr
    assert file.read_bytes() == world.clean
    source = world.folder / "up.csv"
    source.write_bytes(world.data)
    done = scoreline("score", str(source), "-o", "gs://box/out/up.csv", *words[4:], "--passthrough", "id", env=env)
    assert done.returncode == 0, done.stderr
    assert world.gcs.get("out/up.csv") == world.clean
    world.gcs.delete("out/up.csv")


def test_a_command_without_a_server_uses_the_keys_of_its_environment(world: SimpleNamespace) -> None:
    env = {"AWS_ACCESS_KEY_ID": "AKIDLOCAL", "AWS_SECRET_ACCESS_KEY": "s", "STORAGE_EMULATOR_HOST": world.gcs.url}
    about = ["--model", str(world.folder / "model.txt"), *tiny.DEPLOY, "--passthrough", "id"]
    done = scoreline(
        "score",
        "s3://box/in/data.csv",
        "-o",
        "s3://box/out/local.csv",
        *about,
        "--input-endpoint",
        world.s3.url,
        "--output-endpoint",
        world.s3.url,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    assert world.s3.get("out/local.csv") == world.clean
    world.s3.delete("out/local.csv")
    for words, said in (
        (["s3://box/none.csv", "--input-endpoint", world.s3.url], "there is no s3://box/none.csv"),
        (["ftp://box/in.csv"], "names no place that is known"),
        (["in.csv", "--input-endpoint", world.s3.url], "go with the URL of a store"),
        (["s3://box/in/data.csv", "--input-credential", "x"], "your own environment has the keys"),
    ):
        done = scoreline("score", *words, "-o", str(world.folder / "x.csv"), *about, env=env)
        assert done.returncode != 0
        assert said in done.stderr


def test_what_cannot_be_read_or_reached_ends_the_job_in_words(world: SimpleNamespace, dr: Any) -> None:
    asked = [
        ({"url": "s3://box/none.csv", "endpointUrl": world.s3.url}, r"there is no s3://box/none.csv"),
        ({"url": "s3://none/k.csv", "endpointUrl": world.s3.url}, r"there is no s3://none/k.csv"),
        ({"url": "s3://box/in/data.csv", "endpointUrl": "http://169.254.169.254/"}, r"169\.254\.169\.254"),
        ({"url": "s3://box/in/data.csv", "endpointUrl": world.server.url}, r"part of this installation itself"),
    ]
    with world.server.http() as http:
        for source, said in asked:
            body = {
                "deploymentId": world.deployment,
                "intakeSettings": {"type": "s3", **source},
                "outputSettings": {"type": "s3", "url": "s3://box/out/x.csv", "endpointUrl": world.s3.url},
            }
            job = dr.BatchPredictionJob.get(http.post("batchPredictions/", json=body).json()["id"])
            with pytest.raises(dr.errors.AsyncProcessUnsuccessfulError, match=said):
                job.wait_for_completion()
    assert [name for name in world.s3.names() if name.startswith("out/")] == []
    assert world.s3.unfinished() == []


def _ask(world: SimpleNamespace, dr: Any, source: dict, target: dict, **more: Any) -> Any:
    """Make a job by the client's own connection: its `score` takes no type http."""
    body = {
        "deploymentId": world.deployment,
        "passthroughColumns": ["id"],
        "intakeSettings": source,
        "outputSettings": target,
    }
    made = dr.client.get_client().post("batchPredictions/", json=body | more)
    return dr.BatchPredictionJob.get(made.json()["id"])


def test_from_url_to_url(world: SimpleNamespace, dr: Any) -> None:
    signed = f"{world.web.url}/in/data.csv?sig=0123456789"
    target = world.web.at("out/web.csv", headers={"X-Key": "topsecret"})
    world.web.next["/in/data.csv"] = [Reply(cut=50_000), Reply(503)]
    job = _ask(world, dr, {"type": "http", "url": signed}, target)
    _whole(job, world.web, "out/web.csv", world.clean)
    with world.server.http() as http:
        document = http.get(f"batchPredictions/{job.id}/").json()
        manifest = http.get(f"batchPredictions/{job.id}/manifest/").json()
    asked = document["jobSpec"]
    assert asked["intakeSettings"]["url"] == f"{world.web.url}/in/data.csv?[redacted]"
    assert asked["outputSettings"]["headers"] == {"X-Key": "[redacted]"}
    assert asked["redactedFields"] == ["intakeSettings.url", "outputSettings.headers.X-Key"]
    for text in (str(document), str(manifest)):
        assert "0123456789" not in text
        assert "topsecret" not in text
    again = dr.BatchPredictionJob.score_from_existing(job.id)
    _whole(again, world.web, "out/web.csv", world.clean)
    sent = world.web.came("out/web.csv", "PUT")
    assert [call.headers["x-key"] for call in sent] == ["topsecret"] * 2
    with pytest.raises(Exception, match="http"):
        dr.BatchPredictionJob.score(world.deployment, intake_settings=world.web.at("in/data.csv"))


def test_urls_by_command_with_a_server_and_without(world: SimpleNamespace) -> None:
    env = {"SCORELINE_URL": world.server.url, "SCORELINE_TOKEN": world.server.token}
    web, words = world.web, ["--passthrough", "id"]
    source, target = f"{web.url}/in/data.csv?sig=0123456789", f"{web.url}/out/cli.csv.gz?sig=0123456789"
    ends = [source, "-o", target, "--output-header", "X-Key: k", *words]
    local = ["--model", str(world.folder / "model.txt"), *tiny.DEPLOY]
    for more, method in ((["--deployment", "churn"], "PUT"), ([*local, "--output-method", "POST"], "POST")):
        done = scoreline("score", *ends, *more, env=env)
        assert done.returncode == 0, done.stderr
        assert "0123456789" not in done.stderr + done.stdout
        [call] = web.came("out/cli.csv.gz", method)
        assert gzip.decompress(call.body) == world.clean
        assert call.headers["x-key"] == "k"
    web.delete("out/cli.csv.gz")
    for wrong, said in (
        ([source, "-o", "x.csv", "--input-endpoint", web.url], "has no other endpoint"),
        (["s3://b/k", "-o", "x.csv", "--input-header", "A: b"], "headers go with the URL of a web server"),
        ([f"{web.url}/none.csv?sig=0123456789", "-o", "x.csv"], "/none.csv?[redacted] (status 404"),
    ):
        done = scoreline("score", *wrong, *local, env=env)
        assert done.returncode != 0
        assert said in done.stderr


def test_urls_that_lead_nowhere_good_end_the_job_in_words(world: SimpleNamespace, dr: Any) -> None:
    world.web.next["/cloud"] = [Reply(302, {"Location": "http://169.254.169.254/latest/meta-data"})]
    world.web.next["/own"] = [Reply(302, {"Location": f"{world.server.url}/api/v2/ping/"})]
    world.web.put("login", b"<html><form>", kind="text/html")
    basic = {"name": "web", "credentialType": "basic", "user": "u", "password": "pw-of-web"}
    with world.server.http() as http:
        key = _credential(http, **basic)
    world.web.next["/silent"] = [Reply(wait=20)]
    silent = _ask(world, dr, world.web.at("silent"), world.web.at("out/no.csv"))
    until(lambda: world.web.came("silent"), 20, "a job waits for a silent server")
    silent.delete()
    until(lambda: silent.get_status()["status"] == "ABORTED", 5, "the job is aborted")
    asked = []
    world.web.next["/out/no.csv"] = [Reply(403, body=b"no entry for dTpwdy1vZi13ZWI= or pw-of-web")]
    for source, target, said in (
        ({"url": f"{world.web.url}/cloud"}, {}, r"169\.254\.169\.254"),
        ({"url": f"{world.web.url}/own"}, {}, "part of this installation itself"),
        ({"url": f"{world.web.url}/login"}, {}, "sends a web page instead of data"),
        ({}, {"credentialId": key}, r"refused \(status 403: no entry for \[redacted\] or \[redacted\]\)"),
    ):
        asked.append((_ask(world, dr, world.web.at("in/data.csv") | source, world.web.at("out/no.csv") | target), said))
    for job, said in asked:
        with pytest.raises(dr.errors.AsyncProcessUnsuccessfulError, match=said):
            job.wait_for_completion()
    assert world.web.get("out/no.csv") is None
