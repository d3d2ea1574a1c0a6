"""The model processes together: who gets a request, what is loaded where, and the replacement of those that die."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import structlog

from scoreline.errors import DataRefused, ModelBroken, ModelCrashed, Overloaded, ScoringError, ServerUnavailable
from scoreline.serving.documents import Artifact
from scoreline.serving.process import ModelProcess, NotStarted
from scoreline.serving.shared import Shared
from scoreline.types import JsonObject

_log = structlog.get_logger(__name__)

# One request being worked on and one lying ready, so that a process never waits for the front.
DEPTH = 2
_LONGEST_PAUSE = 5.0
_LOAD_CRASHES = 2  # of one model, before it is given up
_GIVEN_UP_SECONDS = 60.0  # then it is tried again: a machine without memory may have some later
_REMEMBERED = 1000
_CAUGHT_UP = 2  # models that a new process loads at once


@dataclass(frozen=True, slots=True)
class Answer:
    """Where in the request's shared memory the Arrow answer lies. `hit`: the model was loaded before."""

    offset: int
    size: int
    rows: int
    hit: bool


class Pool:
    """`size` model processes that each keep `keep` models. Belongs to the event loop it was started in."""

    def __init__(self, *, size: int, keep: int, folder: Path, load_seconds: float, score_seconds: float) -> None:
        self._size = size
        self._keep = keep
        self._folder = folder
        self._load_seconds = load_seconds
        self._score_seconds = score_seconds
        self._slots = asyncio.Semaphore(size * DEPTH)
        self._processes: list[ModelProcess | None] = [None] * size
        self._some_ready = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._recent: OrderedDict[str, Artifact] = OrderedDict()
        self._doomed = _Doomed()
        self._inspections = asyncio.Semaphore(2)

    async def start(self) -> None:
        """Start the processes; they become ready in the background."""
        self._keepers = [asyncio.create_task(self._keep_alive(place)) for place in range(self._size)]

    async def close(self) -> None:
        """End all processes; requests that still wait get ServerUnavailable."""
        for task in self._keepers:
            task.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(process.close() for process in self._processes if process))

    def pids(self) -> list[int]:
        """Process ids of the children that run now."""
        return [process.pid for process in self._processes if process]

    async def score(self, artifact: Artifact, body: Shared, *, wait: float) -> Answer:
        """Score the batch in `body`; the answer is added to it.

        wait: seconds to wait for a place. Raises Overloaded after that, DataRefused, ModelBroken, or ModelCrashed when
        the model's process ended over this request.
        """
        deadline = asyncio.get_running_loop().time() + wait
        message = _message("score", artifact) | {"size": body.size}
        while True:
            self._doomed.check(artifact.key)
            process = await self._place(deadline, artifact)
            hit = process.has(artifact.key)
            if not hit:
                # A message of its own, so that a model which ends its process at once is told from one that ends it
                # over some rows.
                self._load(process, artifact)
            process.note(artifact.key)
            answer = process.submit(message, body.descriptor, seconds=self._score_seconds, done=self._slots.release)
            try:
                reply = await answer
            except NotStarted:
                continue
            self._note(artifact)
            _raise_refusal(reply)
            return Answer(body.size, reply["size"], reply["rows"], hit)

    def preload(self, artifact: Artifact) -> None:
        """Have every process load the model in the background, so that no request pays for it later."""
        self._note(artifact)
        for process in self._processes:
            if process and process.usable:
                self._load(process, artifact)

    async def inspect(self, artifact: Artifact, sample: bytes | None, *, seconds: float) -> JsonObject:
        """Load and try a model in a process of its own, which ends afterwards: {"info", "check"}.

        sample: a JSON object of column texts. Raises DataRefused or ModelBroken, also for a model that ends or blocks
        its process.
        """
        async with self._inspections:
            try:
                reply = await self._inspect(artifact, sample, seconds)
                _raise_refusal(reply)
            except ModelCrashed as error:
                raise ModelBroken(
                    f"The model cannot be used: {error.message[:1].lower()}{error.message[1:].rstrip('.')} when it was "
                    "tried; its file is damaged, or needs other versions of its library than this server has."
                ) from None
        return {"info": reply["info"], "check": reply["check"]}

    async def _inspect(self, artifact: Artifact, sample: bytes | None, seconds: float) -> JsonObject:
        process = ModelProcess(keep=1, folder=self._folder)
        try:
            await process.ready
            with Shared() as body:
                if sample is not None:
                    body.append(sample)
                message = _message("inspect", artifact) | {"size": body.size}
                return await process.submit(message, None if sample is None else body.descriptor, seconds=seconds)
        finally:
            await process.close()

    async def _place(self, deadline: float, artifact: Artifact) -> ModelProcess:
        """The least busy process, one place of it taken; one that is late comes last. Raises Overloaded."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
                try:
                    while not (usable := [process for process in self._processes if process and process.usable]):
                        self._some_ready.clear()
                        await self._some_ready.wait()
                except BaseException:
                    self._slots.release()
                    raise
        except TimeoutError:
            raise Overloaded(
                "All model processes of the prediction server are busy; try again in a moment.", retry_after=1
            ) from None
        return min(usable, key=lambda process: (process.late, process.in_flight, not process.has(artifact.key)))

    def _catch_up(self, process: ModelProcess) -> None:
        """Have a new process load what was used last, except models that are known to end their processes."""
        for artifact in list(self._recent.values())[-_CAUGHT_UP:]:
            if artifact.key not in self._doomed:
                self._load(process, artifact)

    def _note(self, artifact: Artifact) -> bool:
        """Remember the use of a model; True when it was among those that processes keep loaded."""
        known = artifact.key in self._recent
        self._recent[artifact.key] = artifact
        self._recent.move_to_end(artifact.key)
        while len(self._recent) > self._keep:
            self._recent.popitem(last=False)
        return known

    def _load(self, process: ModelProcess, artifact: Artifact) -> None:
        process.note(artifact.key)
        answer = process.submit(_message("load", artifact), None, seconds=self._load_seconds)
        answer.add_done_callback(functools.partial(self._loaded, process, artifact))

    def _loaded(self, process: ModelProcess, artifact: Artifact, answer: asyncio.Future[JsonObject]) -> None:
        """Take note of how loading went; at a model's first use, have the other processes load it, too."""
        if answer.cancelled() or isinstance(answer.exception(), NotStarted):
            return
        try:
            _raise_refusal(answer.result())
        except ScoringError as error:
            process.forget(artifact.key)
            if isinstance(error, ModelCrashed):
                self._doomed.add(artifact.key, error.message)
            _log.warning("model not loaded", artifact=artifact.sha256, cause=error.message)
            return
        self._doomed.remove(artifact.key)
        if not self._note(artifact):
            for other in self._processes:
                if other and other is not process and other.usable and not other.has(artifact.key):
                    self._load(other, artifact)

    async def _keep_alive(self, place: int) -> None:
        """Keep one process running; pauses grow while it cannot even start."""
        pause = 0.1
        while True:
            process = ModelProcess(keep=self._keep, folder=self._folder)
            self._processes[place] = process
            try:
                await process.ready
                pause = 0.1
                self._catch_up(process)
                self._some_ready.set()
            except ServerUnavailable:
                pause = min(pause * 2, _LONGEST_PAUSE)
            reason = await process.ended()
            _log.warning("model process started again", pid=process.pid, reason=reason)
            await asyncio.sleep(pause)


