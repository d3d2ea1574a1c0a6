"""Chunk parsing: both ways give the same cells, and bad rows fail alone and keep their place."""

import csv
import io
from dataclasses import replace
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.errors import SourceError
from scoreline.pipeline import parse
from scoreline.pipeline.parse import ChunkParser
from scoreline.types import CsvDialect, Feature, FeatureType, ScoringPlan, TargetType

HEADER = ("id", "x", "n", "b", "t", "free")
FEATURES = (
    Feature("x", FeatureType.NUMERIC),
    Feature("n", FeatureType.INTEGER),
    Feature("b", FeatureType.BOOLEAN),
    Feature("t", FeatureType.TEXT),
)


def parser(passthrough=("id", "free"), dialect=None, features=FEATURES, header=HEADER) -> ChunkParser:
    plan = ScoringPlan(TargetType.REGRESSION, "y", features)
    return ChunkParser(header, plan, passthrough, dialect or CsvDialect())


def values(batch) -> dict[str, list[str]]:
    """A model sees nan for a null, so both are the same."""
    return {n: [repr(v).replace("nan", "None") for v in c] for n, c in batch.to_pydict().items()}


def seen(parsed):
    return (
        parsed.rows,
        values(parsed.batch),
        {name: array.to_pylist() for name, array in parsed.passthrough.items()},
        parsed.errors,
    )


NUMBERS = ["1.5", "", "NA", "-2", " 3 ", "1e400", "nan", " NaN", "inf", "abc", "+4"]
WHOLE = ["7", "", "null", "5.0", " 8", "1.5", "0x1f", "99999999999999999999"]
BOOLS = ["true", "False", "1", "", "N/A", "perhaps", " yes"]
TEXTS = ["", "NA", "a,b", 'say "hi"', "two\nlines", " blank ", "é", "007", "\ufeffmark", "nul\0"]


@st.composite
def tables(draw):
    pick = [st.sampled_from(some) for some in (TEXTS, NUMBERS, WHOLE, BOOLS, TEXTS, TEXTS)]
    rows = draw(st.lists(st.tuples(*pick), min_size=1, max_size=6))
    widths = draw(st.lists(st.sampled_from([6, 6, 6, 6, 5, 7, 1]), min_size=len(rows), max_size=len(rows)))
    return [[*row, "more"][:width] for row, width in zip(rows, widths, strict=True)]


def written(rows, quoting=csv.QUOTE_MINIMAL) -> bytes:
    target = io.StringIO(newline="")
    csv.writer(target, quoting=quoting, lineterminator="\n").writerows(rows)
    return target.getvalue().encode()


@settings(max_examples=300)
@given(tables(), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.booleans(), st.sampled_from([1, 256]))
def test_both_ways_agree_and_keep_the_text(rows, quoting, everything, wide):
    with mock.patch.object(parse, "_WIDE", wide):
        it = parser(HEADER if everything else ("id", "free"))
    body = written(rows, quoting)
    parsed = it.parse(body)
    assert seen(parsed) == seen(it._exactly(body))
    assert parsed.rows == len(rows)
    for i, row in enumerate(rows):
        for name, array in parsed.passthrough.items():
            place = HEADER.index(name)
            assert array[i].as_py() == (row[place] if place < len(row) else None)
        if len(row) != 6:
            assert parsed.errors[i] == f"expected 6 fields, found {len(row)}"


CLEAN = [
    st.sampled_from([cell for cell in some if cell not in bad])
    for some, bad in [
        (TEXTS, ["nul\0"]),
        (NUMBERS, ["abc"]),
        (WHOLE, ["5.0", "1.5", "99999999999999999999"]),
        (BOOLS, ["perhaps", " yes"]),
        (TEXTS, ["nul\0"]),
        (TEXTS, ["nul\0"]),
    ]
]


@settings(max_examples=200)
@given(st.lists(st.tuples(*CLEAN), min_size=1, max_size=6), st.booleans())
def test_both_ways_agree_on_clean_rows(rows, everything):
    it = parser(HEADER if everything else ("id", "free"))
    body = written(rows, csv.QUOTE_ALL)
    with mock.patch.object(it, "_exactly", side_effect=AssertionError("not the quick way")):
        quick = it.parse(body)
    assert seen(quick) == seen(it._exactly(body))
    assert quick.errors == {}


