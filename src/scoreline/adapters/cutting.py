"""Where sources can be cut in parts that are read on their own."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from scoreline.types import Range


def evenly(size: int | None, want: int) -> list[Range]:
    """Cut so many bytes in `want` parts of about the same size; all as one part where the size is not known."""
    if size is None:
        return [Range()]
    return at([size * number // want for number in range(1, want)], size)


def near(places: Sequence[int], size: int, want: int) -> list[Range]:
    """Cut `size` rows, bytes or files in at most `want` parts at some of `places`, which are in order."""
    chosen: list[int] = []
    for number in range(1, want):
        found = bisect.bisect_left(places, size * number // want)
        chosen += places[found : found + 1]
    return at(chosen, size)


def at(places: Sequence[int], size: int) -> list[Range]:
    """Cut at these places; those that are given twice, at the start or not inside do not count."""
    inside = sorted({place for place in places if 0 < place < size})
    return [Range(i, start, end) for i, (start, end) in enumerate(zip([0, *inside], [*inside, None], strict=True))]
