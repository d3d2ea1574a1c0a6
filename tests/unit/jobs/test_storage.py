"""Whose a bucket is: jobs reach the one of the spool with keys of their own only."""

import pytest

from scoreline.jobs import storage


@pytest.mark.parametrize(
    ("spool", "kind", "url", "found"),
    [
        ("s3://box/spool", "s3", "s3://box/spool/uploads/j/0", True),
        ("s3://box/spool", "s3", "s3://box/elsewhere/data.csv", True),
        ("s3://box/spool", "s3", "s3://boxes/spool/x", False),
        ("s3://box/spool", "gcp", "gs://box/spool/x", False),
        ("gs://box", "gcp", "gs://box/x", True),
        ("gs://box", "gcp", "https://storage.googleapis.com/box/x", True),
        ("az://box/spool", "azure", "https://account.blob.core.windows.net/box/x", True),
        ("az://box/spool", "azure", "abfss://box@account.dfs.core.windows.net/x", True),
        ("az://box/spool", "azure", "https://account.blob.core.windows.net/other/x", False),
        (None, "s3", "s3://box/x", False),
    ],
)
def test_a_url_in_the_bucket_of_the_spool_is_known(spool: str | None, kind: str, url: str, found: bool) -> None:
    assert storage.is_spool({"type": kind, "url": url}, spool) is found
