"""Where the quoted fields of a CSV text are; the part of framing that must run at memory speed.

The rule is that of Python's csv module and of Arrow: a quote opens a field only at the field's start; inside, two
quotes are one; after the closing quote the field goes on unquoted, and further quotes in it are plain text.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from scoreline.types import CsvDialect

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]

_LF, _CR = 10, 13
_TRIES = 8  # line ends that are looked at one by one before all are looked at together


class QuoteFinder:
    """Finds quoted stretches in texts that begin at a record's start."""

    def __init__(self, dialect: CsvDialect) -> None:
        self._quote = ord(dialect.quotechar)
        self._starts = np.zeros(256, np.bool_)  # bytes after which a quote opens a field
        self._starts[[ord(dialect.delimiter), _LF, _CR]] = True
        self._reopens = self._starts.copy()
        self._reopens[self._quote] = True

    def stretches(self, text: Bytes) -> Positions:
        """Return where quoted stretches open and close, in turn; of an odd number the last is still open.

        Two quotes within a field may count as a close and an open: between them is nothing.
        """
        at = np.flatnonzero(text == self._quote)
        if not len(at):
            return at
        # By parity every second quote opens. That is right if each of these stands where a quote can open a field,
        # or follows the one that closed it.
        if self._follows(at[::2], text, self._reopens).all():
            return at
        return at[self._one_by_one(at, text)]

    def swallowing(self, text: Bytes, stretches: Positions, size: int) -> Positions:
        """Return the openings of stretches over `size` bytes whose closing quote is followed by more of the field.

        That is what a forgotten closing quote looks like: the next field's opening quote ends it.
        """
        closes = stretches[1::2]
        opens = stretches[: 2 * len(closes) : 2]
        long = closes - opens > size
        if not long.any():
            return opens[:0]
        opens, closes = opens[long], closes[long]
        inside = closes + 1 < len(text)
        return opens[inside][~self._reopens[text[closes[inside] + 1]]]

    def _follows(self, at: Positions, text: Bytes, table: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        good = table[text[at - 1]]
        if len(at) and at[0] == 0:
            good[0] = True
        return good

    def _one_by_one(self, at: Positions, text: Bytes) -> list[int]:
        """Walk from quote to quote; the exact way for texts with quotes inside unquoted fields."""
        can_open: list[bool] = self._follows(at, text, self._starts).tolist()
        doubled: list[bool] = [*(np.diff(at) == 1).tolist(), False]
        borders = []
        i, inside = 0, False
        while i < len(can_open):
            if inside and doubled[i]:
                i += 2
                continue
            if inside or can_open[i]:
                borders.append(i)
                inside = not inside
            i += 1
        return borders


def last_end(text: bytes, start: int, stop: int, stretches: Positions) -> int:
    """Return where the last record that ends in `text[start:stop]` ends, or -1; `stretches` count from `start`.

    A carriage return at the very end does not count: the line feed that belongs to it may follow.
    """
    line = text.rfind(b"\n", start, stop)
    bare = text.rfind(b"\r", start, stop - 1)
    for _ in range(_TRIES):
        found = max(line, bare)
        if found < 0:
            return -1
        before = int(np.searchsorted(stretches, found - start))
        if before % 2 == 0:
            return found + 1
        opened = start + int(stretches[before - 1])
        if line > opened:
            line = text.rfind(b"\n", start, opened)
        if bare > opened:
            bare = text.rfind(b"\r", start, opened)
    ends = _record_ends(text, start, stop, stretches)
    return int(ends[-1]) + 1 if len(ends) else -1


def first_end(text: bytes, start: int, stop: int, stretches: Positions) -> int:
    """Return where the first record of `text[start:stop]` ends, or -1; see `last_end`."""
    line = text.find(b"\n", start, stop)
    bare = text.find(b"\r", start, stop - 1)
    for _ in range(_TRIES):
        if line < 0 and bare < 0:
            return -1
        found = min(place for place in (line, bare) if place >= 0)
        before = int(np.searchsorted(stretches, found - start))
        if before % 2 == 0:
            return _behind(text, found)
        if before == len(stretches):
            return -1
        closed = start + int(stretches[before])
        if 0 <= line < closed:
            line = text.find(b"\n", closed, stop)
        if 0 <= bare < closed:
            bare = text.find(b"\r", closed, stop - 1)
    ends = _record_ends(text, start, stop, stretches)
    return _behind(text, int(ends[0])) if len(ends) else -1


def _record_ends(text: bytes, start: int, stop: int, stretches: Positions) -> Positions:
    """Return where in `text` the line ends are that end a record of `text[start:stop]`."""
    some = np.frombuffer(text, np.uint8, stop - start, start)
    ends = _line_ends(some, stretches)
    if len(ends) and ends[-1] == len(some) - 1 and some[-1] == _CR:
        ends = ends[:-1]
    return ends + start


def _line_ends(text: Bytes, stretches: Positions) -> Positions:
    ends = np.flatnonzero((text == _LF) | (text == _CR))
    outside: Positions = ends[np.searchsorted(stretches, ends) % 2 == 0]
    return outside


def _behind(text: bytes, end: int) -> int:
    return end + 2 if text[end : end + 2] == b"\r\n" else end + 1


def records(body: bytes, dialect: CsvDialect, rows: Collection[int]) -> dict[int, bytes]:
    """Return the records of these rows of a chunk, without their line ends; rows count from 0, without blank lines."""
    text = np.frombuffer(body, np.uint8)
    stretches = QuoteFinder(dialect).stretches(text)
    ends = _line_ends(text, stretches)
    starts = np.concatenate(([0], ends + 1))
    stops = np.concatenate((ends, [len(text)]))
    filled = np.flatnonzero(stops > starts)  # blank lines, and the place between CR and LF, are no rows
    return {row: body[starts[filled[row]] : stops[filled[row]]] for row in rows if row < len(filled)}
