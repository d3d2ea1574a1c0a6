"""What a file is, CSV (plain or packed) or Parquet, told by its content, and its rows block by block.

Nothing is taken in by halves: a file that cannot be read as a whole table raises SourceError in words.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa

from scoreline.catalog.columns import Kind, kind_of_type
from scoreline.errors import SourceError, one_line
from scoreline.pipeline.unpack import Unpacked
from scoreline.rows import arrow, cast, forms, typed
from scoreline.rows.columns import check_header
from scoreline.types import RunLimits

_BLOCK_BYTES = 4 << 20
_HEADER_BYTES = 1 << 20
_BATCH_ROWS = 32 << 10
_DELIMITERS = ",;\t|"
_MOST_COLUMNS = 20_000
_PARQUET = b"PAR1"
_OTHER = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"%PDF": "a PDF document",
    b"ARROW1": "an Arrow file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"SQLite format 3": "a SQLite database",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}

Open = Callable[[], IO[bytes]]


class Table:
    """A file that was looked into. names, kinds: its columns; a kind is None where only the rows can tell.

    form: "csv" or "parquet". packing: "gzip" or "zstd" for a CSV that is packed. delimiter: of a CSV.
    """

    def __init__(self, names: Sequence[str], kinds: Sequence[Kind | None], form: str) -> None:
        self.names = names
        self.kinds = kinds
        self.form = form
        self.packing: str | None = None
        self.delimiter: str | None = None
        self.text_bytes = 0  # of a CSV, unpacked; known once all blocks were read

    def blocks(self, columns: Sequence[int]) -> Iterator[Sequence[pa.Array]]:
        """Yield the rows of these columns, by their numbers: texts or plain values, null for what is missing."""
        raise NotImplementedError


def table(opened: Open, limits: RunLimits) -> Table:
    """Look into a file. opened: opens it at its beginning, each time anew. Raises SourceError for what is no table."""
    with opened() as file:
        head = file.read(16)
    if not head:
        raise SourceError("Reading the dataset failed: the file is empty; send one with a header and rows.")
    if head.startswith(_PARQUET):
        return _Parquet(opened)
    for mark, what in _OTHER.items():
        if head.startswith(mark):
            raise SourceError(f"Reading the dataset failed: the file is {what}; send CSV in UTF-8, or Parquet.")
    return _Csv(opened, limits)


class _Csv(Table):
    def __init__(self, opened: Open, limits: RunLimits) -> None:
        self._opened = opened
        self._limits = limits
        with _csv_words(), opened() as file:
            unpacked = Unpacked(_blocks(file), limits)
            head = _head(unpacked)
            self._names, delimiter = _header(head)
        super().__init__(self._names, [None] * len(self._names), forms.CSV)
        self.packing, self.delimiter = unpacked.packing, delimiter

    def blocks(self, columns: Sequence[int]) -> Iterator[Sequence[pa.Array]]:
        """Yield the rows of these columns as texts. Raises SourceError."""
        from pyarrow import csv as arrow_csv  # noqa: PLC0415 -- not needed by most requests

        labels = [f"c{number}" for number in range(len(self.names))]
        bad = _BadRow()
        read = arrow_csv.ReadOptions(
            use_threads=False, block_size=_BLOCK_BYTES, column_names=labels, skip_rows_after_names=1
        )
        parse = arrow_csv.ParseOptions(
            delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=bad, ignore_empty_lines=True
        )
        convert = arrow_csv.ConvertOptions(
            column_types={labels[number]: pa.string() for number in columns},
            include_columns=[labels[number] for number in columns],
            null_values=list(cast.NULLS),
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        )
        with _csv_words(bad), self._opened() as file:
            unpacked = Unpacked(_blocks(file), self._limits)
            stream = _Stream(unpacked)
            try:
                for batch in arrow_csv.open_csv(pa.PythonFile(stream, mode="r"), read, parse, convert):
                    yield batch.columns
            except BaseException:
                if stream.trouble is not None:
                    raise stream.trouble from None
                raise
            self.text_bytes = unpacked.bytes_out


class _Parquet(Table):
    def __init__(self, opened: Open) -> None:
        self._opened = opened
        with _parquet_words(), opened() as file:
            found = self._file(file)
            schema = found.schema_arrow
            rows, size = (
                found.metadata.num_rows,
                sum(
                    found.metadata.row_group(number).total_byte_size for number in range(found.metadata.num_row_groups)
                ),
            )
        self._step = max(1, min(_BATCH_ROWS, _BLOCK_BYTES * max(1, rows) // max(1, size)))
        _check_names(schema.names)
        self._schema = typed.plain_schema(schema)
        super().__init__(schema.names, [kind_of_type(field.type) for field in self._schema], forms.PARQUET)

    def blocks(self, columns: Sequence[int]) -> Iterator[Sequence[pa.Array]]:
        """Yield the rows of these columns as plain values. Raises SourceError."""
        names = [self.names[number] for number in columns]
        with _parquet_words(), self._opened() as file:
            from scoreline.rows import parquet  # noqa: PLC0415 -- not needed by most requests

            opened = self._file(file)
            for batch in parquet.batches(opened, range(opened.metadata.num_row_groups), names, self._step):
                yield [typed.plain(batch.column(name)) for name in names]

    @staticmethod
    def _file(file: IO[bytes]) -> Any:
        from scoreline.rows import parquet  # noqa: PLC0415 -- not needed by most requests

        return parquet.open_file(file, pre_buffer=False, buffer_size=1 << 20)


class _Stream:
    """An iterator of bytes as a file, as Arrow wants it; what ends it early is kept, since Arrow says it otherwise."""

    closed = False

    def __init__(self, pieces: Unpacked) -> None:
        self._pieces = iter(pieces)
        self._left = memoryview(b"")
        self.trouble: SourceError | None = None

    def read(self, size: int) -> memoryview:
        """Return up to `size` bytes."""
        if not self._left:
            try:
                self._left = memoryview(next(self._pieces, b""))
            except SourceError as error:
                self.trouble = error
                raise
        some, self._left = self._left[:size], self._left[size:]
        return some

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def close(self) -> None:
        """Nothing is held open."""


class _BadRow:
    """Is told of a row that does not fit, and has the reading end there."""

    def __init__(self) -> None:
        self.words: str | None = None

    def __call__(self, row: Any) -> str:
        number = f"row {row.number}" if row.number is not None else "a row"
        self.words = f"{number} has {row.actual_columns} fields, where the header has {row.expected_columns}"
        return "error"


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_HEADER_BYTES):
        yield block


def _head(pieces: Unpacked) -> bytes:
    head = bytearray()
    for piece in pieces:
        head += piece
        if len(head) > _HEADER_BYTES:
            break
    if not head:
        raise SourceError("Reading the dataset failed: the file is empty; send one with a header and rows.")
    if head.startswith(_PARQUET):
        raise SourceError("Reading the dataset failed: it is a packed Parquet file; send it unpacked.")
    return bytes(head)


def _header(head: bytes) -> tuple[list[str], str]:
    """Return the names of the columns and the delimiter."""
    text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    found: dict[str, list[str]] = {}
    for delimiter in _DELIMITERS:
        with _csv_words():
            found[delimiter] = next(iter(csv.reader(_lines(text), delimiter=delimiter)), [])
    # The one that gives most columns; a comma unless there is reason to think otherwise.
    delimiter = max(_DELIMITERS, key=lambda each: len(found[each]))
    names = found[delimiter]
    _check_names(names)
    return names, delimiter


def _lines(text: str) -> Iterator[str]:
    """Yield lines with their ends, empty ones at the beginning left out."""
    lines = text.splitlines(keepends=True) if "\n" not in text else (line + "\n" for line in text.split("\n"))
    begun = False
    for line in lines:
        begun = begun or bool(line.strip("\r\n"))
        if begun:
            yield line


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise SourceError("Reading the dataset failed: there is no column in it; send a table with a header.")
    if len(names) > _MOST_COLUMNS:
        raise SourceError(
            f"Reading the dataset failed: it has {len(names)} columns, and at most {_MOST_COLUMNS} are taken; leave "
            "some out."
        )
    for number, name in enumerate(names, 1):
        if any("\ud800" <= sign <= "\udfff" for sign in name):
            raise SourceError("Reading the dataset failed: its header is no UTF-8 text; save the file as UTF-8.")
        if not name.strip() or "\0" in name:
            raise SourceError(
                f"Reading the dataset failed: column {number} has no name, or one with a NUL character; name every "
                "column in the header."
            )
    try:
        check_header(names)
    except SourceError as error:
        raise of_dataset(error) from error


def of_dataset(error: SourceError) -> SourceError:
    """Return what went wrong as said of a dataset."""
    return SourceError(error.message.replace("Reading the intake failed", "Reading the dataset failed", 1))


@contextmanager
def _csv_words(bad: _BadRow | None = None) -> Iterator[None]:
    try:
        yield
    except SourceError as error:
        raise of_dataset(error) from error
    except (pa.ArrowException, csv.Error, UnicodeDecodeError) as error:
        raise SourceError(f"Reading the dataset failed: {_csv_cause(str(error), bad)}") from error


def _csv_cause(text: str, bad: _BadRow | None) -> str:
    if bad is not None and bad.words is not None:
        return f"{bad.words}; mend the file, or quote fields that hold the delimiter."
    if "UTF8" in text or "utf" in text:
        return "it is no UTF-8 text; save the file as UTF-8."
    if "straddling" in text or "field larger" in text:
        return f"a row, or the header, is longer than {_BLOCK_BYTES} bytes, or a quote is never closed; mend the file."
    return f"it is no CSV ({one_line(text, 150).rstrip('.')}); mend the file."


@contextmanager
def _parquet_words() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, EOFError) as error:
        cause = one_line(str(error).partition("\n")[0], 200).rstrip(".")
        raise SourceError(
            f"Reading the dataset failed: it is no whole Parquet file ({cause}); write and send it again."
        ) from error


def missing_is_null(block: pa.Array) -> pa.Array:
    """Return texts with null for those that mean that there is no value."""
    import pyarrow.compute as pc  # noqa: PLC0415 -- as above

    if not pa.types.is_string(block.type):
        return block
    return pc.if_else(pc.is_in(block, value_set=arrow.texts(cast.NULLS)), arrow.null(pa.string()), block)
