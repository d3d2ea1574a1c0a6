"""The parts of a multipart upload as one CSV: in number order, with the header once and a line end after each part."""

from __future__ import annotations

import codecs
import csv
import functools
import itertools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scoreline.errors import RunStopped, SourceError
from scoreline.spool import Part, Spool, WaitState, finalised
from scoreline.spool.multipart import part
from scoreline.types import CsvDialect, JsonObject

_HEAD_BYTES = 64 << 10
_UTF8 = ((codecs.BOM_UTF8, "utf-8"),)
_MARKS = {
    "utf-8": _UTF8,
    "utf-8-sig": _UTF8,
    "utf-16": ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")),
    "utf-16-le": ((codecs.BOM_UTF16_LE, "utf-16-le"),),
    "utf-16-be": ((codecs.BOM_UTF16_BE, "utf-16-be"),),
    "utf-32": ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")),
}
_WITHOUT_MARK = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")

Wait = Callable[[], WaitState]


@dataclass(frozen=True, slots=True)
class _Record:
    """The first record of a part and its fields; none where there is no record.

    mark: bytes of the byte order mark before it. length: bytes of the blank lines before it and of itself with its end.
    """

    codec: str
    mark: int
    length: int
    fields: tuple[str, ...]


class JoinedParts:
    """One multipart upload, which may still be running."""

    def __init__(self, spool: Spool, job_id: str, dialect: CsvDialect, *, finalised_only: bool) -> None:
        """Join the parts of a job's upload; with `finalised_only` nothing is read before all parts are known."""
        self._spool = spool
        self._job = job_id
        self._dialect = dialect
        self._finalised_only = finalised_only
        self._upload = spool.reader(f"uploads/{job_id}")
        self._repeated = 0  # bytes of headers taken out so far

    def size(self) -> int | None:
        """Return the bytes of all parts without the headers taken out so far, None before the upload is finalised."""
        known = finalised(self._spool, self._job)
        return None if known is None else sum(one.size for one in known) - self._repeated

    def identity(self) -> JsonObject | None:
        """Return the bytes of all parts and the SHA-256 of each, None before the upload is finalised."""
        known = finalised(self._spool, self._job)
        if known is None:
            return None
        return {"bytes": sum(one.size for one in known), "parts": [one.sha256 for one in known]}

    def blocks(self, offset: int, wait: Wait) -> Iterator[bytes]:
        """Yield the joined bytes from `offset` on, waiting for parts still to come.

        A part that begins with the first part's header loses it; any other part is taken whole. Raises SourceError,
        SpoolError, RunStopped as `SegmentReader.blocks` does; SourceError for the same columns in another order, too.
        """
        self._repeated = 0
        skip = offset
        for block in self._joined(wait):
            if len(block) > skip:
                yield block[skip:] if skip else block
            skip = max(0, skip - len(block))
        if skip:
            raise SourceError(f"Intake: the parts end before byte {offset}; they are not what the run began with.")

    def _joined(self, wait: Wait) -> Iterator[bytes]:
        header: tuple[str, ...] = ()
        newline = b"\n"
        tail = b""  # the last bytes yielded
        number = 0
        while (one := self._next(number, wait)) is not None:
            blocks = self._spool.reader(one.stream).blocks(wait=wait)
            head, record = self._begin(one, blocks)
            if record is not None and not header:
                header, newline = record.fields, "\n".encode(record.codec)
            elif record is not None:
                cut = record.mark + (record.length if _repeats(header, record, number) else 0)
                self._repeated += cut
                head = head[cut:]
            begun = False
            for block in itertools.chain([head] if head else [], blocks):
                if not begun and tail and not tail.endswith((newline, newline.replace(b"\n", b"\r"))):
                    yield newline
                begun = True
                yield block
                tail = (tail + block[-4:])[-4:]
            number += 1

    def _begin(self, one: Part, blocks: Iterator[bytes]) -> tuple[bytes, _Record | None]:
        """Return a part's first bytes and the record they begin with; None for a part without bytes."""
        head = b""
        while True:
            more = next(blocks, b"")
            head += more
            if not head:
                return b"", None
            if head.startswith(_COMPRESSED):
                raise SourceError(f"Intake: part {one.number} is compressed; send compressed data as one upload.")
            record = _first_record(head, self._dialect, whole=len(head) >= one.size)
            if record is not None:
                return head, record

    def _next(self, number: int, wait: Wait) -> Part | None:
        """Return a part once it is complete, None after the last one."""
        while True:
            reason = self._upload.broken()
            if reason is not None:
                raise SourceError(f"Intake: the upload is broken: {reason}")
            known = finalised(self._spool, self._job)
            if known is not None:
                return known[number] if number < len(known) else None
            if not self._finalised_only and (one := part(self._spool, self._job, number)) is not None:
                return one
            if wait() is WaitState.STOP:
                raise RunStopped(f"Intake: waiting for part {number} of the upload was stopped.")
            time.sleep(self._spool.poll_seconds)


