"""A worker is killed while it writes an object: it is there whole, once, or the old one is and nothing beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fault.conftest import Case
from tests.support import stores
from tests.support.cluster import Cluster
from tests.support.misbehaving import Fault, Misbehaving, misbehaving
from tests.support.served import until

pytestmark = pytest.mark.slow

KEY = "out/scored.csv"
MOMENTS = [
    ("output.prepared", 0),
    ("output.written", 1),
    ("part.uploaded", 0),
    ("object.completing", 0),
    ("object.completed", 0),
]
AT_THE_END = ("part.uploaded", "object.completed")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("stores")
    with ExitStack() as stack:
        yield {name: stack.enter_context(getattr(stores, name)(folder)) for name in ("s3", "azurite", "gcs")}


def _credential(here: Cluster, store: Any) -> dict[str, str]:
    """Store what opens the store, once; return the setting that names it."""
    kind = store.settings["type"]
    if kind == "gcp":  # its emulator knows nobody
        return {}
    keys = {"awsAccessKeyId": stores.KEY, "awsSecretAccessKey": stores.SECRET}
    if kind == "azure":
        keys = {"azureConnectionString": store.connection_string}
    with here.http() as http:
        made = http.post("credentials/", json={"name": kind, "credentialType": kind, **keys})
        listed = http.get("credentials/").json()["data"]
    assert made.status_code in (201, 409), made.text
    return {"credentialId": next(each["credentialId"] for each in listed if each["name"] == kind)}


def _job(here: Cluster, store: Any, data: bytes, **more: Any) -> str:
    store.put("in/data.csv", data)
    key = _credential(here, store)
    return here.job(intakeSettings=store.at("in/data.csv", **key), outputSettings=store.at(KEY, **key) | more)


def _whole(here: Cluster, store: Any, job_id: str, case: Case, scratch: Path) -> None:
    assert here.ended(job_id) == "COMPLETED", here.document(job_id)["statusDetails"]
    found = scratch / "found.csv"
    found.write_bytes(store.get(KEY) or b"")
    here.check_whole(job_id, case.clean, output=found)
    assert store.unfinished() == []
    assert sorted(store.names()) == ["in/data.csv", KEY]
    until(lambda: not _staged(here, job_id), 15, "what was staged is deleted")
    store.empty()


def _staged(here: Cluster, job_id: str) -> list[Path]:
    return [path for path in (here.data / "spool" / "staged" / job_id).rglob("*") if path.is_file()]


def _kill(here: Cluster, store: Any, case: Case, point: str, skip: int, scratch: Path) -> None:
    store.put(KEY, b"of an earlier job")
    here.faults.arm(point, skip=skip, part="worker")
    job_id = _job(here, store, case.data)
    here.reaped(point)
    if point not in AT_THE_END:
        assert store.get(KEY) in (b"of an earlier job", case.clean)
    _whole(here, store, job_id, case, scratch)


@pytest.mark.parametrize(("point", "skip"), MOMENTS, ids=[name for name, _ in MOMENTS])
def test_worker_killed_while_it_writes_to_s3(
    here: Cluster, running: dict[str, Any], case: Case, tmp_path: Path, point: str, skip: int
) -> None:
    _kill(here, running["s3"], case, point, skip, tmp_path)


@pytest.mark.parametrize(("name", "point"), [("azurite", "object.completed"), ("gcs", "part.uploaded")])
def test_worker_killed_while_it_writes_to_another_store(
    here: Cluster, running: dict[str, Any], case: Case, tmp_path: Path, name: str, point: str
) -> None:
    _kill(here, running[name], case, point, 0, tmp_path)


@pytest.fixture
def between(running: dict[str, Any]) -> Iterator[Misbehaving]:
    with misbehaving(running["s3"].url) as proxy:
        yield proxy


def test_a_worker_frozen_before_it_completes_does_no_harm_when_it_wakes(
    there: Cluster, running: dict[str, Any], case: Case, tmp_path: Path
) -> None:
    store = running["s3"]
    there.faults.arm("object.completing", "stop", part="worker")
    job_id = _job(there, store, case.data)
    until(lambda: there.faults.happened("object.completing"), 30, "the worker is frozen")
    assert there.ended(job_id) == "COMPLETED"
    written = store.get(KEY)
    there.mend()
    assert written == case.clean
    _whole(there, store, job_id, case, tmp_path)


def test_a_job_that_is_aborted_leaves_the_old_object_and_no_part(
    here: Cluster, running: dict[str, Any], case: Case, between: Misbehaving
) -> None:
    store = running["s3"]
    store.put(KEY, b"of an earlier job")
    between.faults.append(Fault("PUT .*partNumber", 503, b"<Error><Code>SlowDown</Code></Error>", times=1000))
    job_id = _job(here, store, case.data, endpointUrl=between.url)
    until(lambda: between.calls("PUT .*partNumber"), 30, "a part is on its way")
    with here.http() as http:
        gone = http.delete(f"batchPredictions/{job_id}/")
        assert gone.status_code == 202, gone.text + str(here.document(job_id)["logs"])
    assert here.ended(job_id, 5) == "ABORTED"
    until(lambda: not store.unfinished(), 30, "the upload is gone")
    until(lambda: not _staged(here, job_id), 30, "what was staged is deleted")
    assert store.get(KEY) == b"of an earlier job"
    store.empty()


def test_keys_that_expire_end_the_job_in_words(
    here: Cluster, running: dict[str, Any], case: Case, between: Misbehaving
) -> None:
    expired = b"<Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>"
    between.faults.append(Fault("PUT .*partNumber", 400, expired, times=1000))
    job_id = _job(here, running["s3"], case.data, endpointUrl=between.url)
    assert here.ended(job_id) == "ABORTED"
    here.check_aborted(job_id, "the credentials for s3://box/out/scored.csv have expired", "renew the credential")
    until(lambda: not running["s3"].unfinished(), 30, "the upload is gone")
    running["s3"].empty()
