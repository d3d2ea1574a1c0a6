"""Files with typed rows, Parquet and Arrow IPC, in any place that holds files, as an intake of rows."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import pyarrow as pa

from scoreline.adapters import cutting, listing
from scoreline.adapters.files import FileInfo, Files
from scoreline.errors import SourceError
from scoreline.rows import forms, typed
from scoreline.rows.columns import check_header
from scoreline.types import JsonObject, Range

# Of a column that is being read: what is fetched at once, where a row group is too large to be fetched whole.
_WINDOW_BYTES = 1 << 20
_WHOLE_BYTES = 32 << 20
_BATCH_BYTES = 4 << 20
_BATCH_ROWS = 32 << 10


class Table(Protocol):
    """One open file."""

    schema: pa.Schema
    rows: int

    @property
    def starts(self) -> Sequence[int]:
        """Rows from which it can be read without what comes before them."""
        ...

    def batches(self, row: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows from `row` on."""
        ...


class TableIntake:
    """The rows of files with the same columns, one file after the other."""

    def __init__(self, files: Files, key: str, form: str) -> None:
        """Look into each file that `key` means; the intake closes `files`.

        Raises SourceError, naming the file, for one that is broken or has other columns than the first.
        """
        self._files = files
        self._key = key
        self._infos = listing.listed(files, key)
        self._open = _FORMS[form]
        self._what = form.capitalize()
        self._asked = False
        self._starts = [0]
        self._cuts: list[int] = []
        for info in self._infos:
            table = self._table(info)
            if info is self._infos[0]:
                self._schema = table.schema
            self._check(info, table.schema)
            self._cuts += [self._starts[-1] + row for row in table.starts]
            self._starts.append(self._starts[-1] + table.rows)

    def schema(self) -> pa.Schema:
        """Return the names and plain types of all columns."""
        return self._schema

    def rows(self) -> int:
        """Return how many rows there are in all files."""
        return self._starts[-1]

    def files(self) -> Sequence[tuple[str, int]]:
        """Return the files, if there are several, and the rows of each."""
        counts = (end - start for start, end in itertools.pairwise(self._starts))
        names = [self._files.shown(info.key) for info in self._infos]
        return list(zip(names, counts, strict=True)) if len(names) > 1 else ()

    def partitions(self, want: int) -> Sequence[Range]:
        """Cut where a row group or a file begins."""
        return cutting.near(self._cuts, self.rows(), want)

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(info.size for info in self._infos)

    def identity(self) -> JsonObject:
        """Return what tells the files opened from others, and later those that are there then. Raises SourceError."""
        infos = listing.listed(self._files, self._key) if self._asked else self._infos
        self._asked = True
        return listing.identity(infos)

    def batches(self, part: Range, row: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows. Raises SourceError, RunStopped."""
        at = max(row, part.start)
        if at > self._starts[-1]:
            raise SourceError(
                f"Reading the intake failed: it ends before row {at + 1}; it is not what the run began with."
            )
        for number, info in enumerate(self._infos):
            start, end = self._starts[number : number + 2]
            if end <= at:
                continue
            with _words(self._files.shown(info.key), self._what):
                for batch in self._table(info).batches(max(0, at - start), columns):
                    yield _plain(batch, columns)

    def close(self) -> None:
        """End reading; may be called from any thread, and again."""
        self._files.close()

    def _table(self, info: FileInfo) -> Table:
        with _words(self._files.shown(info.key), self._what):
            return self._open(_Seekable(self._files, info))

    def _check(self, info: FileInfo, schema: pa.Schema) -> None:
        """Raise SourceError when a file has other columns than the first one; their order does not matter."""
        check_header(schema.names)
        first, shown = self._infos[0], self._files.shown
        wanted, have = ({field.name: field.type for field in each} for each in (self._schema, schema))
        for name in (*wanted, *have):
            if wanted.get(name) == have.get(name):
                continue
            kinds = [str(each[name]) if name in each else "no such column" for each in (wanted, have)]
            raise SourceError(
                f"Reading the intake failed: the files differ in the column '{name}': {shown(first.key)} has "
                f"{kinds[0]}, {shown(info.key)} has {kinds[1]}; give all files the same columns."
            )


class _Parquet:
    """One Parquet file. Row groups are fetched whole while they are small, else column by column in windows."""

    def __init__(self, file: _Seekable) -> None:
        from scoreline.rows import parquet  # noqa: PLC0415 -- not needed by most runs

        self._file = file
        self._library = parquet
        opened = parquet.open_file(file)
        self._metadata = opened.metadata
        self.schema = typed.plain_schema(opened.schema_arrow)
        self.rows = int(self._metadata.num_rows)
        groups = range(self._metadata.num_row_groups)
        self.starts = [0, *itertools.accumulate(self._metadata.row_group(number).num_rows for number in groups)]

    def batches(self, row: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for number in range(self._metadata.num_row_groups):
            rows = self._metadata.row_group(number).num_rows
            if row >= rows:
                row -= rows
                continue
            for batch in self._group(number, columns):
                if row < batch.num_rows:
                    yield batch.slice(row)
                row = max(0, row - batch.num_rows)

    def _group(self, number: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        packed, size = self._library.measure(self._metadata, number, columns)
        whole, rows = packed <= _WHOLE_BYTES, self._metadata.row_group(number).num_rows
        opened = self._library.open_file(
            self._file, metadata=self._metadata, pre_buffer=whole, buffer_size=0 if whole else _WINDOW_BYTES
        )
        step = max(1, min(_BATCH_ROWS, _BATCH_BYTES * rows // max(1, size)))
        yield from self._library.batches(opened, [number], columns, step)


class _Arrow:
    """One Arrow IPC file or stream. Neither says how many rows there are: they are counted by reading it."""

    _FILE_MARK = b"ARROW1"

    def __init__(self, file: _Seekable) -> None:
        self._file = file
        self._stream = file.read(len(self._FILE_MARK)) != self._FILE_MARK
        self.schema = typed.plain_schema(self._reader().schema)
        self.rows = sum(batch.num_rows for batch in self._batches())
        self.starts = (0,)

    def batches(self, row: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for batch in self._batches():
            for start in range(row, batch.num_rows, _BATCH_ROWS):
                yield batch.slice(start, _BATCH_ROWS).select(list(columns))
            row = max(0, row - batch.num_rows)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        reader = self._reader()
        if self._stream:
            yield from reader
        else:
            yield from (reader.get_batch(number) for number in range(reader.num_record_batches))

    def _reader(self) -> Any:
        self._file.seek(0)
        source = pa.PythonFile(self._file, mode="r")
        return pa.ipc.open_stream(source) if self._stream else pa.ipc.open_file(source)


_FORMS: dict[str, Callable[[_Seekable], Table]] = {forms.PARQUET: _Parquet, forms.ARROW: _Arrow}
FORMATS = tuple(_FORMS)
"""The formats whose rows have types."""


class _Seekable(io.RawIOBase):
    """A file of some place, as one that can be read anywhere."""

    def __init__(self, files: Files, info: FileInfo) -> None:
        self._files = files
        self._info = info
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, place: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = place + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._info.size}[whence]
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        end = self._info.size if size < 0 else min(self._at + size, self._info.size)
        if end <= self._at:
            return b""
        blocks = list(self._files.read(self._info, self._at, end))
        self._at = end
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def _plain(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    # A name with a dot in it may bring others along.
    arrays = [typed.plain(batch.column(name)) for name in columns]
    return pa.RecordBatch.from_arrays(arrays, list(columns))


@contextmanager
def _words(shown: str, what: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, EOFError) as error:
        cause = str(error).partition("\n")[0][:200].rstrip(".")
        raise SourceError(
            f"Reading the intake failed: {shown} is no whole {what} file ({cause}); check the file and the setting "
            "'format'."
        ) from error
