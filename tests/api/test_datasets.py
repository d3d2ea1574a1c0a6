"""The catalogue of datasets through the official client and raw requests; scoring them is in `test_client_datasets`."""

from __future__ import annotations

import gzip
import io
import socket
import time
import warnings
from datetime import timedelta
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from scoreline.api import dataset_making
from scoreline.catalog import keeping
from scoreline.jobs import keeping as sweeping
from scoreline.jobs.presence import Presence
from scoreline.store import now
from scoreline.store.tables.catalog import dataset_versions, datasets
from tests.support.api import running_api, wait_for
from tests.support.web import Reply, web

CSV = b"x,carrier\n1,AA\n2.5,BB\n,AA\n"


@pytest.fixture(scope="module")
def module_api(tmp_path_factory, migrated_sqlite, site):
    with running_api(
        tmp_path_factory.mktemp("api"), migrated_sqlite, max_dataset_bytes=4 << 20, allowed_networks=site.place
    ) as api:
        yield api


@pytest.fixture
def dr(api):
    with warnings.catch_warnings():
        # About the client's own use of urllib3.
        warnings.filterwarnings("ignore", "Using an empty collection for 'allowed_methods'", FutureWarning)
        datarobot = pytest.importorskip("datarobot")
        datarobot.Client(token=api.token, endpoint=api.endpoint)
        yield datarobot
        with api.client() as client:
            for each in datarobot.Dataset.list():
                assert client.delete(f"datasets/{each.id}/").status_code == 204


def made(dr, content=CSV, name="flights.csv", **options):
    file = io.BytesIO(content)
    file.name = name
    return dr.Dataset.create_from_file(filelike=file, **options)


def said(api, content, name="data.csv"):
    """Why a file is not taken, and that it leaves nothing behind."""
    with api.client() as client:
        sent = client.post("datasets/fromFile/", files={"file": (name, content)})
        assert sent.status_code == 202, sent.text
        status = client.get(sent.headers["location"]).json()
        found = client.get(f"datasets/{sent.json()['catalogId']}/").json()
        assert (status["status"], found["processingState"]) == ("ERROR", "ERROR")
        assert status["message"] == found["error"]
        assert client.get(f"datasets/{found['datasetId']}/file/").status_code == 409
        assert client.get("datasets/?filterFailed=true").json()["totalCount"] == 0
        assert client.delete(f"datasets/{found['datasetId']}/").status_code == 204
    assert f"datasets/{found['versionId']}" not in api.spool.blobs.list("datasets")
    assert not list((api.settings.data_dir / "scratch").iterdir())
    return status["message"]


def frame(rows=3000):
    random = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "number": random.normal(size=rows),
            "whole": random.integers(0, 50, rows),
            "flag": random.choice([True, False], rows),
            "day": pd.date_range("2020-01-01", periods=rows, freq="h"),
            "carrier": random.choice(["AA", "BB", "CC, Inc."], rows),
            "remark": [f'the plane no. {number}\nsaid "hello"' for number in range(rows)],
            "constant": "same",
            "empty": None,
        }
    )
    table.loc[::5, "number"] = np.nan
    return table


# The client leaves the files open that it opens.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning")
def test_files_frames_and_records(dr, tmp_path):
    (tmp_path / "from path.csv").write_bytes(CSV)
    sources = [
        dr.Dataset.create_from_file(str(tmp_path / "from path.csv"), categories=["TRAINING"]),
        made(dr, name=str(tmp_path / "from file.csv")),
        dr.Dataset.create_from_in_memory_data(pd.read_csv(io.BytesIO(CSV)), fname="frame.csv"),
        dr.Dataset.create_from_in_memory_data(records=[{"x": 1, "carrier": "AA"}, {"x": 2.5, "carrier": "BB"}]),
        dr.Dataset.upload(pd.read_csv(io.BytesIO(CSV))),
    ]
    assert [each.name for each in sources] == ["from path.csv", "from file.csv", "frame.csv", "data.csv", "data.csv"]
    assert [each.row_count for each in sources] == [3, 3, 3, 2, 3]
    first = sources[0]
    assert (first.categories, first.processing_state, first.size) == (["TRAINING"], "COMPLETED", len(CSV))
    assert (first.is_latest_version, first.is_snapshot, first.data_persisted) == (True, True, True)
    assert dr.Dataset.get(first.id) == first
    pd.testing.assert_frame_equal(first.get_as_dataframe(), pd.read_csv(io.BytesIO(CSV)))
    first.get_file(file_path=str(tmp_path / "again.csv"))
    assert (tmp_path / "again.csv").read_bytes() == CSV
    details = first.get_details()
    assert (details.data_source_type, details.uri, details.error) == ("file", "from path.csv", "")
    assert {each.feature_type: each.count for each in details.feature_count_by_type} == {"Numeric": 1, "Categorical": 1}
    assert details.to_dataset().id == first.id
    assert first.get_projects() == []


