"""A job's events as a stream (Server-Sent Events, https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from fastapi import APIRouter
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from scoreline.api.calls import Called, Installation
from scoreline.api.contract import answer
from scoreline.api.receiving import in_thread, until_gone
from scoreline.api.wire.jobs import COLLECTION, progress_document
from scoreline.jobs import service, watching
from scoreline.jobs.watching import Seen
from scoreline.types import JsonObject

router = APIRouter(prefix=f"/{COLLECTION}", tags=["batch predictions"])

_HEARTBEAT_SECONDS = 15.0
_LIFE_SECONDS = 900.0  # then the client comes again, and shows again that it may
_RETRY_MILLISECONDS = 1000
_EVENT: JsonObject = {
    "type": "object",
    "description": "One event of the stream.",
    "properties": {
        "event": {"enum": ["state", "progress"]},
        "id": {"type": "string", "pattern": "^[A-Z]+\\.[0-9]+$"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "id", "data"],
}
_STREAM: JsonObject = {"text/event-stream": {"schema": _EVENT}}
_LAST: JsonObject = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The `id` of the last event that came: lines of the log that it had are left out.",
    "schema": {"type": "string"},
}
_ID = re.compile(r"([A-Z]{1,20})\.([0-9]{1,9})")
_AGES = frozenset(("elapsedTimeSec", "logs"))  # fields whose change alone is no event


@router.get(
    "/{job_id}/events/",
    responses=answer(None, content=_STREAM, text="Events, as they happen.", refuses=(503,))
    | answer(None, 204, text="All was told, as `Last-Event-ID` says: nothing will ever come."),
    openapi_extra={"parameters": [_LAST]},
)
async def stream_events(call: Called, job_id: str) -> Response:
    """Stream what the job does: `state` at once and whenever its status changes, `progress` when anything else does.

    The data of both is the job's status and counters, and those lines of its log that are new. The stream ends behind
    the last state, or after some minutes; clients then come again by themselves.
    """
    here = call.installation
    job = await in_thread(here, service.get, call.store, call.caller, job_id)
    seen = (await in_thread(here, watching.look, call.store, {job.id: None}))[job.id]
    last = call.request.headers.get("last-event-id", "")
    if seen.job.state.final and last == _id(seen):
        return Response(status_code=204)
    return EventStream(here, call.caller.user_id, seen, last)


class EventStream(Response):
    """The answer: events until the job is over. It holds no thread while it waits."""

    def __init__(self, here: Installation, user_id: str, seen: Seen, last: str) -> None:
        super().__init__(status_code=200)
        self.raw_headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # a proxy must not collect events
        ]
        self._here = here
        self._user_id = user_id
        self._seen = seen
        told = _ID.fullmatch(last)
        self._lines = int(told[2]) if told else 0
        self._told: JsonObject = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Send events. Raises Overloaded, before anything is sent, when there are too many streams."""
        with self._here.board.place(self._user_id):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            gone = asyncio.create_task(until_gone(receive))
            try:
                async with aclosing(self._pieces(gone)) as pieces:
                    async for piece in pieces:
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                        if gone.done():
                            return
            finally:
                gone.cancel()
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pieces(self, gone: asyncio.Task[None]) -> AsyncGenerator[bytes]:
        here, loop = self._here, asyncio.get_running_loop()
        spoke = loop.time()
        end = spoke + _LIFE_SECONDS
        yield f"retry: {_RETRY_MILLISECONDS}\n\n".encode()
        with here.board.watch(self._seen, self._look, here.closing) as looks:
            while not gone.done():
                following, seen = looks.next, looks.seen
                event = self._event(seen)
                if event is None and loop.time() >= spoke + _HEARTBEAT_SECONDS:
                    event = b": the job goes on\n\n"
                if event is not None:
                    yield event
                    spoke = loop.time()
                if seen.job.state.final or here.closing.is_set() or loop.time() >= end:
                    return
                silence = max(0.0, spoke + _HEARTBEAT_SECONDS - loop.time())
                await asyncio.wait({gone, following}, timeout=silence, return_when=asyncio.FIRST_COMPLETED)

    async def _look(self, before: Mapping[str, Seen | None]) -> dict[str, Seen]:
        return await in_thread(self._here, watching.look, self._here.store, before)

    def _event(self, seen: Seen) -> bytes | None:
        """Return the event that tells how a job is now, None when it is as was told last."""
        document: JsonObject = dict(progress_document(seen.job, seen.lines[self._lines :]))
        told, shown = self._told, {name: value for name, value in document.items() if name not in _AGES}
        if shown == told and not document["logs"]:
            return None
        self._told, self._lines = shown, max(self._lines, len(seen.lines))
        name = "progress" if told.get("status") == shown["status"] else "state"
        data = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        return f"event: {name}\nid: {_id(seen)}\ndata: {data}\n\n".encode()


def _id(seen: Seen) -> str:
    """Return what stands for all that was told by now."""
    return f"{seen.job.state.value}.{len(seen.lines)}"
