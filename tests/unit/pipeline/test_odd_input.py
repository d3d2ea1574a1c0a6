"""What the page about odd input promises, case by case. Cells of numbers, files that are not what they seem."""

import codecs
import csv
import gzip
import io
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from scoreline.errors import SourceError
from scoreline.types import Counts, CsvDialect, ExtraOutput, Feature, FeatureType, RunLimits, Scores, TargetType
from tests.unit.pipeline.stand_ins import PLAN
from tests.unit.pipeline.test_run import Setting

FAILS = object()
TEXT = FeatureType.TEXT


class Seeing:
    """Keeps what a model would be given; predicts 0."""

    def __init__(self):
        self.rows = []

    def score(self, features, options):
        self.rows += list(zip(*features.to_pydict().values(), strict=True))
        return Scores(np.zeros((features.num_rows, 1)))

    def close(self):
        pass


def went(data, *kinds, passthrough="all", dialect=None, **more):
    """Run a file through; return the setting and its output's rows."""
    dialect = dialect or CsvDialect()
    names = ("x", "y", "z")
    features = tuple(Feature(name, kind) for name, kind in zip(names, kinds, strict=False))
    plan = replace(PLAN, features=features, passthrough=passthrough)
    it = Setting(data, scorer=Seeing(), plan=plan, dialect=dialect, abort_on_error=False, **more)
    it.done = it.run()
    text = it.output.text.decode(dialect.encoding)
    return it, list(csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter))[1:]


