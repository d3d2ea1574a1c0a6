"""Upload of a model's files: ours, because the public API has no route that takes any model."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Depends
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.responses import Response

from scoreline.access import require_write
from scoreline.api.calls import Call, Called, documented, query_of
from scoreline.api.contract import answer
from scoreline.api.jsonio import JsonResponse, media_type
from scoreline.api.problems import HttpProblem
from scoreline.api.receiving import ClientGone, Incoming, UploadBroken, in_thread
from scoreline.api.wire import answers
from scoreline.api.wire.packages import ArtifactQuery, artifact_document
from scoreline.errors import Conflict, InvalidRequest
from scoreline.registry import artifacts
from scoreline.registry.inspect import inspect
from scoreline.registry.records import Artifact
from scoreline.registry.tree import disk_errors
from scoreline.settings import Settings
from scoreline.types import JsonObject

router = APIRouter(prefix="/modelArtifacts", tags=["models"])

_PIECE = 4 << 20
_FORM = "multipart/form-data"
_UNNAMED = "model"
_BYTES: JsonObject = {"type": "string", "format": "binary"}
_ABANDONED_SECONDS = 86_400.0
_SHORT_WAIT = 2.0  # seconds for a prediction server that does not answer


@router.post(
    "/",
    status_code=201,
    responses=answer(answers.Artifact, 201, refuses=(507,)),
    openapi_extra=documented(
        query=ArtifactQuery,
        upload={
            "application/octet-stream": _BYTES,
            _FORM: {"type": "object", "properties": {"file": _BYTES}, "required": ["file"]},
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
    folder = await in_thread(here, _new_folder, scratch)
    try:
        received = await _receive(call, folder / "body")
        filename = query.filename or received or _UNNAMED
        artifact = await in_thread(here, _register, call, folder / "body", filename, query.trusted, scratch)
    finally:
        await in_thread(here, shutil.rmtree, folder, ignore_errors=True)
    return JsonResponse(artifact_document(artifact), 201)


@router.get("/{sha256}/", responses=answer(answers.Artifact))
def get_artifact(call: Called, sha256: str) -> Response:
    """Return what is known about a stored model."""
    return JsonResponse(artifact_document(artifacts.get(call.store, call.caller, sha256)))


def scratch_of(settings: Settings) -> Path:
    """Return the folder in which models lie while they are received."""
    return settings.data_dir / "scratch"


def sweep(settings: Settings) -> None:
    """Delete what killed processes left in the folder for models that are received; trouble is left for next time."""
    limit = time.time() - _ABANDONED_SECONDS
    with suppress(OSError):
        for folder in scratch_of(settings).iterdir():
            if folder.stat().st_mtime < limit:
                shutil.rmtree(folder, ignore_errors=True)


def _new_folder(scratch: Path) -> Path:
    with disk_errors():
        scratch.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="upload-", dir=scratch))


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


async def _receive(call: Call, target: Path) -> str | None:
    """Write the request's body, or the file in its form, to `target`; return the name it came with."""
    header = call.request.headers.get("content-type", "")
    incoming = Incoming(call.request.receive, call.settings.upload_idle_seconds)
    most = call.settings.max_model_bytes
    with disk_errors(), await in_thread(call.installation, target.open, "wb") as file:
        sink: _Body | _Form = _Form(header, file) if media_type(header) == _FORM else _Body(file)
        pieces, gathered = [], 0
        while (block := await _next(incoming)) is not None:
            if incoming.received > most:
                raise InvalidRequest(
                    f"The model is too large: at most {most} bytes are taken (SCORELINE_MAX_MODEL_BYTES)."
                )
            pieces.append(block)
            gathered += len(block)
            if gathered >= _PIECE:
                await in_thread(call.installation, sink.write, b"".join(pieces))
                await in_thread(call.installation, call.spool.check_space)
                pieces, gathered = [], 0
        await in_thread(call.installation, sink.write, b"".join(pieces))
        return sink.finish()


async def _next(incoming: Incoming) -> bytes | None:
    try:
        return await incoming.next()
    except ClientGone:
        raise
    except UploadBroken as exc:
        raise InvalidRequest(f"Receiving the model failed: {exc}; send it again.") from exc


class _Body:
    """A file that is the body itself."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        """Take bytes."""
        self._file.write(data)

    def finish(self) -> str | None:
        """End the file; return the name it came with."""
        if not self._file.tell():
            raise InvalidRequest("The body is empty: send the model's file, or a tar of its folder.", "file")
        return None


class _Form:
    """A file in the field `file` of a form."""

    def __init__(self, content_type: str, file: IO[bytes]) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise HttpProblem(400, "The form cannot be read: its Content-Type has no boundary.")
        self._file = file
        self._header: list[bytes] = [b"", b""]
        self._field = ""
        self._name: str | None = None
        self._found = False
        callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._grow(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._grow(1, data[start:end]),
            "on_header_end": self._header_end,
            "on_part_data": self._data,
        }
        self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]  # a TypedDict of the same keys

    def write(self, data: bytes) -> None:
        """Take bytes of the form. Raises HttpProblem for what is not one."""
        try:
            self._parser.write(data)
        except MultipartParseError as exc:
            raise HttpProblem(400, f"The form cannot be read: {exc}.") from exc

    def finish(self) -> str | None:
        """End the form; return the file's name in it."""
        if not self._found:
            raise InvalidRequest("The form has no field `file` with the model.", "file")
        return self._name

    def _begin(self) -> None:
        self._field = ""

    def _grow(self, index: int, data: bytes) -> None:
        self._header[index] += data

    def _header_end(self) -> None:
        name, value = self._header
        self._header = [b"", b""]
        if name.lower() != b"content-disposition":
            return
        options = parse_options_header(value)[1]
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if self._field == "file":
            if self._found:
                raise InvalidRequest("The form has two fields `file`: send one file, or a tar of a folder.", "file")
            self._found = True
            self._name = unquote(options.get(b"filename", b"").decode("utf-8", "replace")) or None
        elif self._field:
            raise InvalidRequest(f"The form has a field {self._field[:100]!r}: `file` is the only one.", self._field)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._field == "file":
            self._file.write(data[start:end])