@pytest.mark.parametrize("form", ["csv", "csv.gz", "csv.zst", "parquet"])
def test_what_is_known_of_columns(dr, form):
    table = frame()
    body = io.BytesIO()
    if form == "parquet":
        table.to_parquet(body, row_group_size=700)
    else:
        table.to_csv(body, index=False)
    content = body.getvalue()
    if form == "csv.gz":
        content = gzip.compress(content)
    if form == "csv.zst":
        content = pa.Codec("zstd").compress(content, asbytes=True)
    dataset = made(dr, content, f"table.{form}")
    assert (dataset.row_count, dataset.size) == (3000, len(body.getvalue()))
    found = {each.name: each for each in dataset.get_all_features()}
    assert list(found) == sorted(table.columns)
    kinds = ["Numeric", "Numeric", "Boolean", "Date", "Categorical", "Text", "Categorical", "Categorical"]
    assert [found[name].feature_type for name in table.columns] == kinds
    assert [found[name].na_count for name in table.columns] == table.isna().sum().tolist()
    assert [found[name].unique_count for name in table.columns] == table.nunique().tolist()
    assert [name for name in found if found[name].low_information] == ["constant", "empty"]
    for name in ("number", "whole"):
        told = found[name]
        wanted = [getattr(table[name], figure)() for figure in ("min", "max", "mean", "median", "std")]
        assert [told.min, told.max, told.mean, told.median, told.std_dev] == pytest.approx(wanted)
    assert (found["day"].min, found["day"].max) == ("2020-01-01", "2020-05-04T23:00:00")
    assert found["remark"].min is None
    assert [each.id for each in dataset.iterate_all_features(limit=3, order_by="-featureType")][:2] == [5, 0]
    # Packed files are sent unpacked, since the client's readers want text.
    low = dataset.get_as_dataframe(low_memory=True)
    pd.testing.assert_frame_equal(dataset.get_as_dataframe(), low)
    assert low["remark"].tolist() == table["remark"].tolist()


def test_lists(dr, api):
    for name, categories in (("a", ["TRAINING"]), ("b", ["PREDICTION"]), ("c", ["TRAINING", "PREDICTION"])):
        made(dr, name=name, categories=categories)
    assert [each.name for each in dr.Dataset.list()] == ["c", "b", "a"]
    assert [each.name for each in dr.Dataset.list(order_by="created")] == ["a", "b", "c"]
    assert [each.name for each in dr.Dataset.list(category="PREDICTION", filter_failed=True)] == ["c", "b"]
    assert [each.name for each in dr.Dataset.iterate(limit=1, offset=1)] == ["b", "a"]
    with api.client() as client:
        assert client.get("datasets/?category=TRAIN").status_code == 422


def test_changing_and_updating(dr, api):
    dataset = made(dr)
    other = dr.Dataset.get(dataset.id)
    other.modify(name="late flights", categories=["SAMPLE"])
    assert (other.name, other.categories) == ("late flights", ["SAMPLE"])
    dataset.update()
    assert (dataset.name, dataset.categories) == ("late flights", ["SAMPLE"])
    with pytest.raises(dr.errors.ClientError, match="categories"):
        other.modify(categories=["NONSENSE"])
    with api.client() as client:
        assert client.patch(f"datasets/{dataset.id}/", json={"name": " "}).status_code == 422
        assert client.patch(f"datasets/{dataset.id}/", json={"owner": "me"}).status_code == 422


