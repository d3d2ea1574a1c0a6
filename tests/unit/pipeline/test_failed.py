"""The list of failed rows: every one of them once, with its number, its reason and its own text, whatever is in it."""

import csv
import io
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline import adapters
from scoreline.errors import Cancelled, DataRefused, TooManyBadRows
from scoreline.pipeline import run
from scoreline.pipeline.chunk import DoneChunk
from scoreline.pipeline.failed import FailedRows
from scoreline.pipeline.quotes import records
from scoreline.rows import failed
from scoreline.spool import open_spool
from scoreline.types import Counts, CsvDialect, Receipt, RunLimits
from tests.unit.pipeline.stand_ins import (
    DoublingScorer,
    MemoryIntake,
    MemoryLedger,
    MemoryOutput,
    SeenProgress,
    ticket,
)
from tests.unit.pipeline.test_frame import open_at_end, rows_of, texts


@settings(max_examples=400)
@given(texts())
def test_records_are_those_of_the_csv_module(case):
    dialect, text = case
    if open_at_end(text, dialect):
        return
    rows = rows_of(text, dialect)
    found = records(text.encode(), dialect, range(len(rows) + 3))
    assert list(found) == list(range(len(rows)))
    assert [rows_of(found[i].decode(), dialect) for i in range(len(rows))] == [[row] for row in rows]


HOSTILE = ['a,"b\nc"', '"', '""', "=1+1", "a\rb", "é€", "\0", ",,,", "x" * 600, "…", "'", "\ufeff", "a\n\nb"]


@given(st.sampled_from(HOSTILE), st.sampled_from(HOSTILE), st.integers(1, 10**12))
def test_no_row_breaks_the_list(reason, source, number):
    body = failed.HEADER + failed.line(number, reason, source) + failed.line(number + 1, "next", "row")
    reader = csv.DictReader(io.StringIO(body.decode(), newline=""))
    first, second = list(reader)
    assert (first["row_number"], first["source_row"]) == (str(number), source)
    assert len(first["reason"]) <= 500
    assert "\n" not in first["reason"]
    assert second == {"row_number": str(number + 1), "reason": "next", "source_row": "row"}


def test_a_huge_row_is_cut():
    line = failed.line(1, "r", "é" * (failed.MOST_ROW_CHARACTERS + 5)).decode()
    assert line.endswith('éé…"\n')
    assert len(line) == failed.MOST_ROW_CHARACTERS + len('1,"r",""\n')


ROWS = [
    b"a,1\n",
    b'"b,\n""c""",bad\r\n',
    b"\n",
    b"d\n",
    b"e,5,6\r",
    b"\xff,7\n",
    b'"nul\0",8\n',
    b"g,900\n",
    b"h,\n",
    b"i,9",
]
FAILED = [
    ("2", "column 'x': 'bad' is not a number", '"b,\n""c""",bad'),
    ("3", "expected 2 fields, found 1", "d"),
    ("4", "expected 2 fields, found 3", "e,5,6"),
    ("5", "column 'id' is not UTF-8: byte 1 of the field is 0xff", "\ufffd,7"),
    ("6", "column 'id' has a NUL byte", '"nul\0",8'),
    ("7", "too high", "g,900"),
    ("8", "the model's prediction is not a finite number", "h,"),
]


def refuse(values):
    if 900 in values:
        raise DataRefused("too high")


def list_of(output: MemoryOutput) -> list[tuple[str, str, str]]:
    rows = csv.reader(io.StringIO((failed.HEADER + output.text).decode(), newline=""))
    assert next(rows) == ["row_number", "reason", "source_row"]
    return [tuple(row) for row in rows]


def score(body, made, ledger, errors, progress=None, refuse=refuse):
    intake = MemoryIntake([body[i : i + 3] for i in range(0, len(body), 3)] if isinstance(body, bytes) else body)
    return run(made, intake, DoublingScorer(refuse), MemoryOutput(), ledger, progress or SeenProgress(), errors=errors)


@pytest.mark.parametrize("size", [1, 5, 30, 1000])
def test_every_kind_of_failed_row_is_listed(size):
    errors, ledger = MemoryOutput(), MemoryLedger()
    made = replace(ticket(size=size, abort_on_error=False), errors_file={"type": "memory"})
    done = score(b"id,x\n" + b"".join(ROWS), made, ledger, errors)
    assert done.counts == Counts(9, 2, 7)
    assert list_of(errors) == FAILED
    receipts = [flush.errors for flush in ledger.rows if flush.errors is not None]
    assert receipts == errors.committed
    assert sum(flush.counts.failed for flush in ledger.rows if flush.errors is not None) == 7


