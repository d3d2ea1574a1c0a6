"""Settings of intake and output that name a URL of http or https."""

from __future__ import annotations

import re

from scoreline import urls
from scoreline.errors import InvalidRequest
from scoreline.jobs import formats
from scoreline.jobs.fields import Fields
from scoreline.network import split_url
from scoreline.redact import MASK
from scoreline.types import JsonObject
from scoreline.urls import HTTP, METHODS, SEND_AGAIN

MOST_HEADERS = 50

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_VALUE = re.compile(r"[!-~]([ -~]{0,8190}[!-~])?")
_ENDS = re.compile(r"[\x00-\x20\x7f]")
# What the adapter itself says, or what would change how a request is read.
_CLOSED = frozenset(
    (
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


def fields(side: str) -> tuple[str, ...]:
    """Return the names of the settings on a side, "intake" or "output"."""
    sent = ("method", SEND_AGAIN) if side == "output" else ()
    return ("type", urls.URL, *sent, urls.HEADERS, "credentialId", *formats.fields(HTTP, side))


def check(given: JsonObject, field: str, side: str) -> None:
    """Raise InvalidRequest, naming the field, for settings that are not of the right form. No URL is quoted."""
    settings = Fields(given, f"{field}.")
    settings.only(fields(side))
    url = settings.text(urls.URL)
    check_url(url, f"{field}.{urls.URL}")
    formats.check(settings, HTTP, field, side)
    named = settings.text("credentialId")
    headers = settings.object(urls.HEADERS) or {}
    _check_headers(headers, f"{field}.{urls.HEADERS}")
    proofs = [
        name
        for name, has in (
            ("credentialId", named is not None),
            ("a user in the url", urls.userinfo(str(url)) is not None),
            ("the header Authorization", any(name.lower() == "authorization" for name in headers)),
        )
        if has
    ]
    if len(proofs) > 1:
        raise InvalidRequest(f"{field} says twice who asks: give {' or '.join(proofs)}.", f"{field}.credentialId")
    if side == "output":
        method = settings.text("method")
        if method is None or method.upper() not in METHODS:
            raise InvalidRequest(f"{field}.method must be {' or '.join(map(repr, METHODS))}.", f"{field}.method")
        settings.flag(SEND_AGAIN, default=False)


def check_url(url: str | None, field: str, *, names: str = "a file on a web server") -> None:
    """Raise InvalidRequest, naming the field and never the URL, for one that names nothing on a web server.

    names: what it is to name.
    """
    if url is None:
        raise InvalidRequest(f"{field} is required: it names {names}.", field)
    if MASK in url:
        raise InvalidRequest(f"{field} is masked here: give the URL itself.", field)
    if _ENDS.search(url) or not url.isascii():
        raise InvalidRequest(f"{field} has a character that a URL cannot have: write it as %XX.", field)
    try:
        split_url(url, field)
        urls.userinfo(url)
    except (InvalidRequest, ValueError) as exc:
        said = exc.message if isinstance(exc, InvalidRequest) else f"{field} cannot be read."
        raise InvalidRequest(said, field) from exc


def _check_headers(headers: JsonObject, field: str) -> None:
    if len(headers) > MOST_HEADERS:
        raise InvalidRequest(f"{field} must be at most {MOST_HEADERS}.", field)
    if len({name.lower() for name in headers}) < len(headers):
        raise InvalidRequest(f"{field} must name each header once, in whatever case.", field)
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise InvalidRequest(f"{field} has {name[:50]!r}, which is no name of a header.", field)
        if name.lower() in _CLOSED or name.lower().startswith("proxy-"):
            raise InvalidRequest(f"{field}.{name} is not for jobs to set: leave it out.", f"{field}.{name}")
        if value == MASK:
            raise InvalidRequest(f"{field}.{name} is masked here: give the value itself.", f"{field}.{name}")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise InvalidRequest(f"{field}.{name} must be a line of ASCII text.", f"{field}.{name}")
