"""A file on a web server, read as a whole or in parts, and the proof that all its bytes are of one version.

The server's own word is a strong ETag, or a date of change that is older than the answer: then a read that was cut goes
on in the middle, by Range where the server has that, else behind what is there already. Without such a word a read
begins again at the first byte, and goes on only if the bytes before the cut have the digest of those read before.
"""

from __future__ import annotations

import email.utils
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scoreline import faults
from scoreline.adapters.files import FileInfo, Trouble, Why
from scoreline.adapters.webcalls import Answer, Caller, WebTrouble
from scoreline.errors import SourceError
from scoreline.types import JsonObject, Range

_OPENED = ("gzip", "x-gzip", "zstd")  # what the pipeline unpacks anyway
_PAGE = re.compile(rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype\s+html|html|head|body)\b")
_SPAN = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_NOTHING = re.compile(r"bytes \*/(\d+)")
_STRONG_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """What a server says of the file. size: None while it does not say. proof: what it knows a version by, if it does.

    version: what is compared, good enough as a proof or not. parts: whether it sends parts of the file.
    """

    size: int | None
    version: str
    proof: str | None
    parts: bool


class WebFile:
    """The file that one URL names."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    def look(self, span: str, *, packed: bool) -> tuple[Look, Answer]:
        """Ask for bytes (`0-`) and return what is there, with the answer. packed: it may be sent compressed.

        Raises WebTrouble for what is no file: a refusal, a web page, an answer without an end.
        """
        answer = self.caller.call("GET", {"Range": f"bytes={span}"})
        if answer.status == 416 and not _NOTHING.fullmatch(answer.headers.get("content-range", "")):
            answer.close()
            answer = self.caller.call("GET", {})
        version, proof = _version(answer.headers)
        if answer.status == 416:
            answer.close()
            told = int(answer.headers["content-range"].rpartition("/")[2])
            return Look(told, version, proof, parts=True), answer
        found = _SPAN.fullmatch(answer.headers.get("content-range", ""))
        if answer.status not in (200, 203, 206) or (answer.status == 206 and (found is None or int(found[1]) != 0)):
            raise self.caller.meant(answer.trouble())
        try:
            _check_data(answer, packed=packed)
            size = _length(answer.headers)
            if found is not None and answer.status == 206:
                size = None if found[3] == "*" else int(found[3])
        except BaseException:
            answer.close()
            raise
        return Look(size, version, proof, parts=answer.status == 206), answer

    def from_place(self, look: Look, at: int, end: int | None, digest: Any = None) -> Iterator[bytes]:
        """Yield the file's bytes from `at` on, by a new call. digest: of the bytes before, where there is no proof.

        Raises WebTrouble, Why.CHANGED when the file is not the one of `look`.
        """
        headers = {}
        if look.parts and look.proof is not None and (at or end is not None):
            headers = {"Range": f"bytes={at}-{'' if end is None else end - 1}", "If-Range": look.proof}
        answer = self.caller.call("GET", headers)
        try:
            skip = self._begin(answer, look, at)
            if skip:
                yield from _behind(answer.blocks(), skip, digest if look.proof is None else None)
            else:
                yield from answer.blocks()
        finally:
            answer.close()

    def _begin(self, answer: Answer, look: Look, at: int) -> int:
        """Return how many bytes come before those wanted. Raises WebTrouble."""
        if answer.status in (412, 416):
            answer.close()
            raise WebTrouble(Why.CHANGED, f"status {answer.status}")
        if answer.status not in (200, 203, 206):
            raise self.caller.meant(answer.trouble())
        version, _ = _version(answer.headers)
        size = _length(answer.headers)
        found = _SPAN.fullmatch(answer.headers.get("content-range", "")) if answer.status == 206 else None
        if answer.status == 206:
            if found is None or int(found[1]) != at:
                raise WebTrouble(Why.OTHER, f"it sent other bytes than those asked for, which begin at {at}")
            size = None if found[3] == "*" else int(found[3])
            # A part need not bear the date that it was asked for by.
            version = version or (look.version if not _is_tag(look.version) else "")
        if version != look.version:
            raise WebTrouble(
                Why.CHANGED, f"its version is {version or 'not told'}, it was {look.version or 'not told'}"
            )
        if None not in (size, look.size) and size != look.size:
            raise WebTrouble(Why.CHANGED, f"it has {size} bytes, it had {look.size}")
        return 0 if answer.status == 206 else at


class UrlIntake:
    """The bytes of a URL, from the first to the last of one version. Nothing is asked before the first byte is."""

    def __init__(self, file: WebFile) -> None:
        """Read `file`; the intake closes its caller."""
        self._file = file
        self._caller = file.caller
        self._seen: Look | None = None
        self._first: Answer | None = None
        self._asked = False

    def partitions(self, want: int) -> Sequence[Range]:  # noqa: ARG002 -- it is read in one go
        """Return the file as one part."""
        return [Range()]

    def size(self) -> int | None:
        """Return the bytes of the file, None where the server does not say."""
        return self._look().size

    def proven(self) -> bool:
        """Say whether the server has a word for the version that it sends. Raises SourceError."""
        return self._look().proof is not None

    def identity(self) -> JsonObject:
        """Return bytes and version: first of what was opened, later of what is there now. Raises SourceError."""
        look = self._look()
        if self._asked and look.version:
            look, answer = self._words(lambda: self._file.look("0-0", packed=True))
            answer.close()
        self._asked = True
        return {"bytes": look.size, "version": look.version}

    def blocks(self, part: Range, offset: int) -> Iterator[bytes]:
        """Yield the file's bytes. Raises SourceError when it cannot be read or has changed, RunStopped."""
        look = self._look()
        start = max(part.start, offset)
        if look.size is not None and start > look.size:
            raise SourceError(
                f"Reading the intake failed: {self._caller.shown} ends before byte {start}; it is not what the run "
                "began with."
            )
        if start and look.proof is None:
            raise SourceError(
                f"Reading the intake failed: {self._caller.shown} cannot be read from byte {start} on, since its "
                "server does not say which version it sends; run the job again."
            )
        digest = hashlib.sha256()

        def opened(at: int) -> Iterator[bytes]:
            first, self._first = self._first, None
            if first is not None and at == 0:
                return _web_data(first)
            return self._file.from_place(look, at, None, digest)

        try:
            for block in self._caller.patience.read(opened, start, look.size):
                if look.proof is None:
                    digest.update(block)
                faults.at("url.block")
                yield block
        except Trouble as trouble:
            raise trouble.source_error(self._caller.shown) from trouble

    def close(self) -> None:
        """End reading; may be called from any thread, and again."""
        first, self._first = self._first, None
        if first is not None:
            first.close()
        self._caller.close()

    def _look(self) -> Look:
        if self._seen is None:
            look, answer = self._words(lambda: self._file.look("0-", packed=True))
            if look.size == 0:
                answer.close()
            # It brings the bytes, too, so that no second call is needed.
            self._seen, self._first = look, answer if look.size != 0 else None
        return self._seen

    def _words(self, work: Any) -> Any:
        try:
            return self._caller.patience.call(work)
        except Trouble as trouble:
            raise trouble.source_error(self._caller.shown) from trouble


