"""Framing against Python's csv module: the rows of all chunks are the rows of the whole text."""

import csv
import io
import itertools
import time
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.errors import SourceError
from scoreline.pipeline import frame, quotes
from scoreline.pipeline.frame import Framer
from scoreline.pipeline.quotes import QuoteFinder
from scoreline.types import CsvDialect

DIALECTS = [CsvDialect(), CsvDialect(";", "'"), CsvDialect("\t", '"'), CsvDialect('"', "'")]


def rows_of(text: str, dialect: CsvDialect) -> list[list[str]]:
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=dialect.delimiter, quotechar=dialect.quotechar, doublequote=True
    )
    return [row for row in reader if row]


def framed(blocks, dialect, size, **more):
    return list(Framer(iter(blocks), dialect, **more).chunks(1, lambda: size))


def cut(text: bytes, places: list[int], pauses: list[bool]) -> list[bytes | None]:
    borders = sorted({0, len(text), *(p % (len(text) + 1) for p in places)})
    blocks: list[bytes | None] = []
    for i, (a, b) in enumerate(itertools.pairwise(borders)):
        if i < len(pauses) and pauses[i]:
            blocks.append(None)
        blocks.append(text[a:b])
    return blocks


@st.composite
def texts(draw):
    """Any mess of quotes, delimiters and line ends, closed at the end."""
    dialect = draw(st.sampled_from(DIALECTS))
    signs = [dialect.delimiter, dialect.quotechar, dialect.quotechar, "\n", "\r", "\r\n", "a", "bc", "é"]
    text = "".join(draw(st.lists(st.sampled_from(signs), max_size=60)))
    return dialect, text


