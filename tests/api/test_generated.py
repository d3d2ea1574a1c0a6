"""Requests made up from the OpenAPI document: right, nearly right and wrong ones, against a running API.

None may end in a 5xx, and every answer is one that the document describes. `SCORELINE_GENERATED=1000` asks for so many
requests of each kind instead of a few that are the same each time.
"""

from __future__ import annotations

import os
import zlib

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks

from scoreline.api import create_app
from scoreline.settings import Settings
from tests.support.api import running_api

MANY = int(os.environ.get("SCORELINE_GENERATED", "0"))
BUDGET = settings(
    max_examples=MANY or 4,
    derandomize=not MANY,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
# What the made-up requests need to get beyond "there is no such object", by the name of a parameter or field.
KNOWN: dict[str, list[str]] = {}
# Of these fields, the first excludes the others.
ONE_OF = [("deploymentId", "modelId", "modelPackageId", "pinnedModelId"), ("registeredModelName", "registeredModelId")]
# These change or end what the others look at.
SPARE = {"delete", "patch"}

schema = schemathesis.openapi.from_dict(create_app(Settings(), None, None).openapi())
schema.config.phases.coverage.unexpected_methods = set()  # tested by hand


@pytest.fixture(scope="module")
def session():
    with requests.Session() as session:
        session.trust_env = False  # reading the environment costs a tenth of the time
        yield session


@pytest.fixture(scope="module")
def api(tmp_path_factory, migrated_sqlite):
    folder = tmp_path_factory.mktemp("generated")
    with running_api(folder, migrated_sqlite, upload_idle_seconds=1.0) as api:
        with api.client() as client:
            package = client.get(f"modelPackages/{api.package_id}/").json()
            server = client.get("predictionServers/").json()["data"][0]["id"]
            made = client.post("datasets/fromFile/", files={"file": ("a.csv", b"x,carrier\n1,AA\n")}).json()
        ended, waiting = api.job()["id"], api.job(intakeSettings={"type": "localFile", "multipart": True})["id"]
        with api.client() as client:
            client.delete(f"batchPredictions/{ended}/")
        KNOWN.update(
            deployment_id=[api.deployment_id],
            deploymentId=[api.deployment_id],
            package_id=[api.package_id],
            modelPackageId=[api.package_id],
            version_id=[api.package_id],
            model_id=[package["registeredModelId"]],
            sha256=[package["artifact"]],
            server_id=[server],
            defaultPredictionServerId=[server],
            job_id=[ended, waiting],
            predictionJobId=[ended],
            number=["0", "1"],
            status_id=[f"deployments-{api.deployment_id}", made["statusId"]],
            dataset_id=[made["catalogId"]],
            datasetId=[made["catalogId"]],
            userId=[api.user.user_id],
        )
        yield api


def with_known(case):
    """Make most requests meaningful: real names where there are some, one of several fields that exclude each other."""
    chance = zlib.crc32(repr((case.method, case.path_parameters, case.query, case.body)).encode())
    if chance % 4 == 0:
        return
    case.headers.pop("Idempotency-Key", None)
    places = [case.query]
    if not wrong_body(case):
        places.append(case.body)
    if case.method.lower() not in SPARE:
        places.append(case.path_parameters)
    for place in places:
        for name in list(place) if isinstance(place, dict) else ():
            if name in KNOWN and isinstance(place[name], str):
                place[name] = KNOWN[name][chance % len(KNOWN[name])]
            elif place[name] is not None and any(name in others and first in place for first, *others in ONE_OF):
                del place[name]


def like_many_others(case):
    """Say of most requests with odd headers that they are; the same code reads headers for all addresses."""
    place = getattr(case.meta.phase.data, "parameter_location", None)
    if MANY or place is not ParameterLocation.HEADER:
        return False
    about = (case.operation.label, case.meta.phase.data.description)
    return zlib.crc32(repr(about).encode()) % 8 > 0


def wrong_body(case):
    body = case.meta.components.get(ParameterLocation.BODY)
    return body is not None and body.mode is GenerationMode.NEGATIVE


@schema.parametrize()
@BUDGET
def test_a_generated_request(case, api, session):
    if like_many_others(case):
        return
    with_known(case)
    headers = {"Authorization": f"Token {api.token}"}
    try:
        # The download of a job that waits would wait, too, and so would the stream of its events.
        timeout = 0.3 if case.operation.path.endswith(("/download/", "/events/")) else 20
        response = case.call(base_url=api.url, headers=headers, timeout=timeout, session=session)
    except requests.exceptions.Timeout:
        assert timeout < 1
        return
    case.validate_response(response, checks=CHECKS)
    assert response.status_code >= 400 or not wrong_body(case)
