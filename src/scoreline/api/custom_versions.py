"""Versions of custom models: files in, files out. The official client sends each file followed by its path."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response, StreamingResponse

from scoreline.access import require_write
from scoreline.api.calls import Call, Called, body_of, documented, query_of
from scoreline.api.contract import answer
from scoreline.api.forms import FORM, Form, is_form, receive_form
from scoreline.api.jsonio import JsonResponse, parse
from scoreline.api.paging import page
from scoreline.api.problems import HttpProblem
from scoreline.api.receiving import in_thread
from scoreline.api.scratch import new_folder, scratch_of
from scoreline.api.wire import custom_answers as answers
from scoreline.api.wire.answers import Page
from scoreline.api.wire.base import Paging, nearest
from scoreline.api.wire.custom import VersionChange, resources, version_document
from scoreline.errors import Conflict, InvalidRequest
from scoreline.registry import custom_models, custom_versions, execution
from scoreline.registry.custom_versions import NewVersion
from scoreline.registry.records import CustomVersion
from scoreline.registry.tree import disk_errors
from scoreline.types import JsonObject

router = APIRouter(prefix="/customModels/{model_id}", tags=["custom models"])

_BLOCK = 1 << 20
_NOT_BUILT = ("trainingData", "holdoutData", "requiredMetadataValues", "requiredMetadata", "runtimeParameters")
_KINDS: dict[str, type | tuple[type, ...]] = {"string": str, "boolean": bool, "numeric": (int, float)}
_FIELDS = (
    "isMajorUpdate",
    "baseEnvironmentId",
    "baseEnvironmentVersionId",
    "filePath",
    "filesToDelete",
    "networkEgressPolicy",
    "maximumMemory",
    "replicas",
    "keepTrainingHoldoutData",
    "runtimeParameterValues",
    *_NOT_BUILT,
)

_BYTES: JsonObject = {"type": "string", "format": "binary"}
_TEXT: JsonObject = {"type": "string"}
_MADE = answer(answers.CustomModelVersion, 201, location=True, refuses=(415,))
_ZIP: JsonObject = {"application/zip": {"schema": _BYTES}}
_FORM_BODY = documented(
    upload={
        FORM: {
            "type": "object",
            "properties": {
                "file": {"type": "array", "items": _BYTES},
                "filePath": {"type": "array", "items": _TEXT},
                "filesToDelete": {"type": "array", "items": _TEXT},
                **{name: _TEXT for name in _FIELDS if name not in ("filePath", "filesToDelete", *_NOT_BUILT)},
            },
        }
    }
)


@router.post("/versions/", status_code=201, responses=_MADE, openapi_extra=_FORM_BODY)
async def create_custom_version(call: Called, model_id: str) -> Response:
    """Make a version of the files in the form alone: `file` and `filePath`, pair by pair."""
    return await _create(call, model_id, previous=False)


@router.patch("/versions/", status_code=201, responses=_MADE, openapi_extra=_FORM_BODY)
async def extend_custom_version(call: Called, model_id: str) -> Response:
    """Make a version of the latest one's files, without `filesToDelete` and with those in the form."""
    return await _create(call, model_id, previous=True)


@router.get("/versions/", responses=answer(Page[answers.CustomModelVersion]), openapi_extra=documented(query=Paging))
def list_custom_versions(call: Called, model_id: str, query: Annotated[Paging, Depends(query_of(Paging))]) -> Response:
    """List the versions of a custom model, the newest first."""
    custom_models.get(call.store, call.caller, model_id)
    found = custom_versions.list_versions(call.store, call.caller, model_id, offset=query.offset, limit=query.limit)
    return JsonResponse(page(call.request, query, [version_document(each) for each in found.items], found.total))


@router.get("/versions/{version_id}/", responses=answer(answers.CustomModelVersion))
def get_custom_version(call: Called, model_id: str, version_id: str) -> Response:
    """Return a version."""
    return JsonResponse(version_document(custom_versions.get(call.store, call.caller, model_id, version_id)))


