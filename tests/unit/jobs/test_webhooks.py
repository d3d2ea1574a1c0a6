"""What a job's `webhooks` may hold, what of it is shown, and how messages are signed."""

from __future__ import annotations

import base64

import pytest

from scoreline.errors import Forbidden, InvalidRequest
from scoreline.jobs import keyring, webhooks
from scoreline.jobs.spec import JobSpec
from scoreline.network import Reach

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
URL = "https://hooks.example.com/jobs"


@pytest.mark.parametrize(
    ("hook", "field", "words"),
    [
        ({}, "url", "is required"),
        ({"url": "ftp://h/x"}, "url", "http"),
        ({"url": "/jobs"}, "url", "http"),
        ({"url": "https://ann:pw@h/x"}, "url", "has a user in it"),
        ({"url": "https://h/x?[redacted]"}, "url", "is masked here"),
        ({"url": "https://h/ x"}, "url", "write it as %XX"),
        ({"url": "https://h:0/x"}, "url", "http"),
        ({"url": 5}, "url", "must be a text"),
        ({"url": URL, "events": []}, "events", "each once"),
        ({"url": URL, "events": ["finished"]}, "events", "'completed'"),
        ({"url": URL, "events": ["aborted", "aborted"]}, "events", "each once"),
        ({"url": URL, "events": "aborted"}, "events", "a list of texts"),
        ({"url": URL, "secret": "a password"}, "secret", "openssl rand"),
        ({"url": URL, "secret": "whsec_" + base64.b64encode(b"k" * 23).decode()}, "secret", "24 to 64 bytes"),
        ({"url": URL, "secret": "whsec_" + base64.b64encode(b"k" * 65).decode()}, "secret", "24 to 64 bytes"),
        ({"url": URL, "secret": base64.b64encode(b"k" * 32).decode()}, "secret", "must be whsec_"),
        ({"url": URL, "secret": "[redacted]"}, "secret", "is masked here"),
        ({"url": URL, "headers": {}}, "headers", "no field 'headers'"),
    ],
)
def test_what_is_refused(hook, field, words):
    with pytest.raises(InvalidRequest, match=r"\S") as refused:
        webhooks.check([{"url": URL}, hook])
    assert refused.value.field == f"webhooks.1.{field}"
    assert words in refused.value.message
    assert "pw" not in refused.value.message


def test_there_are_ten_at_most():
    webhooks.check([{"url": URL}] * 10)
    with pytest.raises(InvalidRequest, match="at most 10"):
        webhooks.check([{"url": URL}] * 11)


@pytest.mark.parametrize("given", [{}, "x", [1], [["url"]]])
def test_anything_but_a_list_of_objects_is_refused_by_name(given):
    with pytest.raises(InvalidRequest, match="webhooks must be a list of objects"):
        JobSpec.from_document({"webhooks": given})


def test_secrets_are_taken_out_and_put_back():
    hooks = [
        {"url": URL, "events": ["started"]},
        {"url": f"{URL}?token=abcdefgh", "secret": SECRET},
        {"url": URL, "secret": SECRET, "events": None},
    ]
    spec = JobSpec.from_document({"webhooks": hooks})
    keys, shown = keyring.keys_in(spec), keyring.masked(spec)
    assert shown.to_document()["webhooks"] == [
        {"url": URL, "events": ["started"]},
        {"url": f"{URL}?[redacted]", "secret": "[redacted]"},
        {"url": URL, "secret": "[redacted]", "events": None},
    ]
    assert webhooks.hides(shown.webhooks) == ["webhooks.1.url", "webhooks.1.secret", "webhooks.2.secret"]
    assert keyring.has_keys(shown)
    stored = JobSpec.from_document(shown.to_document())
    assert keyring.opened(stored, keys).to_document()["webhooks"] == hooks


def test_webhooks_without_secrets_need_no_keys():
    spec = JobSpec.from_document({"webhooks": [{"url": URL}]})
    assert keyring.keys_in(spec) == {}
    assert keyring.masked(spec) == spec
    assert not keyring.has_keys(spec)


def test_the_addresses_are_judged():
    webhooks.check_reach([{"url": "https://1.1.1.1/x"}], Reach())
    with pytest.raises(Forbidden, match=r"webhooks\.1\.url leads to the private address 10\.0\.0\.1"):
        webhooks.check_reach([{"url": "https://1.1.1.1/x"}, {"url": "http://10.0.0.1/x"}], Reach())
    with pytest.raises(InvalidRequest, match="cannot be found") as refused:
        webhooks.check_reach([{"url": "http://no.such.host.invalid/"}], Reach())
    assert refused.value.field == "webhooks.0.url"


def test_the_signature_is_that_of_the_standards_own_example():
    """The example of the libraries of Standard Webhooks, all of which have it in their tests."""
    hook = {"url": URL, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    told = webhooks.headers(hook, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert told["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert told["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert told["webhook-timestamp"] == "1614265330"


def test_without_a_secret_nothing_is_signed():
    assert "webhook-signature" not in webhooks.headers({"url": URL}, "m", 1, b"{}")
