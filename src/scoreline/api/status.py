"""Answers to asynchronous requests. Small work is done before they are answered, so the first look finds the result."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from scoreline.api.calls import Call, Called
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.wire import answers
from scoreline.api.wire.base import timestamp
from scoreline.catalog import datasets
from scoreline.catalog.records import State
from scoreline.errors import NotFound
from scoreline.registry import deployments

router = APIRouter(prefix="/status", tags=["status"])

VERSIONS = "datasetVersions"
"""What the ids of statuses begin with that tell of versions of datasets."""

_FINDERS = {"deployments": deployments.get}
_GOING = answer(answers.Work, text="It goes on, or it failed, as `status` says.")


def done(call: Call, collection: str, object_id: str, **more: Any) -> Response:
    """Return 202 with the object's id and what else there is to say, and a status link that leads to it."""
    location = call.links.to("status", f"{collection}-{object_id}")
    return JsonResponse({"id": object_id, **more}, 202, {"Location": location})


@router.get(
    "/{status_id}/",
    status_code=303,
    responses=_GOING | answer(answers.Progress, 303, location=True, text="It is done, and `Location` is the result."),
)
def get_status(call: Called, status_id: str) -> Response:
    """Lead to the finished object with 303, which is how the client knows success; say until then how far it is."""
    collection, _, object_id = status_id.partition("-")
    if collection == VERSIONS:
        return _version(call, status_id, object_id)
    find = _FINDERS.get(collection)
    if find is None:
        raise NotFound(f"There is no asynchronous work {status_id[:100]!r}.")
    find(call.store, call.caller, object_id)
    return _finished(call.links.to(collection, object_id))


def _version(call: Call, status_id: str, version_id: str) -> Response:
    found = datasets.of_version(call.store, call.caller, version_id)
    version = found.version
    if version.state is State.COMPLETED:
        # Of a further version the dataset's own address would lead to whichever is the latest by then.
        more = ("versions", version.id) if version.number > 1 else ()
        return _finished(call.links.to("datasets", found.id, *more))
    work: answers.Work = {
        "status": version.state.value,
        "statusId": status_id,
        "statusType": "Dataset",
        "code": 0 if version.state is State.RUNNING else 1,
        "message": version.error or "The dataset is being made.",
        "description": f"Making version {version.number} of dataset {found.name!r}",
        "created": timestamp(version.created_at),
    }
    return JsonResponse(work)


def _finished(location: str) -> Response:
    return JsonResponse({"status": "COMPLETED"}, 303, {"Location": location})
