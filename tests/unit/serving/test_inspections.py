from __future__ import annotations

import time

import pytest

from tests.unit.serving import models_for_tests as models


def inspect(client, name, *, token="inspector", **more):
    body = {"artifact": models.sha256(name), "trusted": False, "sample": None} | more
    return client.post("/scoreline/v1/inspect", json=body, headers={"Authorization": f"Bearer {token}"})


def test_a_model_says_what_it_is(client):
    response = inspect(client, "binary")
    assert response.status_code == 200, response.text
    info = response.json()["info"]
    assert info["format"] == "lightgbm"
    assert info["targetType"] == "Binary"
    assert [feature["name"] for feature in info["features"]] == ["x", "z"]
    assert set(info["features"][0]) == {"name", "type", "nullable", "optional"}
    assert response.json()["check"] == {"outputs": 2}
    assert info["outputs"] == 2


def test_a_sample_row_is_scored(client):
    assert inspect(client, "regression", sample={"x": "1.5", "z": None}).status_code == 200
    for sample, words in (({"x": "1"}, "'z'"), ({"x": "abc", "z": "1"}, "'abc' is not a number")):
        response = inspect(client, "regression", sample=sample)
        assert response.status_code == 422
        assert words in response.json()["message"]


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ({"x": str(models.CRASH), "z": "1"}, "signal 11"),
        ({"x": str(models.HANG), "z": "1"}, "did not answer within 15 s"),
        ({"x": str(models.RAISE), "z": "1"}, "this row is no good"),
    ],
)
def test_a_model_that_misbehaves_is_an_answer(client, sample, words):
    began = time.monotonic()
    response = inspect(client, "moody", trusted=True, sample=sample)
    assert response.status_code == 422
    assert words in response.json()["message"]
    assert "was tried" in response.json()["message"]
    assert time.monotonic() - began < 40
    assert inspect(client, "regression").status_code == 200


def test_a_model_that_kills_its_process_while_it_is_loaded(client):
    response = inspect(client, "landmine", trusted=True)
    assert response.status_code == 422
    assert "signal 6" in response.json()["message"]


def test_code_needs_trust(client):
    response = inspect(client, "moody")
    assert response.status_code == 422
    assert "--trust" in response.json()["message"]


def test_who_may_inspect(client):
    for token, status in (("user", 403), ("run", 403), ("wrong", 401)):
        assert inspect(client, "regression", token=token).status_code == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"artifact": "../../etc"}, 422),
        ({"artifact": None}, 422),
        ({"artifact": models.sha256("unknown")}, 404),
        ({"trusted": "yes"}, 422),
        ({"sample": {"x": 1}}, 422),
    ],
)
def test_wrong_requests(client, body, status):
    response = inspect(client, "regression", **body)
    assert response.status_code == status
    assert response.json()["message"]


def test_a_body_that_is_no_object(client):
    response = client.post("/scoreline/v1/inspect", content=b"[]", headers={"Authorization": "Bearer inspector"})
    assert response.status_code == 422