def test_other_encodings_are_listed_as_utf8():
    errors = MemoryOutput()
    made = ticket(abort_on_error=False, dialect=CsvDialect(";", "'", "shift_jis"))
    made = replace(made, errors_file={"type": "memory"})
    body = "id;x\n'名;前';悪い\n".encode("shift_jis") + b"\x81;1\n"
    score(body, made, MemoryLedger(), errors)
    assert list_of(errors) == [
        ("1", "column 'x': '悪い' is not a number", "'名;前';悪い"),
        ("2", "column 'id' has bytes that are not text in the encoding shift_jis", "\ufffd;1"),
    ]


class Sized(MemoryOutput):
    def write(self, chunk):
        return Receipt(super().write(chunk).data | {"size": len(chunk.body)})


def test_a_run_that_goes_on_neither_doubles_nor_loses_a_line():
    rows = [f"r{i},{'bad' if i % 3 == 0 else i}\n".encode() for i in range(300)]
    errors, ledger, output = Sized(), MemoryLedger(), MemoryOutput()
    made = replace(ticket(size=40, abort_on_error=False), errors_file={"type": "memory"})
    progress = SeenProgress()

    def stop():
        while not ledger.rows or ledger.rows[-1].counts.read == 0:
            pass
        progress.stop.set()

    blocks = [b"id,x\n", *rows[:150], stop, *rows[150:]]
    with pytest.raises(Cancelled):
        run(made, MemoryIntake(blocks), DoublingScorer(), output, ledger, progress, errors=errors)
    between = sum((flush.counts for flush in ledger.rows), Counts())
    assert 0 < between.failed < 100
    again = Sized()
    done = run(made, MemoryIntake([b"id,x\n", *rows]), DoublingScorer(), output, ledger, SeenProgress(), errors=again)
    assert done.counts == Counts(300, 200, 100)
    errors.blocks = {
        flush.first: (again.blocks | errors.blocks)[flush.first] for flush in ledger.rows if flush.errors is not None
    }
    listed = list_of(errors)
    assert [int(number) for number, _, _ in listed] == [i + 1 for i in range(0, 300, 3)]
    assert [source for _, _, source in listed] == [f"r{i},bad" for i in range(0, 300, 3)]


def test_what_an_earlier_run_listed_counts_towards_the_end():
    lines, errors = [], Sized()
    FailedRows(errors, [Receipt({"size": 90})], 100, lines.append).write([failed_chunk()], 0)
    assert [number for number, _, _ in list_of(errors)] == ["1"]
    assert len(lines) == 1
    errors = Sized()
    assert (
        FailedRows(errors, [Receipt({"size": 60}), Receipt({"size": 40})], 100, lines.append).write([failed_chunk()], 0)
        is None
    )
    assert not errors.blocks


def failed_chunk():
    return DoneChunk(1, b"", 10, 10, Counts(2, 0, 2), {0: "bad", 1: "bad"}, {0: b"a", 1: b"b"})


@pytest.mark.parametrize("size", [20, 100_000])
def test_the_list_has_an_end(size):
    rows = b"".join(b"r%d,bad\n" % i for i in range(100))
    line = len(failed.line(10, "column 'x': 'bad' is not a number", "r10,bad"))
    errors, progress = Sized(), SeenProgress()
    made = ticket(size=size, abort_on_error=False, limits=RunLimits(max_errors_bytes=20 * line))
    made = replace(made, errors_file={"type": "memory"})
    assert score(b"id,x\n" + rows, made, MemoryLedger(), errors, progress).counts == Counts(100, 0, 100)
    numbers = [int(number) for number, _, _ in list_of(errors)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert 20 <= len(numbers) <= 22
    assert sum("errors file is full with row" in text for text in progress.lines) == 1


def test_too_many_bad_rows_leave_the_list():
    body = b"id,x\n" + b"".join(b"r%d,bad\n" % i for i in range(50))
    errors = MemoryOutput()
    made = replace(ticket(), errors_file={"type": "memory"})
    with pytest.raises(TooManyBadRows):
        score(body, made, MemoryLedger(), errors)
    assert len(list_of(errors)) == 50
    assert errors.committed is not None


def test_in_a_file_the_header_is_there_in_any_case(tmp_path):
    made = replace(ticket(), errors_file={"type": "filesystem", "path": str(tmp_path / "errors.csv")})
    (tmp_path / "errors.csv").write_text("of an earlier run\n")
    with_errors = adapters.open_errors(made, open_spool(tmp_path / "spool"))
    score(b"id,x\na,1\n", made, MemoryLedger(), with_errors)
    with_errors.close()
    assert (tmp_path / "errors.csv").read_bytes() == failed.HEADER
    assert sorted(path.name for path in tmp_path.iterdir()) == ["errors.csv", "spool"]


def test_without_a_list_no_row_is_looked_for():
    assert adapters.open_errors(ticket(), None) is None
