"""Byte ranges of a download (RFC 9110, section 14): what is asked, and the part of a stream that it means."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=(?:(?P<first>\d{1,18})-(?P<last>\d{0,18})|-(?P<suffix>\d{1,18}))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `first` up to, not including, `end`; `end` is None where the stream's end is not known yet."""

    first: int
    end: int | None

    def content_range(self, total: int | None) -> str:
        """Return the header that names the part; an end that is not known yet is written as `*`."""
        last = "*" if self.end is None else str(self.end - 1)
        return f"bytes {self.first}-{last}/{'*' if total is None else total}"


class NotSatisfiable(Exception):
    """The range begins after the last byte."""


def wanted(header: str | None, total: int | None, so_far: int) -> Part | None:
    """Return the part that a Range header asks for, None when the whole is to be sent.

    total: the stream's bytes, None while it grows; so_far: those that exist already. A header that is not understood,
    asks for several parts, or asks for a part whose borders are not known yet, is ignored, as the standard allows.
    Raises NotSatisfiable.
    """
    found = _RANGE.fullmatch((header or "").strip())
    if found is None:
        return None
    if found["suffix"] is not None:
        return None if total is None else _suffix(int(found["suffix"]), total)
    first = int(found["first"])
    if total is None:
        return Part(first, None) if not found["last"] and first <= so_far else None
    end = min(total, int(found["last"]) + 1) if found["last"] else total
    if found["last"] and int(found["last"]) < first:
        return None
    if first >= total:
        raise NotSatisfiable
    return Part(first, end)


def _suffix(size: int, total: int) -> Part:
    if not size or not total:
        raise NotSatisfiable
    return Part(max(0, total - size), total)


class Window:
    """Slides a part over the blocks of a stream, which are told one after the other by their sizes."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._position = 0

    def over(self, size: int) -> slice | None:
        """Return which bytes of the next block, of `size` bytes, are in the part; None for none of them."""
        start, self._position = self._position, self._position + size
        end = self._position if self._part.end is None else min(self._position, self._part.end)
        first = max(start, self._part.first)
        return slice(first - start, end - start) if first < end else None

    @property
    def passed(self) -> bool:
        """True once the part's end is behind."""
        return self._part.end is not None and self._position >= self._part.end
