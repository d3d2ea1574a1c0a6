"""The answer to a request for a job, given so that one that comes again makes no second job: see `jobs.repeats`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from scoreline.api.calls import Call, Installation
from scoreline.api.jsonio import JsonResponse
from scoreline.api.receiving import noted, until_gone
from scoreline.api.wire.jobs import COLLECTION, job_document
from scoreline.errors import InvalidRequest, StoreError
from scoreline.jobs import repeats, service
from scoreline.jobs.spec import JobSpec
from scoreline.types import JsonObject

KEY: JsonObject = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Names the request: the same one within 24 hours is answered with the job that it made.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}
"""The header's description."""

_FROM_API = "api"
_LAST_LOOK = 0.001  # seconds for the end of the connection to be noticed, if it came before the answer
_log = logging.getLogger(__name__)


async def make_job(call: Call, body: JsonObject, spec: Callable[[], JobSpec]) -> Response:
    """Create the job that `spec` returns and answer with it. Raises what `service.create` does."""
    asked = repeats.ask(call.request.url.path, body, _key(call))
    gone = asyncio.create_task(until_gone(call.request.receive))

    def make() -> Response:
        job = service.create(
            call.store,
            call.caller,
            spec(),
            source=_FROM_API,
            asked=asked,
            wanted=lambda: not gone.done(),
            files_open=call.installation.settings.files_dir is not None,
            outside=call.installation.outside,
        )
        document = job_document(job, service.logs_of(call.store, [job])[job.id], call.links)
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


def _key(call: Call) -> str | None:
    given = call.request.headers.getlist("idempotency-key")
    if len(given) > 1:
        raise InvalidRequest("The header Idempotency-Key is there twice: send one.", "Idempotency-Key")
    return given[0] if given else None
