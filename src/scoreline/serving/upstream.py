"""The API as the prediction server asks it: who a caller is, what a deployment serves, where artefacts come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2

from scoreline.errors import ModelBroken, NotFound, Overloaded, ServerUnavailable
from scoreline.serving.documents import Introspection, Package
from scoreline.types import JsonObject

_TIMEOUT = httpx2.Timeout(10.0, connect=3.0)
_DOWNLOAD_TIMEOUT = httpx2.Timeout(120.0, connect=3.0)
_BLOCK = 1 << 20


class Upstream:
    """One API; addresses below `{url}/api/v2/internal/`, all asked with the prediction server's own token."""

    def __init__(self, url: str, token: str) -> None:
        self._base = url.rstrip("/").removesuffix("/api/v2") + "/api/v2/internal/"
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        # The API is addressed directly: proxies of the environment are for the outside world.
        self._client = httpx2.AsyncClient(headers=self._headers, timeout=_TIMEOUT, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def introspect(self, token: str) -> Introspection | None:
        """Whose token it is; None for one that is not valid. Raises Overloaded while the API cannot be reached."""
        document = await self._ask("POST", "introspect/", "a caller's token", {"token": token})
        return Introspection.from_document(document)

    async def deployment(self, deployment_id: str, user_id: str) -> Package:
        """What a deployment serves now, for this user. Raises NotFound, Overloaded, ServerUnavailable."""
        path = f"deployments/{deployment_id}/"
        what = f"Deployment {deployment_id}"
        return Package.from_document(await self._ask("GET", path, what, params={"userId": user_id}))

    async def package(self, package_id: str) -> Package:
        """A model package. Raises NotFound, Overloaded, ServerUnavailable."""
        return Package.from_document(await self._ask("GET", f"packages/{package_id}/", f"Model package {package_id}"))

    async def register(self, name: str, url: str, concurrency: int) -> None:
        """Tell the API that this prediction server is there. Raises as `package` does."""
        body = {"name": name, "url": url, "concurrency": concurrency}
        await self._ask("PUT", "predictors/", "the list of prediction servers", body)

    def download(self, sha256: str, target: Path) -> None:
        """Write an artefact's tar to `target`; blocks. Raises NotFound, Overloaded, ServerUnavailable, OSError."""
        what = f"Model artefact {sha256[:12]}"
        try:
            with (
                httpx2.Client(headers=self._headers, timeout=_DOWNLOAD_TIMEOUT, trust_env=False) as client,
                client.stream("GET", f"{self._base}artifacts/{sha256}/") as response,
                target.open("wb") as file,
            ):
                _check(response, what)
                for block in response.iter_raw(_BLOCK):
                    file.write(block)
        except httpx2.TransportError as error:
            raise _unreachable(what, error) from error

    async def _ask(
        self, method: str, path: str, what: str, body: JsonObject | None = None, params: dict[str, str] | None = None
    ) -> JsonObject:
        try:
            response = await self._client.request(method, self._base + path, json=body, params=params)
        except httpx2.TransportError as error:
            raise _unreachable(what, error) from error
        _check(response, what)
        try:
            document: Any = response.json() if response.content else {}
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ServerUnavailable(
                f"The API's answer about {what} is not a JSON object; check the predictor's API URL."
            )
        return document


def _check(response: httpx2.Response, what: str) -> None:
    status = response.status_code
    if response.is_success:
        return
    if status == 404:
        raise NotFound(f"{what} was not found.")
    if status in {401, 403}:
        raise ServerUnavailable(
            f"The API refuses the prediction server's own token ({status}); "
            "start it with a valid SCORELINE_PREDICTOR_TOKEN."
        )
    if status == 422:
        raise ModelBroken(_message(response) or f"{what} cannot be served; deploy it again.")
    if status in {429, 500, 502, 503, 504}:
        raise Overloaded(f"The API cannot say anything about {what} now ({status}); try again.", retry_after=1)
    raise ServerUnavailable(f"The API answers {status} when asked about {what}; check the predictor's API URL.")


def _message(response: httpx2.Response) -> str:
    try:
        document = response.json()
    except (ValueError, httpx2.StreamError):
        return ""
    return str(document.get("message") or "") if isinstance(document, dict) else ""


def _unreachable(what: str, error: Exception) -> Overloaded:
    return Overloaded(
        f"The prediction server cannot ask the API about {what} ({type(error).__name__}); try again in a moment.",
        retry_after=1,
    )
