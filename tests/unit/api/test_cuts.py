"""Where a part ends, whatever its blocks; against Python's own csv module."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.api.cuts import PartCheck
from scoreline.errors import InvalidRequest
from scoreline.types import CsvDialect

FIELDS = st.lists(st.lists(st.text('ab ",\n\ré€', max_size=5), min_size=2, max_size=3), min_size=1, max_size=5)


def verdict(body: bytes, sizes: list[int], dialect: CsvDialect | None = None) -> str | None:
    """Return what is said against a part that comes in blocks of these sizes, None when it is taken."""
    blocks, at = [], 0
    for size in sizes:
        blocks.append(body[at : at + size])
        at += size
    blocks.append(body[at:])
    try:
        PartCheck(0, dialect or CsvDialect(), sent_as_utf8=True)(iter([block for block in blocks if block]))
    except InvalidRequest as error:
        return error.message
    return None


def written(rows, **options) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, **options).writerows(rows)
    return out.getvalue()


@given(FIELDS, st.lists(st.integers(1, 7)), st.sampled_from(["\r\n", "\n"]))
def test_whole_parts_are_taken(rows, sizes, end):
    assert verdict(written(rows, lineterminator=end).encode(), sizes) is None


@given(FIELDS, st.lists(st.integers(1, 7)), st.integers(1, 6))
def test_parts_that_lost_their_last_bytes_are_refused(rows, sizes, lost):
    """Unless the cut falls on the end of a record: then nothing tells."""
    text = written(rows)
    body = text.encode()[: len(text.encode()) - lost]
    try:
        left = body.decode()
    except UnicodeDecodeError:
        assert "character" in verdict(body, sizes)
        return
    ends_inside = _ends_inside(left)
    whole = left.endswith(("\n", "\r")) and not ends_inside
    assert (verdict(body, sizes) is None) is (whole or not left)


def _ends_inside(text: str) -> bool:
    """Say whether a text ends in a quoted field: the csv module then takes what follows for a part of it."""
    if not text:
        return False
    rows = list(csv.reader(io.StringIO(text + "\u0001\n\u0002", newline="")))
    return "\u0001\n\u0002" in rows[-1][-1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "shift_jis", "latin-1"])
def test_parts_in_the_jobs_own_encoding(encoding):
    check = PartCheck(0, CsvDialect(";", "'", encoding), sent_as_utf8=False)
    check(iter(["id;name\r\n1;'a\nb'\r\n".encode(encoding)]))
    with pytest.raises(InvalidRequest, match="middle of a row"):
        check(iter(["id;name\r\n1;x".encode(encoding)]))
    with pytest.raises(InvalidRequest, match="quoted field"):
        check(iter(["id;name\r\n1;'x\r\n".encode(encoding)]))


def test_a_byte_order_mark_is_no_text():
    assert verdict('\ufeff"id"\r\n1\r\n'.encode(), []) is None
    assert "quoted field" in verdict('\ufeff"id\r\n1\r\n'.encode(), [])
