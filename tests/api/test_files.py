"""Jobs that read and write files of the folder that the operator opened."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest

from tests.support.boosters import as_csv, read_csv, sample


@pytest.fixture
def files(server):
    return server.folder / "files"


def create(server, models, intake, output, **more):
    body = {
        "deploymentId": models.regression.deployment_id,
        "intakeSettings": intake,
        "outputSettings": output,
        "passthroughColumns": ["id"],
    }
    with server.http() as http:
        return http.post("batchPredictions/", json=body | more)


def ended(server, job):
    deadline = time.monotonic() + 30
    with server.http() as http:
        while (found := http.get(job["links"]["self"]).json())["status"] in {"INITIALIZING", "RUNNING"}:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
    return found


def test_from_file_to_file(server, models, files):
    rows = sample(5000)
    (files / "in.csv").write_bytes(as_csv(rows, [str(number) for number in range(len(rows))]))
    answer = create(
        server,
        models,
        {"type": "filesystem", "path": "in.csv"},
        {"type": "filesystem", "path": "out.csv"},
        chunkSize=20_000,
    )
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert "csvUpload" not in job["links"]
    assert "download" not in job["links"]
    done = ended(server, job)
    assert (done["status"], done["scoredRows"], done["percentageCompleted"]) == ("COMPLETED", 5000, 100), done
    assert done["jobIntakeSize"] == (files / "in.csv").stat().st_size
    assert done["jobOutputSize"] == (files / "out.csv").stat().st_size
    out = read_csv((files / "out.csv").read_bytes())
    assert out["id"] == [str(number) for number in range(len(rows))]
    assert np.array_equal(np.array(out["late_PREDICTION"], float), models.regression.predict(rows))
    assert sorted(path.name for path in files.iterdir()) == ["in.csv", "out.csv"]


def test_a_file_that_is_not_there_ends_the_job_and_leaves_the_target(server, models, files):
    (files / "kept.csv").write_bytes(b"as it was\n")
    answer = create(
        server, models, {"type": "filesystem", "path": "none.csv"}, {"type": "filesystem", "path": "kept.csv"}
    )
    done = ended(server, answer.json())
    assert done["status"] == "ABORTED"
    assert "cannot read none.csv: No such file" in done["statusDetails"]
    assert (files / "kept.csv").read_bytes() == b"as it was\n"


@pytest.mark.parametrize(
    ("settings", "field", "says"),
    [
        ({"type": "filesystem"}, "intakeSettings.path", "is required"),
        ({"type": "filesystem", "path": "../x"}, "intakeSettings.path", "'..'"),
        ({"type": "filesystem", "path": 3}, "intakeSettings.path", "text"),
        ({"type": "filesystem", "path": "a", "root": "/"}, "intakeSettings.root", "root"),
    ],
)
def test_bad_settings_are_refused(server, models, settings, field, says):
    answer = create(server, models, settings, {"type": "localFile"})
    assert answer.status_code == 422
    assert says in answer.json()["message"]
    assert list(answer.json()["errors"]) == [field]


def test_without_an_open_folder_the_type_is_refused(api):
    with api.client() as client:
        body = {"deploymentId": api.deployment_id, "intakeSettings": {"type": "filesystem", "path": "in.csv"}}
        answer = client.post("batchPredictions/", json=body)
    assert answer.status_code == 422
    assert "SCORELINE_FILES_DIR" in answer.json()["message"]


def test_the_manifest_says_what_a_job_did_to_the_byte(server, models, files):
    body = as_csv(sample(300), [str(number) for number in range(300)])
    (files / "exact.csv").write_bytes(body)
    target = {"type": "filesystem", "path": "exact-out.csv"}
    job = create(server, models, {"type": "filesystem", "path": "exact.csv"}, target).json()
    done = ended(server, job)
    assert done["status"] == "COMPLETED", done
    with server.http() as http:
        manifest = http.get(f"batchPredictions/{job['id']}/manifest/").json()
    written = (files / "exact-out.csv").read_bytes()
    assert manifest["rows"] == {"read": 300, "scored": 300, "failed": 0, "skipped": 0, "written": 300}
    assert manifest["output"] == {
        "type": "filesystem",
        "bytes": len(written),
        "sha256": hashlib.sha256(written).hexdigest(),
    }
    status = (files / "exact.csv").stat()
    identity = {"bytes": len(body), "modified_ns": status.st_mtime_ns, "inode": status.st_ino}
    assert manifest["intake"] == {"type": "filesystem", "bytes": len(body), "identity": identity}
    assert len(manifest["model"]["sha256"]) == 64
    assert (manifest["runs"], manifest["status"], manifest["jobId"]) == (1, "COMPLETED", job["id"])
    assert manifest["jobSpec"]["outputSettings"] == target


def test_the_manifest_of_an_upload_has_its_digest(server, models):
    body = as_csv(sample(50), [str(number) for number in range(50)])
    job = create(server, models, {"type": "localFile"}, {"type": "localFile"}).json()
    with server.http() as http:
        sent = http.put(job["links"]["csvUpload"], content=body, headers={"Content-Type": "text/csv"})
        assert sent.status_code == 202
        assert ended(server, job)["status"] == "COMPLETED"
        result = http.get(job["links"]["download"]).content
        manifest = http.get(f"batchPredictions/{job['id']}/manifest/").json()
    assert manifest["intake"]["identity"] == {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert manifest["output"]["sha256"] == hashlib.sha256(result).hexdigest()
