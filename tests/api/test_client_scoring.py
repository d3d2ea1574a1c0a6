"""The official client, unmodified, against a whole installation; values compared with the model's own."""

from __future__ import annotations

import gzip
import io
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from tests.support.api import wait_for
from tests.support.boosters import as_csv, read_csv, sample

IDS = ["007", "1e3", " x ", 'say "hi"', "a,b", "line\nbreak", "é€", "", "nan", "0.10"]


def score(dr, deployment_id, data: bytes, path, **options):
    """Score bytes with the client's main call; return the job and the output's bytes."""
    intake = {"type": "localFile", "file": io.BytesIO(data)} | options.pop("intake", {})
    job = dr.BatchPredictionJob.score(
        deployment_id, intake_settings=intake, output_settings={"type": "localFile", "path": str(path)}, **options
    )
    return job, path.read_bytes()


def numbers(texts):
    return np.array([float(text) for text in texts])


def test_score_a_file_with_passthrough(dr, models, tmp_path):
    rows = sample(len(IDS))
    source = tmp_path / "in.csv"
    source.write_bytes(as_csv(rows, IDS))
    job = dr.BatchPredictionJob.score(
        models.binary.deployment_id,
        intake_settings={"type": "localFile", "file": str(source)},
        output_settings={"type": "localFile", "path": str(tmp_path / "out.csv")},
        passthrough_columns=["id", "age"],
    )
    out = read_csv((tmp_path / "out.csv").read_bytes())
    expected = models.binary.predict(rows)
    assert (numbers(out["late_yes_PREDICTION"]) == expected).all()
    assert np.allclose(numbers(out["late_no_PREDICTION"]), 1 - expected, rtol=0, atol=1e-15)
    assert out["late_PREDICTION"] == ["yes" if p > 0.5 else "no" for p in expected]
    assert set(out["THRESHOLD"]) == {"0.5"}
    assert out["id"] == IDS
    assert out["age"] == [repr(value) for value in rows[:, 0].tolist()]
    status = job.get_status()
    assert status["status"] == "COMPLETED"
    assert (status["scored_rows"], status["failed_rows"], status["skipped_rows"]) == (len(IDS), 0, 0)
    assert status["percentage_completed"] == 100
    assert status["job_intake_size"] == source.stat().st_size
    assert status["job_output_size"] == (tmp_path / "out.csv").stat().st_size


@pytest.mark.parametrize("chunk_size", ["auto", "fixed", "dynamic", 2000])
def test_many_rows_in_order_whatever_the_chunks(dr, models, tmp_path, chunk_size):
    rows = sample(20_000)
    ids = [str(number) for number in range(len(rows))]
    data = as_csv(rows, ids)
    options = {"passthrough_columns": ["id"], "chunk_size": chunk_size, "num_concurrent": 2}
    _, out = score(dr, models.regression.deployment_id, data, tmp_path / "out.csv", **options)
    found = read_csv(out)
    assert found["id"] == ids
    assert (numbers(found["late_PREDICTION"]) == models.regression.predict(rows)).all()


def test_classes(dr, models, tmp_path):
    rows = sample(50)
    _, out = score(dr, models.multiclass.deployment_id, as_csv(rows), tmp_path / "out.csv")
    found, expected = read_csv(out), models.multiclass.predict(rows)
    for place, label in enumerate(models.multiclass.labels):
        assert (numbers(found[f"late_{label}_PREDICTION"]) == expected[:, place]).all()
    assert found["late_PREDICTION"] == [models.multiclass.labels[place] for place in expected.argmax(axis=1)]
    _, out = score(
        dr,
        models.multiclass.deployment_id,
        as_csv(rows),
        tmp_path / "few.csv",
        include_probabilities_classes=["mid"],
        include_prediction_status=True,
    )
    few = read_csv(out)
    assert "late_mid_PREDICTION" in few
    assert "late_low_PREDICTION" not in few
    assert set(few["prediction_status"]) == {"OK"}


def test_options_for_columns(dr, models, tmp_path):
    rows = sample(20)
    _, out = score(
        dr,
        models.binary.deployment_id,
        as_csv(rows, [str(n) for n in range(20)]),
        tmp_path / "out.csv",
        include_probabilities=False,
        prediction_threshold=0.9,
        passthrough_columns_set="all",
        column_names_remapping={"late_PREDICTION": "is_late", "THRESHOLD": None, "POSITIVE_CLASS": None},
    )
    found = read_csv(out)
    assert list(found) == ["is_late", "id", "age", "distance", "delay"]
    assert found["is_late"] == ["yes" if p > 0.9 else "no" for p in models.binary.predict(rows)]


