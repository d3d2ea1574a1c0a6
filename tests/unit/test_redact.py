"""Secrets in use never stand in a text."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
from urllib.parse import quote

import pytest
import structlog

from scoreline import logs, redact
from scoreline.errors import one_line
from scoreline.scorers import reasons
from scoreline.scorers.transport import Reply
from scoreline.settings import Settings

KEY = 'pä"ss/wörd+\\x'


@pytest.mark.parametrize(
    "shape",
    [
        KEY,
        json.dumps(KEY),
        json.dumps(KEY, ensure_ascii=False),
        repr(KEY),
        quote(KEY, safe=""),
        base64.b64encode(KEY.encode()).decode(),
    ],
    ids=["plain", "json", "json text", "repr", "url", "base64"],
)
def test_in_whatever_shape(shape):
    with redact.hiding([KEY]):
        assert redact.mask(f"the key {shape} is wrong") in {
            "the key [redacted] is wrong",
            'the key "[redacted]" is wrong',
            "the key '[redacted]' is wrong",
        }
    assert redact.mask(shape) == shape


def test_the_longest_goes_first_and_each_use_counts():
    with redact.hiding(["secret-one"]):
        with redact.hiding(["secret-one", "secret-one-and-more", ""]):
            assert redact.mask("secret-one-and-more, secret-one") == "[redacted], [redacted]"
        assert redact.mask("secret-one-and-more") == "[redacted]-and-more"
    assert redact.mask("secret-one") == "secret-one"


def test_a_short_secret_is_a_word_of_its_own():
    with redact.hiding(["k"]):
        assert redact.mask("key k: kk (k)") == "key [redacted]: kk ([redacted])"


@pytest.mark.parametrize("before", range(270, 320, 7))
def test_a_cut_leaves_no_part_of_a_secret(before):
    key = "Zq7-" + "x" * 40
    text = "." * before + key + "." * 400
    ends_in_the_key = text.ljust(20_000 + before + 9, ".")  # the last 20,000 bytes of a plain answer are read
    with redact.hiding([key]):
        bodies = (json.dumps({"message": text}), ends_in_the_key)
        shown = [one_line(text, 300), *(reasons.find(Reply(401, {}, body.encode())).text for body in bodies)]
    assert not re.findall("Zq7|xxx", " ".join(shown))


def test_texts_of_a_document():
    assert list(redact.texts({"a": "x", "b": ["y", {"c": "z"}, 1, None]})) == ["x", "y", "z"]


def test_process_logs(monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers)
    monkeypatch.setattr(root, "level", root.level)
    out = io.StringIO()
    logs.configure(Settings(), "worker", out)
    try:
        with redact.hiding([KEY]):
            structlog.get_logger("x").warning("refused", cause=f"bad key {KEY}", more={"list": [KEY]})
            logging.getLogger("y").error("bad key %s", KEY)
            try:
                int(f"bad key {KEY}")
            except ValueError:
                structlog.get_logger("x").exception("failed")
    finally:
        structlog.reset_defaults()
    lines = out.getvalue().splitlines()
    assert len([json.loads(line) for line in lines]) == 3
    assert json.dumps(KEY)[1:-1] not in out.getvalue()
    assert out.getvalue().count("[redacted]") >= 4
