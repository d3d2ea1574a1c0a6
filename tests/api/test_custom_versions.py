"""Forms that make custom model versions, from clients that mean no good or go wrong; no prediction server is needed."""

from __future__ import annotations

import json

import pytest

from scoreline.registry.custom_versions import checked_path
from tests.support.api import running_api

LIMIT = 100_000


@pytest.fixture(scope="module")
def module_api(tmp_path_factory, migrated_sqlite):
    with running_api(tmp_path_factory.mktemp("api"), migrated_sqlite, max_model_bytes=LIMIT) as api:
        yield api


@pytest.fixture
def model_id(api):
    with api.client() as http:
        body = {"name": "m", "targetType": "Regression", "targetName": "y", "customModelType": "inference"}
        made = http.post("customModels/", json=body)
    assert made.status_code == 201, made.text
    return made.json()["id"]


def send(api, model_id, parts, method="POST", token=None):
    """Send a form of (field, text) and (field, file name, content) in this order."""
    body = b""
    for field, *rest in parts:
        named = f'; filename="{rest[0]}"' if len(rest) > 1 else ""
        content = rest[-1] if isinstance(rest[-1], bytes) else rest[-1].encode()
        body += f'--cut\r\nContent-Disposition: form-data; name="{field}"{named}\r\n\r\n'.encode() + content + b"\r\n"
    with api.client(token) as http:
        headers = {"Content-Type": "multipart/form-data; boundary=cut"}
        return http.request(
            method, f"customModels/{model_id}/versions/", content=body + b"--cut--\r\n", headers=headers
        )


def file(path, content=b"x"):
    return [("file", path.rpartition("/")[2] or "f", content), ("filePath", path)]


@pytest.mark.parametrize(
    "path",
    ["../evil.py", "a/../../b", "/etc/passwd", "C:/windows/a", "a/./b", "a//b", "", "a/", "..", "a\nb", "x" * 300],
)
def test_paths_that_lead_elsewhere(api, model_id, path):
    refused = send(api, model_id, [("file", "f", b"x"), ("filePath", path)])
    assert refused.status_code == 422, refused.text
    assert "relative path" in refused.json()["message"]
    assert list((api.settings.data_dir / "scratch").iterdir()) == []


def test_paths_of_windows_are_taken_for_what_they_mean():
    assert checked_path("helpers\\text.py") == "helpers/text.py"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([*file("a"), *file("a")], "there twice"),
        ([*file("a"), *file("a/b")], "a file and a folder"),
        ([*file("a/b"), *file("a")], "a file and a folder"),
        ([("file", "a", b"x"), ("file", "b", b"x"), ("filePath", "a")], "2 files and 1 paths"),
        ([("filePath", "a")], "0 files and 1 paths"),
        ([("file", "text")], "no file name"),
        ([("files", "a", b"x")], "go in `file`"),
        ([("isMajorUpdat", "True")], "did you mean 'isMajorUpdate'"),
        ([("isMajorUpdate", "perhaps")], "true or false"),
        ([("isMajorUpdate", "True"), ("isMajorUpdate", "False")], "2 times"),
        ([("baseEnvironmentId", "5e8c889607389fe0f466c72d")], "execution environment"),
        ([("maximumMemory", "-1")], "whole number"),
        ([("networkEgressPolicy", "NONE")], "network"),
        ([("trainingData", '{"datasetId": "1"}')], "not supported"),
        ([("filesToDelete", "1")], "PATCH"),
        ([("runtimeParameterValues", "{")], "JSON list"),
        ([("runtimeParameterValues", '[{"fieldName": "a", "type": "credential", "value": "b"}]')], "secret"),
        ([("runtimeParameterValues", '[{"fieldName": "a", "type": "numeric", "value": NaN}]')], "not a JSON number"),
        ([("runtimeParameterValues", '[{"fieldName": "a", "type": "string", "value": "\\ud800"}]')], "surrogate"),
        ([("runtimeParameterValues", '[{"fieldName": "a", "type": "string", "value": {"b": 1}}]')], "not a string"),
        ([("runtimeParameterValues", '[{"fieldName": "a", "type": "numeric", "value": true}]')], "not a numeric"),
        ([("runtimeParameterValues", '[{"fieldName": ["a"], "type": "string", "value": "b"}]')], "JSON list"),
        ([*file("a", b"x" * (LIMIT + 1))], "too large"),
    ],
)
def test_forms_that_are_wrong(api, model_id, parts, words):
    refused = send(api, model_id, parts)
    assert refused.status_code == 422, refused.text
    assert words in refused.json()["message"]