def test_versions(dr, api):
    first = made(dr)
    second = dr.Dataset.create_version_from_in_memory_data(first.id, pd.DataFrame({"y": [1, 2]}))
    third = dr.Dataset.create_version_from_file(first.id, filelike=io.BytesIO(CSV), categories=["TRAINING"])
    assert len({first.version_id, second.version_id, third.version_id}) == 3
    assert [first.id, second.row_count, third.row_count] == [second.id, 2, 3]
    latest = dr.Dataset.get(first.id)
    assert (latest.version_id, latest.is_latest_version, latest.categories) == (third.version_id, True, ["TRAINING"])
    with api.client() as client:
        listed = client.get(f"datasets/{first.id}/versions/").json()["data"]
        assert [each["versionId"] for each in listed] == [third.version_id, second.version_id, first.version_id]
        assert [each["isLatestVersion"] for each in listed] == [True, False, False]
        older = f"datasets/{first.id}/versions/{second.version_id}/"
        assert client.get(f"{older}file/").content == b'"y"\n"1"\n"2"\n'
        assert [each["name"] for each in client.get(f"{older}allFeaturesDetails/").json()["data"]] == ["y"]
        # One that fails changes nothing for those who use the dataset.
        broken = client.post(f"datasets/{first.id}/versions/fromFile/", files={"file": ("a", b"a,b\n1\n")})
        assert client.get(broken.headers["location"]).json()["status"] == "ERROR"
        assert dr.Dataset.get(first.id).version_id == third.version_id
        assert client.get(f"datasets/{first.id}/versions/{'0' * 24}/").status_code == 404


