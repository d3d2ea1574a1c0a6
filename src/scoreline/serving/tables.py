"""The rows of a Prediction API request: CSV or a JSON array of objects -> columns of text."""

from __future__ import annotations

import csv as csvlib
import io
import json
from typing import Any, Never

import pyarrow as pa
from pyarrow import csv

from scoreline.errors import DataRefused, one_line
from scoreline.rows import arrow
from scoreline.rows.columns import repeated
from scoreline.serving.web import HttpError

_CSV = frozenset({"text/csv", "text/plain", "application/csv", "application/vnd.ms-excel"})
_BOM = b"\xef\xbb\xbf"


def columns(body: bytes, media_type: str, file_name: str = "") -> dict[str, pa.Array]:
    """Text columns by name, in the order of the source.

    Raises HttpError 415 for another media type, DataRefused for what cannot be read as rows.
    """
    kind = media_type.partition(";")[0].strip().lower()
    if kind == "application/json" or (kind not in _CSV and file_name.lower().endswith(".json")):
        return from_json(body)
    if kind in _CSV or file_name.lower().endswith((".csv", ".txt")):
        return from_csv(body)
    raise HttpError(
        415,
        f"Content-Type {kind or 'missing'!r} is not supported; send text/csv, text/plain, application/json, "
        'or multipart/form-data with the field "file".',
    )


def from_csv(body: bytes) -> dict[str, pa.Array]:
    """Read comma-separated UTF-8 text with a header line; cells stay as they are written. Raises DataRefused."""
    body = body.removeprefix(_BOM)
    if not body.strip():
        raise DataRefused("The body has no header line; send CSV with column names.")
    try:
        names = _header(body)
        if body.count(b'"') % 2:
            _refuse_open_quote(body)
        table = csv.read_csv(
            pa.BufferReader(body if body.endswith((b"\n", b"\r")) else body + b"\n"),
            # One block: a record must not be cut, and a body is small.
            read_options=csv.ReadOptions(use_threads=False, block_size=len(body) + 2),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError, csvlib.Error) as error:
        raise DataRefused(f"The body is not UTF-8 CSV that can be read: {one_line(str(error), 300)}.") from None
    if table.column_names != names:
        raise DataRefused("The header line of the CSV body is ambiguous; quote its names.")
    return {name: _one(table.column(name)) for name in names}


def from_json(body: bytes) -> dict[str, pa.Array]:
    """Read an array of flat objects; numbers keep the digits they are written with. Raises DataRefused."""
    try:
        records = json.loads(
            body, parse_float=str, parse_int=str, parse_constant=_no_constant, object_pairs_hook=_object
        )
    except RecursionError:
        raise DataRefused("The JSON body is nested too deeply; send an array of flat objects.") from None
    except ValueError as error:
        raise DataRefused(f"The body is not JSON that can be read: {one_line(str(error), 300)}.") from None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise DataRefused("The JSON body must be an array of objects, one for each row.")
    names = dict.fromkeys(name for record in records for name in record)
    if not names:
        raise DataRefused("The JSON body has no rows with columns.")
    return {name: _column(records, name) for name in names}


def _header(body: bytes) -> list[str]:
    with io.TextIOWrapper(io.BytesIO(body), encoding="utf-8", newline="") as text:
        names = next((record for record in csvlib.reader(text) if record), [])
    twice = repeated(names)
    if twice:
        raise DataRefused(f"The header has the column {twice[0]!r} more than once; give every column its own name.")
    return names


def _refuse_open_quote(body: bytes) -> None:
    """Arrow takes a quote that is never closed as closed at the end: rows would vanish in one cell."""
    with io.TextIOWrapper(io.BytesIO(body), encoding="utf-8", newline="") as text:
        for _ in csvlib.reader(text, strict=True):
            pass


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.nulls(0, column.type)])


def _column(records: list[dict[str, Any]], name: str) -> pa.Array:
    cells = [record.get(name) for record in records]
    for row, cell in enumerate(cells):
        if isinstance(cell, bool):
            cells[row] = "true" if cell else "false"
        elif not isinstance(cell, str | None):
            raise DataRefused(
                f"Row {row} (counted from 0): column {name!r} holds a list or an object, not a value.", row
            )
    try:
        return arrow.texts(cells)
    except UnicodeEncodeError:
        raise DataRefused(f"Column {name!r} holds half of a surrogate pair, which is no text.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError(f"the key {repeated([name for name, _ in pairs])[0]!r} occurs twice in one object")
    return made


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON; send null")