class UrlFiles:
    """The one file of a URL as a place to read from, anywhere in it; see `files.Files`."""

    def __init__(self, file: WebFile) -> None:
        self._file = file
        self._caller = file.caller
        self._look: Look | None = None

    def shown(self, key: str) -> str:  # noqa: ARG002 -- there is one
        """Return the URL."""
        return self._caller.shown

    def stat(self, key: str) -> FileInfo:
        """Return bytes and version. Raises SourceError, also for a server that does not send parts of one version."""
        try:
            self._look = look = self._caller.patience.call(self._proven)
        except Trouble as trouble:
            raise trouble.source_error(self._caller.shown) from trouble
        if look.size is None or not look.parts or look.proof is None:
            raise SourceError(
                f"Reading the intake failed: the server of {self._caller.shown} does not send parts of a file (Range) "
                "together with a version of it (ETag or Last-Modified), as Parquet and Arrow need; use CSV, or put the "
                "file in an object store."
            )
        return FileInfo(key, look.size, look.version)

    def list(self, prefix: str) -> Iterator[FileInfo]:
        """Yield the file."""
        yield self.stat(prefix)

    def read(self, info: FileInfo, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the file's bytes, as long as it is of the version of `info`. Raises SourceError, RunStopped."""
        look = self._look
        if look is None or look.version != info.version:
            self.stat(info.key)
            look = self._look
        assert look is not None
        seen, stop = look, info.size if end is None else min(end, info.size)
        try:
            yield from self._caller.patience.read(lambda at: self._file.from_place(seen, at, stop), start, stop)
        except Trouble as trouble:
            raise trouble.source_error(self._caller.shown) from trouble

    def close(self) -> None:
        """End reading; calling it again is harmless."""
        self._caller.close()

    def _proven(self) -> Look:
        look, answer = self._file.look("0-0", packed=False)
        answer.close()
        if look.parts and look.proof is None and look.version and not _is_tag(look.version):
            # Its date of change is this very second: it says nothing before that is over.
            raise WebTrouble(Why.AWAY, "it has just changed", wait=_STRONG_SECONDS)
        return look


def _web_data(answer: Answer) -> Iterator[bytes]:
    """Yield an answer's bytes. Raises WebTrouble when they are a web page."""
    blocks = answer.blocks()
    try:
        first = next(blocks, b"")
        page = first.lstrip().startswith(b"<") and _is_page(answer)
        if page or _PAGE.match(first):
            raise _web_page(answer)
        yield first
        yield from blocks
    finally:
        answer.close()


def _web_page(answer: Answer) -> WebTrouble:
    return WebTrouble(
        Why.OTHER,
        f"it sends a web page instead of data, from {answer.url.host}{answer.url.path}, as servers do that want a "
        "login",
    )


def _check_data(answer: Answer, *, packed: bool) -> None:
    """Raise WebTrouble for an answer that cannot hold rows, by its head."""
    headers = answer.headers
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", *(_OPENED if packed else ())):
        raise WebTrouble(Why.OTHER, f"it sends the content-encoding {encoding[:40]!r}, which was not asked for")
    if not packed and _is_page(answer):
        raise _web_page(answer)
    if "content-length" not in headers and "chunked" not in headers.get("transfer-encoding", "").lower():
        raise WebTrouble(
            Why.OTHER, "it tells neither a length nor an end (Content-Length, chunks), so a cut could not be seen"
        )


def _is_page(answer: Answer) -> bool:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in ("text/html", "application/xhtml+xml")


def _behind(blocks: Iterator[bytes], skip: int, digest: Any) -> Iterator[bytes]:
    """Yield what comes behind the first bytes. Raises WebTrouble when these have not the digest given, if one is."""
    seen, left = hashlib.sha256(), skip
    changed = WebTrouble(Why.CHANGED, f"it was read again, and its first {skip} bytes are others now")
    for block in blocks:
        head, rest = block[:left], block[left:]
        left -= len(head)
        if digest is not None:
            seen.update(head)
            if not left and seen.digest() != digest.digest():
                raise changed
            digest = digest if left else None
        if rest:
            yield rest
    if left:
        raise changed


def _version(headers: Mapping[str, str]) -> tuple[str, str | None]:
    """Return what a server calls the version that it sends, empty for nothing, and whether that proves it."""
    tag, changed = headers.get("etag", "").strip(), headers.get("last-modified", "").strip()
    if tag:
        return tag, tag if tag.startswith('"') else None
    return changed, changed if changed and _is_past(changed, headers.get("date", "")) else None


def _is_tag(version: str) -> bool:
    return version.startswith(('"', "W/"))


def _is_past(changed: str, now: str) -> bool:
    """Say whether a file cannot have changed again within the second of its date."""
    try:
        then, moment = map(email.utils.parsedate_to_datetime, (changed, now))
        return (moment - then).total_seconds() >= _STRONG_SECONDS
    except (ValueError, TypeError):
        return False


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isdigit() and "chunked" not in headers.get("transfer-encoding", "").lower() else None
