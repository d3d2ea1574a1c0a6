"""Answers to asynchronous requests. The work is done before they are answered, so the first look finds the result."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from scoreline.api.calls import Call, Called
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.wire import answers
from scoreline.errors import NotFound
from scoreline.registry import deployments

router = APIRouter(prefix="/status", tags=["status"])

_FINDERS = {"deployments": deployments.get}


def done(call: Call, collection: str, object_id: str, **more: Any) -> Response:
    """Return 202 with the object's id and what else there is to say, and a status link that leads to it."""
    location = call.links.to("status", f"{collection}-{object_id}")
    return JsonResponse({"id": object_id, **more}, 202, {"Location": location})


@router.get(
    "/{status_id}/",
    status_code=303,
    responses=answer(answers.Progress, 303, location=True, text="It is done, and `Location` is the result."),
)
def get_status(call: Called, status_id: str) -> Response:
    """Lead to the finished object with 303, which is how the client knows success."""
    collection, _, object_id = status_id.partition("-")
    find = _FINDERS.get(collection)
    if find is None:
        raise NotFound(f"There is no asynchronous work {status_id[:100]!r}.")
    find(call.store, call.caller, object_id)
    return JsonResponse({"status": "COMPLETED"}, 303, {"Location": call.links.to(collection, object_id)})
