"""Upload of a model's files: ours, because the public API has no route that takes any model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from scoreline.access import require_write
from scoreline.api import forms
from scoreline.api.calls import Call, Called, documented, query_of
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse
from scoreline.api.receiving import in_thread
from scoreline.api.scratch import new_folder, scratch_of
from scoreline.api.wire import model_answers
from scoreline.api.wire.packages import ArtifactQuery, artifact_document
from scoreline.errors import Conflict, InvalidRequest
from scoreline.registry import artifacts
from scoreline.registry.inspect import inspect
from scoreline.registry.records import Artifact
from scoreline.registry.tree import disk_errors
from scoreline.types import JsonObject

router = APIRouter(prefix="/modelArtifacts", tags=["models"])

_UNNAMED = "model"
_BYTES: JsonObject = {"type": "string", "format": "binary"}
_SHORT_WAIT = 2.0  # seconds for a prediction server that does not answer


@router.post(
    "/",
    status_code=201,
    responses=answer(model_answers.Artifact, 201),
    openapi_extra=documented(
        query=ArtifactQuery,
        upload={
            "application/octet-stream": _BYTES,
            forms.FORM: {"type": "object", "properties": {"file": _BYTES}, "required": ["file"]},
        },
    ),
)
async def upload_artifact(call: Called, query: Annotated[ArtifactQuery, Depends(query_of(ArtifactQuery))]) -> Response:
    """Store a model: the file itself, or a tar of its folder, as the body or as the field `file` of a form.

    A prediction server then says what the model is; without one the model is stored, and looked at when it is used.
    """
    here = call.installation
    await in_thread(here, require_write, call.caller)
    await in_thread(here, call.spool.check_space)
    scratch = scratch_of(call.settings)
    folder = await in_thread(here, new_folder, scratch, here.presence.sender())
    try:
        file, received = await _receive(call, folder)
        filename = query.filename or received or _UNNAMED
        artifact = await in_thread(here, _register, call, file, filename, query.trusted, scratch)
    finally:
        await in_thread(here, shutil.rmtree, folder, ignore_errors=True)
    return JsonResponse(artifact_document(artifact), 201)


@router.get("/{sha256}/", responses=answer(model_answers.Artifact))
def get_artifact(call: Called, sha256: str) -> Response:
    """Return what is known about a stored model."""
    return JsonResponse(artifact_document(artifacts.get(call.store, call.caller, sha256)))


def _register(call: Call, file: Path, filename: str, trusted: bool, scratch: Path) -> Artifact:
    with file.open("rb") as body:
        artifact = artifacts.register(
            call.store,
            call.spool,
            call.caller,
            body,
            filename,
            trusted=trusted,
            max_bytes=call.settings.max_model_bytes,
            scratch=scratch,
        )
    if artifact.info is not None:
        return artifact
    try:
        return inspect(call.store, call.caller, artifact.sha256, wait=_SHORT_WAIT)
    except Conflict:
        return artifact  # no prediction server to ask: it is asked when the model is registered as a package


async def _receive(call: Call, folder: Path) -> tuple[Path, str | None]:
    """Write the request's body, or the file in its form, to the folder; return it and the name it came with."""
    most = call.settings.max_model_bytes
    if forms.is_form(call):
        received = forms.only_file(await forms.receive_form(call, folder, most), "model")
        return received.path, received.name
    target = folder / "body"
    with disk_errors(), await in_thread(call.installation, target.open, "wb") as file:
        await forms.receive(call, file, most)
    if not target.stat().st_size:
        raise InvalidRequest("The body is empty: send the model's file, or a tar of its folder.", "file")
    return target, None
