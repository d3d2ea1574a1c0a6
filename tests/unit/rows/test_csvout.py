"""CSV bytes read back with Python's csv module, and compared with what it writes itself."""

import csv
import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.rows import csvout
from scoreline.types import CsvDialect

CELLS = st.text(alphabet=st.sampled_from(list("ab01.,;\t|\"'\n\r äß€ \0")), max_size=6)
DIALECTS = st.sampled_from([CsvDialect(), CsvDialect(";", "'"), CsvDialect("\t"), CsvDialect("|", '"', "utf-16")])


@given(st.integers(1, 4).flatmap(lambda w: st.lists(st.tuples(*[CELLS] * w), min_size=1, max_size=8)), DIALECTS)
def test_what_is_written_reads_back(rows, dialect):
    arrays = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    names = [f"c{i}" for i in range(len(arrays))]
    body = csvout.header(names, dialect) + csvout.records(arrays, dialect)
    reader = csv.reader(
        io.StringIO(body.decode(dialect.encoding), newline=""),
        delimiter=dialect.delimiter,
        quotechar=dialect.quotechar,
    )
    assert [tuple(row) for row in reader] == [tuple(names), *rows]


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8))
def test_quotes_only_where_needed(rows):
    body = csvout.records([pa.array(column, pa.string()) for column in zip(*rows, strict=True)], CsvDialect())
    target = io.StringIO(newline="")
    csv.writer(target, lineterminator="\r\n").writerows(rows)  # this terminator makes it quote both line ends
    expected = io.StringIO(newline="")
    for a, b in rows:
        expected.write(
            ",".join(f'"{c.replace(chr(34), chr(34) * 2)}"' if set(c) & set(',"\r\n') else c for c in (a, b))
        )
        expected.write("\n")
    assert body.decode() == expected.getvalue()
    assert len(target.getvalue()) == len(body.decode()) + len(rows)


def test_nulls_are_empty_and_a_lone_empty_cell_is_quoted():
    assert csvout.records([pa.array(["a", None]), pa.array([None, "b"])], CsvDialect()) == b"a,\n,b\n"
    assert csvout.records([pa.array(["a", None, ""])], CsvDialect()) == b'a\n""\n""\n'
    assert csvout.header(['a,"b"', "c"], CsvDialect()) == b'"a,""b""",c\n'


def test_slices_are_respected():
    array = pa.array(["drop", "a,b", None, "c", "drop"]).slice(1, 3)
    assert csvout.records([array, pa.array(["1", "2", "3"])], CsvDialect()) == b'"a,b",1\n,2\nc,3\n'


def test_many_rows_go_out_in_slices(monkeypatch):
    monkeypatch.setattr(csvout, "_SLICE_CELLS", 4)
    arrays = [pa.array([str(i) for i in range(7)]), pa.array(["é"] * 6 + ["€"])]
    assert csvout.records(arrays, CsvDialect()).decode() == "".join(f"{i},{'€' if i == 6 else 'é'}\n" for i in range(7))
    with pytest.raises(csvout.NotEncodable) as caught:
        csvout.records(arrays, CsvDialect(encoding="latin-1"))
    assert (caught.value.row, caught.value.column, caught.value.character) == (6, 1, "€")


def test_byte_order_mark_once():
    for encoding in ("utf-16", "utf-8-sig", "utf-32"):
        dialect = CsvDialect(encoding=encoding)
        body = csvout.header(["a", "b"], dialect) + csvout.records([pa.array(["1"]), pa.array(["ü"])], dialect)
        assert body == "a,b\n1,ü\n".encode(encoding)


def test_stateful_encoding_is_closed_after_each_block():
    dialect = CsvDialect(encoding="iso2022_jp")
    body = csvout.header(["名"], dialect) + csvout.records([pa.array(["東"])], dialect)
    assert body.decode("iso2022_jp") == "名\n東\n"
