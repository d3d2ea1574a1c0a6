"""Who may call: tokens are shown to the API, and its yes is believed for at most ten seconds."""

from __future__ import annotations

import base64
import hashlib

from scoreline.errors import Forbidden, NotAuthenticated
from scoreline.serving.caching import TimedCache
from scoreline.serving.documents import Introspection
from scoreline.serving.upstream import Upstream

_SECONDS = 10.0


class Callers:
    """Turns an Authorization header into a caller."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._known: TimedCache[Introspection | None] = TimedCache(4096)

    async def authenticate(self, header: str | None) -> Introspection:
        """The caller who sent this `Authorization` value. Raises NotAuthenticated, or Overloaded without the API."""
        token = _token(header or "")
        if not token:
            raise NotAuthenticated("Invalid Authorization header. No credentials provided.")
        key = hashlib.sha256(token.encode()).hexdigest()
        caller = await self._known.get(key, lambda: self._upstream.introspect(token), _seconds)
        if caller is None:
            raise NotAuthenticated("Invalid API token")
        return caller


def _token(header: str) -> str:
    """Return the token of an `Authorization` value, or nothing; old clients send it as the password of Basic."""
    scheme, _, value = header.strip().partition(" ")
    kind, value = scheme.lower(), value.strip()
    if kind == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2].strip()
        except ValueError:
            return ""
    return value if kind in {"bearer", "token"} else ""


def _seconds(caller: Introspection | None) -> float:
    if caller is None:
        return 0.0
    return _SECONDS if caller.seconds is None else min(_SECONDS, caller.seconds)


def require_package(caller: Introspection, package_id: str, *, listed: bool) -> None:
    """Refuse a caller whose token is for other packages; `listed`: only tokens made for packages will do.

    Raises Forbidden. A token without a list is a user's: what it may see is decided by the API for each deployment, so
    it cannot be used with a package's own address.
    """
    if caller.package_ids is None:
        if listed and caller.kind != "service":
            raise Forbidden(
                "This address takes the tokens of runs; send the request to /predApi/v1.0/deployments/{id}/predictions."
            )
    elif package_id not in caller.package_ids:
        raise Forbidden(f"The token does not cover model package {package_id}.")


def require_right(caller: Introspection, right: str) -> None:
    """Raise Forbidden unless the caller has `right`."""
    if right not in caller.rights:
        raise Forbidden(f'The token lacks the right "{right}".')