@router.patch(
    "/versions/{version_id}/",
    responses=answer(answers.CustomModelVersion),
    openapi_extra=documented(body=VersionChange),
)
def change_custom_version(
    call: Called, model_id: str, version_id: str, body: Annotated[VersionChange, Depends(body_of(VersionChange))]
) -> Response:
    """Change a version's description."""
    if body.required_metadata_values:
        raise InvalidRequest(
            "`requiredMetadataValues` is given, but the environment asks for none: leave it out.",
            "requiredMetadataValues",
        )
    changed = custom_versions.describe(call.store, call.caller, model_id, version_id, body.description)
    return JsonResponse(version_document(changed))


@router.get("/versions/{version_id}/download/", responses=answer(None, content=_ZIP))
async def download_custom_version(call: Called, model_id: str, version_id: str) -> Response:
    """Return a version's files as a zip."""
    here = call.installation
    version = await in_thread(here, custom_versions.get, call.store, call.caller, model_id, version_id)
    return await _zip(call, version)


@router.get("/download/", responses=answer(None, content=_ZIP, refuses=(409,)))
async def download_custom_model(call: Called, model_id: str) -> Response:
    """Return the files of the latest version as a zip."""
    model = await in_thread(call.installation, custom_models.get, call.store, call.caller, model_id)
    if model.latest is None:
        raise Conflict(f"Custom model {model.name!r} has no version yet: make one with its files.")
    return await _zip(call, model.latest)


@router.post("/versions/{version_id}/dependencyBuild/", status_code=202, responses=answer(None, 202))
def build_dependencies(call: Called, model_id: str, version_id: str) -> Response:
    """Refuse in words: nothing is installed for a single model."""
    custom_versions.get(call.store, call.caller, model_id, version_id)
    raise InvalidRequest(
        "Nothing is built for a single model here: install what its requirements.txt names in the environment of "
        "SCORELINE_DRUM, and register the version without a build."
    )


async def _create(call: Call, model_id: str, *, previous: bool) -> Response:
    here = call.installation
    await in_thread(here, require_write, call.caller)
    await in_thread(here, custom_models.get, call.store, call.caller, model_id)
    if not is_form(call):
        raise HttpProblem(415, "The version's files are sent as `multipart/form-data`.")
    await in_thread(here, call.spool.check_space)
    scratch = scratch_of(call.settings)
    folder = await in_thread(here, new_folder, scratch, here.presence.sender())
    try:
        form = await receive_form(call, folder, call.settings.max_model_bytes, "version")
        wanted = _wanted(form, previous=previous)
        made = await in_thread(here, _made, call, model_id, wanted, scratch)
    finally:
        await in_thread(here, shutil.rmtree, folder, ignore_errors=True)
    location = call.links.to("customModels", model_id, "versions", made.id)
    return JsonResponse(version_document(made), 201, {"Location": location})


def _made(call: Call, model_id: str, wanted: NewVersion, scratch: Path) -> CustomVersion:
    most = call.settings.max_model_bytes
    return custom_versions.create(
        call.store, call.spool, call.caller, model_id, wanted, max_bytes=most, scratch=scratch
    )


def _wanted(form: Form, *, previous: bool) -> NewVersion:
    """Read the form. Raises InvalidRequest naming the field."""
    for name in form.texts:
        if name not in _FIELDS and name != "file":
            raise InvalidRequest(f"There is no field {name[:100]!r}{nearest(name, ('file', *_FIELDS))}", name[:100])
    for name in _NOT_BUILT:
        if name in form.texts and form.text(name) not in ("[]", "{}", "", None):
            raise InvalidRequest(f"`{name}` is not supported in this version: leave it out.", name)
    if "filesToDelete" in form.texts and not previous:
        raise InvalidRequest(
            "`filesToDelete` goes with a PATCH, which begins with the latest version.", "filesToDelete"
        )
    execution.check(form.text("baseEnvironmentId"), form.text("baseEnvironmentVersionId"))
    return NewVersion(
        files=_files(form),
        major=_flag(form, "isMajorUpdate", default=True),
        previous=previous,
        delete=tuple(form.texts.get("filesToDelete", ())),
        resources=resources(form.text("networkEgressPolicy"), _count(form, "maximumMemory"), _count(form, "replicas")),
        parameters=_parameters(form),
    )


