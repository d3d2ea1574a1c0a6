"""What is shown of a URL, and what no text may show of it."""

from __future__ import annotations

import pytest

from scoreline import redact, urls
from scoreline.redact import MASK


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/a/b.csv", "https://host/a/b.csv"),
        ("https://host:8/a?x=1&y=2#z", f"https://host:8/a?{MASK}"),
        ("https://host?x", f"https://host?{MASK}"),
        ("https://u:p@host/a@b", f"https://{MASK}@host/a@b"),
        ("https://u@host", f"https://{MASK}@host"),
        ("https://host/a#x?y", "https://host/a"),
        ("/a?to=http://x/y", f"/a?{MASK}"),
        ("https://[::1]:8/a?", f"https://[::1]:8/a?{MASK}"),
    ],
)
def test_what_is_shown(url: str, shown: str) -> None:
    assert urls.shown(url) == shown
    assert urls.is_signed(url) is (MASK in shown)


def test_what_is_hidden() -> None:
    url = "https://u:pass%2Fword@host/a?page=2&sig=abc%2Bdefgh&X-Amz-Signature=0123456789abcdef"
    with redact.hiding(urls.hidden(url, {"Authorization": "Bearer to.ken", "Content-Type": "text/csv"})):
        for text in (
            "page=2&sig=abc%2Bdefgh&X-Amz-Signature=0123456789abcdef",
            "abc+defgh",
            "sig=abc%2Bdefgh",
            "0123456789abcdef",
            "pass/word",
            "u:pass%2Fword",
            "dTpwYXNzL3dvcmQ=",
            "Bearer to.ken",
            "to.ken",
        ):
            assert redact.mask(f"({text})") == f"({MASK})"
        kept = "page 2 of 20 is text/csv, from u at host/a"
        assert redact.mask(kept) == kept
    assert urls.userinfo(url) == ("u", "pass/word")
    assert urls.userinfo("https://host/@") is None
