"""The prediction server's OpenAPI document: it names every route, and requests made up from it get what it says."""

from __future__ import annotations

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi import checks

from scoreline.rows import exchange
from scoreline.serving import contract
from scoreline.serving.app import create_app
from scoreline.serving.config import PredictorConfig
from tests.support.conform import Answers

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@schemathesis.serializer(exchange.MEDIA_TYPE)
def as_it_is(_context, value):
    """Bytes that are no record batch, mostly."""
    return value if isinstance(value, bytes) else str(value).encode()


schema = schemathesis.openapi.from_dict(contract.document())
schema.config.phases.coverage.unexpected_methods = set()


def test_it_is_valid_and_names_every_route(tmp_path):
    document = contract.document()
    schemathesis.openapi.from_dict(document).validate()
    app = create_app(PredictorConfig("127.0.0.1", 0, 1, "http://127.0.0.1:1", "t", tmp_path))
    routes = {route.path.rstrip("/") for route in app._app.routes}
    assert routes == set(document["paths"])
    names = [one["operationId"] for item in document["paths"].values() for one in item.values()]
    assert len(set(names)) == len(names)


def test_it_is_served_to_everybody(url):
    for path in ("/openapi.json", "/openapi.json/"):
        assert requests.get(url + path, timeout=10).json() == contract.document()


@schema.parametrize()
@settings(max_examples=5, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_a_generated_request(case, url):
    deployment = case.path_parameters.get("deployment_id")
    if deployment is not None and len(deployment) % 2:
        case.path_parameters["deployment_id"] = "binary"
    if case.path_parameters.get("package_id"):
        case.path_parameters["package_id"] = "binary"
    token = "run" if "package_id" in case.path_parameters else "user"
    response = case.call(base_url=url, headers={"Authorization": f"Token {token}"}, timeout=20)
    case.validate_response(response, checks=CHECKS)


@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
@pytest.mark.parametrize("name", ["regression", "binary", "multiclass"])
def test_predictions_are_as_described(client, name, accept):
    path = f"/predApi/v1.0/deployments/{name}/predictions"
    headers = {"Content-Type": "text/csv", "Accept": accept}
    response = client.post(path, params={"passthroughColumns": "a"}, content=b"a,b,c\n1,2,3\n,,\n", headers=headers)
    found = Answers(contract.document()).deviations(
        "post", path, response.status_code, dict(response.headers), response.content
    )
    assert list(found) == []
