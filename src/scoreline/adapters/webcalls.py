"""Calls to web servers that users name: where they may lead, who they say they are, and what an answer means.

Redirects are followed here, one by one: each connection is judged, and what proves who asks goes to the server that
the user named and to no other.
"""

from __future__ import annotations

import email.utils
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import httpx2

from scoreline import redact, urls
from scoreline.adapters.files import Patience, Trouble, Why
from scoreline.credentials import BasicSecret, Keys, OAuthSecret, Secret
from scoreline.network import Reach
from scoreline.outbound import MOST_REDIRECTS, transport
from scoreline.types import RunLimits

CONNECT_SECONDS = 10.0
_FIELD = "credentialId"
_SAID_BYTES = 1024  # of what a server says of its refusal
_REDIRECTS = (301, 302, 303, 307, 308)
_SAME_METHOD = (307, 308)
_BY_STATUS = {
    401: Why.DENIED,
    403: Why.DENIED,
    407: Why.DENIED,
    404: Why.MISSING,
    410: Why.MISSING,
    408: Why.AWAY,
    425: Why.AWAY,
    429: Why.AWAY,
    412: Why.CHANGED,
    416: Why.CHANGED,
}
_NEVER_BETTER = (501, 505)
_TAGS = re.compile(r"(?is)<(script|style)\b.*?</\1\s*>|<[^>]*>")


class WebTrouble(Trouble):
    """A web server's refusal, or none at all. unsent: the server cannot have had the request."""

    who = "server"

    def __init__(self, why: Why, said: str, *, wait: float = 0.0, unsent: bool = False) -> None:
        super().__init__(why, said, wait=wait, most=_SAID_BYTES)
        self.unsent = unsent


class Answer:
    """One answer, not read yet. Close it, or read it to its end."""

    def __init__(self, response: httpx2.Response, url: httpx2.URL) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.url = url
        self._response = response

    def blocks(self) -> Iterator[bytes]:
        """Yield the body as it was sent, in blocks of any size. Raises WebTrouble when it is cut."""
        with _meanings(cut=True):
            yield from self._response.iter_raw()

    def close(self) -> None:
        """Drop what was not read."""
        self._response.close()

    def trouble(self) -> WebTrouble:
        """Return what an answer that is none of those wanted means, and close it."""
        why = _BY_STATUS.get(self.status)
        if why is None:
            why = Why.AWAY if self.status >= 500 and self.status not in _NEVER_BETTER else Why.OTHER
        text = self._text()
        if why is Why.DENIED and "expired" in text.lower():
            why = Why.EXPIRED
        said = f"status {self.status}{': ' if text else ''}{text}"
        if 300 <= self.status < 400 and "location" in self.headers:
            said = f"status {self.status} points to {urls.shown(self.headers['location'])}, which is not followed"
        return WebTrouble(why, said, wait=_wait(self.headers.get("retry-after")))

    def _text(self) -> str:
        """Return the begin of the body as a line of text."""
        body = b""
        try:
            for block in self.blocks():
                body += block
                if len(body) >= _SAID_BYTES:
                    break
        except Trouble:
            pass  # its status says more
        finally:
            self.close()
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            return ""
        text = body[:_SAID_BYTES].decode("utf-8", "replace")
        return " ".join((_TAGS.sub(" ", text) if text.lstrip().startswith("<") else text).split())


class Bounds(Protocol):
    """What bounds calls; a run's ticket does. reach: None for anywhere."""

    @property
    def limits(self) -> RunLimits:
        """How long a server may be away."""
        ...

    @property
    def reach(self) -> Reach | None:
        """Where calls may lead."""
        ...


