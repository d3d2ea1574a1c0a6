"""Absolute URLs as the client itself reaches this server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlencode

from starlette.requests import Request

PREFIX = "/api/v2/"
_HOST = re.compile(r"[A-Za-z0-9._~-]+(:\d{1,5})?|\[[0-9A-Fa-f:.%]+\](:\d{1,5})?")
_PATH = re.compile(r"(/(?!\.+(/|$))[A-Za-z0-9._~-]+)+")


class Links:
    """Builds URLs from the scheme, host and prefix of one request, also behind a proxy that says what it was asked."""

    def __init__(self, request: Request) -> None:
        scheme = _first(request, "x-forwarded-proto").lower()
        if scheme not in ("http", "https"):
            scheme = request.url.scheme
        host = _first(request, "x-forwarded-host")
        if not _HOST.fullmatch(host):
            host = _first(request, "host")
        if not _HOST.fullmatch(host):
            host = _own_address(request)
        before = _first(request, "x-forwarded-prefix").rstrip("/")
        if not _PATH.fullmatch(before):
            before = ""
        self.base = f"{scheme}://{host}{before}{PREFIX}"

    def to(self, *parts: str) -> str:
        """Return the URL of a path below the prefix; it ends in a slash."""
        return self.base + "".join(f"{part}/" for part in parts)

    def with_query(self, path: str, query: Sequence[tuple[str, str]]) -> str:
        """Return the URL of a path as the router knows it, with a query."""
        return self.base + path.removeprefix(PREFIX) + "?" + urlencode(query)


def _first(request: Request, header: str) -> str:
    """Return a header's first value: of several proxies, the one next to the client."""
    return request.headers.get(header, "").partition(",")[0].strip()


def _own_address(request: Request) -> str:
    host, port = request.scope.get("server") or ("localhost", None)
    name = f"[{host}]" if ":" in host else str(host)
    return name if port is None else f"{name}:{port}"