@settings(max_examples=100)
@given(tables(), st.integers(1, 5))
def test_rows_come_out_alike_in_chunks_of_any_size(rows, size):
    it = parser(HEADER)
    whole = it.parse(written(rows))
    parts = [it.parse(written(rows[i : i + size])) for i in range(0, len(rows), size)]
    assert whole.batch.num_rows == sum(part.batch.num_rows for part in parts)
    joined = pa.Table.from_batches([part.batch for part in parts]).combine_chunks()
    assert values(joined) == seen(whole)[1]
    errors = {i * size + row: said for i, part in enumerate(parts) for row, said in part.errors.items()}
    assert errors == whole.errors


def test_clean_rows():
    parsed = parser().parse(b'1,1.5,2,true,NA,a\r\n\r\n2,,,,,"b,c"\r\n')
    assert parsed.rows == 2
    assert parsed.errors == {}
    assert parsed.batch.to_pydict() == {"x": [1.5, None], "n": [2, None], "b": [True, None], "t": ["NA", None]}
    assert parsed.batch.schema.types == [pa.float64(), pa.int64(), pa.bool_(), pa.string()]
    assert {n: a.to_pylist() for n, a in parsed.passthrough.items()} == {"id": ["1", "2"], "free": ["a", "b,c"]}


def test_bytes_that_are_not_utf8():
    body = b'1,1,1,1,\xc3\xa9,\xe9"\n2,1,1,1,a\xffb,y\n\xff,1\n4,1,1,1,\xc3\xa9,ok\n'
    parsed = parser().parse(body)
    assert parsed.errors == {
        0: "column 'free' is not UTF-8: byte 1 of the field is 0xe9",
        1: "column 't' is not UTF-8: byte 2 of the field is 0xff",
        2: "expected 6 fields, found 2",
    }
    assert parsed.passthrough["id"].to_pylist() == ["1", "2", "\ufffd", "4"]
    assert parsed.passthrough["free"].to_pylist() == ['\ufffd"', "y", None, "ok"]
    assert parsed.batch.column("t").to_pylist()[3] == "é"


def test_bytes_in_columns_that_nobody_wants_do_no_harm():
    parsed = parser(()).parse(b"\xff,1,1,1,a,\xff\n")
    assert parsed.errors == {}


def test_one_column_and_blank_lines():
    it = parser(("t",), features=(Feature("t", FeatureType.TEXT),), header=("t",))
    parsed = it.parse(b'a\n\n""\nb,c\n\n d \n')
    assert parsed.passthrough["t"].to_pylist() == ["a", "", "b", " d "]
    assert parsed.errors == {2: "expected 1 field, found 2"}
    assert it.parse(b"\n\n").rows == 0


def test_other_dialect():
    it = parser(dialect=CsvDialect("\t", "'"))
    parsed = it.parse(b"'a\tb'\t1\t2\t1\tit''s\tc\n")
    assert parsed.passthrough["id"].to_pylist() == ["a\tb"]
    assert parsed.batch.column("t").to_pylist() == ["it''s"]


def test_missing_model_columns_are_all_named():
    with pytest.raises(SourceError, match="the 3 columns 'n', 'b', 't'"):
        parser((), header=("x", "z"))
    with pytest.raises(SourceError, match="the 4 columns"):
        parser((), header=("x;n;b;t",))


def test_columns_that_the_model_declares_as_optional_may_be_absent():
    features = [FEATURES[0], *(replace(feature, optional=True) for feature in FEATURES[1:])]
    it = parser(("id",), header=("id", "x"), features=features)
    parsed = it.parse(b"1,1.5\n2,\n3\n")
    assert parsed.batch.to_pydict() == {"x": [1.5, None, None], "n": [None] * 3, "b": [None] * 3, "t": [None] * 3}
    assert parsed.errors == {2: "expected 2 fields, found 1"}
    assert "3 columns 'n', 'b', 't'" in it.warnings[0]


def test_odd_names():
    features = (Feature("", FeatureType.NUMERIC), Feature("0", FeatureType.TEXT))
    parsed = parser(("1",), features=features, header=("0", "", "1")).parse(b"a,2,c\n")
    assert parsed.batch.to_pydict() == {"": [2.0], "0": ["a"]}
    assert parsed.passthrough["1"].to_pylist() == ["c"]


def test_ten_thousand_columns():
    header = tuple(f"c{i}" for i in range(10_000))
    features = tuple(Feature(name, FeatureType.NUMERIC) for name in header)
    body = (",".join(map(str, range(10_000))) + "\n").encode() * 3
    parsed = parser(("c7",), features=features, header=header).parse(body)
    assert parsed.batch.num_columns == 10_000
    assert parsed.batch.column("c9999").to_pylist() == [9999.0] * 3
    assert parsed.passthrough["c7"].to_pylist() == ["7"] * 3
