"""Reading ahead: bounded, in order, with the source's errors in their place; decoding across block borders."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.errors import SourceError
from scoreline.jobs.encodings import KNOWN
from scoreline.pipeline.fetch import LOST, Decoded, ReadAhead, after, is_utf8


def test_no_more_than_the_limit_is_read_ahead():
    asked = []

    def blocks():
        for i in range(100):
            asked.append(i)
            yield b"x" * 100

    ahead = ReadAhead(blocks(), limit=500)
    for taken in range(100):
        time.sleep(0.002)
        assert len(asked) <= taken + 7
        assert next(ahead) == b"x" * 100
    with pytest.raises(StopIteration):
        next(ahead)


def test_a_pause_is_told_and_an_error_comes_after_the_blocks_before_it():
    go = threading.Event()

    def blocks():
        yield b"a"
        go.wait(10)
        yield b"b"
        raise SourceError("broken")

    ahead = ReadAhead(blocks(), idle=0.01)
    assert next(ahead) == b"a"
    assert next(ahead) is None
    go.set()
    rest = (block for block in ahead if block is not None)
    assert next(rest) == b"b"
    with pytest.raises(SourceError, match="broken"):
        next(rest)


def test_closing_ends_the_thread_and_closes_the_source():
    closed = threading.Event()

    def blocks():
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed.set()

    ahead = ReadAhead(blocks(), limit=1000)
    next(ahead)
    ahead.close()
    assert closed.wait(5)
    ahead.join(5)
    with pytest.raises(StopIteration):
        next(ahead)


SHIFTS = st.sampled_from(list(b"\x1b\x1b\x1b($)&@BaJ\x0e\x0f~{}+-,\n\x8e\xa1\xff"))
BROKEN = st.lists(SHIFTS | st.integers(0, 255), max_size=40).map(bytes)


@settings(max_examples=300)
@given(st.sampled_from(sorted(KNOWN)), BROKEN, st.integers(1, 12))
def test_broken_text_is_the_same_wherever_blocks_end(encoding, data, step):
    """Also where an escape sequence is cut: Python's decoders keep fewer bytes of one than they look at."""
    whole, blocks = (
        b"".join(Decoded(iter([data[i : i + size] for i in range(0, len(data), size)]), encoding))
        for size in (len(data) + 1, step)
    )
    assert blocks == whole
    if encoding not in {"utf_16", "utf_32"} and not encoding.startswith("utf_8"):
        marked = whole.replace(LOST, "\ufffd".encode()).decode()
        plain = data.decode(encoding, "replace")
        assert len(marked) == len(plain)
        assert marked == plain or encoding.startswith(("iso2022", "utf_7"))


@pytest.mark.parametrize("encoding", sorted(name for name in KNOWN if name.startswith("iso2022")))
def test_a_text_that_ends_within_an_escape(encoding):
    for end in (b"\x1b", b"\x1b$"):
        assert b"".join(Decoded(iter([b"a,b\n1,", end]), encoding)) == b"a,b\n1," + LOST


@pytest.mark.parametrize("encoding", sorted(name for name in KNOWN if name.startswith("iso2022")))
def test_signs_that_would_switch_the_encoding_of_what_follows_are_lost(encoding):
    """An escape that means nothing where it stands is no text: written out again it would swallow what comes after."""
    text = b"".join(Decoded(iter([b"a\x1bb,c\nd,\x0e,\x0f\n"]), encoding))
    shifts = (LOST, LOST) if encoding == "iso2022_kr" else (b"\x0e", b"\x0f")  # elsewhere these are plain signs
    assert text == b"a" + LOST + b"b,c\nd,%b,%b\n" % shifts


@given(
    st.text(max_size=30),
    st.sampled_from(["utf-8", "utf-16", "utf-16-be", "utf-32", "utf-7", "gb18030"]),
    st.integers(1, 5),
    st.integers(0, 40),
)
def test_text_is_the_same_wherever_blocks_end(text, encoding, step, skip):
    data = text.encode(encoding)
    decoded = Decoded(iter([data[i : i + step] for i in range(0, len(data), step)]), encoding)
    plain = data.decode(encoding).encode()  # as Python reads it back: a mark at the start is none of the text
    assert b"".join(after(iter(decoded), skip)) == plain[skip:]
    assert (decoded.bytes_in, decoded.bytes_out) == (len(data), len(plain))


@pytest.mark.parametrize(
    ("data", "encoding", "text"),
    [
        (b"ab\xff,\n", "ascii", b"ab\xff,\n"),
        (b"a\xc3\xa9b", "ascii", b"a\xff\xffb"),  # would be one character if it went through as it is
        (b"ab\x81\nc", "shift_jis", b"ab\xff\nc"),
        (b"ab\x81", "shift_jis", b"ab\xff"),
        (b"\x81\x22,\x22", "gb18030", b'\xff","'),
        (b"a\0b\0c", "utf-16-le", b"ab\xff"),
        (b"\0\xd8a\0", "utf-16-le", b"\xffa"),
        (b"a+2AA-b", "utf-7", b"a\xffb"),  # half a character
        ("größe".encode("latin-1"), "cp1252", "größe".encode()),
    ],
)
@pytest.mark.parametrize("step", [1, 2, 100])
def test_bytes_that_are_no_text_are_marked_and_swallow_nothing(data, encoding, text, step):
    blocks = iter([data[i : i + step] for i in range(0, len(data), step)])
    assert b"".join(Decoded(blocks, encoding)) == text


def test_spellings_of_utf8():
    assert is_utf8("UTF8")
    assert is_utf8("utf-8-sig")
    assert not is_utf8("latin-1")
    with pytest.raises(SourceError, match="'klingon'"):
        is_utf8("klingon")