@settings(max_examples=500)
@given(
    texts(),
    st.integers(1, 40),
    st.integers(1, 99),
    st.lists(st.integers(0, 200), max_size=6),
    st.lists(st.booleans(), max_size=6),
    st.sampled_from([0, 1, 8]),
)
def test_chunks_have_the_rows_of_the_whole(case, size, step, places, pauses, tries):
    dialect, text = case
    body = text.encode()
    with mock.patch.object(frame, "_STEP", step), mock.patch.object(quotes, "_TRIES", tries):
        if open_at_end(text, dialect):
            with pytest.raises(SourceError, match="never closed"):
                framed(cut(body, places, pauses), dialect, size)
            return
        chunks = framed(cut(body, places, pauses), dialect, size)
    assert b"".join(chunk.body for chunk in chunks) == body
    assert [chunk.number for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert [chunk.end_offset for chunk in chunks] == np.cumsum([len(chunk.body) for chunk in chunks]).tolist()
    rows = [row for chunk in chunks for row in rows_of(chunk.body.decode(), dialect)]
    assert rows == rows_of(text, dialect)
    for chunk in chunks:
        if len(chunk.body) > size:
            assert len(rows_of(chunk.body.decode(), dialect)) <= 1
        assert not (chunk.body.endswith(b"\r") and body[chunk.end_offset : chunk.end_offset + 1] == b"\n")


def open_at_end(text: str, dialect: CsvDialect) -> bool:
    """An open quote takes what follows into its field."""
    probe = f"{dialect.delimiter}\n"
    return len(rows_of(text + probe + "x" + probe, dialect)) == len(rows_of(text + probe, dialect))


@given(texts())
def test_the_quick_way_is_the_exact_way(case):
    dialect, text = case
    finder = QuoteFinder(dialect)
    bytes_ = np.frombuffer(text.encode(), np.uint8)
    at = np.flatnonzero(bytes_ == ord(dialect.quotechar))
    if not len(at):
        return
    inside = coverage(finder.stretches(bytes_), len(bytes_))
    exact = coverage(at[finder._one_by_one(at, bytes_)], len(bytes_))
    ends = np.isin(bytes_, [10, 13, ord(dialect.delimiter)])
    assert (inside[ends] == exact[ends]).all()


def coverage(stretches, size):
    inside = np.zeros(size, bool)
    for i in range(0, len(stretches), 2):
        inside[stretches[i] : stretches[i + 1] if i + 1 < len(stretches) else size] = True
    return inside


def test_tiny_chunks_have_one_row_each():
    rows = [f"{i},value number {i}\n".encode() for i in range(50)]
    assert [chunk.body for chunk in framed([b"".join(rows)], CsvDialect(), 10)] == rows
    assert [chunk.body for chunk in framed([b"a\nb\nc\nd\n"], CsvDialect(), 4)] == [b"a\nb\n", b"c\nd\n"]


def test_a_long_record_is_one_chunk():
    long = b'1,"' + b"x\n" * 300_000 + b'"\n'
    chunks = framed([b"0,a\n" + long + b"2,b\n"], CsvDialect(), 1000)
    assert [chunk.body for chunk in chunks] == [b"0,a\n", long, b"2,b\n"]


def test_ten_megabytes_in_one_quoted_field():
    long = b'1,"' + b"some text, in lines\n" * 500_000 + b'"\n'
    blocks = [long[i : i + 1_000_000] for i in range(0, len(long), 1_000_000)]
    chunks = framed([b"0,a\n", *blocks, b"2,b\n"], CsvDialect(), 256 << 10)
    assert b"".join(chunk.body for chunk in chunks) == b"0,a\n" + long + b"2,b\n"
    assert max(len(chunk.body) for chunk in chunks) == len(long)


def test_lines_with_quotes_in_one_quoted_field_take_no_time():
    """Each of its line ends looks as if it stood in a quoted stretch of its own."""
    long = b'1,"' + b'x,""y\n' * 1_500_000 + b'"\n'
    began = time.process_time()
    chunks = framed([b"0,a\n", long, b"2,b\n"], CsvDialect(), 256 << 10)
    assert [len(chunk.body) for chunk in chunks] == [4, len(long), 4]
    assert time.process_time() - began < 5  # a look at each takes 15


def test_a_pause_sends_what_is_whole():
    framer = Framer(iter([b"1\n2\n3", None, b"3\n4\n"]), CsvDialect())
    assert [chunk.body for chunk in framer.chunks(1, lambda: 1000)] == [b"1\n2\n", b"33\n4\n"]


@pytest.mark.parametrize("size", [100, 64 << 10, 4 << 20])
def test_a_forgotten_quote_is_found_with_its_line(size):
    rows = [b'%d,"text %d",9\n' % (i, i) for i in range(100)]
    rows[41] = b'41,"text 41,9\n'
    swallowed = [b"%d,text %d,9\n" % (i, i) for i in range(100, 2000)]
    with pytest.raises(SourceError, match="line 42 is not closed where its field ends"):
        framed([b"".join([*rows[:42], *swallowed, *rows[43:]])], CsvDialect(), size)
    with pytest.raises(SourceError, match="line 42 is never closed"):
        framed([b"".join([*rows[:42], *swallowed])], CsvDialect(), size)


def test_a_few_swallowed_lines_are_left_to_the_rows():
    text = b'1,"a,9\n2,b,9\n3,"c",9\n4,d,9\n'
    chunks = framed([text], CsvDialect(), 1000)
    assert b"".join(chunk.body for chunk in chunks) == text


def test_a_record_beyond_bounds(monkeypatch):
    monkeypatch.setattr(frame, "MAX_RECORD_BYTES", 1 << 20)
    with pytest.raises(SourceError, match="record in line 3 is longer than 1 MiB"):
        framed([b"a\nb\n", *[b"x" * 100_000] * 30], CsvDialect(), 1000)


def test_lines_are_counted_from_where_a_run_was_taken_up():
    with pytest.raises(SourceError, match="line 2 after byte 1000 is never closed"):
        framed([b'1\n"2\n'], CsvDialect(), 1000, offset=1000)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
@pytest.mark.parametrize("before", ["", "\ufeff", "\n\r\n  \n", "\ufeff\n"])
def test_header(before, end):
    text = f'{before}a,"b ""x""\ny", c{end}'.encode()
    for step in (1, 2, 1000):
        framer = Framer(iter([text[i : i + step] for i in range(0, len(text), step)]), CsvDialect())
        assert framer.header() == ("a", 'b "x"\ny', " c")
        assert framer.offset == len(text)
        assert list(framer.chunks(1, lambda: 10)) == []


def test_header_then_rows():
    framer = Framer(iter([b"a,b\n1,2\n"]), CsvDialect())
    assert framer.header() == ("a", "b")
    assert [(chunk.body, chunk.end_offset) for chunk in framer.chunks(7, lambda: 99)] == [(b"1,2\n", 8)]


@pytest.mark.parametrize("text", [b"", b"\xef\xbb\xbf", b" \n\t\r\n", b"\xef\xbb\xbf\n"])
def test_no_header(text):
    with pytest.raises(SourceError, match="the intake contains no header"):
        Framer(iter([text] if text else []), CsvDialect()).header()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff\xfea,b\n", "offset 0"),
        ("a,b\n".encode("utf-16-le"), "NUL bytes"),
        ("a,größe\n".encode("latin-1"), "offset 4"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PK\x03\x04abc", "Excel"),
        (b'a,"b\n1,2\n', "never closed"),
    ],
)
def test_header_that_is_none(text, said):
    with pytest.raises(SourceError, match=said):
        Framer(iter([text]), CsvDialect()).header()


def test_waiting_for_a_header_can_be_given_up():
    def paused():
        raise KeyError("stop")

    with pytest.raises(KeyError):
        Framer(iter([b"a,", None]), CsvDialect()).header(paused)