@pytest.mark.parametrize(("delimiter", "encoding"), [(";", "utf-8"), ("tab", "latin-1"), ("|", "utf-16")])
def test_csv_settings(dr, models, tmp_path, delimiter, encoding):
    character = "\t" if delimiter == "tab" else delimiter
    rows, ids = sample(3), ["é", f"a{character}b", "c"]
    data = as_csv(rows, ids, delimiter=character, encoding=encoding)
    settings = {"delimiter": delimiter, "encoding": encoding, "quotechar": '"'}
    options = {"csv_settings": settings, "passthrough_columns": ["id"]}
    _, out = score(dr, models.regression.deployment_id, data, tmp_path / "out.csv", **options)
    found = read_csv(out, delimiter=character, encoding=encoding)
    assert found["id"] == ids
    assert (numbers(found["late_PREDICTION"]) == models.regression.predict(rows)).all()


def test_score_without_path_then_every_way_to_the_result(dr, models):
    rows = sample(100)
    job = dr.BatchPredictionJob.score(
        models.regression.deployment_id,
        intake_settings={"type": "localFile", "file": io.BytesIO(as_csv(rows))},
        output_settings={"type": "localFile"},
    )
    fetched = io.BytesIO()
    job.download(fetched)
    expected = models.regression.predict(rows)
    assert (numbers(read_csv(fetched.getvalue())["late_PREDICTION"]) == expected).all()
    job.wait_for_completion()
    assert job.get_status()["status"] == "COMPLETED"
    assert job.get_result_when_complete() == fetched.getvalue()
    assert job.get_result() == fetched.getvalue()
    again = dr.BatchPredictionJob.get(job.id)
    assert again.status == "COMPLETED"
    assert again.get_status()["logs"][-1] == again.get_status()["status_details"]


def test_score_pandas(dr, models, capsys):
    import pandas as pd

    rows = sample(200)
    frame = pd.DataFrame(rows, columns=["age", "distance", "delay"], index=range(10, 2010, 10))
    frame["name"] = [f"n{number}" for number in range(200)]
    _, result = dr.BatchPredictionJob.score_pandas(models.binary.deployment_id, frame)
    expected = models.binary.predict(rows)
    assert list(result.index) == list(frame.index)
    assert (result["late_yes_PREDICTION"] == expected).all()
    assert list(result["name"]) == list(frame["name"])


def test_predict_batch(dr, models, capsys):
    import pandas as pd

    rows = sample(100)
    frame = pd.DataFrame(rows, columns=["age", "distance", "delay"], index=[f"r{n:03d}" for n in range(100)])
    deployment = dr.Deployment.get(models.regression.deployment_id)
    result = deployment.predict_batch(frame)
    assert list(result.index) == list(frame.index)
    assert (result["late_PREDICTION"] == models.regression.predict(rows)).all()


def test_score_to_file(dr, models, tmp_path):
    import pandas as pd

    rows = sample(30)
    frame = pd.DataFrame(rows, columns=["age", "distance", "delay"])
    path = tmp_path / "out.csv"
    dr.BatchPredictionJob.score_to_file(models.regression.deployment_id, frame, str(path))
    found = read_csv(path.read_bytes())
    assert (numbers(found["late_PREDICTION"]) == models.regression.predict(rows)).all()


@pytest.mark.parametrize("is_async", [True, False])
def test_multipart(dr, models, tmp_path, is_async):
    rows = sample(230_000)  # some 5 MiB: more than one part
    data = as_csv(rows, end="\r\n")  # the client loses rows of files with other line ends
    assert len(data) > 5 << 20
    intake = {"multipart": True, "async": is_async}
    job, out = score(dr, models.regression.deployment_id, data, tmp_path / "out.csv", intake=intake)
    found = numbers(read_csv(out)["late_PREDICTION"])
    assert len(found) == len(rows)
    assert (found == models.regression.predict(rows)).all()
    assert job.get_status()["scored_rows"] == len(rows)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the client's upload thread
def test_multipart_with_characters_that_the_client_miscounts_is_refused(dr, models, tmp_path):
    rows = sample(3)
    data = as_csv(rows, ["é€", "日本", "x"], end="\r\n")
    with pytest.raises(ended(dr), match="switch `multipart` off"):
        score(
            dr,
            models.regression.deployment_id,
            data,
            tmp_path / "out.csv",
            intake={"multipart": True, "async": False},
        )


