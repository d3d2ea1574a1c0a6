"""What a file holds, column by column, in one pass over its rows; memory does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scoreline.catalog import opening
from scoreline.catalog.columns import Column, Kind, NotOfThisKind
from scoreline.types import JsonObject, RunLimits

_MOST_VALUES = 8 << 20  # kept of all columns together, and as many hashes
_MOST_OF_ONE = 64 << 10
_LEAST_OF_ONE = 256


@dataclass(frozen=True, slots=True)
class Profile:
    """A file that was read as a whole. size: as CSV, unpacked, or of the Parquet file. features: as the API says it."""

    form: str
    packing: str | None
    delimiter: str | None
    size: int
    rows: int
    features: Sequence[JsonObject]


def profile(opened: opening.Open, size: int, limits: RunLimits, check: Callable[[], None]) -> Profile:
    """Read a file of `size` bytes. check: called now and then; what it raises ends the reading. Raises SourceError."""
    found = opening.table(opened, limits)
    most = max(_LEAST_OF_ONE, min(_MOST_OF_ONE, _MOST_VALUES // len(found.names)))
    columns = [Column(name, most, kind) for name, kind in zip(found.names, found.kinds, strict=True)]
    rows, others = _read(found, columns, range(len(columns)), check)
    if others:
        # Of some columns the first rows look like something that the others are not: these are read again, as words.
        for number in others:
            columns[number] = Column(found.names[number], most, Kind.WORDS)
        _read(found, columns, others, check)
    text_bytes = found.text_bytes if found.form == "csv" else size
    return Profile(
        found.form, found.packing, found.delimiter, text_bytes, rows, [column.document() for column in columns]
    )


def _read(
    found: opening.Table, columns: Sequence[Column], wanted: Sequence[int], check: Callable[[], None]
) -> tuple[int, list[int]]:
    """Add all rows to the wanted columns; return how many there are, and the columns that are not what they seemed."""
    rows = 0
    failed: set[int] = set()
    for block in found.blocks(wanted):
        check()
        rows += len(block[0])
        for number, values in zip(wanted, block, strict=True):
            if number in failed:
                continue
            try:
                columns[number].add(opening.missing_is_null(values) if found.form != "csv" else values)
            except NotOfThisKind:
                failed.add(number)
    return rows, sorted(failed)
