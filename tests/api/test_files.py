"""Jobs that read and write files of the folder that the operator opened."""

from __future__ import annotations

import gzip
import hashlib
import json
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.boosters import COLUMNS, as_csv, read_csv, sample


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


def table(rows):
    columns = {name: pa.array(rows[:, place]) for place, name in enumerate(COLUMNS)}
    return pa.table({"id": pa.array([f"{number:05d}" for number in range(len(rows))]).dictionary_encode(), **columns})


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_between_formats(server, models, files, form):
    rows = sample(3000)
    if form == "parquet":
        pq.write_table(table(rows), files / "in.typed", row_group_size=700)
    else:
        with pa.ipc.new_stream(files / "in.typed", table(rows).schema) as writer:
            writer.write_table(table(rows))
    (files / "in.csv").write_bytes(as_csv(rows, [f"{number:05d}" for number in range(len(rows))]))
    typed = {"type": "filesystem", "path": "in.typed", "format": form}
    plain = {"type": "filesystem", "path": "in.csv"}
    made = {}
    for name, intake, output in (
        ("a.csv", plain, {}),
        ("b.csv", typed, {}),
        ("c.parquet", plain, {"format": "parquet"}),
        ("d.parquet", typed, {"format": "parquet", "compression": "zstd"}),
        ("e.csv.gz", typed, {"compression": "gzip"}),
        ("f.jsonl", typed, {"format": "jsonl"}),
        ("g.arrow", plain, {"format": "arrow"}),
    ):
        made[name] = create(server, models, intake, {"type": "filesystem", "path": name, **output}).json()
    for name, job in made.items():
        done = ended(server, job)
        assert (done["status"], done["scoredRows"]) == ("COMPLETED", 3000), (name, done)
        assert done["jobOutputSize"] == (files / name).stat().st_size
    wanted = models.regression.predict(rows)
    first = (files / "a.csv").read_bytes()
    assert np.array_equal(np.array(read_csv(first)["late_PREDICTION"], float), wanted)
    assert (files / "b.csv").read_bytes() == first
    assert gzip.decompress((files / "e.csv.gz").read_bytes()) == first
    lines = [json.loads(line) for line in (files / "f.jsonl").read_text().splitlines()]
    found = [pq.read_table(files / "c.parquet"), pq.read_table(files / "d.parquet"), pa.Table.from_pylist(lines)]
    found.append(pa.ipc.open_stream((files / "g.arrow").read_bytes()).read_all())
    for each in found:
        assert each.column("late_PREDICTION").to_pylist() == wanted.tolist()
        assert each.column("id").to_pylist() == [f"{number:05d}" for number in range(3000)]


def test_a_folder_of_parquet_and_a_file_in_it_that_is_cut(server, models, files):
    rows = sample(900)
    (files / "many").mkdir()
    for number in range(3):
        pq.write_table(table(rows).slice(300 * number, 300), files / f"many/part-{number}.parquet")
    (files / "many/_SUCCESS").write_bytes(b"")
    intake = {"type": "filesystem", "path": "many/", "format": "parquet"}
    target = {"type": "filesystem", "path": "many.csv"}
    done = ended(server, create(server, models, intake, target).json())
    assert done["status"] == "COMPLETED", done
    out = read_csv((files / "many.csv").read_bytes())
    assert np.array_equal(np.array(out["late_PREDICTION"], float), models.regression.predict(rows))
    cut = files / "many/part-1.parquet"
    cut.write_bytes(cut.read_bytes()[:-9])
    done = ended(server, create(server, models, intake, target).json())
    assert done["status"] == "ABORTED"
    assert "many/part-1.parquet is no whole Parquet file" in done["statusDetails"]


