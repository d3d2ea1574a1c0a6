"""Byte ranges: what a header means, and which bytes of which block it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.api.ranges import NotSatisfiable, Part, Window, wanted


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [("bytes=0-", 0, 99), ("bytes=7-9", 7, 9), ("bytes=99-", 99, 99), ("bytes=90-500", 90, 99), ("bytes=-3", 97, 99)],
)
def test_a_part_of_a_stream_that_is_whole(header, first, last):
    part = wanted(header, 100, 100)
    assert part == Part(first, last + 1)
    assert part.content_range(100) == f"bytes {first}-{last}/100"


def test_a_suffix_longer_than_the_stream_is_all_of_it():
    assert wanted("bytes=-500", 100, 100) == Part(0, 100)


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_part_behind_the_end(header):
    with pytest.raises(NotSatisfiable):
        wanted(header, 100, 100)


def test_nothing_of_an_empty_stream_can_be_had():
    with pytest.raises(NotSatisfiable):
        wanted("bytes=0-", 0, 0)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-3",
        "bytes=0-1,4-5",
        "rows=0-1",
        "bytes=٣-",
        "bytes=--3",
    ],
)
def test_what_is_not_understood_is_ignored(header):
    assert wanted(header, 100, 100) is None


def test_while_the_stream_grows_only_its_rest_can_be_asked_for():
    assert wanted("bytes=40-", None, 50) == Part(40, None)
    assert wanted("bytes=50-", None, 50) == Part(50, None)
    assert wanted("bytes=51-", None, 50) is None
    assert wanted("bytes=0-9", None, 50) is None
    assert wanted("bytes=-9", None, 50) is None
    assert Part(40, None).content_range(None) == "bytes 40-*/*"


@given(st.lists(st.binary(max_size=9), max_size=9), st.integers(0, 90), st.integers(0, 90))
def test_a_window_over_blocks_takes_what_a_slice_takes(blocks, first, length):
    whole = b"".join(blocks)
    window, found = Window(Part(first, first + length)), b""
    for block in blocks:
        piece = window.over(len(block))
        found += b"" if piece is None else block[piece]
    assert found == whole[first : first + length]
    assert window.passed == (len(whole) >= first + length)
