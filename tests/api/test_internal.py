"""What prediction servers ask the API, and nobody else may."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scoreline.access import tokens, users
from scoreline.store import new_id, now


def internal(api, method, path, token=None, **options):
    with api.client(token or api.predictor_token) as client:
        return client.request(method, f"internal/{path}", **options)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "introspect/"),
        ("GET", "deployments/x/"),
        ("GET", "packages/x/"),
        ("GET", "artifacts/x/"),
        ("PUT", "predictors/"),
    ],
)
def test_only_prediction_servers_may_ask(api, method, path):
    options = {"json": {}} if method != "GET" else {}
    assert internal(api, method, path, api.token, **options).status_code == 403
    assert internal(api, method, path, "nonsense", **options).status_code == 401


def test_introspection(api):
    def ask(token):
        return internal(api, "POST", "introspect/", json={"token": token}).json()

    mine = ask(api.token)
    assert mine["active"] is True
    assert (mine["userId"], mine["username"], mine["kind"]) == (api.user.user_id, "ann", "user")
    assert mine["packageIds"] is None
    assert mine["rights"] == ["code"]
    assert mine["expiresIn"] is None
    assert ask("nonsense") == {"active": False}
    _, secret = tokens.create(
        api.store, api.user.user_id, "run", kind="run", expires=now() + timedelta(hours=1), package_ids=["p1"]
    )
    run = ask(secret)
    assert (run["kind"], run["packageIds"]) == ("run", ["p1"])
    assert 3500 < run["expiresIn"] <= 3600


def test_serving_documents(api):
    path = f"deployments/{api.deployment_id}/"
    document = internal(api, "GET", path, params={"userId": api.user.user_id}).json()
    assert document["deploymentId"] == api.deployment_id
    assert document["packageId"] == api.package_id
    assert document["classLabels"] == ["no", "yes"]
    assert document["positiveClass"] == "yes"
    assert document["features"][0] == {"name": "x", "type": "numeric", "nullable": True, "optional": False}
    package = internal(api, "GET", f"packages/{api.package_id}/").json()
    assert package == document | {"deploymentId": None, "label": package["label"], "status": "active"}
    assert internal(api, "GET", path).status_code == 404
    assert internal(api, "GET", path, params={"userId": "0000"}).status_code == 404
    assert internal(api, "GET", "packages/0000/").status_code == 404
    assert internal(api, "GET", path, params={"userId": _stranger(api)}).status_code == 404  # of another organisation


def _stranger(api):
    return users.create(api.store, f"u{new_id()}", organisation="theirs").id


def test_an_artefact_is_streamed(api):
    content = b"0123456789" * 300_000
    sha256 = api.artifact(content=content)
    response = internal(api, "GET", f"artifacts/{sha256}/")
    assert response.status_code == 200
    assert response.content == content
    assert internal(api, "GET", f"artifacts/{'0' * 64}/").status_code == 404


def test_a_prediction_server_makes_itself_known(api):
    body = {"name": "second", "url": "http://127.0.0.1:2", "concurrency": 5}
    first = internal(api, "PUT", "predictors/", json=body)
    again = internal(api, "PUT", "predictors/", json=body | {"url": "http://127.0.0.1:3"})
    assert first.status_code == again.status_code == 200
    assert first.json()["id"] == again.json()["id"]
    with api.client() as client:
        urls = [server["url"] for server in client.get("predictionServers/").json()["data"]]
    assert urls == ["http://127.0.0.1:1", "http://127.0.0.1:3"]
    assert internal(api, "PUT", "predictors/", json=body | {"concurrency": 0}).status_code == 422
    assert internal(api, "PUT", "predictors/", json=body | {"url": "ftp://x"}).status_code == 422