def test_a_folder_of_csv(server, models, files):
    rows = sample(600)
    (files / "texts").mkdir()
    for number in range(3):
        some = [str(row) for row in range(200 * number, 200 * number + 200)]
        (files / f"texts/{number}.csv").write_bytes(as_csv(rows[200 * number :][:200], some))
    job = create(
        server,
        models,
        {"type": "filesystem", "path": "texts/*.csv"},
        {"type": "filesystem", "path": "texts.parquet", "format": "parquet"},
    ).json()
    done = ended(server, job)
    assert done["status"] == "COMPLETED", done
    assert any("Rows of each file: texts/0.csv 200, texts/1.csv 200, texts/2.csv 200." in line for line in done["logs"])
    out = pq.read_table(files / "texts.parquet")
    assert out.column("late_PREDICTION").to_pylist() == models.regression.predict(rows).tolist()
    assert out.column("id").to_pylist() == [str(row) for row in range(600)]


def test_into_a_folder(server, models, files):
    rows = sample(400)
    (files / "parted.csv").write_bytes(as_csv(rows, [str(row % 3) for row in range(400)]))
    target = {"type": "filesystem", "path": "parted/", "format": "parquet", "partitionColumns": ["id"]}
    job = create(server, models, {"type": "filesystem", "path": "parted.csv"}, target).json()
    done = ended(server, job)
    assert (done["status"], done["jobSpec"]["outputSettings"]) == ("COMPLETED", target), done
    scores = models.regression.predict(rows)
    for value in range(3):
        out = pq.read_table(files / f"parted/id={value}/part-0.parquet", partitioning=None)
        assert out.column("late_PREDICTION").to_pylist() == scores[value::3].tolist()
        assert "id" not in out.column_names
    assert len(json.loads((files / "parted/_manifest.json").read_text())["files"]) == 3


@pytest.mark.parametrize(
    ("more", "field", "says"),
    [
        ({"path": "x/"}, "partitionColumns", "at least one"),
        ({"path": "x", "partitionColumns": ["id"]}, "path", "must name a folder"),
        ({"path": "x/", "partitionColumns": ["a", "a"]}, "partitionColumns", "each once"),
        ({"path": "x/", "partitionColumns": [str(n) for n in range(101)]}, "partitionColumns", "at most 100"),
        ({"path": "x", "format": "parquet", "compression": "lzo"}, "compression", "'snappy'"),
    ],
)
def test_outputs_that_are_refused(server, models, more, field, says):
    answer = create(server, models, {"type": "localFile"}, {"type": "filesystem", **more})
    assert answer.status_code == 422
    assert says in answer.json()["message"]
    assert list(answer.json()["errors"]) == [f"outputSettings.{field}"]


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
        ({"type": "filesystem", "path": "a", "format": "orc"}, "intakeSettings.format", "'parquet'"),
        ({"type": "filesystem", "path": "/"}, "intakeSettings.path", "does not name"),
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


def test_times_in_names(server, models, files):
    (files / "in.csv").write_bytes(as_csv(sample(20), [str(number) for number in range(20)]))
    path = "{{ current_run_time.strftime('%Y/%m') }}/{{ current_run_timestamp }}.csv"
    answer = create(server, models, {"type": "filesystem", "path": "in.csv"}, {"type": "filesystem", "path": path})
    job = ended(server, answer.json())
    with server.http() as http:
        again = http.post("batchPredictions/fromExisting/", json={"predictionJobId": job["id"]}).json()
        manifest = http.get(f"batchPredictions/{job['id']}/manifest/").json()
        wrong = create(
            server, models, {"type": "filesystem", "path": "{{ now }}"}, {"type": "filesystem", "path": path}
        )
    assert job["jobSpec"]["outputSettings"]["path"] == path
    name = job["rendered"]["outputSettings.path"]
    assert name.startswith(job["created"][:7].replace("-", "/") + "/")
    assert manifest["rendered"] == job["rendered"]
    assert len(read_csv((files / name).read_bytes())["id"]) == 20
    other = ended(server, again)["rendered"]["outputSettings.path"]
    assert other != name
    assert (files / other).read_bytes() == (files / name).read_bytes()
    assert wrong.status_code == 422
    assert "intakeSettings.path has a template that cannot be read, at character 4" in wrong.json()["message"]
