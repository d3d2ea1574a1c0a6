"""Keep a chunk whole when some of its rows are at fault: wrong number of fields, bytes that are no text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from scoreline.pipeline.fetch import is_utf8
from scoreline.rows import arrow, csvout


class Ragged:
    """The rows that have another number of fields than the header; given to Arrow's reader as its handler."""

    def __init__(self) -> None:
        self._rows: list[int] = []  # from 0, blank lines not counted
        self._texts: list[str] = []
        self._widths: list[int] = []

    def __call__(self, row: csv.InvalidRow) -> str:
        """Note the row and let Arrow go on without it."""
        self._rows.append(row.number - 1)
        self._texts.append(row.text)
        self._widths.append(row.actual_columns)
        return "skip"

    def __len__(self) -> int:
        return len(self._rows)

    def errors(self, expected: int) -> dict[int, str]:
        """Return a message for each of them."""
        noun = "field" if expected == 1 else "fields"
        return {
            row: f"expected {expected} {noun}, found {found}"
            for row, found in zip(self._rows, self._widths, strict=True)
        }

    def put_back(
        self, columns: Mapping[int, pa.Array], good: int, read: Callable[[bytes, int], pa.Table]
    ) -> dict[int, pa.Array]:
        """Return the columns, by place in the source, with these rows at their places among the `good` ones.

        A row gives what fields it has; the rest is null. `read` reads records that have so many fields.
        """
        if not self._rows:
            return dict(columns)
        order = np.empty(good + len(self), np.int64)
        rows = np.array(self._rows)
        whole = np.ones(len(order), np.bool_)
        whole[rows] = False
        order[whole] = np.arange(good)
        parts = {place: [array] for place, array in columns.items()}
        start = good
        for width, members in self._by_width().items():
            table = read("\n".join(self._texts[i] for i in members).encode(), width)
            for place, pieces in parts.items():
                known = place < width and table.num_rows == len(members)
                pieces.append(table.column(place).combine_chunks() if known else pa.nulls(len(members), pa.string()))
            order[rows[members]] = np.arange(start, start + len(members))
            start += len(members)
        take = arrow.numbers(order)
        return {place: pa.concat_arrays(pieces).take(take) for place, pieces in parts.items()}

    def _by_width(self) -> dict[int, list[int]]:
        groups = defaultdict[int, list[int]](list)
        for i, width in enumerate(self._widths):
            groups[width].append(i)
        return groups


def undecodable(name: str, array: pa.Array, encoding: str) -> tuple[pa.Array, dict[int, str]]:
    """Return the texts of a column that was read with one character for each byte, and the rows that are not UTF-8.

    A text that is UTF-8 already by its `encoding` has its byte named; of another encoding only a mark has come so far.
    """
    foreign = arrow.mask(pc.not_equal(pc.binary_length(array), pc.utf8_length(array)))
    errors = dict[int, str]()
    texts = []
    utf8 = is_utf8(encoding)
    for row in np.flatnonzero(foreign).tolist():
        field = array[row].as_py().encode("latin-1")
        try:
            texts.append(field.decode())
        except UnicodeDecodeError as problem:
            texts.append(csvout.fitting(field.decode(errors="replace"), encoding))
            errors[row] = (
                f"column '{name}' is not UTF-8: byte {problem.start + 1} of the field is 0x{field[problem.start]:02x}"
                if utf8
                else f"column '{name}' has bytes that are not text in the encoding {encoding}"
            )
    return (pc.replace_with_mask(array, arrow.flags(foreign), arrow.texts(texts)) if texts else array), errors


def nul_bytes(name: str, array: pa.Array) -> dict[int, str]:
    """Return a message for each row with a NUL byte in the column."""
    found = arrow.mask(pc.match_substring(array, "\0"))
    return dict.fromkeys(np.flatnonzero(found).tolist(), f"column '{name}' has a NUL byte")
