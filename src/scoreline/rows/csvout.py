"""Columns of text -> CSV bytes, with quotes only where they are needed. No loop runs over rows."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from scoreline.errors import OutputError
from scoreline.rows import arrow
from scoreline.types import CsvDialect

# A slice of rows whose text stays far below the 2 GiB that one Arrow string array can hold.
_SLICE_CELLS = 4_000_000
_NOTHING, _LINE_END = arrow.text(""), arrow.text("\n")


class NotEncodable(OutputError):
    """A character that the output's encoding lacks; `row` counts within the block, both from 0."""

    def __init__(self, encoding: str, row: int, column: int, character: str) -> None:
        super().__init__(
            f"Writing the output failed: the encoding {encoding} has no character {character!r}; "
            "choose another encoding in csvSettings, such as utf-8."
        )
        self.encoding = encoding
        self.row = row
        self.column = column
        self.character = character


def header(names: Sequence[str], dialect: CsvDialect) -> bytes:
    """Return the header line, with the byte order mark of encodings that have one.

    Raises NotEncodable for a name that the encoding cannot express.
    """
    line = _lines([arrow.texts([name]) for name in names], dialect)
    if is_utf8(dialect.encoding):
        return line
    return _encoded([arrow.texts([name]) for name in names], line, dialect, first=True)


def records(arrays: Sequence[pa.Array], dialect: CsvDialect) -> bytes:
    r"""Return one CSV record per row, ended by "\n"; a null is an empty field.

    `arrays` are string arrays of equal length, at least one. Raises NotEncodable.
    """
    rows = len(arrays[0])
    step = max(1, _SLICE_CELLS // len(arrays))
    parts = []
    for start in range(0, rows, step):
        some = arrays if rows <= step else [array.slice(start, step) for array in arrays]
        body = _lines(some, dialect)
        if not is_utf8(dialect.encoding):
            try:
                body = _encoded(some, body, dialect, first=False)
            except NotEncodable as problem:
                problem.row += start
                raise
        parts.append(body)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def fitting(text: str, encoding: str) -> str:
    """Return the text with `?` for each character that the encoding lacks."""
    return text if is_utf8(encoding) else text.encode(encoding, "replace").decode(encoding)


def unwritable(column: pa.Array, encoding: str) -> dict[int, str]:
    """Return the first character that the encoding lacks for each text of a string array that has one."""
    if is_utf8(encoding):
        return {}
    try:
        data_bytes(column).decode().encode(encoding)
    except UnicodeEncodeError:
        pass
    else:
        return {}
    lacking = dict[int, str]()
    for row, cell in enumerate(column.to_pylist()):
        try:
            (cell or "").encode(encoding)
        except UnicodeEncodeError as problem:
            lacking[row] = problem.object[problem.start]
    return lacking


def is_utf8(encoding: str) -> bool:
    """Say whether text in `encoding` is UTF-8 as it stands, without a byte order mark."""
    return codecs.lookup(encoding).name == "utf-8"


def _lines(arrays: Sequence[pa.Array], dialect: CsvDialect) -> bytes:
    columns = [_quoted(array, dialect) for array in arrays]
    nulls = {"null_handling": "replace", "null_replacement": ""}
    if len(columns) == 1:
        # An empty line would be no record at all.
        filled = arrow.valid(columns[0]) & (arrow.lengths(columns[0]) > 0)
        columns = [pc.if_else(arrow.flags(filled), columns[0], arrow.text(dialect.quotechar * 2))]
    whole = pc.binary_join_element_wise(columns[-1], _NOTHING, _LINE_END, **nulls)
    if columns[:-1]:
        whole = pc.binary_join_element_wise(*columns[:-1], whole, arrow.text(dialect.delimiter), **nulls)
    return data_bytes(whole)


def data_bytes(array: pa.Array) -> bytes:
    """Return the text of all values of a string or binary array, one after the other."""
    body = array.buffers()[2]
    if not len(array) or body is None:
        return b""
    offsets = memoryview(array.buffers()[1]).cast("i")
    start, end = offsets[array.offset], offsets[array.offset + len(array)]
    return bytes(body.slice(start, end - start).to_pybytes())


def _quoted(array: pa.Array, dialect: CsvDialect) -> pa.Array:
    quote = dialect.quotechar
    body = data_bytes(array)
    if not any(sign.encode() in body for sign in (dialect.delimiter, quote, "\n", "\r")):
        return array
    needed = arrow.flags(arrow.mask(pc.match_substring_regex(array, _special(dialect))))
    some = array.filter(needed)
    if quote.encode() in body:
        some = pc.replace_substring(some, quote, quote * 2)
    sign = arrow.text(quote)
    return pc.replace_with_mask(array, needed, pc.binary_join_element_wise(sign, some, sign, _NOTHING))


def _special(dialect: CsvDialect) -> str:
    signs = "".join(rf"\x{ord(sign):02x}" for sign in (dialect.delimiter, dialect.quotechar))
    return rf"[{signs}\n\r]"


def _encoded(arrays: Sequence[pa.Array], body: bytes, dialect: CsvDialect, *, first: bool) -> bytes:
    encoder = codecs.getincrementalencoder(dialect.encoding)()
    if not first:
        encoder.encode("\n")  # the byte order mark goes out with the header only
    try:
        return encoder.encode(body.decode(), final=True)
    except UnicodeEncodeError as problem:
        character = problem.object[problem.start]
    row, column = _find(arrays, dialect.encoding)
    raise NotEncodable(dialect.encoding, row, column, character)


def _find(arrays: Sequence[pa.Array], encoding: str) -> tuple[int, int]:
    for row in range(len(arrays[0])):
        for column, array in enumerate(arrays):
            try:
                (array[row].as_py() or "").encode(encoding)
            except UnicodeEncodeError:
                return row, column
    return 0, 0
