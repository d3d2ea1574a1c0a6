"""Whole runs read what Python's csv module reads: every cell, in every dialect, however the bytes are cut."""

import csv
import io
import string
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.types import Counts, CsvDialect, Feature, FeatureType, Scores
from tests.unit.pipeline.stand_ins import PLAN
from tests.unit.pipeline.test_frame import open_at_end
from tests.unit.pipeline.test_run import Setting

SIGNS = [sign for sign in (*string.printable, "\x01", "\x1f", "\x7f") if sign not in "\r\n"]
CODECS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "gb18030", "utf-7"]
COLUMNS = ("a", "b", "x")


class Plain:
    """Predicts 0 for every row, whatever is in it."""

    def score(self, features, options):
        return Scores(np.zeros((features.num_rows, 1)))

    def close(self):
        pass


@st.composite
def files(draw):
    """A dialect, and a text with a header that is read as COLUMNS, before any mess."""
    delimiter, quotechar = draw(st.lists(st.sampled_from(SIGNS), min_size=2, max_size=2, unique=True))
    dialect = CsvDialect(delimiter, quotechar)
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    head = delimiter.join(f"{quotechar}{name * 2 if name == quotechar else name}{quotechar}" for name in COLUMNS)
    pieces = [delimiter, delimiter, quotechar, quotechar, "\n", "\r", "\r\n", "a", "b ", "é", "名", "\ufeff", "1", " "]
    cells = st.lists(st.sampled_from(pieces), max_size=8).map("".join)
    rows = draw(st.lists(st.one_of(cells, st.lists(cells, min_size=3, max_size=3)), max_size=12))
    lines = [row if isinstance(row, str) else written(row, dialect) for row in rows]
    return dialect, head + end, "".join(line + draw(st.sampled_from(["\n", "\r\n", "\r"])) for line in lines)


def written(row, dialect):
    quote = dialect.quotechar
    return dialect.delimiter.join(f"{quote}{cell.replace(quote, quote * 2)}{quote}" for cell in row)


def read(text, dialect):
    lines = io.StringIO(text, newline="")
    return [row for row in csv.reader(lines, delimiter=dialect.delimiter, quotechar=dialect.quotechar) if row]


@settings(max_examples=250, deadline=None)
@given(files(), st.sampled_from(CODECS), st.integers(1, 60), st.integers(1, 60), st.integers(1, 3))
def test_every_cell_is_that_of_the_csv_module(case, encoding, size, block, concurrency):
    dialect, head, text = case
    if open_at_end(head + text, dialect):
        return
    plan = replace(PLAN, features=(), passthrough="all")
    it = Setting(
        head + text,
        scorer=Plain(),
        plan=plan,
        dialect=replace(dialect, encoding=encoding),
        encoding=encoding,
        block=block,
        size=size,
        concurrency=concurrency,
        abort_on_error=False,
    )
    done = it.run()
    expected = read(text, dialect)
    found = read(it.output.text.decode(encoding), dialect)
    assert found[0][2:] == list(COLUMNS)
    assert len(found) - 1 == len(expected) == done.counts.read
    whole = [len(row) == 3 for row in expected]
    for row, cells, right in zip(found[1:], expected, whole, strict=True):
        assert row[1] == ("OK" if right else f"ERROR: expected 3 fields, found {len(cells)}")
        assert row[2:] == [*cells, "", ""][:3]
    assert done.counts == Counts(len(whole), sum(whole), len(whole) - sum(whole))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["", " ", "a", "1", "b\nc", '"', ","]), max_size=20), st.integers(1, 30))
def test_a_file_of_one_column(cells, size):
    body = "x\n" + "".join(f"{written([cell], CsvDialect())}\n" for cell in cells)
    plan = replace(PLAN, features=(Feature("x", FeatureType.TEXT),), passthrough=("x",))
    it = Setting(body, scorer=Plain(), plan=plan, size=size)
    assert it.run().counts == Counts(len(cells), len(cells))
    assert [row[2] for row in csv.reader(io.StringIO(it.output.text.decode(), newline=""))] == ["x", *cells]


@pytest.mark.parametrize("size", range(1, 40))
def test_a_quoted_line_end_at_every_border(size):
    rows = ['1,"a\nb"\n', '2,"c\r\nd"\r\n', '3,"""\n"""\n', '4,",\n,"\n', '"5\n",e']
    plan = replace(PLAN, features=(), passthrough="all")
    for block in (1, 2, 3, 7, 100):
        it = Setting("id,x\n" + "".join(rows), scorer=Plain(), plan=plan, size=size, block=block)
        assert it.run().counts == Counts(5, 5)
        found = [row[2:] for row in read(it.output.text.decode(), CsvDialect())][1:]
        assert found == [["1", "a\nb"], ["2", "c\r\nd"], ["3", '"\n"'], ["4", ",\n,"], ["5\n", "e"]]
