"""Settings of jobs that name URLs: what is refused, by which field; what is sealed, and comes back."""

from __future__ import annotations

import json

import pytest

from scoreline.errors import InvalidRequest
from scoreline.jobs import checks, keyring
from scoreline.jobs.spec import JobSpec
from scoreline.redact import MASK

URL = "https://host/path/in.csv"
SIGNED = "https://me:p%40ss@host:81/in.csv?X-Amz-Signature=abc123#top"


def spec(side: str = "intakeSettings", **settings: object) -> JobSpec:
    given = {"type": "http", "url": URL, **({"method": "PUT"} if side == "outputSettings" else {}), **settings}
    return JobSpec.from_document({"deploymentId": "d", side: given})


@pytest.mark.parametrize("side", ["intakeSettings", "outputSettings"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", None),
        ("url", 5),
        ("url", "ftp://host/in.csv"),
        ("url", "https:///in.csv"),
        ("url", "https://[host/in.csv"),
        ("url", "https://host:99999/in.csv"),
        ("url", "https://host/in.csv\r\nX-Header: 1"),
        ("url", "https://host/a b.csv"),
        ("url", "https://host/\u00e4.csv"),
        ("url", f"https://host/in.csv?{MASK}"),
        ("format", "xml"),
        ("credentialId", 5),
        ("headers", "X-Key: 1"),
        ("headers", {"": "1"}),
        ("headers", {"X Key": "1"}),
        ("headers", {"X-Key": "1", "x-key": "2"}),
        ("headers", {str(number): "1" for number in range(51)}),
        ("headers.X-Key", {"X-Key": 1}),
        ("headers.X-Key", {"X-Key": ""}),
        ("headers.X-Key", {"X-Key": "a\r\nHost: b"}),
        ("headers.X-Key", {"X-Key": MASK}),
        ("headers.host", {"host": "other"}),
        ("headers.Content-Length", {"Content-Length": "1"}),
        ("headers.Transfer-Encoding", {"Transfer-Encoding": "chunked"}),
        ("headers.Proxy-Authorization", {"Proxy-Authorization": "x"}),
        ("headers.Range", {"Range": "bytes=0-1"}),
        ("partitionColumns", ["a"]),
        ("endpointUrl", "https://host"),
    ],
)
def test_what_is_refused(side: str, field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        checks.check_built(spec(side, **{field.partition(".")[0]: value}))
    assert refused.value.field == f"{side}.{field}"
    assert "?" not in str(refused.value)


@pytest.mark.parametrize(
    "more",
    [{"headers": {"AUTHORIZATION": "x"}, "credentialId": "c"}, {"url": "https://u:p@host/", "credentialId": "c"}],
)
def test_who_asks_is_said_once(more: dict) -> None:
    with pytest.raises(InvalidRequest, match="says twice who asks"):
        checks.check_built(spec(**more))


def test_how_rows_are_sent() -> None:
    for wrong in ({"method": None}, {"method": "DELETE"}, {"sendAgain": "yes"}):
        with pytest.raises(InvalidRequest) as refused:
            checks.check_built(spec("outputSettings", **wrong))
        assert refused.value.field == f"outputSettings.{next(iter(wrong))}"
    checks.check_built(spec("outputSettings", method="post", sendAgain=True, compression="gzip", format="jsonl"))
    for wrong in ("method", "sendAgain", "compression"):
        with pytest.raises(InvalidRequest, match="no field"):
            checks.check_built(spec(**{wrong: "PUT"}))


def test_what_a_url_and_headers_hide_is_sealed_and_comes_back() -> None:
    headers = {"X-Key": "topsecret", "Content-Type": "text/csv"}
    given = spec("outputSettings", url=SIGNED, headers=headers, method="POST")
    masked = keyring.masked(given)
    assert masked.output["url"] == f"https://{MASK}@host:81/in.csv?{MASK}"
    assert masked.output["headers"] == {"X-Key": MASK, "Content-Type": "text/csv"}
    assert not any(word in json.dumps(masked.to_document()) for word in ("p%40ss", "abc123", "topsecret"))
    assert keyring.has_keys(masked)
    keys = json.loads(json.dumps(keyring.keys_in(given)))
    assert keyring.opened(masked, keys) == given
    plain = spec(headers={"Accept": "text/csv"})
    assert keyring.masked(plain) == plain
    assert keyring.keys_in(plain) == {}
    assert not keyring.has_keys(plain)