BROKEN = {
    "header twice": (b"a,b,a\n1,2,3\n", "column 'a' more than once"),
    "nameless": (b"a,,c\n1,2,3\n", "column 2 has no name"),
    "ragged": (b"a,b\n1,2\n1,2,3\n", "3 fields, where the header has 2"),
    "latin 1": ("stra\u00dfe,b\n1,2\n".encode("latin-1"), "no UTF-8 text"),
    "latin 1 below": ("a,b\n1,stra\u00dfe\n".encode("latin-1"), "no UTF-8 text"),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "UTF-16 text"),
    "excel": (b"PK\x03\x04" + bytes(50), "an Excel workbook"),
    "parquet cut": (b"PAR1" + bytes(100), "no whole Parquet file"),
    "gzip cut": (gzip.compress(CSV * 1000)[:-20], "ends too early"),
    "gzip of nothing": (gzip.compress(b""), "the file is empty"),
    "line ends only": (b"\n\n\n", "no column in it"),
    "open quote": (b'a,b\n1,"2\n' + b"3,4\n" * 1_040_000, "a quote is never closed"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_taken(dr, api, name):
    content, words = BROKEN[name]
    assert words in said(api, content)


def test_parquet_that_is_not_taken(dr, api):
    body = io.BytesIO()
    parquet.write_table(pa.table([pa.array(["one"] * 5000), pa.array([1] * 5000)], names=["a", "a"]), body)
    assert "column 'a' more than once" in said(api, body.getvalue())
    body = io.BytesIO()
    parquet.write_table(pa.table({"a": np.random.default_rng(0).random(5000)}), body, compression="snappy")
    flipped = bytearray(body.getvalue())
    flipped[8:400] = bytes(392)
    assert "no whole Parquet file" in said(api, bytes(flipped))


def test_odd_tables_that_are_taken(dr):
    header = made(dr, b"a,b\n")
    assert (header.row_count, [each.na_count for each in header.get_all_features()]) == (0, [0, 0])
    semicolons = made(dr, "\ufeffgr\u00f6\u00dfe;b\r\n1,5;x\r\n".encode())
    assert sorted(each.name for each in semicolons.get_all_features()) == ["b", "gr\u00f6\u00dfe"]
    single = made(dr, b"only\n1\n2\n")
    assert [each.feature_type for each in single.get_all_features()] == ["Numeric"]
    # Numbers at the beginning, texts far behind: the whole column is read again.
    late = made(dr, b"a,b\n" + b"1,2\n" * 600_000 + b"x,2\n")
    assert [(each.feature_type, each.unique_count) for each in late.get_all_features()] == [
        ("Categorical", 2),
        ("Numeric", 1),
    ]
    nested = io.BytesIO()
    parquet.write_table(
        pa.table({"l": [[1], None], "t": pa.array([1, None], pa.time32("s")), "n": pa.nulls(2)}), nested
    )
    assert {
        each.name: (each.feature_type, each.na_count) for each in made(dr, nested.getvalue()).get_all_features()
    } == {
        "l": ("Text", 1),
        "t": ("Categorical", 1),
        "n": ("Categorical", 2),
    }


def test_requests_that_are_not_taken(dr, api):
    with api.client() as client:

        def refused(code, **request):
            answer = client.post("datasets/fromFile/", **request)
            assert answer.status_code == code, answer.text
            return answer.json()["message"]

        assert "is empty" in refused(422, files={"file": ("a.csv", b"")})
        assert "no field `file`" in refused(422, files={"categories": (None, "TRAINING")})
        assert "the only one" in refused(422, files={"file": ("a.csv", CSV), "mode": (None, "x")})
        assert "NONSENSE" in refused(422, files={"file": ("a.csv", CSV), "categories": (None, "NONSENSE")})
        assert "SCORELINE_MAX_DATASET_BYTES" in refused(422, files={"file": ("a.csv", CSV + bytes(5 << 20))})
        refused(400, content=b"x", headers={"Content-Type": "text/csv"})
        assert client.get("datasets/").json()["totalCount"] == 0
    assert not list((api.settings.data_dir / "scratch").iterdir())


@pytest.fixture(scope="module")
def site():
    with web() as here:
        yield here


def test_urls(dr, api, site):
    site.put("in/flights%20of%20today.csv", CSV)
    first = dr.Dataset.create_from_url(
        f"{site.url}/in/flights%20of%20today.csv?sig=0123456789", categories=["TRAINING"]
    )
    assert (first.name, first.row_count, first.categories) == ("flights of today.csv", 3, ["TRAINING"])
    details = first.get_details()
    assert (details.data_source_type, "sig=" in details.uri) == ("url", False)
    body = io.BytesIO()
    frame().to_parquet(body)
    site.put("b.parquet", body.getvalue())
    site.next["/b.parquet"] = [Reply(cut=20_000)]  # it goes on where it was cut
    second = dr.Dataset.create_version_from_url(first.id, f"{site.url}/b.parquet")
    assert (second.id, second.row_count, dr.Dataset.get(first.id).version_id) == (first.id, 3000, second.version_id)
    assert dr.Dataset.upload(f"{site.url}/b.parquet").get_as_dataframe().shape == (3000, 8)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/none.csv", "there is no"),
        ("/page.html", "a web page"),
        ("/away.csv", "127.0.0.1"),
        ("/large.csv", "SCORELINE_MAX_DATASET_BYTES"),
    ],
)
def test_urls_that_lead_nowhere(dr, api, site, path, words):
    site.put("page.html", b"<html><body>log in</body></html>", kind="text/html")
    site.put("large.csv", CSV * 200_000)
    site.next["/away.csv"] = [Reply(302, {"Location": f"{api.url}/api/v2/version/"})]
    with pytest.raises(dr.errors.AsyncProcessUnsuccessfulError, match=words) as caught:
        dr.Dataset.create_from_url(f"{site.url}{path}")
    assert "Reading the intake" not in str(caught.value)
    assert not list((api.settings.data_dir / "scratch").iterdir())


def test_urls_that_are_refused(dr, api, site):
    with api.client() as client:

        def refused(**body):
            answer = client.post("datasets/fromURL/", json=body)
            return answer.status_code, list(answer.json()["errors"])

        assert refused(url="ftp://example.com/a.csv") == (422, ["url"])
        assert refused(url="http:// example.com/a.csv") == (422, ["url"])
        assert refused(url=f"{site.url}/a.csv", doSnapshot=False) == (422, ["doSnapshot"])
        assert refused(url=f"{site.url}/a.csv", sampleSize={"type": "rows", "value": 5}) == (422, ["sampleSize"])
        assert client.get("datasets/").json()["totalCount"] == 0


def test_what_the_catalogue_does_not_have(dr, api):
    dataset = made(dr)
    calls = [
        lambda: dr.Dataset.create_from_data_source("1" * 24),
        lambda: dr.Dataset.create_from_project("1" * 24),
        lambda: dr.Dataset.create_from_datastage("1" * 24),
        lambda: dr.Dataset.create_version_from_data_source(dataset.id, "1" * 24),
        dataset.get_shared_roles,
        dataset.get_featurelists,
        lambda: dataset.create_featurelist("f", ["x"]),
        dataset.get_all_features()[0].get_histogram,
    ]
    for call in calls:
        with pytest.raises(dr.errors.ClientError, match="catalogue of this version of Scoreline has no"):
            call()
    with api.client() as client:
        assert client.post("datasets/fromNowhere/").status_code == 404
        assert client.get(f"datasets/{dataset.id}/secrets/").status_code == 404


