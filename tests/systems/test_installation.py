"""The whole way: `scoreline serve`, `scoreline deploy --server`, a job, its result."""

from __future__ import annotations

import csv
import io
import json
import secrets

import httpx2
import pytest

from tests.support.served import scoreline, served
from tests.systems.test_good_rows import check_binary

FEATURES = ["--feature", "age=numeric", "--feature", "visits=integer", "--feature", "city=text"]
CLASSES = ["--target-type", "Binary", "--class-labels", "no,yes"]
V2 = ["--server-option", "model=binary", "--server-option", "output=predict_proba"]


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    token = secrets.token_hex(16)
    env = {"SCORELINE_ADMIN_TOKEN": token}
    with served(tmp_path_factory.mktemp("served"), env=env) as server:
        server.token = token
        server.env["SCORELINE_TOKEN"] = token
        yield server


@pytest.mark.parametrize(
    ("kind", "fixtures", "words", "close"),
    [
        ("drum", ("drum", "drum_binary"), [], 1e-9),
        ("mlflow", ("mlflow", "mlflow_binary"), [*CLASSES, *FEATURES], 1e-12),
        ("v2", ("mlserver", "mlserver_url"), [*CLASSES, *FEATURES, *V2], 1e-12),
    ],
)
def test_deploy_and_score(request, installation, tmp_path, kind, fixtures, words, close):
    system, url = map(request.getfixturevalue, fixtures)
    made = scoreline(
        "deploy", "--server", kind, url, "--name", kind, "--target", "left", *words, "--json", env=installation.env
    )
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["server"]["url"] == url
    done = scoreline(
        "score", "--deployment", kind, str(system.rows), "-o", str(tmp_path / "out.csv"), env=installation.env
    )
    assert done.returncode == 0, done.stderr
    check_binary(list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text()))), system.own(), close)


def test_only_who_may_registers_an_address(installation, drum_binary):
    secret = new_user(installation, "eve")
    body = {
        "name": "eve's",
        "target": {"name": "left"},
        "server": {"kind": "drum", "url": "http://127.0.0.1:9"},
    }
    with httpx2.Client(base_url=f"{installation.url}/api/v2/", headers={"Authorization": f"Bearer {secret}"}) as client:
        refused = client.post("modelPackages/fromJSON/", json=body)
        assert refused.status_code == 403, refused.text
        assert "scoreline user update eve --right servers" in refused.json()["message"]
        body["server"]["url"] = drum_binary  # an admin has registered it above
        assert client.post("modelPackages/fromJSON/", json=body).status_code == 201
        body["server"]["key"] = "a key of her own"
        assert client.post("modelPackages/fromJSON/", json=body).json()["server"]["hasKey"] is True


def test_what_is_wrong_is_told_at_once(installation, drum_binary, mlflow_binary):
    def refused(*words: str) -> str:
        done = scoreline("deploy", "--name", "x", "--target", "left", *words, env=installation.env)
        assert done.returncode != 0
        return done.stderr

    assert "does not answer" in refused("--server", "drum", "http://127.0.0.1:9")
    assert "is one of drum, mlflow" in refused("--server", "dram", drum_binary)
    assert "did you mean `maxRows`" in refused("--server", "drum", drum_binary, "--server-option", "maxRow=1")
    assert "classes are 'no', 'yes'" in refused("--server", "drum", drum_binary, "--class-labels", "0,1")
    assert "does not say what it predicts" in refused("--server", "mlflow", mlflow_binary)


def new_user(installation, name: str) -> str:
    data = ["--data-dir", str(installation.data)]
    made = scoreline("user", "create", name, *data)
    assert made.returncode == 0, made.stderr
    token = scoreline("token", "create", "test", "--user", name, *data)
    assert token.returncode == 0, token.stderr
    return token.stdout.split()[-1]
