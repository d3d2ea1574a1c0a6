"""The borders at which a source is cut in parts: where a run stops reading, and where one begins."""

from __future__ import annotations

import csv
import io
import re
from typing import Protocol

from scoreline.types import CsvDialect

WINDOW_BYTES = 256 << 10
"""Bytes behind a border in which a record is looked for."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_MOST_LINES = 200  # that are tried as the end of a record
_RECORDS = 20  # that must look like records of the file
_SAMPLE_BYTES = 32 << 10


class Borders(Protocol):
    """The borders that are still ahead of a source. next: the first of them, None for none."""

    @property
    def next(self) -> int | None:
        """Where the source is to ask."""
        ...

    def passes(self, at: int) -> bool:
        """Say whether the source may go on, which has come to `at`, the border or the first record behind it."""
        ...


class _NoBorders:
    next: int | None = None

    def passes(self, at: int) -> bool:  # noqa: ARG002 -- it is never asked
        """Let it go on."""
        return True


NO_BORDERS: Borders = _NoBorders()


class End:
    """One border that ends the reading, if it is given. at: what the source had reached then."""

    def __init__(self, end: int | None) -> None:
        self.next = end
        self.at: int | None = None

    def passes(self, at: int) -> bool:
        """Let nothing go on."""
        self.at = at
        return False


def first_record(text: bytes, dialect: CsvDialect, fields: int, *, whole: bool) -> int | None:
    """Return the place in a text of UTF-8, from 1 on, where a record seems to begin; None where none does.

    That is right behind the first line end whose followers are records of so many fields. A text with line ends in its
    quoted fields can look so where there is none: who relies on the place must know by other means that it is right.
    whole: nothing comes behind the text.
    """
    for found, match in enumerate(_LINE_END.finditer(text)):
        if found == _MOST_LINES:
            return None
        place = match.end()
        if place < len(text) and _fits(text[place : place + _SAMPLE_BYTES], dialect, fields, whole=whole):
            return place
    return None


def _fits(sample: bytes, dialect: CsvDialect, fields: int, *, whole: bool) -> bool:
    if dialect.quotechar.encode() not in sample:
        return True  # lines are records, unless all of it lies in one field
    text = io.StringIO(sample.decode(errors="replace"), newline="")
    found = []
    try:
        for record in csv.reader(text, delimiter=dialect.delimiter, quotechar=dialect.quotechar):
            if record:
                found.append(len(record))
            if len(found) > _RECORDS:
                break
    except csv.Error:
        return False
    if not (whole and len(sample) < _SAMPLE_BYTES) and len(found) <= _RECORDS:
        del found[-1:]  # cut off in the middle
    return bool(found) and all(number == fields for number in found)
