"""`batchPredictions/plan/` on a running installation: what is told is true, and nothing is left of having asked."""

from __future__ import annotations

import base64
import json
import sqlite3
from urllib.parse import urlsplit

import pytest

from tests.support import tiny
from tests.support.proxy import fault_proxy
from tests.support.served import scoreline

KEY = "key-that-nobody-may-see-456"
COUNT = 20_000


@pytest.fixture(scope="module")
def deployment(server, tmp_path_factory):
    model = tiny.save(tmp_path_factory.mktemp("plans") / "model.txt")
    return server.deploy(model, "planned", tiny.TARGET, classNames=list(tiny.LABELS))


@pytest.fixture(scope="module")
def data(server):
    text = tiny.rows(COUNT)[0]
    (server.folder / "files" / "planned.csv").write_text(text)
    return text


def ask(server, body, code=200):
    with server.http() as http:
        answer = http.post("batchPredictions/plan/", json=body)
    assert answer.status_code == code, answer.text
    return answer.json()


def of_file(deployment, path="planned.csv", **more):
    ends = {
        "intakeSettings": {"type": "filesystem", "path": path},
        "outputSettings": {"type": "filesystem", "path": "o"},
    }
    return {"deploymentId": deployment, "passthroughColumns": ["id"], **ends, **more}


def count(server, table, where="1"):
    with sqlite3.connect(server.folder / "data" / "scoreline.db") as database:
        return database.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0]


def test_a_plan_tells_the_columns_the_size_and_the_first_rows(server, deployment, data):
    jobs, files = count(server, "jobs"), sorted((server.folder / "files").iterdir())
    found = ask(server, of_file(deployment))
    assert (found["ready"], found["problems"]) == (True, [])
    assert found["source"]["bytes"] == len(data)
    assert found["source"]["rows"] == pytest.approx(COUNT, rel=0.02)
    assert [each["name"] for each in found["outputColumns"]] == [*tiny.HEADER.split(",")[1:], "id"]
    expected = tiny.rows(COUNT)[1]
    shown = found["sample"]["output"]
    assert [float(row["churn_yes_PREDICTION"]) for row in shown] == expected[: len(shown)].tolist()
    assert found["estimate"]["outputBytes"] == pytest.approx(len(tiny.scored(COUNT)[1]), rel=0.02)
    assert count(server, "jobs") == jobs
    assert sorted((server.folder / "files").iterdir()) == files
    assert count(server, "tokens", "name LIKE 'look %'") > 0
    assert count(server, "tokens", "name LIKE 'look %' AND revoked_at IS NULL") == 0


def test_the_first_rows_of_an_upload_are_sent_along(server, deployment, data):
    body = {"deploymentId": deployment}
    found = ask(server, body)
    assert (found["ready"], found["sample"]["rows"]) == (True, 0)
    assert "`sample`" in found["warnings"][0]
    head = base64.b64encode(data[: 100 << 10].rpartition("\n")[0].encode()).decode()
    found = ask(server, body | {"sample": {"data": head, "bytes": len(data)}})
    assert found["source"]["rows"] == pytest.approx(COUNT, rel=0.02)
    assert found["extraColumns"] == ["id"]
    assert "sample.data" in ask(server, body | {"sample": {"data": "***"}}, 422)["errors"]
    assert "sample.bytes" in ask(server, body | {"sample": {"data": head, "bytes": 5}}, 422)["errors"]
    found = ask(server, body | {"sample": {"data": "", "bytes": 0}})
    assert "no header" in found["problems"][0], "which a file of no bytes is, and no wrong request"


def test_what_making_the_job_would_refuse_is_refused(server, deployment, data):
    assert "deploymentId" in ask(server, of_file("0" * 24), 404)["message"] + "deploymentId"
    assert "nonsense" in ask(server, of_file(deployment, nonsense=1), 422)["message"]
    assert "includeProbabilitiesClasses" in str(
        ask(server, of_file(deployment, includeProbabilitiesClasses=["x"]), 422)
    )
    hooks = [{"url": "http://169.254.169.254/latest"}]
    assert "webhooks.0.url leads to" in ask(server, of_file(deployment, webhooks=hooks), 403)["message"]


def test_what_would_end_the_job_is_a_problem(server, deployment, data):
    found = ask(server, of_file(deployment, "nowhere.csv"))
    assert found["ready"] is False
    assert "nowhere.csv" in found["problems"][0]
    found = ask(server, of_file(deployment, passthroughColumns=["name"]))
    assert "name" in found["problems"][0]


def test_a_server_of_another_installation_is_asked_with_the_key_given(server, deployment, data, dr):
    own = next(each.url for each in dr.PredictionServer.list() if each.url.startswith("http://127"))
    with fault_proxy(own) as proxy:
        place = urlsplit(proxy.url).netloc
        instance = {"hostName": place, "sslEnabled": False, "apiKey": server.token}
        found = ask(server, of_file(deployment, predictionInstance=instance))
        assert (found["ready"], found["sample"]["failedRows"]) == (True, 0)
        assert set(proxy.keys) == {f"Bearer {server.token}"}
        proxy.busy, proxy.status = 10**9, 401
        proxy.refusal = json.dumps({"message": f"the key {KEY} is not known"}).encode()
        secrets = count(server, "secrets")
        found = ask(server, of_file(deployment, predictionInstance=instance | {"apiKey": KEY}))
    assert "the key [redacted] is not known" in found["problems"][0]
    assert KEY not in json.dumps(found)
    assert count(server, "secrets") == secrets


def test_the_command_line_shows_the_servers_plan(server, deployment, data, tmp_path):
    (tmp_path / "in.csv").write_text(data)
    env = {"SCORELINE_URL": server.url, "SCORELINE_TOKEN": server.token}
    words = ("score", "in.csv", "--deployment", "planned", "--plan", "--passthrough", "id")
    done = scoreline(*words, "--json", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["source"]["bytes"] == len(data)
    assert found["source"]["rows"] == pytest.approx(COUNT, rel=0.02)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
    (tmp_path / "in.csv").write_text("id,age\n1,2\n")
    done = scoreline(*words, env=env, cwd=tmp_path)
    assert done.returncode == 1
    assert "the model needs the column 'income'" in done.stderr
