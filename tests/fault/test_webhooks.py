"""API processes die while they tell webhooks: each message arrives, and only such a death makes it arrive twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fault.conftest import ROWS, Case
from tests.support.cluster import Cluster, cluster
from tests.support.served import until
from tests.support.web import Reply, Web, web

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # several processes start before each test

SETTINGS = {"SCORELINE_ALLOWED_NETWORKS": "127.0.0.1/32", "SCORELINE_WEBHOOK_SECONDS": "1"}


@pytest.fixture
def receiver() -> Iterator[Web]:
    with web() as made:
        yield made


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def two_apis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An installation with two API processes, both of which send."""
    folder: Path = tmp_path_factory.mktemp("webhooks")
    url = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
        url = server.create("webhooks", template=request.getfixturevalue("migrated_postgres"))
        server.keep("webhooks")
    with cluster(folder, url, **SETTINGS) as made:
        made.start("api2")
        yield made
    if url is not None:
        server.drop("webhooks")


@pytest.fixture
def parts(two_apis: Cluster) -> Iterator[Cluster]:
    yield two_apis
    two_apis.mend()


def _told(receiver: Web) -> list[tuple[str, dict[str, Any]]]:
    return [(call.headers["webhook-id"], json.loads(call.body)) for call in receiver.came("hook")]


def _messages(parts: Cluster, job_id: str) -> list[dict[str, Any]]:
    with parts.http() as http:
        return list(http.get(f"batchPredictions/{job_id}/webhooks/").json()["data"])


def _delivered(parts: Cluster, job_id: str) -> list[dict[str, Any]]:
    def all_delivered() -> list[dict[str, Any]] | None:
        found = _messages(parts, job_id)
        return found if found and all(one["state"] == "delivered" for one in found) else None

    return until(all_delivered, 40, "all messages are delivered") or []


def test_killed_between_sending_and_noting(parts: Cluster, receiver: Web, case: Case) -> None:
    parts.kill("api2")  # the one that is left sends
    job_id = parts.job(webhooks=[{"url": f"{receiver.url}/hook"}])
    assert parts.put(job_id, case.data).status_code == 202
    parts.faults.arm("webhook.sent", part="api")
    until(lambda: parts.faults.happened("webhook.sent"), 40, "the API is killed")
    assert parts.processes["api"].wait(10) != 0
    assert len(_told(receiver)) == 1
    parts.mend()
    (message,) = _delivered(parts, job_id)
    assert message["tries"] == 2
    first, second = _told(receiver)
    assert first == second
    assert first[1]["data"]["id"] == job_id
    assert first[1]["data"]["scoredRows"] == ROWS


def test_two_that_live_send_each_message_once(parts: Cluster, receiver: Web) -> None:
    jobs = [parts.job(webhooks=[{"url": f"{receiver.url}/hook"}]) for _ in range(20)]
    receiver.next["/hook"] = [Reply(500), Reply(503)]
    with parts.http() as http:
        for job_id in jobs:
            assert http.delete(f"batchPredictions/{job_id}/").status_code == 202
    for job_id in jobs:
        _delivered(parts, job_id)
    told = [document["data"]["id"] for _, document in _told(receiver)]
    assert len(told) == len(jobs) + 2  # those that were refused came again
    assert set(told) == set(jobs)


def test_a_message_survives_that_there_is_no_api(parts: Cluster, receiver: Web, case: Case) -> None:
    job_id = parts.job(webhooks=[{"url": f"{receiver.url}/hook", "events": ["completed"]}])
    assert parts.put(job_id, case.data).status_code == 202
    parts.kill("api")
    parts.kill("api2")
    parts.mend()
    assert parts.ended(job_id) == "COMPLETED"
    _delivered(parts, job_id)
    assert {document["data"]["id"] for _, document in _told(receiver)} == {job_id}