class Caller:
    """Asks the server that one end of a job names. Safe for threads."""

    def __init__(self, ticket: Bounds, settings: Mapping[str, Any], keys: Keys, what: str, *, silent: float) -> None:
        """Connect to nothing yet. `what` ("Intake") begins a refusal to connect; silent: seconds without any byte.

        Raises what `keys` raises.
        """
        url = str(settings["url"])
        self.shown = urls.shown(url)
        self.patience = Patience(ticket.limits.patience_seconds)
        self._url = httpx2.URL(url).copy_with(username=None, password=None, fragment=None)
        self._user = urls.userinfo(url)
        self._given = dict(settings.get("headers") or {})
        self._keys = keys
        self._secret: Secret | None = keys(_FIELD)
        self._hidden = ExitStack()
        self._hide(*(urls.basic(*who) for who in [self._who()] if who))
        self._signed = urls.is_signed(url)
        # No connection is used twice: one that a server has just closed looks like a request that may have arrived.
        limits = httpx2.Limits(max_keepalive_connections=0) if what == "Output" else httpx2.Limits()
        self._transport = transport(ticket.reach or Reach(anywhere=True), f"{what}: the URL", limits=limits)
        self._silent = max(silent, 1.0)

    def call(
        self,
        method: str,
        headers: Mapping[str, str],
        body: Callable[[], Iterator[bytes]] | None = None,
        *,
        follow: bool = True,
    ) -> Answer:
        """Return the answer of the server that answers in the end, whatever it is. `body` is asked once a hop.

        follow: whether redirects are. Raises WebTrouble without an answer, Forbidden for an address out of reach.
        """
        url = self._url
        followed = () if not follow else _SAME_METHOD if body is not None else _REDIRECTS
        for _ in range(MOST_REDIRECTS + 1):
            own = _origin(url) == _origin(self._url)
            answer = self._ask(method, url, {**headers, **(self._own() if own else {})}, body)
            if answer.status not in followed or "location" not in answer.headers:
                if own and answer.status in (401, 403) and self._renew():
                    answer.close()
                    raise WebTrouble(Why.AWAY, "the credential was refused and is another one now", unsent=True)
                return answer
            answer.close()
            url = self._next(url, answer.headers["location"])
        raise WebTrouble(Why.OTHER, f"it redirects more than {MOST_REDIRECTS} times")

    def meant(self, trouble: Trouble) -> Trouble:
        """Return a refusal with what is missing, if the job says nothing of who asks."""
        asks = self._secret or self._user or self._signed or self._given
        return trouble if asks or trouble.why is not Why.DENIED else WebTrouble(Why.DENIED, trouble.of_nobody().said)

    def close(self) -> None:
        """End what is under way, in whatever thread; calling it again is harmless."""
        self.patience.close()
        self._transport.shut()
        self._transport.close()
        self._hidden.close()

    def _ask(
        self, method: str, url: httpx2.URL, headers: Mapping[str, str], body: Callable[[], Iterator[bytes]] | None
    ) -> Answer:
        plain = {"User-Agent": "scoreline", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "keep-alive"}
        given = {name.lower(): (name, value) for name, value in (*plain.items(), *headers.items())}
        timeout = {"connect": CONNECT_SECONDS, "read": self._silent, "write": self._silent, "pool": self._silent}
        request = httpx2.Request(
            method,
            url,
            headers=list(given.values()),
            content=None if body is None else body(),
            extensions={"timeout": timeout},
        )
        with _meanings(closed=self.patience.check):
            response = self._transport.handle_request(request)
        response.request = request
        return Answer(response, url)

    def _next(self, url: httpx2.URL, location: str) -> httpx2.URL:
        """Return where a redirect leads. Raises WebTrouble for what is no place to go."""
        try:
            found = url.join(location).copy_with(username=None, password=None, fragment=None)
        except (httpx2.InvalidURL, ValueError, TypeError) as error:
            raise WebTrouble(Why.OTHER, "it redirects to an address that cannot be read") from error
        self._hide(*urls.hidden(str(found)))
        if found.scheme not in ("http", "https") or not found.host or "%" in found.host:
            raise WebTrouble(Why.OTHER, f"it redirects to {urls.shown(str(found))}, which is no address of a server")
        if url.scheme == "https" and found.scheme == "http":
            raise WebTrouble(Why.OTHER, f"it redirects from https to {urls.shown(str(found))}, which is not encrypted")
        return found

    def _own(self) -> dict[str, str]:
        """Return the headers that are for the user's server only."""
        who, secret = self._who(), self._secret
        if isinstance(secret, OAuthSecret):
            return {**self._given, "Authorization": f"Bearer {secret.token}"}
        return self._given if who is None else {**self._given, "Authorization": f"Basic {urls.basic(*who)}"}

    def _who(self) -> tuple[str, str] | None:
        secret = self._secret
        return (secret.user, secret.password) if isinstance(secret, BasicSecret) else self._user

    def _renew(self) -> bool:
        """Take the credential as it is stored now; say whether it is another one than before."""
        secret = self._keys(_FIELD)
        changed = secret is not None and secret != self._secret
        if changed:
            self._secret = secret
            self._hide(*(urls.basic(*who) for who in [self._who()] if who))
        return changed

    def _hide(self, *values: str) -> None:
        self._hidden.enter_context(redact.hiding(values))


@contextmanager
def _meanings(*, cut: bool = False, closed: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Raise what the library raises as WebTrouble. cut: an answer is being read already."""
    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
        closed()
        if (reason := _tls(error)) is not None:
            raise WebTrouble(Why.OTHER, f"TLS: {reason}", unsent=True) from error
        raise WebTrouble(Why.AWAY, str(error) or "no connection in time", unsent=True) from error
    except httpx2.TimeoutException as error:
        closed()
        raise WebTrouble(Why.CUT if cut else Why.AWAY, "nothing came in time") from error
    except (httpx2.TransportError, httpx2.StreamError) as error:
        closed()
        raise WebTrouble(Why.CUT if cut else Why.AWAY, str(error) or type(error).__name__) from error


def _tls(error: BaseException | None) -> str | None:
    """Return what is wrong with a server's certificate or its TLS, None when that is not it."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            return str(getattr(error, "verify_message", "") or error.reason or error)
        error = error.__cause__ or error.__context__
    return None


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme, 0)


def _wait(text: str | None) -> float:
    """Return the seconds of a Retry-After header in either of its forms, 0 for none."""
    if text is None:
        return 0.0
    if text.strip().isdigit():
        return float(text.strip()[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, moment.timestamp() - time.time())
