"""The OpenAPI document: it says everything of every route, and holds what it says (see tests/support/conform.py)."""

from __future__ import annotations

import pytest
import schemathesis

from scoreline.api import create_app
from scoreline.api.contract import operations
from scoreline.settings import Settings
from tests.support.conform import Answers


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return create_app(Settings(data_dir=tmp_path_factory.mktemp("app")), None, None)


@pytest.fixture(scope="module")
def document(app):
    return app.openapi()


def test_it_is_valid_openapi(document):
    schemathesis.openapi.from_dict(document).validate()
    assert document["openapi"].startswith("3.1")


def test_every_route_is_there_and_says_what_it_answers(document):
    for path, method, operation in operations(document):
        where = f"{method} {path}: give it `responses=answer(...)`"
        good = {status: answer for status, answer in operation["responses"].items() if status < "4"}
        # A status leads on with 303 once the work is done; a stream that has ended ends for good with 204.
        instead = {"200"} if "303" in good or "text/event-stream" in good.get("200", {}).get("content", {}) else set()
        assert len(good.keys() - {"206"} - instead) == 1, where
        for answer in good.values():
            assert answer.get("content", True), where
            assert all(kind.get("schema") for kind in answer.get("content", {}).values()), where
        assert operation["description"], where
        assert operation["tags"], where
        assert path.endswith("/"), where


def test_operations_have_names_of_their_own(document):
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_bodies_are_described(document):
    jobs = {"abortJob", "finaliseUpload", "pauseJob", "resumeJob"}
    bodiless = jobs | {"buildDependencies", "createExecutionEnvironment", "refuseTest", "restoreDataset"}
    for path, method, operation in operations(document):
        if method in {"post", "put", "patch"} and operation["operationId"] not in bodiless:
            assert operation["requestBody"]["content"], path


def test_references_lead_somewhere(document):
    def references(value):
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    found = set(references(document))
    assert found
    for reference in found:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"], reference


def test_only_what_is_open_to_everybody_asks_for_no_token(document):
    free = {path for path, _, operation in operations(document) if operation.get("security") == []}
    assert free == {"/api/v2/ping/", "/api/v2/openapi.json/"}
    assert document["security"] == [{"bearer": []}, {"token": []}]


def test_parameters_that_must_be_there_say_so(document):
    parameters = document["paths"]["/api/v2/customModelTests/"]["get"]["parameters"]
    assert {each["name"] for each in parameters if each.get("required")} == {"customModelId"}


def test_a_list_of_something_that_does_not_exist_is_a_documented_404(api):
    with api.client() as client:
        assert client.get("customModelTests/", params={"customModelId": "0" * 24}).status_code == 404
        assert client.get("customModelTests/").status_code == 422


JOB = "/api/v2/batchPredictions/0/"


@pytest.mark.parametrize(
    ("status", "headers", "body", "what"),
    [
        (418, {}, b"", "not documented"),
        (200, {"x-request-id": "1"}, b"<html>", "not application/json"),
        (200, {"content-type": "application/json"}, b"{}", "without the header X-Request-Id"),
        (200, {"content-type": "application/json", "x-request-id": "1"}, b'{"id": "1"}', "required"),
        (404, {"content-type": "application/json", "x-request-id": "1"}, b'{"message": "a", "b": 1}', "b"),
    ],
)
def test_deviations_are_seen(document, status, headers, body, what):
    assert what in " ".join(Answers(document).deviations("get", JOB, status, headers, body))