def _first_record(head: bytes, dialect: CsvDialect, *, whole: bool) -> _Record | None:
    """Find the record that `head` begins with; None when its end is not in `head` and there is more to come."""
    mark, codec = _codec(dialect.encoding, head)
    body = head[mark:]
    pattern = _record_pattern(dialect)
    limit = _HEAD_BYTES
    while True:
        try:
            text = codecs.getincrementaldecoder(codec)().decode(body[:limit])
        except UnicodeDecodeError:
            return _Record(codec, mark, 0, ())  # no header; the run itself will say where the text is wrong
        last = limit >= len(body)
        found = pattern.match(text, len(text) - len(text.lstrip("\r\n")))
        if found is not None and ((last and whole) or found.end() < len(text) or text.endswith("\n")):
            record = text[: found.end()]
            break
        if last and not whole:
            return None
        if last:
            record = text
            break
        limit *= 8
    stored = record.encode(codec)
    length = len(stored) if body.startswith(stored) else 0
    return _Record(codec, mark, length, _fields(record.strip("\r\n"), dialect))


def _fields(record: str, dialect: CsvDialect) -> tuple[str, ...]:
    try:
        return tuple(next(csv.reader([record], delimiter=dialect.delimiter, quotechar=dialect.quotechar), ()))
    except csv.Error:  # a field beyond any header's
        return (record,)


def _repeats(header: tuple[str, ...], record: _Record, number: int) -> bool:
    """Say whether a part begins with the header. Raises SourceError for the same names in another order."""
    if record.fields != header and len(record.fields) > 1 and sorted(record.fields) == sorted(header):
        raise SourceError(
            f"Intake: part {number} has the columns of part 0 in another order, so its rows would be read wrongly; "
            "send all parts with the same header."
        )
    return record.fields == header


@functools.lru_cache
def _record_pattern(dialect: CsvDialect) -> re.Pattern[str]:
    """Match one record with its line end; a quote opens a field only at its start, as everywhere in Scoreline."""
    quote, delimiter = re.escape(dialect.quotechar), re.escape(dialect.delimiter)
    plain = rf"[^{delimiter}\r\n]*+"
    field = rf"(?:{quote}(?:[^{quote}]++|{quote}{quote})*+{quote}?{plain}|{plain})"
    return re.compile(rf"{field}(?:{delimiter}{field})*+(?:\r\n|\n|\r)")


def _codec(encoding: str, head: bytes) -> tuple[int, str]:
    """Return the length of the byte order mark at the start of `head`, and the codec for what follows it."""
    name = codecs.lookup(encoding).name
    for mark, codec in _MARKS.get(name, ()):
        if head.startswith(mark):
            return len(mark), codec
    return 0, _WITHOUT_MARK.get(name, name)
