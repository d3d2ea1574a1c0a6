"""Cut CSV bytes into numbered chunks at record ends, without parsing them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator

import numpy as np

from scoreline.errors import SourceError
from scoreline.pipeline.fetch import is_utf8
from scoreline.pipeline.quotes import Bytes, Positions, QuoteFinder, first_end, last_end
from scoreline.types import CsvDialect, RawChunk

# No record may be longer: a chunk holds at least one, and memory is bounded by the chunks in flight.
MAX_RECORD_BYTES = 32 << 20
# A quoted field with an odd end is taken for a forgotten closing quote once it has swallowed so much.
SWALLOWED_BYTES = 1 << 20
SWALLOWED_LINES = 1_000

_STEP = 4 << 10  # least to look at: smaller steps would cost more than they save
_BOM = b"\xef\xbb\xbf"
_PARQUET = "Parquet"
_BINARY = {
    b"\x1f\x8b": "gzip-compressed twice",
    b"\x28\xb5\x2f\xfd": "zstd-compressed twice",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"PAR1": _PARQUET,
    b"BZh": "bzip2-compressed",
    b"\xfd7zXZ": "xz-compressed",
}


class Framer:
    """Cuts one stream of UTF-8 CSV text; `feed` yields blocks, and None when nothing has come for a while.

    offset: bytes of the stream that lie before the first block. All sizes are in bytes.
    """

    def __init__(self, feed: Iterator[bytes | None], dialect: CsvDialect, *, offset: int = 0) -> None:
        self._feed = feed
        self._dialect = dialect
        self._quotes = QuoteFinder(dialect)
        self._text = b""
        self._at = 0  # start of the next record in _text
        self._offset = offset  # the same place in the stream
        self._begin = offset
        self._lines = 0  # lines from there to the next record
        self._ended = False

    @property
    def offset(self) -> int:
        """Bytes of the stream before the next record."""
        return self._offset

    def header(self, paused: Callable[[], None] = lambda: None) -> tuple[str, ...]:
        """Consume the first record and return its fields; `paused` is called while the source has nothing to give.

        Blank lines before it and a byte order mark are skipped. Raises SourceError when there is no header, or when
        it cannot be text.
        """
        self._skip_mark(paused)
        while True:
            record = self._next(1, paused)
            if record is None:
                raise SourceError(
                    "Reading the intake failed: the intake contains no header; "
                    "send CSV text whose first line names the columns."
                )
            if record.strip():
                return _header_fields(record, self._dialect, self._offset - len(record))

    def chunks(self, number: int, target: Callable[[], int]) -> Iterator[RawChunk]:
        """Yield chunks from `number` on, each of at most `target()` bytes or of one record that is longer.

        Raises SourceError, with the line, for a quote that is never closed or a record beyond any bound.
        """
        while True:
            size = max(1, target())
            body = self._next(size)
            if body is None:
                return
            yield RawChunk(number, body, self._offset)
            number += 1

    def _skip_mark(self, paused: Callable[[], None]) -> None:
        while self._fill(len(_BOM)) is None:
            paused()
        for magic, what in _BINARY.items():
            if self._text.startswith(magic):
                hint = "set format to 'parquet' where the intake has it, or " * (what == _PARQUET)
                raise SourceError(f"Reading the intake failed: it is {what}, not CSV text; {hint}send it as plain CSV.")
        if self._text.startswith(_BOM):
            self._at += len(_BOM)
            self._offset += len(_BOM)

    def _next(self, size: int, paused: Callable[[], None] = lambda: None) -> bytes | None:
        """Take whole records of at most `size` bytes in all, or one; None at the end of the stream."""
        want = max(size, _STEP)
        while True:
            arrived = self._fill(want)
            have = len(self._text) - self._at
            window = min(want, have)
            if not have and self._ended:
                return None
            body = self._cut(size, window, final=self._ended and window == have) if window else None
            if body is not None:
                return body
            if arrived is None:
                paused()  # nothing came for a while, and no whole record is here yet
                continue
            if window >= MAX_RECORD_BYTES:
                raise SourceError(
                    f"Reading the intake failed: the record in {self._line(0)} is longer than "
                    f"{MAX_RECORD_BYTES >> 20} MiB; check the quotes, the delimiter and that the file is CSV text."
                )
            want = min(2 * max(want, window), MAX_RECORD_BYTES)

    def _fill(self, want: int) -> bool | None:
        """Have `want` bytes at hand, or all there are; None when the source pauses, with what came until then."""
        have = len(self._text) - self._at
        if have >= want or self._ended:
            return True
        parts = [memoryview(self._text)[self._at :]]
        paused = False
        while have < want:
            block = next(self._feed, b"")
            if block is None:
                paused = True
                break
            if not block:
                self._ended = True
                break
            parts.append(memoryview(block))
            have += len(block)
        self._text = b"".join(parts)
        self._at = 0
        return None if paused else True

    def _cut(self, size: int, window: int, *, final: bool) -> bytes | None:
        start, stop = self._at, self._at + window
        text = np.frombuffer(self._text, np.uint8, window, start)
        stretches = self._quotes.stretches(text)
        self._check_swallowed(text, stretches)
        if final and len(stretches) % 2:
            self._refuse_quote(int(stretches[-1]), "is never closed")
        if window <= size:
            end = stop if final else last_end(self._text, start, stop, stretches)
        else:
            end = last_end(self._text, start, start + size, stretches)
            if end < 0:
                end = first_end(self._text, start, stop, stretches)
            if end < 0 and final:
                end = stop
        if end < 0:
            return None
        body = self._text[start:end]
        self._lines += _lines(text[: end - start])
        self._at = end
        self._offset += end - start
        return body

    def _check_swallowed(self, text: Bytes, stretches: Positions) -> None:
        for opened in self._quotes.swallowing(text, stretches, SWALLOWED_LINES).tolist():
            closed = int(stretches[np.searchsorted(stretches, opened) + 1])
            if closed - opened > SWALLOWED_BYTES or _lines(text[opened:closed]) > SWALLOWED_LINES:
                self._refuse_quote(opened, "is not closed where its field ends")

    def _refuse_quote(self, opened: int, what: str) -> None:
        raise SourceError(
            f"Reading the intake failed: the quote that opens in {self._line(opened)} {what}; "
            "close it, or choose another quotechar in csvSettings."
        )

    def _line(self, ahead: int) -> str:
        """Return the number, from 1, of the line `ahead` bytes after the next record's start."""
        number = 1 + self._lines + _lines(np.frombuffer(self._text, np.uint8, ahead, self._at))
        return f"line {number}" + (f" after byte {self._begin}" if self._begin else "")


def _lines(text: Bytes) -> int:
    return int(np.count_nonzero(text == 10)) or int(np.count_nonzero(text == 13))


def _header_fields(record: bytes, dialect: CsvDialect, offset: int) -> tuple[str, ...]:
    if b"\0" in record:
        raise SourceError(
            "Reading the intake failed: the header has NUL bytes, so it is not text in the encoding named; "
            "set csvSettings.encoding, for instance to utf-16."
        )
    try:
        text = record.decode()
    except UnicodeDecodeError as problem:
        what = f"a byte that is not UTF-8 at offset {offset + problem.start}"
        if not is_utf8(dialect.encoding):
            what = f"bytes that are not text in the encoding {dialect.encoding}"
        raise SourceError(
            f"Reading the intake failed: the header has {what}; set csvSettings.encoding to the file's encoding."
        ) from problem
    try:
        return tuple(next(csv.reader([text], delimiter=dialect.delimiter, quotechar=dialect.quotechar)))
    except csv.Error as problem:
        raise SourceError(
            f"Reading the intake failed: the header cannot be read ({problem}); check the quotes and the delimiter."
        ) from problem