def test_rights(dr, api):
    dataset = made(dr)
    address = f"datasets/{dataset.id}/"
    with api.client(api.other("eve", role="user")) as client:
        for path in ("", "file/", "allFeaturesDetails/", f"versions/{dataset.version_id}/", "versions/"):
            assert client.get(f"{address}{path}").status_code == 404
        assert client.patch(address, json={"name": "mine"}).status_code == 404
        assert client.delete(address).status_code == 404
        assert client.patch(f"{address}deleted/").status_code == 404
        assert client.get(f"status/datasetVersions-{dataset.version_id}/").status_code == 404
        sent = client.post(f"{address}versions/fromFile/", files={"file": ("a.csv", CSV)})
        assert sent.status_code == 404
        assert client.get("datasets/").json()["totalCount"] == 0
        job = {"deploymentId": api.deployment_id, "intakeSettings": {"type": "dataset", "datasetId": dataset.id}}
        assert client.post("batchPredictions/", json=job).status_code == 404
    with api.client(api.other("watcher", role="observer")) as client:
        assert client.get(f"{address}file/").content == CSV
        assert client.delete(address).status_code == 403
        assert client.post("datasets/fromFile/", files={"file": ("a.csv", CSV)}).status_code == 403
    with api.client(api.other("chief", role="admin")) as client:
        assert client.get("datasets/").json()["totalCount"] == 1
        assert client.patch(address, json={"name": "seen"}).json()["lastModifierFullName"] == "chief"
    with api.client("no-token") as client:
        assert client.get("datasets/").status_code == 401


def test_deleting_and_bringing_back(dr, api):
    sweeping.purge_datasets(api.store, api.spool, 0.0)  # those of other tests
    dataset = made(dr)
    name = f"datasets/{dataset.version_id}"
    dr.Dataset.delete(dataset.id)
    assert dr.Dataset.list() == []
    with pytest.raises(dr.errors.ClientError, match="404"):
        dr.Dataset.get(dataset.id)
    dr.Dataset.un_delete(dataset.id)
    assert dr.Dataset.get(dataset.id).get_as_dataframe().shape == (3, 2)
    dr.Dataset.delete(dataset.id)
    assert sweeping.purge_datasets(api.store, api.spool, 1.0) == 0
    assert name in api.spool.blobs.list("datasets")
    assert sweeping.purge_datasets(api.store, api.spool, 0.0) == 1
    assert name not in api.spool.blobs.list("datasets")
    with pytest.raises(dr.errors.ClientError, match="deleted for good"):
        dr.Dataset.un_delete(dataset.id)


def test_a_dataset_that_a_job_reads_stays(dr, api):
    dataset = made(dr)
    second = dr.Dataset.create_version_from_file(dataset.id, filelike=io.BytesIO(CSV + b"3,CC\n"))
    job = api.job(intakeSettings={"type": "dataset", "datasetId": dataset.id})
    # The version is settled now; one that is made later is none of the job's business.
    assert job["jobSpec"]["intakeSettings"]["datasetVersionId"] == second.version_id
    assert job["intakeDatasetDisplayName"] == "flights.csv"
    dr.Dataset.create_version_from_file(dataset.id, filelike=io.BytesIO(CSV))
    older = api.job(intakeSettings={"type": "dataset", "datasetId": dataset.id, "datasetVersionId": dataset.version_id})
    assert older["jobSpec"]["intakeSettings"]["datasetVersionId"] == dataset.version_id
    with pytest.raises(dr.errors.ClientError, match=f"read by job ({job['id']}|{older['id']})"):
        dr.Dataset.delete(dataset.id)
    api.end_all()
    dr.Dataset.delete(dataset.id)
    with api.client() as client:
        repeated = client.post("batchPredictions/fromExisting/", json={"predictionJobId": job["id"]})
        assert (repeated.status_code, "no dataset" in repeated.json()["message"]) == (404, True)


