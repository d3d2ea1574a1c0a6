"""Parts as one CSV: the header once, line ends between, whatever the encoding."""

from __future__ import annotations

import codecs
import itertools
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline import adapters
from scoreline.errors import SourceError
from scoreline.spool import Spool, finalise, open_spool, part_writer
from scoreline.types import CsvDialect, Range
from tests.contract.matrix import JOB, ticket


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return open_spool(tmp_path)


def send(spool: Spool, number: int, body: bytes) -> None:
    with part_writer(spool, JOB, number) as writer:
        for byte in range(0, len(body), 50_000):
            writer.write(body[byte : byte + 50_000])
            writer.seal()
        writer.finish(replace=True)


def joined(spool: Spool, parts: list[bytes], dialect: CsvDialect | None = None) -> bytes:
    for number, body in enumerate(parts):
        send(spool, number, body)
    finalise(spool, JOB)
    intake = adapters.open_intake(
        ticket({"type": "localFile", "multipart": True, "async": False}, {}, spool, dialect=dialect), spool
    )
    whole = b"".join(intake.blocks(Range(), 0))
    assert intake.size() is not None
    return whole


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([b"a,b\r\n1,2\r\n", b"a,b\r\n3,4\r\n"], b"a,b\r\n1,2\r\n3,4\r\n"),
        ([b"a,b\r\n1,2\r\n", b"a,b\n3,4"], b"a,b\r\n1,2\r\n3,4"),
        ([b"a,b\n1,2", b"3,4\n", b"a,b\n5,6\n"], b"a,b\n1,2\n3,4\n5,6\n"),
        ([b"a,b\n", b"a,b\n", b"a,b\n1,2\n"], b"a,b\n1,2\n"),
        ([b"a,b\n1,2\n", b"", b"a,b", b"3,4\n"], b"a,b\n1,2\n3,4\n"),
        ([b"", b"a,b\n1,2\n", b"a,b\n3,4\n"], b"a,b\n1,2\n3,4\n"),
        ([b'a,"b\nc"\n1,2\n', b'a,"b\nc"\n3,4\n'], b'a,"b\nc"\n1,2\n3,4\n'),
        ([b'a,"b\nc"\n1,2\n', b'a,"b\n3,4\n"\n'], b'a,"b\nc"\n1,2\na,"b\n3,4\n"\n'),
        ([b'a,"b""\n"\n1,2\n', b'a,"b""\n"\n3,4\n'], b'a,"b""\n"\n1,2\n3,4\n'),
        ([b'a,b"\n1,2\n', b'a,b"\n3,4\n'], b'a,b"\n1,2\n3,4\n'),
        ([b"a,b\r1,2\r", b"a,b\r3,4\r"], b"a,b\r1,2\r3,4\r"),
        ([b"a,b\n1,2\n", b'"a","b"\n3,4\n', b'a,"b"\r\n5,6\n'], b"a,b\n1,2\n3,4\n5,6\n"),
        ([b"\n\r\na,b\n1,2\n", b"\na,b\n3,4\n", b"\n\n5,6\n"], b"\n\r\na,b\n1,2\n3,4\n\n\n5,6\n"),
        ([b"\n\n", b"a,b\n1,2\n", b"a,b\n3,4\n"], b"\n\na,b\n1,2\n3,4\n"),
        ([b"\xef\xbb\xbfa\n1\n", b"\xef\xbb\xbfa\n2\n", b"a\n3\n", b"\xef\xbb\xbf4\n"], b"\xef\xbb\xbfa\n1\n2\n3\n4\n"),
        ([b"a\n\xff\n", b"\xff\n"], b"a\n\xff\n\xff\n"),
        ([b"\xff\n1\n", b"a\n2\n"], b"\xff\n1\na\n2\n"),
    ],
)
def test_examples(spool: Spool, parts: list[bytes], whole: bytes) -> None:
    assert joined(spool, parts) == whole


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "shift_jis", "cp037", "utf-8-sig"]
)
@pytest.mark.parametrize("ended", ["\r\n", ""])
def test_encodings(spool: Spool, encoding: str, ended: str) -> None:
    parts = [f"名,b\r\n{n},ソ{ended}" if encoding != "cp037" else f"n,b\r\n{n},x{ended}" for n in range(3)]
    header, _, first = parts[0].partition("\r\n")
    between = "" if ended else "\n"
    rows = between.join([first, *(part.partition("\r\n")[2] for part in parts[1:])])
    whole = joined(spool, [part.encode(encoding) for part in parts], CsvDialect(encoding=encoding))
    assert whole.decode(encoding) == f"{header}\r\n{rows}"


