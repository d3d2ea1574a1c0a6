"""Where the URLs of object stores lead, and which lead nowhere: what no store would take, or would take for another."""

from collections.abc import Callable

import pytest

from scoreline.adapters import azurecalls, gcp, s3
from scoreline.errors import InvalidRequest

AZURE = "https://acct.blob.core.windows.net"


@pytest.mark.parametrize(
    ("url", "bucket", "key"),
    [
        ("s3://bucket/key.csv", "bucket", "key.csv"),
        ("s3://bucket/a b/100%/q?x#y+z", "bucket", "a b/100%/q?x#y+z"),
        ("s3://bucket//leading", "bucket", "/leading"),
        ("s3://bucket/a/../b", "bucket", "a/../b"),
    ],
)
def test_keys_of_s3_are_taken_as_they_are(url: str, bucket: str, key: str) -> None:
    assert s3.place(url) == s3.Place(bucket, key)
    assert gcp.place(url.replace("s3:", "gs:")) == gcp.Place(bucket, key)


@pytest.mark.parametrize("name", ["bucket?x", "bucket#x", "buc\nket", "bucket\\x", "", "me@bucket", "bucket:80", "a b"])
@pytest.mark.parametrize(("place", "scheme"), [(s3.place, "s3"), (gcp.place, "gs")])
def test_a_bucket_has_no_more_in_its_name_than_stores_allow(
    place: Callable[[str], object], scheme: str, name: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"must name an object: {scheme}://bucket/") as refused:
        place(f"{scheme}://{name}/key")
    assert refused.value.field == "url"


@pytest.mark.parametrize("key", [".", ".."])
def test_google_has_no_objects_of_these_names(key: str) -> None:
    with pytest.raises(InvalidRequest, match="no object can be called"):
        gcp.place(f"gs://bucket/{key}")


@pytest.mark.parametrize(
    ("url", "account", "blob"),
    [
        (f"{AZURE}/box/in/a%20b%25.csv", AZURE, "in/a b%.csv"),
        (f"{AZURE}/box/q%3Fx%23y+z", AZURE, "q?x#y+z"),
        ("abfss://box@acct.dfs.core.windows.net/in/x.csv", AZURE, "in/x.csv"),
        ("wasb://box@acct.blob.core.windows.net/in/x.csv", AZURE.replace("https", "http"), "in/x.csv"),
        ("http://azurite:10000/acct/box/b.csv", "http://azurite:10000/acct", "b.csv"),
        ("http://localhost/acct/box/b.csv", "http://localhost/acct", "b.csv"),
        ("http://127.0.0.1:10000/acct/box/..x/x..", "http://127.0.0.1:10000/acct", "..x/x.."),
    ],
)
def test_urls_of_blobs(url: str, account: str, blob: str) -> None:
    assert azurecalls.place(url) == azurecalls.Place(account, "box", blob)


@pytest.mark.parametrize(
    "path", ["..", "../other/x", "a/../../x", "a/./x", "%2E%2E/x", "a/..%2Fx", "a\\x", "a%5C..%5Cx"]
)
def test_a_blob_that_the_way_there_would_make_another_one_of(path: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot have") as refused:
        azurecalls.place(f"{AZURE}/box/{path}")
    assert refused.value.field == "url"


def test_a_container_is_no_way_up() -> None:
    with pytest.raises(InvalidRequest, match="must name a blob"):
        azurecalls.place(f"{AZURE}/../x")