def test_jobs_that_cannot_read_a_dataset(dr, api):
    semicolons = made(dr, b"x;carrier\n1;AA\n")

    def refused(**values):
        with api.client() as client:
            answer = client.post("batchPredictions/", json={"deploymentId": api.deployment_id, **values})
        return answer.status_code, answer.json()["message"]

    intake = {"type": "dataset", "datasetId": semicolons.id}
    assert refused(intakeSettings=intake) == (
        422,
        (
            "csvSettings.delimiter: the columns of dataset 'flights.csv' are divided by ';', and the job's by ','; "
            "give the dataset's."
        ),
    )
    assert api.job(intakeSettings=intake, csvSettings={"delimiter": ";"})["status"] == "INITIALIZING"
    api.end_all()
    assert refused(intakeSettings={"type": "dataset"})[0] == 422
    assert refused(intakeSettings=intake | {"datasetVersionId": "0" * 24})[0] == 404
    assert "format" in refused(intakeSettings=intake | {"format": "csv"})[1]
    with api.client() as client:
        failed = client.post("datasets/fromFile/", files={"file": ("a", b"a,b\n1\n")}).json()
    status, words = refused(intakeSettings={"type": "dataset", "datasetId": failed["catalogId"]})
    assert (status, "it failed: Reading the dataset" in words) == (422, True)


def test_an_upload_that_is_cut_leaves_nothing(dr, api):
    place = urlsplit(api.url)
    head = (
        f"POST /api/v2/datasets/fromFile/ HTTP/1.1\r\nHost: x\r\nAuthorization: Token {api.token}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 3000000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    )
    scratch = api.settings.data_dir / "scratch"
    with socket.create_connection((place.hostname, place.port)) as sock:
        sock.sendall(head.encode() + b"x,carrier\n" + b"1,AA\n" * 100_000)
        wait_for(lambda: list(scratch.iterdir()))
    wait_for(lambda: not list(scratch.iterdir()))
    assert dr.Dataset.list() == []


def test_work_that_takes_long_is_told_by_its_status(dr, api, monkeypatch):
    monkeypatch.setattr(dataset_making, "_SHORT", 0.05)
    profile = dataset_making.making.profile

    def slow(*args):
        time.sleep(1.0)
        return profile(*args)

    begin = dataset_making.datasets.begin

    def begun(*args, **values):
        found = begin(*args, **values)
        time.sleep(1.0)  # meanwhile the keeper looks for versions that nobody makes
        return found

    monkeypatch.setattr(dataset_making.making, "profile", slow)
    monkeypatch.setattr(dataset_making.datasets, "begin", begun)
    with api.client() as client:
        sent = client.post("datasets/fromFile/", files={"file": ("a.csv", CSV)})
        status = client.get(sent.headers["location"])
        assert (status.status_code, status.json()["status"]) == (200, "RUNNING")
        address = f"datasets/{sent.json()['catalogId']}/"
        assert client.get(address).json()["processingState"] == "RUNNING"
        assert client.get(f"{address}allFeaturesDetails/").status_code == 409
        done = wait_for(lambda: (found := client.get(sent.headers["location"])).status_code == 303 and found)
        assert done.headers["location"] == f"{api.endpoint}/{address}"


def test_what_a_dead_process_leaves_is_swept_up(dr, api):
    """A process that was killed: its version ends in words, its bytes and its scratch go."""
    other = Presence(api.settings.data_dir)
    other.open()
    sender = other.sender()
    dataset = made(dr)
    with api.store.begin() as connection:
        connection.execute(
            dataset_versions.update()
            .where(dataset_versions.c.id == dataset.version_id)
            .values(state="RUNNING", maker=sender)
        )
    assert keeping.settle(api.store, other.gone) == [sender]
    other.close()
    failed = wait_for(lambda: (found := dr.Dataset.get(dataset.id)).processing_state == "ERROR" and found)
    assert "the API server that made it ended" in failed.get_details().error
    assert keeping.delete_orphans(api.store, api.spool) == 1
    assert f"datasets/{dataset.version_id}" not in api.spool.blobs.list("datasets")
    with api.store.begin() as connection:
        changed = datasets.update().where(datasets.c.id == dataset.id)
        connection.execute(changed.values(deleted_at=now() - timedelta(days=2)))
    assert sweeping.purge_datasets(api.store, api.spool, 24.0) == 1
