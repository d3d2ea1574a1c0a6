"""What the words of `scoreline score` name: files, objects of stores, files on web servers."""

from __future__ import annotations

import pytest

from scoreline.cli.places import Place
from scoreline.errors import InvalidRequest
from scoreline.jobs import checks
from scoreline.jobs.spec import JobSpec


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("in.csv", None),
        ("-", None),
        ("s3://b/k", "s3"),
        ("gs://b/k", "gcp"),
        ("https://storage.googleapis.com/b/k", "gcp"),
        ("https://storage.googleapis.com/b/k?X-Goog-Signature=1", "http"),
        ("https://a.blob.core.windows.net/c/b", "azure"),
        ("https://a.blob.core.windows.net/c/b?sv=1&sig=2", "http"),
        ("https://host/in.csv", "http"),
        ("HTTP://u:p@a.blob.core.windows.net/c/b", "http"),
    ],
)
def test_types(text: str, kind: str | None) -> None:
    assert Place(text).type == kind


@pytest.mark.parametrize("text", ["s3://b/in.csv.gz", "gs://b/in.csv.zst", "https://host/in.csv.gz"])
def test_what_is_packed_is_read_as_it_is(text: str) -> None:
    checks.check_built(JobSpec.from_document({"deploymentId": "d", "intakeSettings": Place(text).settings()}))


def test_datasets() -> None:
    place = Place("dataset://flights of 2013?.csv")
    assert (place.type, place.shown) == ("dataset", "dataset://flights of 2013?.csv")
    assert place.settings() == {"type": "dataset", "datasetId": "flights of 2013?.csv"}
    for wrong in (Place(place.text, written=True), Place(place.text, "key"), Place(place.text, headers=("A: b",))):
        with pytest.raises(InvalidRequest, match="dataset://flights"):
            wrong.settings()


def test_web_servers() -> None:
    place = Place("https://u:p@host/out.parquet?x=.csv", headers=("X-Key: a:b", "Accept:text/csv"), method="PUT")
    assert place.settings() == {
        "type": "http",
        "url": "https://u:p@host/out.parquet?x=.csv",
        "method": "PUT",
        "headers": {"X-Key": "a:b", "Accept": "text/csv"},
        "format": "parquet",
    }
    assert place.shown == "https://[redacted]@host/out.parquet?[redacted]"
    assert Place("https://host/in.csv.gz", "key").settings() == {
        "type": "http",
        "url": "https://host/in.csv.gz",
        "credentialId": "key",
        "format": "csv",
    }
    assert Place("https://host/out.csv.gz", method="PUT", written=True).settings()["compression"] == "gzip"
    for wrong in (Place("https://host/", endpoint="https://x"), Place("in.csv", headers=("A: b",))):
        with pytest.raises(InvalidRequest):
            wrong.settings()