def test_forms_that_are_none(api, model_id):
    with api.client() as http:
        address = f"customModels/{model_id}/versions/"
        assert http.post(address, json={"isMajorUpdate": True}).status_code == 415
        torn = http.post(
            address, content=b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nxx',
            headers={"Content-Type": "multipart/form-data; boundary=cut"},
        )  # fmt: skip
        assert torn.status_code == 400
        endless = {"Content-Type": f"multipart/form-data; boundary={'x' * 5000}"}
        refused = http.post(address, content=b"--x", headers=endless)
        assert (refused.status_code, "oundary" in refused.json()["message"]) == (400, True)
        assert http.get(address).json()["data"] == []
        assert http.post("customModels/5c07e11e0000000000000000/versions/", json={}).status_code == 404


def test_a_target_that_is_none(api):
    with api.client() as http:
        refused = http.post("customModels/", json={"name": "m", "targetType": "Transform"})
        assert refused.status_code == 422
        assert "is one of Regression" in refused.json()["message"]
        assert http.post("customModels/", json={"name": "m"}).status_code == 422
        old = http.post("customModels/", json={"name": "m", "supportsRegression": True, "targetName": "y"})
        assert old.json()["targetType"] == "Regression"


def test_too_many_files(api, model_id):
    refused = send(api, model_id, [part for number in range(1001) for part in file(f"f{number}")])
    assert refused.status_code == 422
    assert "at most 1000" in refused.json()["message"]


def test_a_previous_version_grows_within_the_limit(api, model_id):
    assert send(api, model_id, file("a", b"x" * (LIMIT // 2))).status_code == 201
    assert send(api, model_id, file("b", b"x" * (LIMIT // 3)), "PATCH").status_code == 201
    refused = send(api, model_id, file("c", b"x" * (LIMIT // 2)), "PATCH")
    assert refused.status_code == 422
    assert "SCORELINE_MAX_MODEL_BYTES" in refused.json()["message"]
    unknown = send(api, model_id, [("filesToDelete", "nobody")], "PATCH")
    assert unknown.status_code == 422
    assert "no file of the latest version" in unknown.json()["message"]


def test_the_first_version_has_nothing_before_it(api, model_id):
    refused = send(api, model_id, file("a"), "PATCH")
    assert refused.status_code == 422
    assert "no version to begin with" in refused.json()["message"]


def test_code_needs_the_right_and_others_models_are_theirs(api, model_id):
    bob = api.other("bob")
    assert send(api, model_id, file("a"), token=bob).status_code == 403
    with api.client(bob) as http:
        body = {"name": "bobs", "targetType": "Regression", "targetName": "y"}
        mine = http.post("customModels/", json=body).json()["id"]
        assert http.patch(f"customModels/{model_id}/", json={"name": "taken"}).status_code == 403
        assert http.delete(f"customModels/{model_id}/").status_code == 403
    refused = send(api, mine, file("custom.py", b"import os\n"), token=bob)
    assert refused.status_code == 403
    assert "--right code" in refused.json()["message"]
    # Half a model may wait; whole, it is refused.
    assert send(api, mine, file("helpers.txt"), token=bob).status_code == 201
    assert send(api, mine, file("deep/custom.py"), "PATCH", token=bob).status_code == 403
    watcher = api.other("watcher", role="observer")
    with api.client(watcher) as http:
        assert http.post("customModels/", json=body).status_code == 403
        assert http.get(f"customModels/{mine}/").status_code == 200


def test_runtime_parameters_are_kept_and_taken_back(api, model_id):
    given = [{"fieldName": "N", "type": "numeric", "value": 3}, {"fieldName": "S", "type": "string", "value": "a"}]
    first = send(api, model_id, [*file("a"), ("runtimeParameterValues", json.dumps(given))])
    assert [each["currentValue"] for each in first.json()["runtimeParameters"]] == [3, "a"]
    taken = [{"fieldName": "S", "type": "string", "value": None}]
    second = send(api, model_id, [("runtimeParameterValues", json.dumps(taken))], "PATCH")
    assert [each["fieldName"] for each in second.json()["runtimeParameters"]] == ["N"]


def test_nothing_is_built_for_a_single_model(api, model_id):
    version = send(api, model_id, file("requirements.txt")).json()["id"]
    with api.client() as http:
        refused = http.post(f"customModels/{model_id}/versions/{version}/dependencyBuild/")
    assert refused.status_code == 422
    assert "SCORELINE_DRUM" in refused.json()["message"]
