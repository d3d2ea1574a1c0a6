"""The API over a spool in a bucket: what clients send and get is the same, and nothing of it is on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scoreline.spool.space import Limits
from tests.support import spools, stores
from tests.support.api import Api, running_api, wait_for


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[Api]:
    with (
        stores.s3(tmp_path_factory.mktemp("s3")) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in spools.environment("s3", server).items():
            patch.setenv(name, value)
        folder = tmp_path_factory.mktemp("data")
        with running_api(folder, migrated_sqlite, spool_url=spools.address("s3", server)) as running:
            yield running
        assert not (folder / "spool").exists()


def test_an_upload_is_there_for_the_worker_and_the_result_for_the_client(api: Api) -> None:
    data = b"x,carrier\n" + b"".join(b"%d,AA\n" % number for number in range(100_000))
    job_id = api.job()["id"]
    api.upload(job_id, data)
    [stream] = {key.rpartition("/")[0] for key in api.spool.blobs.list(f"uploads/{job_id}")}
    assert b"".join(api.spool.reader(stream).blocks()) == data
    run = api.run(job_id)
    api.rows(run, b"p\n0.1\n0.2\n", 2)
    with api.client() as client:
        with client.stream("GET", f"batchPredictions/{job_id}/download/", headers={"Range": "bytes=4-"}) as answer:
            parts = answer.iter_bytes()
            assert next(parts) == b"1\n0.2\n"
            api.rows(run, b"0.3\n", 1, failed=b"bad\n")
            api.complete(run)
            assert b"".join(parts) == b"0.3\n"
        answer = client.get(f"batchPredictions/{job_id}/download/", headers={"Range": "bytes=2-5"})
        assert (answer.status_code, answer.content) == (206, b"0.1\n")
        assert b"bad" in client.get(f"batchPredictions/{job_id}/errors/").content


def test_parts_come_in_any_order_and_are_replaced(api: Api) -> None:
    job_id = api.job(intakeSettings={"type": "localFile", "multipart": True, "async": False})["id"]
    with api.client() as client:
        for number, part in ((1, b"x,carrier\n2,BB\n"), (0, b"x,carrier\n9,ZZ\n"), (0, b"x,carrier\n1,AA\n")):
            path = f"batchPredictions/{job_id}/csvUpload/part/{number}/"
            assert client.put(path, content=part, headers={"Content-Type": "text/csv"}).status_code == 202
        assert client.post(f"batchPredictions/{job_id}/csvUpload/finalizeMultipart/").status_code == 202
    kept = [key for key in api.spool.blobs.list(f"uploads/{job_id}") if key.endswith(".seg")]
    assert len(kept) == 2
    api.end_all()


def test_a_dataset_is_stored_and_read_back(api: Api) -> None:
    data = b"x,carrier\n" + b"1,AA\n" * 50_000
    with api.client() as client:
        made = client.post("datasets/fromFile/", files={"file": ("rows.csv", data)}).json()
        wait_for(lambda: client.get(f"datasets/{made['catalogId']}/").json()["processingState"] == "COMPLETED")
        assert client.get(f"datasets/{made['catalogId']}/file/").content == data
    assert api.spool.size(f"datasets/{made['catalogVersionId']}") == len(data)


def test_a_dataset_beyond_the_bound_is_not_made_and_says_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.spool.blobs, "limits", Limits(most=1_000))
    with api.client() as client:
        made = client.post("datasets/fromFile/", files={"file": ("rows.csv", b"x,carrier\n" + b"1,AA\n" * 50_000)})
        said = wait_for(lambda: _told(client, made))
    assert "SCORELINE_MAX_SPOOL_BYTES" in said
    assert len(api.spool.blobs.list("datasets")) <= 1  # of the test before


def _told(client: Any, made: Any) -> str:
    """Return what the client is told in the end of a dataset that is not made."""
    if made.status_code != 202:
        return str(made.text)
    return str(
        client.get(f"status/{made.headers['location'].rstrip('/').rpartition('/')[2]}/").json().get("message") or ""
    )


def test_an_artefact_is_given_to_a_prediction_server(api: Api) -> None:
    sha256 = api.artifact(content=b"not really a tar" * 1000)
    with api.client(api.predictor_token) as client:
        assert client.get(f"internal/artifacts/{sha256}/").content == b"not really a tar" * 1000