def test_other_delimiter_and_quote(spool: Spool) -> None:
    dialect = CsvDialect(delimiter="\t", quotechar="'")
    assert joined(spool, [b"a\t'b\n\"'\n1\t2\n", b"a\t'b\n\"'\n3\t4\n"], dialect) == b"a\t'b\n\"'\n1\t2\n3\t4\n"


def test_long_first_records(spool: Spool) -> None:
    header = b'a,"' + b"long\n" * 60_000 + b'"\n'
    other = b'1,"' + b"text\n" * 60_000 + b'"\n'
    assert joined(spool, [header + b"1,2\n", header + b"3,4\n", other]) == header + b"1,2\n3,4\n" + other


def test_compressed_parts_are_refused(spool: Spool) -> None:
    with pytest.raises(SourceError, match="compressed"):
        joined(spool, [b"\x1f\x8b\x08rest"])


def test_parts_are_read_as_they_come(spool: Spool) -> None:
    intake = adapters.open_intake(ticket({"type": "localFile", "multipart": True, "async": True}, {}, spool), spool)
    blocks = intake.blocks(Range(), 0)
    send(spool, 1, b"a\n2\n")
    send(spool, 0, b"a\n1\n")
    assert next(blocks) == b"a\n1\n"
    assert next(blocks) == b"2\n"
    threading.Timer(0.1, send, (spool, 2, b"a\n3\n")).start()
    assert next(blocks) == b"3\n"
    threading.Timer(0.1, finalise, (spool, JOB)).start()
    assert list(blocks) == []
    assert intake.size() == 8


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.lists(st.sampled_from(["", "x", '"q,\n"', '"a""b"', "007", "é"]), min_size=2, max_size=2), max_size=12
    ),
    cuts=st.lists(st.integers(0, 12), max_size=4),
    repeat=st.booleans(),
    offset=st.integers(0, 200),
)
def test_any_cut_between_rows_gives_the_file(
    tmp_path_factory: pytest.TempPathFactory, rows, cuts, repeat, offset
) -> None:
    """Cut a file at row ends, as the official client does; with or without the header on each part."""
    spool = open_spool(tmp_path_factory.mktemp("spool"))
    header = codecs.encode('h1,"h\n2"\n', "utf-8")
    lines = [",".join(row).encode() + b"\n" for row in rows]
    borders = sorted({0, len(lines), *(min(cut, len(lines)) for cut in cuts)})
    groups = [b"".join(lines[a:b]) for a, b in itertools.pairwise(borders)] or [b""]
    parts = [header + group if repeat or n == 0 else group for n, group in enumerate(groups)]
    expected = header + b"".join(lines)
    assert joined(spool, parts) == expected
    intake = adapters.open_intake(ticket({"type": "localFile", "multipart": True}, {}, spool), spool)
    offset = min(offset, len(expected))
    assert b"".join(intake.blocks(Range(), offset)) == expected[offset:]
    assert intake.size() == len(expected)


def test_parts_with_the_columns_in_another_order_are_refused(spool: Spool) -> None:
    with pytest.raises(SourceError, match="part 1 has the columns of part 0 in another order"):
        joined(spool, [b"a,b\n1,2\n", b'"b",a\n3,4\n'])
