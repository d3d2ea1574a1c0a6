"""What is sent again must begin with what was staged before, to the byte, however it is cut."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.errors import SpoolError
from scoreline.spool import Matching, OtherBytes, Spool, open_spool


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Spool:
    return open_spool(tmp_path_factory.mktemp("spool"))


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def stage(spool: Spool, data: bytes, segment_bytes: int) -> None:
    """Leave an attempt as a killed process does: segments and no end."""
    writer = spool.writer("uploads/j/a.1", segment_bytes=segment_bytes)
    writer.write(data)
    writer.close()


def again(spool: Spool, blocks: list[bytes]) -> bytes:
    sink = Matching(spool.writer("uploads/j/a.2"), spool.reader("uploads/j/a.1"))
    try:
        for block in blocks:
            sink.write(block)
        sink.finish()
    except BaseException:
        sink.discard()
        raise
    return b"".join(spool.reader("uploads/j/a.2").blocks())


@given(
    before=st.binary(min_size=1, max_size=60),
    more=st.binary(max_size=40),
    segment=st.integers(1, 20),
    block=st.integers(1, 20),
    changed=st.one_of(st.none(), st.integers(0, 99)),
    kept=st.integers(0, 100),
)
def test_only_a_continuation_is_taken(spool, before, more, segment, block, changed, kept):
    stage(spool, before, segment)
    data = bytearray(before + more)[:kept]
    if changed is not None and changed < len(data):
        data[changed] ^= 1
    if bytes(data).startswith(before):
        assert again(spool, cut(bytes(data), block)) == bytes(data)
    else:
        with pytest.raises(OtherBytes, match="sent again"):
            again(spool, cut(bytes(data), block))
        assert spool.segment_names("uploads/j/a.2") == []


def test_nothing_that_differs_is_written(spool: Spool) -> None:
    stage(spool, b"abcdef", 3)
    sink = Matching(spool.writer("uploads/j/a.2", segment_bytes=1), spool.reader("uploads/j/a.1"))
    assert sink.would_block
    sink.write(b"abc")
    with pytest.raises(OtherBytes, match=r"3 bytes are the same"):
        sink.write(b"dxf")
    sink.close()
    assert spool.staged_bytes("uploads/j/a.2") == 3
    sink.discard()


def test_an_attempt_that_is_gone_matches_nothing(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    sink = Matching(spool.writer("uploads/j/a.2"), spool.reader("uploads/j/a.1"))
    with pytest.raises(SpoolError, match="not there any more"):
        sink.write(b"x")
    sink.discard()
