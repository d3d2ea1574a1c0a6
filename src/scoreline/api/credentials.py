"""Stored credentials: keys to other systems that jobs name by id. What they hold goes in and never comes out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from scoreline.access import credentials as stored
from scoreline.api.calls import Called, JsonBody, documented, query_of
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.paging import page_out_of
from scoreline.api.wire import answers
from scoreline.api.wire.credentials import (
    CredentialQuery,
    NewCredential,
    change_schema,
    credential_document,
    new_schema,
    read_change,
)
from scoreline.errors import NotFound
from scoreline.jobs import credentials as used
from scoreline.types import JsonObject

router = APIRouter(prefix="/credentials", tags=["credentials"])

_DEFAULT: JsonObject = {
    "title": "Association",
    "type": "object",
    "properties": {"isDefault": {"type": "boolean"}},
    "additionalProperties": False,
}


@router.post(
    "/", status_code=201, responses=answer(answers.Credential, 201), openapi_extra=documented(body=new_schema())
)
def create_credential(call: Called, body: JsonBody) -> Response:
    """Store a credential of the caller's. Its name is not one of another credential of the caller's."""
    asked = NewCredential.read(body)
    vault = call.installation.outside.vault
    made = stored.create(
        call.store, vault, call.caller, asked.kind, asked.parts, name=asked.name, description=asked.description
    )
    return JsonResponse(credential_document(made), 201)


@router.get(
    "/",
    responses=answer(answers.Page[answers.Credential], refuses=(403,)),
    openapi_extra=documented(query=CredentialQuery),
)
def list_credentials(call: Called, query: Annotated[CredentialQuery, Depends(query_of(CredentialQuery))]) -> Response:
    """List the caller's credentials by name."""
    found = stored.list_credentials(call.store, call.caller, kinds=query.types, everyone=query.all_owners)
    return JsonResponse(page_out_of(call.request, query, [credential_document(each) for each in found]))


@router.get("/{credential_id}/", responses=answer(answers.Credential))
def get_credential(call: Called, credential_id: str) -> Response:
    """Return what can be seen of one credential."""
    return JsonResponse(credential_document(stored.get(call.store, call.caller, credential_id)))


@router.patch("/{credential_id}/", responses=answer(answers.Credential), openapi_extra=documented(body=change_schema()))
def change_credential(call: Called, credential_id: str, body: JsonBody) -> Response:
    """Change name, description or parts of a credential; what is not given stays. Runs that open it later see it."""
    vault = call.installation.outside.vault
    changed = stored.update(call.store, vault, call.caller, credential_id, read_change(body))
    return JsonResponse(credential_document(changed))


@router.delete("/{credential_id}/", status_code=204, responses=answer(None, 204))
def delete_credential(call: Called, credential_id: str) -> Response:
    """Delete a credential for good; not while a job that is not over names it."""
    used.delete(call.store, call.caller, credential_id)
    return Response(status_code=204)


@router.put(
    "/{credential_id}/associations/{association}/",
    responses=answer(answers.Credential),
    openapi_extra=documented(body=_DEFAULT),
)
def associate_credential(call: Called, credential_id: str, association: str, body: JsonBody) -> Response:  # noqa: ARG001 -- only who is known is told
    """Make a credential the default of a data connection; this version keeps none."""
    stored.get(call.store, call.caller, credential_id)
    raise NotFound(
        f"There is no {association[:100]!r}: this version of Scoreline keeps no data connections yet; name the "
        "credential in the settings of the job."
    )
