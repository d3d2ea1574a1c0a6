"""URLs of http and https, and the headers sent along with them: which parts are secret, and what is shown instead.

A query may be a signature, a header may be a key, and no rule tells which are. So all of them count as secret, except
for a few headers that say what is sent and never who sends it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

from scoreline.redact import MASK
from scoreline.types import JsonObject

HTTP = "http"
URL, HEADERS, SEND_AGAIN = "url", "headers", "sendAgain"
METHODS = ("PUT", "POST")

OPEN_HEADERS = frozenset(
    ("accept", "accept-language", "cache-control", "content-disposition", "content-type", "x-ms-blob-type")
)
"""Headers whose values are shown."""

# Shorter values of a query, such as a page's number, occur in texts that have nothing to do with it.
_SHORTEST = 8


def shown(url: str) -> str:
    """Return how documents and messages call a URL: without user and password, query and fragment."""
    before, mark, rest = url.partition("://") if "://" in url.partition("?")[0] else ("", "", url)
    rest = rest.partition("#")[0]
    path, question, _ = rest.partition("?")
    place, slash, path = path.partition("/")
    _, at, host = place.rpartition("@")
    return f"{before}{mark}{MASK + '@' if at else ''}{host}{slash}{path}{question}{MASK if question else ''}"


def is_signed(url: str) -> bool:
    """Say whether a URL may itself give access: it has a query, or a user."""
    return shown(url) != url.partition("#")[0]


def userinfo(url: str) -> tuple[str, str] | None:
    """Return user and password of a URL that is known to be good, None when it names no user."""
    parts = urlsplit(url)
    if not parts.username and not parts.password:
        return None
    return unquote(parts.username or ""), unquote(parts.password or "")


def masked(settings: JsonObject) -> JsonObject:
    """Return settings as they are stored and shown."""
    changed = {**settings, URL: shown(str(settings[URL]))} if settings.get(URL) else dict(settings)
    if settings.get(HEADERS):
        changed[HEADERS] = {
            name: value if name.lower() in OPEN_HEADERS else MASK for name, value in settings[HEADERS].items()
        }
    return changed


def secret(settings: JsonObject) -> JsonObject:
    """Return those of the settings that `masked` changes, as they are."""
    safe = masked(settings)
    return {name: value for name, value in settings.items() if safe[name] != value}


def hides(settings: Mapping[str, Any]) -> list[str]:
    """Return the names of masked settings."""
    url, headers = str(settings.get(URL) or ""), settings.get(HEADERS) or {}
    found = [URL] if MASK in url else []
    return found + [f"{HEADERS}.{name}" for name, value in headers.items() if value == MASK]


def hidden(url: str, headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield what no text may show of a URL and the headers sent to it."""
    query = url.partition("#")[0].partition("?")[2]
    yield query
    for pair in filter(None, query.split("&")):
        value = pair.partition("=")[2]
        yield from (pair, unquote_plus(pair)) if len(pair) >= _SHORTEST else ()
        yield from (value, unquote_plus(value)) if len(value) >= _SHORTEST else ()
    who = userinfo(url) if "@" in url else None
    if who is not None:
        yield who[1]
        yield url.partition("://")[2].partition("/")[0].rpartition("@")[0]
        yield basic(*who)
    for name, value in (headers or {}).items():
        if name.lower() not in OPEN_HEADERS:
            yield value
            yield value.rpartition(" ")[2]


def basic(user: str, password: str) -> str:
    """Return a user and a password as an Authorization header has them, behind the word Basic."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()
