"""Forms with files: read as they come, the files to disk, the rest to memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from scoreline.api.calls import Call
from scoreline.api.jsonio import media_type
from scoreline.api.problems import HttpProblem
from scoreline.api.receiving import ClientGone, Incoming, UploadBroken, in_thread
from scoreline.errors import InvalidRequest
from scoreline.registry.tree import disk_errors

FORM = "multipart/form-data"
_PIECE = 4 << 20
_MOST_TEXT = 1 << 20  # of all fields that are no file
_MOST_PARTS = 10_000
_SETTING = "SCORELINE_MAX_MODEL_BYTES"


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of a form: its field, the name it came with, and where it lies now."""

    field: str
    name: str | None
    path: Path


@dataclass(slots=True)
class Form:
    """A form's texts by field, in their order, and its files."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    files: list[FormFile] = field(default_factory=list)

    def text(self, name: str) -> str | None:
        """Return a field that is given once at most; raises InvalidRequest when it is there more often."""
        given = self.texts.get(name, [])
        if len(given) > 1:
            raise InvalidRequest(f"The form has the field {name!r} {len(given)} times: give it once.", name)
        return given[0] if given else None


def is_form(call: Call) -> bool:
    """Say whether a request's body is a form with files."""
    return media_type(call.request.headers.get("content-type")) == FORM


async def receive_form(call: Call, folder: Path, most: int, what: str = "model", setting: str = _SETTING) -> Form:
    """Read a request's form; its files lie in `folder` afterwards, under names of ours.

    most: bytes of the whole, as `setting` says.

    Raises HttpProblem 400 for what is no form, InvalidRequest for one that is too large or
    broken off, SpoolFull.
    """
    reader = _Reader(call.request.headers.get("content-type", ""), folder)
    try:
        await receive(call, reader, most, what, setting)
        return await in_thread(call.installation, reader.finish)
    finally:
        await in_thread(call.installation, reader.close)


async def receive(
    call: Call, sink: _Reader | IO[bytes], most: int, what: str = "model", setting: str = _SETTING
) -> None:
    """Write a request's body to `sink` as it comes. Raises as `receive_form`."""
    incoming = Incoming(call.request.receive, call.settings.upload_idle_seconds)
    pieces, gathered = list[bytes](), 0
    while (block := await _next(incoming, what)) is not None:
        if incoming.received > most:
            raise InvalidRequest(f"The {what} is too large: at most {most} bytes are taken ({setting}).")
        pieces.append(block)
        gathered += len(block)
        if gathered >= _PIECE:
            await in_thread(call.installation, sink.write, b"".join(pieces))
            await in_thread(call.installation, call.spool.check_space)
            pieces, gathered = [], 0
    await in_thread(call.installation, sink.write, b"".join(pieces))


def only_file(form: Form, what: str, also: Sequence[str] = ()) -> FormFile:
    """Return the file in the field `file`, which is the only one but for texts in `also`. Raises InvalidRequest."""
    names = [each.field for each in form.files] + [name for name in form.texts if name not in also]
    if other := [name for name in names if name != "file"]:
        raise InvalidRequest(f"The form has a field {other[0][:100]!r}: `file` is the only one.", other[0][:100])
    if len(form.files) > 1:
        raise InvalidRequest(f"The form has two fields `file`: send one {what}.", "file")
    if not form.files:
        raise InvalidRequest(f"The form has no field `file` with the {what}.", "file")
    return form.files[0]


async def _next(incoming: Incoming, what: str) -> bytes | None:
    try:
        return await incoming.next()
    except ClientGone:
        raise
    except UploadBroken as exc:
        raise InvalidRequest(f"Receiving the {what} failed: {exc}; send it again.") from exc


class _Reader:
    """Takes a form's bytes; makes texts and files of them."""

    def __init__(self, content_type: str, folder: Path) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise HttpProblem(400, "The form cannot be read: its Content-Type has no boundary.")
        self._folder = folder
        self._form = Form()
        self._header: list[bytes] = [b"", b""]
        self._field = ""
        self._named: str | None = None
        self._is_file = False
        self._file: IO[bytes] | None = None
        self._text = bytearray()
        self._texts, self._parts = 0, 0
        self._ended = False
        callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._grow(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._grow(1, data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._open,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]  # a TypedDict of the same keys
        except FormParserError as exc:
            raise HttpProblem(400, f"The form cannot be read: {exc}.") from exc

    def write(self, data: bytes) -> None:
        """Take bytes of the form. Raises HttpProblem for what is not one."""
        try:
            with disk_errors():
                self._parser.write(data)
        except MultipartParseError as exc:
            raise HttpProblem(400, f"The form cannot be read: {exc}.") from exc

    def finish(self) -> Form:
        """Return the form; raises HttpProblem when its end is missing."""
        if not self._ended:
            raise HttpProblem(400, "The form cannot be read: it breaks off before its end.")
        return self._form

    def close(self) -> None:
        """Close what is open."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def _begin(self) -> None:
        self._field, self._named, self._is_file, self._text = "", None, False, bytearray()
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise InvalidRequest(f"The form has more than {_MOST_PARTS} parts.")

    def _grow(self, index: int, data: bytes) -> None:
        self._header[index] += data

    def _header_end(self) -> None:
        name, value = self._header
        self._header = [b"", b""]
        if name.lower() != b"content-disposition":
            return
        options = parse_options_header(value)[1]
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = b"filename" in options or b"filename*" in options
        self._named = unquote(options.get(b"filename", b"").decode("utf-8", "replace")) or None

    def _open(self) -> None:
        if self._is_file:
            self._file = (self._folder / f"file-{self._parts:05d}").open("xb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
            return
        self._texts += end - start
        if self._texts > _MOST_TEXT:
            raise InvalidRequest(f"The form's fields have more than {_MOST_TEXT} bytes beside its files.")
        self._text += data[start:end]

    def _part_end(self) -> None:
        if self._file is not None:
            path = Path(self._file.name)
            self._file.close()
            self._file = None
            self._form.files.append(FormFile(self._field, self._named, path))
            return
        try:
            self._form.texts.setdefault(self._field, []).append(self._text.decode())
        except UnicodeDecodeError as exc:
            raise InvalidRequest(f"The form's field {self._field[:100]!r} is not UTF-8 text.", self._field) from exc

    def _end(self) -> None:
        self._ended = True
