"""Requests to a running server, with every failure turned into a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from scoreline import __version__
from scoreline.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    ScorelineError,
    ServerUnavailable,
    UserError,
    one_line,
)
from scoreline.types import JsonObject

if TYPE_CHECKING:
    import httpx2

_PREFIX = "/api/v2/"
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 60.0
_EVENT_SECONDS = 45.0  # a stream of events says something every 15
_QUIET_SECONDS = 660.0  # longest silence of a download or after an upload: a job may wait in line
_ERRORS: dict[int, type[ScorelineError]] = {
    401: NotAuthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: InvalidRequest,
}


class Api:
    """One server, as one user. Paths are below `/api/v2/`, or full addresses that the server gave."""

    def __init__(self, url: str, token: str | None, *, transport: httpx2.BaseTransport | None = None) -> None:
        """Connect lazily. `transport` replaces the network. Raises NotAuthenticated without a token."""
        import httpx2  # noqa: PLC0415 -- start-up time

        if not token:
            raise NotAuthenticated("No API token: set SCORELINE_TOKEN, or give one with --token.")
        base = url.strip().rstrip("/").removesuffix("/api/v2")
        if not base.startswith(("http://", "https://")):
            base = f"http://{base}"
        self.url = base
        try:
            self._http = httpx2.Client(
                headers={"Authorization": f"Bearer {token}", "User-Agent": f"scoreline/{__version__}"},
                timeout=httpx2.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
                transport=transport,
                trust_env=transport is None,
            )
        except (ValueError, httpx2.InvalidURL) as error:
            raise InvalidRequest(f"The server's address {url!r} cannot be used: {error}.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; requests that run in other threads fail."""
        self._http.close()

    def get(self, path: str, **query: Any) -> JsonObject:
        """Return a document. Raises the error that the server's status stands for, ServerUnavailable."""
        return self._json("GET", path, params=_query(query))

    def post(self, path: str, body: JsonObject) -> JsonObject:
        """Create something and return its document. Raises as `get`."""
        return self._json("POST", path, json=body)

    def patch(self, path: str, body: JsonObject) -> JsonObject:
        """Change something and return what is answered, perhaps nothing. Raises as `get`."""
        return self._json("PATCH", path, json=body)

    def put(self, path: str, body: JsonObject) -> JsonObject:
        """Set something; return its document. Raises as `get`."""
        return self._json("PUT", path, json=body)

    def delete(self, path: str) -> None:
        """Delete something. Raises as `get`."""
        self._json("DELETE", path)

    def upload(
        self,
        method: str,
        path: str,
        body: Iterator[bytes],
        *,
        content_type: str,
        length: int | None = None,
        **query: Any,
    ) -> JsonObject:
        """Send a body of any size as it comes; with its length where that is known. Raises as `get`."""
        headers = {"Content-Type": content_type}
        if length is not None:
            headers["Content-Length"] = str(length)
        return self._json(
            method,
            path,
            content=body,
            headers=headers,
            timeout=self._silent_for(_QUIET_SECONDS),
            params=_query(query),
        )

    @contextmanager
    def download(self, path: str) -> Iterator[Iterator[bytes]]:
        """Yield a body as pieces, as they come. Raises as `get`; a body that breaks off is ServerUnavailable."""
        with (
            self._words(),
            self._http.stream("GET", self._address(path), timeout=self._silent_for(_QUIET_SECONDS)) as response,
        ):
            if response.status_code != 200:
                response.read()
                self._check(response)
            yield response.iter_raw(1 << 20)

    def events(self, path: str, last: str = "") -> Iterator[tuple[str, JsonObject]]:
        """Yield the id and the document of each event of a stream, to its end. last: the id of the last one that came.

        Raises as `get`; NotFound for what is no stream of events.
        """
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        timeout = self._silent_for(_EVENT_SECONDS)
        with (
            self._words(),
            self._http.stream("GET", self._address(path), headers=headers, timeout=timeout) as response,
        ):
            if response.status_code != 200:
                response.read()
                self._check(response)
                return  # nothing more will come
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise NotFound(f"{self.url} has no stream of events at {response.url.path}.")
            for event in self._source(response):
                if event.data:
                    yield event.id, self._object(event.data)

    def pages(self, path: str, **query: Any) -> Iterator[JsonObject]:
        """Yield the entries of a list, page after page. Raises as `get`."""
        page = self.get(path, **query)
        while True:
            yield from page["data"]
            if not page.get("next"):
                return
            page = self.get(page["next"])

    def _json(self, method: str, path: str, **arguments: Any) -> JsonObject:
        with self._words():
            response = self._http.request(method, self._address(path), **arguments)
            self._check(response)
        if not response.content:
            return {}
        return self._object(response.text)

    def _object(self, text: str) -> JsonObject:
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ServerUnavailable(f"{self.url} does not answer like a Scoreline server: check the address.")
        return document

    def _check(self, response: httpx2.Response) -> None:
        if response.is_success:
            return
        try:
            message = str(response.json()["message"])
        except (ValueError, KeyError, TypeError):
            message = f"{self.url} answered {response.status_code} to {response.request.method} {response.url.path}."
        kind = _ERRORS.get(response.status_code, UserError if response.status_code < 500 else ServerUnavailable)
        raise kind(one_line(message, 2000))

    def _address(self, path: str) -> str:
        return path if path.startswith(("http://", "https://")) else f"{self.url}{_PREFIX}{path}"

    @staticmethod
    def _silent_for(seconds: float) -> httpx2.Timeout:
        import httpx2  # noqa: PLC0415 -- start-up time

        return httpx2.Timeout(seconds, connect=_CONNECT_SECONDS)

    @staticmethod
    def _source(response: httpx2.Response) -> httpx2.EventSource:
        import httpx2  # noqa: PLC0415 -- start-up time

        return httpx2.EventSource(response)

    @contextmanager
    def _words(self) -> Iterator[None]:
        import httpx2  # noqa: PLC0415 -- start-up time

        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise ServerUnavailable(
                f"No server answers at {self.url}: start one with `scoreline serve`, or name it with SCORELINE_URL."
            ) from error
        except httpx2.TimeoutException as error:
            raise ServerUnavailable(f"{self.url} did not answer in time: try again.") from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise InvalidRequest(f"The server's address {self.url!r} cannot be used: {error}.") from error
        except httpx2.TransportError as error:
            cause = str(error) or type(error).__name__
            raise ServerUnavailable(one_line(f"The connection to {self.url} broke off: {cause}.")) from error


def _query(values: dict[str, Any]) -> dict[str, Any] | None:
    """Return the parameters that are given; None for none, because an empty dict would erase those of the address."""
    return {name: value for name, value in values.items() if value is not None} or None
