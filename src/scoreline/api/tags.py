"""Tags of deployments: add, change, delete. Deployments show theirs, and are found by them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import Response

from scoreline.api.calls import Called, body_of, documented
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.wire.base import Wire
from scoreline.api.wire.deployment_answers import Tag
from scoreline.registry import tags

router = APIRouter(prefix="/deployments/{deployment_id}/tags", tags=["deployments"])


class NewTag(Wire):
    """A tag: any name, any value."""

    name: str = Field(min_length=1, max_length=512)
    value: str = Field(min_length=1, max_length=512)


@router.post("/", status_code=201, responses=answer(Tag, 201), openapi_extra=documented(body=NewTag))
def add_tag(call: Called, deployment_id: str, body: Annotated[NewTag, Depends(body_of(NewTag))]) -> Response:
    """Add a tag to a deployment."""
    return JsonResponse(tags.add(call.store, call.caller, deployment_id, body.name, body.value), 201)


@router.patch("/{tag_id}/", responses=answer(Tag), openapi_extra=documented(body=NewTag))
def change_tag(
    call: Called, deployment_id: str, tag_id: str, body: Annotated[NewTag, Depends(body_of(NewTag))]
) -> Response:
    """Give a tag another name and value."""
    return JsonResponse(tags.change(call.store, call.caller, deployment_id, tag_id, name=body.name, value=body.value))


@router.delete("/{tag_id}/", status_code=204, responses=answer(None, 204))
def delete_tag(call: Called, deployment_id: str, tag_id: str) -> Response:
    """Delete a tag of a deployment."""
    tags.remove(call.store, call.caller, deployment_id, tag_id)
    return Response(status_code=204)