def test_all_data_first(dr, models, tmp_path):
    rows = sample(40)
    _, out = score(dr, models.regression.deployment_id, as_csv(rows), tmp_path / "out.csv", intake={"async": False})
    assert (numbers(read_csv(out)["late_PREDICTION"]) == models.regression.predict(rows)).all()


def test_lists_and_deletes(dr, models, tmp_path):
    done, _ = score(dr, models.regression.deployment_id, as_csv(sample(5)), tmp_path / "out.csv")
    waiting = _without_data(dr, models)
    assert done.id in [job["id"] for job in dr.BatchPredictionJob.list_by_status(["COMPLETED"])]
    assert waiting.id in [job["id"] for job in dr.BatchPredictionJob.list_by_status(["INITIALIZING"])]
    waiting.delete()
    assert waiting.get_status()["status"] == "ABORTED"
    assert waiting.id in [job["id"] for job in dr.BatchPredictionJob.list_by_status(["ABORTED", "FAILED"])]
    assert {done.id, waiting.id} <= {job["id"] for job in dr.BatchPredictionJob.list_by_status()}
    with pytest.raises(dr.errors.ClientError) as refused:
        done.delete()
    assert refused.value.status_code == 409
    with pytest.raises(dr.errors.AsyncProcessUnsuccessfulError):
        waiting.wait_for_completion()


def test_deleting_a_running_job_ends_everything_within_seconds(dr, server, models):
    job = _without_data(dr, models)
    answers = []

    def blocks():
        yield as_csv(sample(1000))
        while not answers:
            yield b"1,2,3\n" * 100
            time.sleep(0.05)

    def upload():
        with server.http() as http:
            path = f"batchPredictions/{job.id}/csvUpload/"
            return http.put(path, content=blocks(), headers={"Content-Type": "text/csv"})

    with ThreadPoolExecutor() as pool:
        uploaded = pool.submit(upload)
        wait_for(lambda: job.get_status()["scored_rows"] > 0, 30)
        start = time.monotonic()
        job.delete()
        assert job.get_status()["status"] == "ABORTED"
        rows = job.get_status()["scored_rows"]
        # The next job has the place at once.
        next_job = _without_data(dr, models)
        with server.http() as http:
            path = f"batchPredictions/{next_job.id}/csvUpload/"
            http.put(path, content=as_csv(sample(3)), headers={"Content-Type": "text/csv"})
        wait_for(lambda: next_job.get_status()["status"] == "COMPLETED")
        assert time.monotonic() - start < 20  # the upload goes on for longer
        answers.append("enough")
        assert uploaded.result(20).status_code == 422
    assert "Cancelled by admin" in job.get_status()["status_details"]
    assert job.get_status()["scored_rows"] == rows


def _without_data(dr, models):
    """Create a job as the client does, without sending data."""
    body = {"deploymentId": models.regression.deployment_id}
    made = dr.client.get_client().post("batchPredictions/", json=body).json()
    return dr.BatchPredictionJob.get(made["id"])


def test_score_from_existing(dr, models, tmp_path):
    old, _ = score(dr, models.binary.deployment_id, as_csv(sample(5)), tmp_path / "out.csv", prediction_threshold=0.25)
    new = dr.BatchPredictionJob.score_from_existing(old.id)
    assert new.id != old.id
    spec = new.get_status()["job_spec"]
    assert spec["prediction_threshold"] == 0.25
    assert spec["deployment_id"] == models.binary.deployment_id
    new.delete()


# What goes wrong. The client sees the reason in the job's status, or in the answer to a download that comes too late.


def ended(dr):
    return RuntimeError, dr.errors.ClientError


def test_missing_columns_end_score_with_the_reason(dr, models, tmp_path):
    with pytest.raises(ended(dr), match=r"was aborted.*: .*'age', 'distance', 'delay'"):
        score(dr, models.regression.deployment_id, b"age;distance;delay\n1;2;3\n", tmp_path / "out.csv")


def test_a_column_that_may_have_gaps_must_still_be_there(dr, models, tmp_path):
    """A misspelt header must not score every row as if nothing were known of it."""
    with pytest.raises(ended(dr), match=r"was aborted.*: .*'delay'"):
        score(dr, models.regression.deployment_id, as_csv(sample(20)[:, :2]), tmp_path / "out.csv")


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_a_packed_file_is_scored_as_what_is_in_it(dr, models, tmp_path, packing):
    rows = sample(5000)
    data = as_csv(rows)
    packed = gzip.compress(data) if packing == "gzip" else pa.Codec("zstd").compress(data, asbytes=True)
    (tmp_path / "in.csv.gz").write_bytes(packed)
    job = dr.BatchPredictionJob.score(
        models.regression.deployment_id,
        intake_settings={"type": "localFile", "file": str(tmp_path / "in.csv.gz")},
        output_settings={"type": "localFile", "path": str(tmp_path / "out.csv")},
    )
    out = read_csv((tmp_path / "out.csv").read_bytes())
    assert (numbers(out["late_PREDICTION"]) == models.regression.predict(rows)).all()
    status = job.get_status()
    assert (status["scored_rows"], status["job_intake_size"]) == (5000, len(packed))


