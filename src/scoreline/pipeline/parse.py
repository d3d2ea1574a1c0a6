"""One chunk's bytes -> the model's batch and the passthrough texts, with a message for each row at fault.

A clean chunk takes one pass of Arrow's reader, straight into the model's types. A chunk with a fault in it is read
again as text; both ways give the same cells.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
from pyarrow import csv

from scoreline.pipeline.mend import Ragged, nul_bytes, undecodable
from scoreline.pipeline.quotes import records
from scoreline.rows import cast
from scoreline.types import CsvDialect, FeatureType, ScoringPlan

# Arrow keeps tables of some 20 KB in each column for the words that mean null, true and false. A source with more
# columns than this does without: its words are found in the second reading.
_WIDE = 256
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Parsed:
    """`rows` rows: their features, their passthrough texts by column, and why some of them cannot be scored."""

    rows: int
    batch: pa.RecordBatch
    passthrough: Mapping[str, pa.Array]
    errors: dict[int, str]


class Parser(Protocol):
    """Reads the chunks of one source; used by several threads at once. warnings: lines for the job log."""

    warnings: list[str]

    def parse(self, body: Any) -> Parsed:
        """Read one chunk."""
        ...

    def sources(self, body: Any, rows: Collection[int]) -> dict[int, bytes]:
        """Return these rows of a chunk for a person to see, each as UTF-8 text or what it has instead."""
        ...


class ChunkParser:
    """Reads chunks of a source with the columns `header`; used by several threads at once.

    warnings: lines for the job log. Raises SourceError when the header lacks columns that the model needs: those that
    it declares as optional may be absent, but not all columns of a model.
    """

    def __init__(
        self, header: Sequence[str], plan: ScoringPlan, passthrough: Sequence[str], dialect: CsvDialect
    ) -> None:
        self.warnings: list[str] = []
        self._absent = cast.absent(header, plan.features)
        if self._absent:
            self.warnings.append(cast.absent_message(list(self._absent)))
        features = cast.inputs(header, plan.features)
        self._inputs = [feature.name for feature in features]
        self._cast = cast.Caster(features)
        self._passthrough = tuple(passthrough)
        self._dialect = dialect
        place = {name: i for i, name in enumerate(header)}
        read = [name for name in self._inputs if name not in self._absent]
        self._place = {name: place[name] for name in (*read, *passthrough)}
        self._width = len(header)
        self._wanted = sorted(set(self._place.values()))
        text = dict.fromkeys(self._wanted, pa.string())
        carried = set(passthrough)
        typed = {
            place[f.name]: cast.ARROW_TYPES[f.type]
            for f in features
            if f.type is not FeatureType.TEXT and f.name not in carried and f.name not in self._absent
        }
        if len(typed) <= _WIDE:
            self._typed = _conversion({**text, **typed}, nulls=cast.NULLS)
        else:
            typed = {i: wanted for i, wanted in typed.items() if wanted != pa.bool_()}
            self._typed = _conversion({**text, **typed}, nulls=("",))
        self._text = _conversion(text)

    def parse(self, body: bytes) -> Parsed:
        """Read the records of one chunk; blank lines are no rows."""
        if b"\0" not in body:
            try:
                table = self._read(body, self._width, self._typed)
            except pa.ArrowInvalid:
                pass
            else:
                return self._sorted_out(self._columns(table), {}, table.num_rows)
        return self._exactly(body)

    def sources(self, body: bytes, rows: Collection[int]) -> dict[int, bytes]:
        """Return these rows of a chunk as they stand in the source."""
        return records(body, self._dialect, rows)

    def _exactly(self, body: bytes) -> Parsed:
        utf8 = _is_utf8(body)
        if not utf8:
            # One character for each byte, so that only the fields at fault are lost.
            body = body.decode("latin-1").encode()
        ragged = Ragged()
        table = self._read(body, self._width, self._text, ragged)
        columns = ragged.put_back(self._columns(table), table.num_rows, self._read_other)
        errors = ragged.errors(self._width)
        for name, place in self._place.items():
            faults = dict[int, str]()
            if not utf8:
                columns[place], faults = undecodable(name, columns[place], self._dialect.encoding)
            for row, message in (nul_bytes(name, columns[place]) | faults).items():
                errors.setdefault(row, message)
        return self._sorted_out(columns, errors, table.num_rows + len(ragged))

    def _sorted_out(self, columns: Mapping[int, pa.Array], errors: dict[int, str], rows: int) -> Parsed:
        nothing = {name: pa.nulls(rows, kind) for name, kind in self._absent.items()}
        batch, bad_cells = self._cast(
            {name: nothing[name] if name in nothing else columns[self._place[name]] for name in self._inputs}
        )
        for row, message in bad_cells.items():
            errors.setdefault(row, message)
        return Parsed(rows, batch, {name: columns[self._place[name]] for name in self._passthrough}, errors)

    def _columns(self, table: pa.Table) -> dict[int, pa.Array]:
        columns = [column.chunk(0) if column.num_chunks == 1 else column.combine_chunks() for column in table.columns]
        return dict(zip(self._wanted, columns, strict=True))

    def _read_other(self, body: bytes, width: int) -> pa.Table:
        return self._read(body, width, _conversion(dict.fromkeys(range(width), pa.string())))

    def _read(
        self,
        body: bytes,
        width: int,
        convert: csv.ConvertOptions,
        handler: Callable[[csv.InvalidRow], str] | None = None,
    ) -> pa.Table:
        if body.startswith(_MARK):
            body = b"\n" + body  # a mark that is a field's text; Arrow would drop it where a text begins
        return csv.read_csv(
            pa.BufferReader(body),
            read_options=csv.ReadOptions(
                use_threads=False, block_size=len(body) + 1, column_names=[str(i) for i in range(width)]
            ),
            parse_options=csv.ParseOptions(
                delimiter=self._dialect.delimiter,
                quote_char=self._dialect.quotechar,
                newlines_in_values=True,
                invalid_row_handler=handler,
            ),
            convert_options=convert,
        )


def _conversion(types: Mapping[int, pa.DataType], nulls: Sequence[str] = ()) -> csv.ConvertOptions:
    # Numbers serve as names: a header's own names may be anything.
    boolean = pa.bool_() in types.values()
    return csv.ConvertOptions(
        column_types={str(place): wanted for place, wanted in types.items()},
        include_columns=[str(place) for place in types],
        null_values=nulls,
        true_values=cast.TRUE if boolean else (),
        false_values=cast.FALSE if boolean else (),
        strings_can_be_null=False,
    )


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