class _Doomed:
    """Models that ended their process while it loaded them; after some times they are given up for a while."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[int, float, str]] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def add(self, key: str, cause: str) -> None:
        """Count one more end."""
        count = self._known.pop(key, (0, 0.0, ""))[0] + 1
        self._known[key] = (count, time.monotonic(), cause)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def remove(self, key: str) -> None:
        """Forget a model that was loaded after all."""
        self._known.pop(key, None)

    def check(self, key: str) -> None:
        """Raise ModelBroken for a model that is given up."""
        count, last, cause = self._known.get(key, (0, 0.0, ""))
        if count >= _LOAD_CRASHES and time.monotonic() - last < _GIVEN_UP_SECONDS:
            raise ModelBroken(
                f"The model cannot be loaded: {cause[:1].lower()}{cause[1:].rstrip('.')} each time; its file is "
                "damaged, or needs other versions of its library than this server has."
            )


def _message(operation: str, artifact: Artifact) -> JsonObject:
    return {"op": operation, "key": artifact.key, "path": str(artifact.path), "trusted": artifact.trusted}


def _raise_refusal(reply: JsonObject) -> None:
    """Turn a model process's refusal into the error it means."""
    kind = reply.get("error")
    if kind is None:
        return
    message = str(reply["message"])
    if kind == "data":
        raise DataRefused(message, reply.get("row"))
    if kind == "crash":
        raise ModelCrashed(message)
    raise ModelBroken(message)
