from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.errors import DataRefused
from scoreline.serving import tables
from scoreline.serving.web import HttpError

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=6)


def plain(columns):
    return {name: column.to_pylist() for name, column in columns.items()}


@given(st.lists(st.tuples(cells, cells), max_size=8))
def test_csv_cells_are_the_source_text(rows):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    assert plain(tables.from_csv(text.getvalue().encode())) == {
        "a": [row[0] for row in rows],
        "b": [row[1] for row in rows],
    }


def test_csv_keeps_text_that_looks_like_something_else():
    body = b'\xef\xbb\xbfid,t\r\n007, 1e3 \r\n\r\nNA,"x\r\ny"\r\nTrue,'
    assert plain(tables.from_csv(body)) == {"id": ["007", "NA", "True"], "t": [" 1e3 ", "x\r\ny", ""]}


def test_csv_with_a_header_only_has_no_rows():
    for body in (b"a,b", b"a,b\n"):
        assert plain(tables.from_csv(body)) == {"a": [], "b": []}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no header"),
        (b"\xef\xbb\xbf \n", "no header"),
        (b"a,b,a\n1,2,3\n", "'a' more than once"),
        (b"a,b\n1\n", "Expected 2 columns, got 1"),
        (b"a\n\xff\n", "UTF-8"),
        (b"\xff\n1\n", "UTF-8"),
        (b'a,b\n1,"x\n2,y\n', "unexpected end of data"),
    ],
)
def test_unreadable_csv_is_refused(body, words):
    with pytest.raises(DataRefused, match=words):
        tables.from_csv(body)


def test_json_numbers_keep_their_digits():
    body = b'[{"a": 1.10, "b": "x"}, {"b": null, "c": true}, {"a": 12345678901234567890}, {}]'
    assert plain(tables.from_json(body)) == {
        "a": ["1.10", None, "12345678901234567890", None],
        "b": ["x", None, None, None],
        "c": [None, "true", None, None],
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not JSON"),
        (b'{"a": 1}', "array of objects"),
        (b"[1]", "array of objects"),
        (b"[]", "no rows"),
        (b'[{"a": NaN}]', "NaN is not JSON"),
        (b'[{"a": 1, "a": 2}]', "'a' occurs twice"),
        (b'[{"a": 1}, {"a": [2]}]', "Row 1 .*'a' holds a list"),
        (b'[{"a": "\\ud800"}]', "surrogate"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff", "not JSON"),
    ],
)
def test_unreadable_json_is_refused(body, words):
    with pytest.raises(DataRefused, match=words):
        tables.from_json(body)


@given(
    st.lists(st.fixed_dictionaries({"a": st.text(st.characters(exclude_categories=["Cs"])) | st.none()}), min_size=1)
)
def test_json_texts_come_back(records):
    assert plain(tables.from_json(json.dumps(records).encode())) == {"a": [record["a"] for record in records]}


@pytest.mark.parametrize(
    ("media_type", "name", "readable"),
    [
        ("text/csv; encoding=utf-8", "", True),
        ("text/plain; charset=UTF-8", "", True),
        ("application/octet-stream", "rows.csv", True),
        ("application/octet-stream", "", False),
        ("", "", False),
    ],
)
def test_media_types(media_type, name, readable):
    if readable:
        assert plain(tables.columns(b"a\n1\n", media_type, name)) == {"a": ["1"]}
    else:
        with pytest.raises(HttpError) as refused:
            tables.columns(b"a\n1\n", media_type, name)
        assert refused.value.status == 415


def test_json_by_type_or_by_name():
    assert plain(tables.columns(b'[{"a": 1}]', "application/json; encoding=utf-8")) == {"a": ["1"]}
    assert plain(tables.columns(b'[{"a": 1}]', "application/octet-stream", "rows.JSON")) == {"a": ["1"]}