def _files(form: Form) -> list[tuple[str, Path]]:
    """Pair files and paths in their order; without any path, files go by their names."""
    other = next((each.field for each in form.files if each.field != "file"), None)
    if other is not None:
        raise InvalidRequest(f"The form has a file in {other[:100]!r}: files go in `file`.", other[:100])
    paths = form.texts.get("filePath", [])
    if "file" in form.texts:
        raise InvalidRequest("A part `file` has no file name: send it as a file.", "file")
    if not paths:
        paths = [each.name or "" for each in form.files]
    if len(paths) != len(form.files):
        raise InvalidRequest(
            f"The form has {len(form.files)} files and {len(paths)} paths: send a `filePath` for each `file`.",
            "filePath",
        )
    return [(path, each.path) for path, each in zip(paths, form.files, strict=True)]


def _flag(form: Form, name: str, *, default: bool) -> bool:
    text = form.text(name)
    if text in (None, "", "None"):  # the client sends the word for what is not given
        return default
    if text.lower() not in ("true", "false"):
        raise InvalidRequest(f"`{name}` is true or false, not {text[:100]!r}.", name)
    return text.lower() == "true"


def _count(form: Form, name: str) -> int | None:
    text = form.text(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < 1 << 62):
        raise InvalidRequest(f"`{name}` is a whole number above 0, not {text[:100]!r}.", name)
    return int(text)


def _parameters(form: Form) -> dict[str, Any]:
    """Read values of runtime parameters; secrets have no place in a model's files."""
    text = form.text("runtimeParameterValues")
    if text is None:
        return {}
    name = "runtimeParameterValues"
    try:
        given = [(item["fieldName"], item["value"], item.get("type", "string").lower()) for item in _json(text, name)]
    except (TypeError, KeyError, AttributeError) as exc:
        raise _no_parameters(name) from exc
    if not all(isinstance(field, str) and field for field, _, _ in given):
        raise _no_parameters(name)
    for field, value, kind in given:
        if kind not in _KINDS:
            raise InvalidRequest(
                "Runtime parameters are of type string, boolean or numeric here: a secret would be stored with the "
                "model.",
                name,
            )
        # true and false are numbers for Python
        if value is not None and (
            not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) != (kind == "boolean"))
        ):
            raise InvalidRequest(f"The runtime parameter {field[:100]!r} has a value that is not a {kind}.", name)
    return {field: value for field, value, _ in given}


def _json(text: str, name: str) -> Any:
    try:
        return parse(text.encode())
    except (HttpProblem, InvalidRequest) as exc:
        why = exc.message.removeprefix("The request's body is ")
        raise InvalidRequest(f"`{name}` is a JSON list, but what is given is {why}", name) from exc


def _no_parameters(name: str) -> InvalidRequest:
    return InvalidRequest(f"`{name}` is a JSON list of objects with `fieldName`, `type` and `value`.", name)


async def _zip(call: Call, version: CustomVersion) -> Response:
    here = call.installation
    file = await in_thread(here, _packed, call, version, scratch_of(call.settings))

    async def blocks() -> AsyncIterator[bytes]:
        try:
            while block := await in_thread(here, file.read, _BLOCK):
                yield block
        finally:
            file.close()

    headers = {"Content-Disposition": f'attachment; filename="{version.model_id}-{version.label}.zip"'}
    return StreamingResponse(blocks(), media_type="application/zip", headers=headers)


def _packed(call: Call, version: CustomVersion, scratch: Path) -> Any:
    """Return an open, nameless zip of a version's files."""
    with disk_errors():
        scratch.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 -- closed by whoever reads it
    with (
        disk_errors(),
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for path, content in custom_versions.contents(call.spool, version):
            with target.open(zipfile.ZipInfo(path), "w", force_zip64=True) as out:
                shutil.copyfileobj(content, out, _BLOCK)
    file.seek(0)
    return file
