"""The answer to a request for a job, given so that one that comes again makes no second job: see `jobs.repeats`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from scoreline.access import Caller
from scoreline.api.calls import Call, Installation
from scoreline.api.jsonio import JsonResponse
from scoreline.api.receiving import noted, until_gone
from scoreline.api.wire.jobs import COLLECTION, job_document
from scoreline.errors import InvalidRequest, SpoolFull, StoreError
from scoreline.jobs import repeats, service, ticket
from scoreline.jobs.outcomes import Origin
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.templates import Moments
from scoreline.spool import Spool
from scoreline.types import JsonObject

KEY: JsonObject = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Names the request: the same one within 24 hours is answered with the job that it made.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}
"""The header's description."""

_LAST_LOOK = 0.001  # seconds for the end of the connection to be noticed, if it came before the answer
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """A job to be made. owner: whose it is. origin, moments: see `service.create`."""

    owner: Caller
    spec: JobSpec
    source: str = "api"
    origin: Origin | None = None
    moments: Moments | None = None


async def make_job(call: Call, body: JsonObject, order: Callable[[], Order]) -> Response:
    """Create the job that `order` returns and answer with it. Raises what `service.create` does."""
    asked = repeats.ask(call.request.url.path, body, _key(call))
    gone = asyncio.create_task(until_gone(call.request.receive))

    def make() -> Response:
        wanted = order()
        job = service.create(
            call.store,
            wanted.owner,
            wanted.spec,
            source=wanted.source,
            origin=wanted.origin,
            moments=wanted.moments,
            asked=asked,
            wanted=lambda: not gone.done(),
            files_open=call.installation.settings.files_dir is not None,
            outside=call.installation.outside,
            room=lambda: check_room(call.spool),
            reach=lambda: ticket.reach(call.store, wanted.owner.user_id, call.settings, call.installation.outside),
        )
        logs = service.logs_of(call.store, [job])[job.id]
        document = job_document(job, logs, call.links, call.caller.user_id)
        location = {"Location": call.links.to(COLLECTION, job.id)}  # the client cuts the id from it
        return _Made(document, location, call.installation, job.id, gone)

    try:
        return await run_in_threadpool(make)
    except BaseException:
        gone.cancel()
        raise


class _Made(JsonResponse):
    """The answer with a new job; notes whether it went out."""

    def __init__(
        self, document: object, headers: dict[str, str], here: Installation, job_id: str, gone: asyncio.Task[None]
    ) -> None:
        super().__init__(document, 202, headers)
        self._here = here
        self._job_id = job_id
        self._gone = gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it unless the client is gone."""
        await asyncio.wait({self._gone}, timeout=_LAST_LOOK)
        sent = not self._gone.done()
        self._gone.cancel()
        if sent:
            await super().__call__(scope, receive, send)
        try:
            await noted(self._here, lambda: repeats.answered(self._here.store, self._job_id, sent=sent))
        except StoreError as exc:
            _log.warning("job %s: it could not be noted that its answer went out: %s", self._job_id, exc.message)


def check_room(spool: Spool) -> None:
    """Raise SpoolFull when nothing more can be staged."""
    try:
        spool.check_space(prefix="uploads")
    except SpoolFull as exc:
        raise SpoolFull(f"No job is made now, because there is no space for it. {exc.message}") from exc


def _key(call: Call) -> str | None:
    given = call.request.headers.getlist("idempotency-key")
    if len(given) > 1:
        raise InvalidRequest("The header Idempotency-Key is there twice: send one.", "Idempotency-Key")
    return given[0] if given else None
