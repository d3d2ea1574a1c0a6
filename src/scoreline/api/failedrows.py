"""The list of a job's failed rows: what is durable of it now, while the job runs and afterwards."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from scoreline.api.calls import Called, Installation
from scoreline.api.contract import answer
from scoreline.api.guard import StreamBroken
from scoreline.api.receiving import in_thread
from scoreline.api.wire.jobs import COLLECTION
from scoreline.errors import NotFound, SpoolError
from scoreline.jobs import service
from scoreline.rows import failed
from scoreline.types import Receipt

router = APIRouter(prefix=f"/{COLLECTION}", tags=["downloads"])
_log = logging.getLogger(__name__)


@router.get(
    "/{job_id}/errors/",
    responses=answer(None, content={"text/csv": {"schema": {"type": "string"}}}, text="The failed rows until now."),
)
async def failed_rows(call: Called, job_id: str) -> Response:
    """Return the failed rows as CSV: number, reason and source row; of a job that runs, those until now."""
    here = call.installation
    job = await in_thread(here, service.get, call.store, call.caller, job_id)
    if job.results_deleted:
        raise NotFound(f"The list of failed rows of job {job_id!r} is not kept any more: run the job again.")
    receipts = await in_thread(here, service.error_receipts, call.store, job.id)
    size = len(failed.HEADER) + sum(int(receipt.data["size"]) for receipt in receipts)
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f"attachment;filename=errors-{job.id}.csv",
        "Cache-Control": "no-store",
    }
    return StreamingResponse(_lines(here, job.id, receipts), headers=headers, media_type="text/csv; charset=utf-8")


async def _lines(here: Installation, job_id: str, receipts: Sequence[Receipt]) -> AsyncIterator[bytes]:
    yield failed.HEADER
    for receipt in receipts:
        name, crc32 = receipt.data["segment"], receipt.data["crc32"]
        try:
            blocks = await in_thread(
                here,
                lambda name, crc32: list(here.spool.read_segment(f"errors/{job_id}", name, crc32=crc32)),
                name,
                crc32,
            )
        except SpoolError as exc:
            _log.exception("the list of failed rows of job %s broke", job_id)
            raise StreamBroken(exc.message) from exc
        for block in blocks:
            yield block