def test_a_packed_file_that_is_cut_ends_score_with_the_reason(dr, models, tmp_path):
    packed = gzip.compress(as_csv(sample(5000)))
    with pytest.raises(ended(dr), match=r"was aborted.*: .*gzip data ends too early"):
        score(dr, models.regression.deployment_id, packed[:-9], tmp_path / "out.csv")


@pytest.mark.parametrize("headers", [{"Content-Encoding": "gzip"}, {}], ids=["named", "not named"])
def test_packed_data_by_plain_http(server, models, headers):
    rows = sample(100)
    with server.http() as http:
        job = http.post("batchPredictions/", json={"deploymentId": models.regression.deployment_id}).json()
        sent = http.put(
            job["links"]["csvUpload"],
            content=gzip.compress(as_csv(rows)),
            headers={"Content-Type": "text/csv"} | headers,
        )
        assert sent.status_code == 202
        out = read_csv(http.get(job["links"]["download"]).content)
    assert (numbers(out["late_PREDICTION"]) == models.regression.predict(rows)).all()


def test_missing_columns_break_score_pandas(dr, models, capsys):
    """The client may notice before its download or within it; a short frame is never returned."""
    import pandas as pd
    from urllib3.exceptions import ProtocolError

    frame = pd.DataFrame({"years": [1.0] * 5, "miles": [2.0] * 5})
    with pytest.raises((RuntimeError, ProtocolError, pd.errors.EmptyDataError, dr.errors.ClientError)):
        dr.BatchPredictionJob.score_pandas(models.regression.deployment_id, frame)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the client's upload thread
def test_an_empty_file_ends_score_with_the_reason(dr, models, tmp_path):
    with pytest.raises(ended(dr), match=r"was aborted.*: .*empty.* at least a header"):
        score(dr, models.regression.deployment_id, b"", tmp_path / "out.csv")


def test_a_header_without_rows(dr, models, tmp_path):
    job, out = score(dr, models.regression.deployment_id, b"age,distance,delay\n", tmp_path / "out.csv")
    assert read_csv(out)["late_PREDICTION"] == []
    assert job.get_status()["scored_rows"] == 0


def test_undecodable_bytes_end_score_with_the_reason(dr, models, tmp_path):
    with pytest.raises(ended(dr), match=r"was aborted.*: .*not UTF-8"):
        score(dr, models.regression.deployment_id, b"age,distance,delay\n1,2,\xff\xfe\n", tmp_path / "out.csv")


def test_what_is_not_built_is_a_client_error(dr, models):
    intake = {"type": "localFile", "file": io.BytesIO(b"x")}
    with pytest.raises(dr.errors.ClientError, match="not supported yet") as refused:
        dr.BatchPredictionJob.score(models.binary.deployment_id, intake_settings=intake, max_explanations=3)
    assert refused.value.status_code == 422
    assert "maxExplanations" in refused.value.json["errors"]
    with pytest.raises(dr.errors.ClientError, match="s3://bucket/key"):
        dr.BatchPredictionJob.score_s3(models.binary.deployment_id, "in.csv", "s3://b/out.csv")


def test_an_unknown_deployment_is_a_client_error(dr):
    with pytest.raises(dr.errors.ClientError) as refused:
        dr.BatchPredictionJob.score("0" * 24, intake_settings={"type": "localFile", "file": io.BytesIO(b"x")})
    assert refused.value.status_code == 404


def test_a_wrong_token_is_refused_at_the_start(dr, server):
    with pytest.raises(dr.errors.ClientError) as refused:
        dr.Client(token="nonsense", endpoint=server.endpoint)
    assert refused.value.status_code == 401


def test_a_bearer_client_uploads_too(dr, server, models, tmp_path):
    dr.Client(token=server.token, endpoint=server.endpoint, token_type="Bearer")
    rows = sample(5)
    _, out = score(dr, models.regression.deployment_id, as_csv(rows), tmp_path / "out.csv")
    assert (numbers(read_csv(out)["late_PREDICTION"]) == models.regression.predict(rows)).all()