NOTHING = ["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "null", "NULL", "None", "none"]
NO_NUMBERS = [
    "1_000",
    "1,000",
    "1 000",
    "1.000,5",
    "１２",
    "=1+1",
    "=SUM(A1)",
    "2024-01-31",
    "31.12.2024",
    "12:30",
    "1d5",
]
NO_NUMBERS += ["$5", "5%", "--1", "1..2", "-", "?", "\\N", "#REF!", "true", "7\u00a0", "+", "e5", "0b1", "١٢"]
NUMBERS = {
    "1e400": math.inf,
    "-1e400": -math.inf,
    "inf": math.inf,
    "-Infinity": -math.inf,
    "1e-400": 0.0,
    "+1": 1.0,
    "+.5": 0.5,
    "5.": 5.0,
    "1E+05": 100_000.0,
    " 7 ": 7.0,
    "\t7": 7.0,
    "007": 7.0,
    "0x1F": FAILS,
    "0.1": 0.1,
    **dict.fromkeys(NOTHING),
    **dict.fromkeys(NO_NUMBERS, FAILS),
}
WHOLE = NUMBERS | {
    "0x1F": 31,
    "5.0": 5,
    "1E+05": 100_000,
    "0.1": FAILS,
    "+.5": FAILS,
    **dict.fromkeys(("1e400", "-1e400", "inf", "-Infinity", "99999999999999999999", "1.5"), FAILS),
}
FLAGS = {
    **dict.fromkeys(("true", "True", "TRUE", "t", "yes", "Y", "1", "1.0"), True),
    **dict.fromkeys(("false", "F", "no", "N", "0", "0.0"), False),
    **dict.fromkeys(NOTHING),
    **dict.fromkeys(("2", "on", "oui", "tRUE", "-1", "yes!"), FAILS),
}


@pytest.mark.parametrize(
    ("kind", "cells"),
    [(FeatureType.NUMERIC, NUMBERS), (FeatureType.INTEGER, WHOLE), (FeatureType.BOOLEAN, FLAGS)],
    ids=["numeric", "integer", "boolean"],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_cells(kind, cells, at_once):
    """Alone and among others: what one cell means never depends on its neighbours."""
    for group in [list(cells)] if at_once else [[cell] for cell in cells]:
        target = io.StringIO(newline="")
        csv.writer(target).writerows([["id", "x"], *(["r", cell] for cell in group)])
        it, rows = went(target.getvalue(), kind)
        assert [row[3] for row in rows] == group  # carried over untouched, formulas too
        good = [cells[cell] for cell in group if cells[cell] is not FAILS]
        assert [None if v is None or math.isnan(v) else v for (v,) in it.scorer.rows] == good
        for cell, row in zip(group, rows, strict=True):
            assert row[1].startswith("ERROR: column 'x': '") is (cells[cell] is FAILS), (cell, row)


def test_a_prediction_that_is_not_finite_fails_its_row():
    class Echo(Seeing):
        def score(self, features, options):
            return Scores(np.array([[value] for value in features.column(0).to_pylist()]))

    it = Setting("id,x\na,1e400\nb,1\n", scorer=Echo(), abort_on_error=False)
    assert it.run().counts == Counts(2, 1, 1)
    assert it.lines[1] == ",ERROR: the model's prediction is not a finite number,a"


def test_a_text_of_the_models_that_the_encoding_lacks_signs_for_fails_its_row():
    class Teller(Seeing):
        def score(self, features, options):
            cells = features.column(0).to_pylist()
            told = pa.array(["plain", "ä €", None, "é", "字"], pa.string())
            return Scores(
                np.empty((len(cells), 0)), told, (pa.array(["é", "é", "é", "\U0001f600", None], pa.string()),)
            )

    plan = replace(
        PLAN,
        target_type=TargetType.TEXT_GENERATION,
        features=(Feature("id", TEXT),),
        extra=(ExtraOutput("note", TEXT),),
    )
    it = Setting(
        "id\n1\n2\n3\n4\n5\n",
        scorer=Teller(),
        plan=plan,
        dialect=CsvDialect(encoding="latin-1"),
        abort_on_error=False,
    )
    assert it.run().counts == Counts(5, 1, 4)
    assert list(csv.reader(it.output.text.decode("latin-1").splitlines()))[1:] == [
        ["plain", "é", "OK", "1"],
        ["", "", "ERROR: the model's text has the character '?', which the encoding latin-1 lacks", "2"],
        ["", "", "ERROR: the model gave no text", "3"],
        ["", "", "ERROR: the model's text has the character '?', which the encoding latin-1 lacks", "4"],
        ["", "", "ERROR: the model's text has the character '?', which the encoding latin-1 lacks", "5"],
    ]
    assert "character '€'" in it.progress.lines[0]


def test_text_is_never_interpreted():
    cells = ["=1+1", "+1", "@x", "-2", "2024-01-31", "NA", "1e400", " a ", "'007", "TRUE"]
    it, rows = went("x\n" + "".join(f"{cell}\n" for cell in cells), FeatureType.TEXT)
    assert [row[2] for row in rows] == cells
    assert [value for (value,) in it.scorer.rows] == cells


FILES = {
    "mark": ("\ufeffx,y\n1,2\n", [("1", "2")]),
    "line ends mixed": ("x,y\r\n1,2\r3,4\n5,6\r\n7,8", [("1", "2"), ("3", "4"), ("5", "6"), ("7", "8")]),
    "blank lines": ("\n\r\nx,y\n\n1,2\n\r\n\r\r3,4\n\n\n", [("1", "2"), ("3", "4")]),
    "no line end at the end": ("x,y\n1,2", [("1", "2")]),
    "header alone": ("x,y\n", []),
    "header alone, no line end": ("x,y", []),
    "lone quotes": ('x,y\na"b,5" pipe\n"c"d,e""\n', [('a"b', '5" pipe'), ("cd", 'e""')]),
    "line ends in quotes": ('x,y\n"a\r\nb\rc\n","d"\n', [("a\r\nb\rc\n", "d")]),
    "an empty name": ("x,y,\n1,2,3\n", [("1", "2", "3")]),
    "only delimiters": ("x,y\n,\n", [("", "")]),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32", "gb18030"])
def test_files_that_are_read(name, encoding):
    text, cells = FILES[name]
    data = text.encode(encoding)
    for size in (1, 5, 1 << 20):
        for block in (1, 4, 1000):
            it, rows = went(data, TEXT, TEXT, size=size, block=block, dialect=CsvDialect(encoding=encoding))
            assert it.done.counts == Counts(len(cells), len(cells))
            assert [tuple(row[2:]) for row in rows] == cells


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("shift_jis", "表,ソ,能"),  # second bytes that are a backslash
        ("cp932", "髙,﨑,①"),
        ("euc_jp", "日本,語,字"),
        ("iso2022_jp", "日本,語,字"),
        ("gb18030", "汉字,€,𠮷"),
        ("gbk", "汉字,啊,阿"),
        ("big5", "功,許,蓋"),
        ("big5hkscs", "咗,嘅,喺"),
        ("euc_kr", "한국,어,글"),
        ("johab", "한국,어,글"),
        ("koi8_r", "при,ве,т"),
        ("cp1251", "при,ве,т"),
        ("iso8859_15", "€,š,ž"),
        ("cp037", "a,b,c"),
        ("utf_7", "é,+,日"),
        ("hz", "汉,字,啊"),
        ("utf_16_be", "é,字,𠮷"),
        ("utf_32_le", "é,字,𠮷"),
    ],
)
def test_encodings(encoding, text):
    cells = text.split(",")
    for step in (1, 2, 3, 1000):
        it, rows = went(
            f"x,y,z\n{text}\n{text}\n".encode(encoding),
            *[TEXT] * 3,
            block=step,
            size=4,
            dialect=CsvDialect(encoding=encoding),
        )
        assert [row[2:] for row in rows] == [cells] * 2
        assert it.scorer.rows == [tuple(cells)] * 2


def test_utf16_without_a_mark():
    """Little-endian is what `utf-16` means then; the other order needs its own name."""
    text = "x,y\nä,字\n"
    for encoding, data in [
        ("utf-16", text.encode("utf-16-le")),
        ("utf-16", codecs.BOM_UTF16_BE + text.encode("utf-16-be")),
        ("utf-16-be", text.encode("utf-16-be")),
        ("utf-16-le", codecs.BOM_UTF16_LE + text.encode("utf-16-le")),
    ]:
        it, _ = went(data, TEXT, TEXT, dialect=CsvDialect(encoding=encoding))
        assert it.scorer.rows == [("ä", "字")]
    with pytest.raises(SourceError, match="model needs the 2 columns 'x', 'y'"):
        went(text.encode("utf-16-be"), TEXT, TEXT, dialect=CsvDialect(encoding="utf-16"))


def test_a_field_of_ten_megabytes():
    long = "some text, in lines\n" * 500_000
    before = csv.field_size_limit(1 << 30)
    try:
        it, rows = went(f'x,y\na,1\nb,"{long}"\nc,3\n', TEXT, TEXT, block=1 << 20)
    finally:
        csv.field_size_limit(before)
    assert it.done.counts == Counts(3, 3)
    assert ("b", long) in it.scorer.rows
    assert [row[2:] for row in rows] == [["a", "1"], ["b", long], ["c", "3"]]


def test_ten_thousand_columns():
    names = [f"c{n}" for n in range(9_997)]
    line = ",".join(map(str, range(9_997)))
    data = f"x,y,z,{','.join(names)}\n" + f"1,2,3,{line}\n" * 5 + f"1,2,3,{line},4\n"
    it, rows = went(data, *[FeatureType.NUMERIC] * 3, block=1 << 20)
    assert it.done.counts == Counts(6, 5, 1)
    assert rows[5][1] == "ERROR: expected 10000 fields, found 10001"
    assert rows[0][2:] == ["1", "2", "3", *line.split(",")]


def test_a_second_header_is_a_row_that_fails():
    it, rows = went("x,y\n1,2\nx,y\n3,4\n", FeatureType.NUMERIC, FeatureType.NUMERIC)
    assert it.done.counts == Counts(3, 2, 1)
    assert rows[1][1] == "ERROR: column 'x': 'x' is not a number"


REFUSED = {
    "nothing": (b"", "contains no header"),
    "a mark": (b"\xef\xbb\xbf", "contains no header"),
    "white space": (b" \n\t\n", "contains no header"),
    "a name twice": (b"x,y,x\n1,2,3\n", "column 'x' more than once"),
    "two names empty": (b"x,y,,\n1,2,3,4\n", "column '' more than once"),
    "another delimiter": (b"x;y\n1;2\n", "2 columns 'x', 'y'"),
    "a quote never closed": (b'x,y\n1,2\n3,"4\n5,6\n', "quote that opens in line 3 is never closed"),
    "UTF-16 as UTF-8": ("x,y\n1,2\n".encode("utf-16"), "NUL bytes"),
    "UTF-16 without mark as UTF-8": ("x,y\n1,2\n".encode("utf-16-le"), "NUL bytes"),
    "latin-1 as UTF-8": ("x,y,ä\n1,2,3\n".encode("latin-1"), "not UTF-8 at offset 4"),
    "a workbook": (b"PK\x03\x04 and more", "an Excel workbook"),
    "Parquet": (b"PAR1 and more", "Parquet"),
    "bzip2": (b"BZh91AY&SY", "bzip2-compressed"),
    "xz": (b"\xfd7zXZ\x00", "xz-compressed"),
    "packed twice": (gzip.compress(gzip.compress(b"x,y\n")), "gzip-compressed twice"),
    "gzip that is cut": (gzip.compress(b"x,y\n1,2\n" * 99)[:-6], "ends too early"),
    "zstd that is cut": (pa.Codec("zstd").compress(b"x,y\n1,2\n" * 99, asbytes=True)[:-6], "ends too early"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_refused(name):
    data, said = REFUSED[name]
    with pytest.raises(SourceError, match=said):
        went(data, TEXT, TEXT)


def test_a_bomb_is_refused():
    with pytest.raises(SourceError, match="unpacks to more than 100000 bytes"):
        went(gzip.compress(b"x,y\n" * 100_000), TEXT, TEXT, limits=RunLimits(max_unpacked_bytes=100_000))


def test_nul_bytes_fail_their_row_alone():
    it, rows = went(b"x,y\n1,2\na\0b,3\n4,\0\n5,6\n", TEXT, TEXT)
    assert it.done.counts == Counts(4, 2, 2)
    assert [row[1] for row in rows] == ["OK", *[f"ERROR: column '{name}' has a NUL byte" for name in "xy"], "OK"]
