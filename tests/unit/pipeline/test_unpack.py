"""gzip and zstd taken off a source: the same bytes wherever blocks end; what is not whole or too much is told."""

import bz2
import gzip
import itertools
import subprocess
import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.errors import RunStopped, SourceError
from scoreline.pipeline import unpack
from scoreline.pipeline.unpack import Unpacked
from scoreline.types import RunLimits


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


PACKERS = {"gzip": lambda data: gzip.compress(data, mtime=0), "zstd": zstd}
SKIPPED = (0x184D2A53).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"hello"


def unpacked(data: bytes, step=1000, limits=None) -> tuple[bytes, Unpacked]:
    it = Unpacked(iter([data[i : i + step] for i in range(0, len(data), step)]), limits or RunLimits())
    return b"".join(it), it


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=3), st.sampled_from(list(PACKERS)), st.data())
def test_members_and_frames_are_joined(data, cuts, packing, more):
    borders = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[a:b] for a, b in itertools.pairwise(borders)] or [b""]
    packed = b"".join(map(PACKERS[packing], pieces))
    step = more.draw(st.integers(1, len(packed) + 1))
    found, it = unpacked(packed, step)
    assert found == data
    assert (it.packing, it.bytes_in, it.bytes_out) == (packing, len(packed), len(data))


@given(st.binary(max_size=50), st.integers(1, 9))
def test_what_is_not_packed_goes_through(data, step):
    if data[:2] == b"\x1f\x8b" or data[1:4] in (b"\xb5\x2f\xfd", b"\x2a\x4d\x18"):
        return
    found, it = unpacked(data, step)
    assert found == data
    assert (it.packing, it.bytes_in, it.bytes_out) == (None, len(data), len(data))


@pytest.mark.parametrize("packing", PACKERS)
def test_large_data_in_small_pieces(packing):
    data = b"".join(b"%d,%d\n" % (n, n * n % 7919) for n in range(600_000))
    it = Unpacked(iter([PACKERS[packing](data)]), RunLimits())
    pieces = list(it)
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 1 << 20


def test_what_stands_between_and_behind_members():
    data = gzip.compress(b"a,b\n", mtime=0)
    assert unpacked(data + bytes(700) + data + bytes(1000), 100)[0] == b"a,b\na,b\n"
    frames = zstd(b"1\n") + SKIPPED + zstd(b"2\n")
    assert unpacked(frames, 3)[0] == b"1\n2\n"
    assert unpacked(SKIPPED + frames, 3)[0] == b"1\n2\n"


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("step", [1, 50, 100_000])
def test_data_that_is_not_whole(packing, step):
    data = PACKERS[packing](b"".join(b"%d,%d\n" % (n, n * 7919 % 10007) for n in range(500)))
    for end in (len(data) - 1, len(data) // 2, 20):
        with pytest.raises(SourceError, match=f"its {packing} data ends too early, after {end} bytes"):
            unpacked(data[:end], step)
    with pytest.raises(SourceError, match="ends too early"):
        unpacked(data + data[:40], step)
    for behind in (b"more,rows\n", bz2.compress(b"x")):
        with pytest.raises(SourceError, match="is damaged near byte"):
            unpacked(data + behind, step)


def test_a_flipped_byte_is_found(tmp_path):
    data = b"".join(b"%d,%d\n" % (n, n * 7919 % 10007) for n in range(5000))
    (tmp_path / "a.csv").write_bytes(data)
    done = subprocess.run(["zstd", "-q", "-c", str(tmp_path / "a.csv")], capture_output=True, check=False)
    for packed in (gzip.compress(data), *([done.stdout] if done.returncode == 0 else [])):
        bad = bytearray(packed)
        bad[len(bad) // 2] ^= 16
        with pytest.raises(SourceError, match="damaged near byte"):
            unpacked(bytes(bad))


def test_a_bomb_is_stopped_by_its_ratio_and_by_its_size(monkeypatch):
    monkeypatch.setattr(unpack, "_FREE_BYTES", 3 << 20)
    for packing, pack in PACKERS.items():
        bomb = pack(bytes(40 << 20))
        with pytest.raises(SourceError, match=f"its {packing} data unpacks to more than 100 times its size"):
            unpacked(bomb, limits=RunLimits(max_expansion=100))
        ratio = -(-(40 << 20) // len(bomb))
        assert len(unpacked(bomb, step=len(bomb), limits=RunLimits(max_expansion=ratio))[0]) == 40 << 20
        with pytest.raises(SourceError, match="times its size"):
            unpacked(bomb, step=len(bomb), limits=RunLimits(max_expansion=ratio - 2))
        with pytest.raises(SourceError, match="unpacks to more than 5000000 bytes"):
            unpacked(bomb, limits=RunLimits(max_expansion=100_000, max_unpacked_bytes=5_000_000))
        assert len(unpacked(bomb, limits=RunLimits(max_expansion=100_000))[0]) == 40 << 20


def test_a_small_file_may_be_packed_very_well():
    assert len(unpacked(gzip.compress(b"1,0,0,0\n" * 500_000))[0]) == 4_000_000


@pytest.mark.parametrize("packing", PACKERS)
def test_rows_come_out_before_the_source_ends(packing):
    data = b"".join(b"%d,%d\n" % (n, n * n % 7919) for n in range(300_000))
    packed = PACKERS[packing](data)

    def blocks():
        yield packed[: len(packed) // 2]
        raise RunStopped("no more")

    found = []
    with pytest.raises(RunStopped, match="no more"):
        found.extend(Unpacked(blocks(), RunLimits()))
    assert data.startswith(b"".join(found))
    assert sum(map(len, found)) > len(data) // 4


def test_it_is_quick():
    data = b"".join(b"%d,%d,abc\n" % (n, n * 7919 % 10007) for n in range(1_000_000))
    packed = gzip.compress(data, 1)
    begun = time.monotonic()
    assert unpacked(packed, 8 << 20)[0] == data
    assert time.monotonic() - begun < 60  # 0.5 on a quiet machine
