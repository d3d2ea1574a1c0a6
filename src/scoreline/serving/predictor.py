"""One prediction server's parts, and what every scoring request does with them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from scoreline.errors import NotFound, Overloaded
from scoreline.serving.artifacts import Artifacts
from scoreline.serving.caching import Newest, TimedCache
from scoreline.serving.callers import Callers
from scoreline.serving.config import PredictorConfig
from scoreline.serving.documents import Introspection, Package
from scoreline.serving.pool import DEPTH, Answer, Pool
from scoreline.serving.shared import Shared, SharedPool
from scoreline.serving.upstream import Upstream

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DEPLOYMENT_SECONDS = 10.0  # while the API cannot be asked; with it, a change counts from the next request on
_PACKAGE_SECONDS = 300.0  # packages never change; this only bounds how long a deleted one is served
_SPARE = 1  # bodies that may arrive while every place of a process is taken

T = TypeVar("T")


class Predictor:
    """Holds the caches and the model processes; lives in one event loop."""

    def __init__(self, config: PredictorConfig) -> None:
        self.config = config
        self.upstream = Upstream(config.api_url, config.token)
        self.callers = Callers(self.upstream)
        folder = config.cache_dir.resolve()
        self.artifacts = Artifacts(folder, self.upstream, config.kept_artifacts)
        self.pool = Pool(
            size=config.processes,
            keep=config.models,
            folder=folder / ".home",
            load_seconds=config.load_seconds,
            score_seconds=config.score_seconds,
        )
        self._packages: TimedCache[Package] = TimedCache(1024)
        self._deployments: Newest[Package] = Newest(1024, _DEPLOYMENT_SECONDS)
        bodies = config.processes * (DEPTH + _SPARE)
        self.memory = SharedPool(bodies)
        self._admitted = asyncio.Semaphore(bodies)

    async def start(self) -> None:
        """Start the model processes."""
        await self.pool.start()

    async def close(self) -> None:
        """End the model processes and close the connections to the API."""
        await self.pool.close()
        await self.upstream.close()
        self.memory.close()

    async def package(self, package_id: str) -> Package:
        """A model package by its id. Raises NotFound, Overloaded, ServerUnavailable."""
        _check_id(package_id, "Model package")
        return await self._packages.get(
            package_id, lambda: self.upstream.package(package_id), lambda _: _PACKAGE_SECONDS
        )

    async def deployment(self, deployment_id: str, caller: Introspection) -> Package:
        """What a deployment serves to this caller now. Raises NotFound, Overloaded, ServerUnavailable."""
        _check_id(deployment_id, "Deployment")
        return await self._deployments.get(
            f"{caller.user_id}/{deployment_id}", lambda: self.upstream.deployment(deployment_id, caller.user_id)
        )

    @asynccontextmanager
    async def admission(self) -> AsyncIterator[None]:
        """Bounds the bodies that are held at once; the others wait unread. Raises Overloaded after `max_wait`."""
        try:
            async with asyncio.timeout(self.config.max_wait):
                await self._admitted.acquire()
        except TimeoutError:
            raise Overloaded("The prediction server is busy; try again in a moment.", retry_after=1) from None
        try:
            yield
        finally:
            self._admitted.release()

    async def score(self, request: Request, package: Package, shared: Shared) -> tuple[bytes, bool]:
        """Score the Arrow batch in `shared` with the package's model: the Arrow answer, and whether it was loaded.

        Drops the work when the client hangs up. Raises ClientDisconnect, and as `Pool.score`.
        """
        answer = await unless_gone(request, self._ask(package, shared))
        body = shared.read(answer.offset, answer.size)
        self.memory.give_back(shared)
        return body, answer.hit

    async def _ask(self, package: Package, shared: Shared) -> Answer:
        artifact = await self.artifacts.get(package.artifact, trusted=package.trusted)
        return await self.pool.score(artifact, shared, wait=self.config.max_wait)


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Do `work`, but drop it when the client hangs up. Raises ClientDisconnect. The body must have been read."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _check_id(text: str, what: str) -> None:
    """Ids become part of an address at the API: nothing else may get there."""
    if _ID.fullmatch(text) is None:
        raise NotFound(f"{what} {text[:64]!r} was not found.")
