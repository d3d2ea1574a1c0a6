"""Streams: what is written is what is read, whole, in order, or an error that names the segment."""

from __future__ import annotations

import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.errors import LostLease, RunStopped, SetupError, SourceError, SpoolError, SpoolFull
from scoreline.spool import Spool, WaitState, open_spool
from scoreline.spool.folder import FolderBlobs
from scoreline.spool.space import Limits

STREAM = "uploads/j1/0"


def segment_keys(spool: Spool, stream: str = STREAM) -> list[str]:
    return [key for key in spool.blobs.list(stream) if key.endswith(".seg")]


def change(spool: Spool, key: str, how: Callable[[bytes], bytes]) -> None:
    """Change what is stored as a disk might."""
    stored = spool.blobs.get(key)
    assert stored is not None
    spool.blobs.put(key, [how(stored)])


def read(spool: Spool, stream: str = STREAM, offset: int = 0) -> bytes:
    return b"".join(spool.reader(stream).blocks(offset))


def test_empty_stream(spool: Spool) -> None:
    writer = spool.writer(STREAM)
    assert not spool.reader(STREAM).complete()
    manifest = writer.finish()
    assert (manifest.size, manifest.segments) == (0, ())
    assert spool.reader(STREAM).size() == 0
    assert read(spool) == b""


@settings(max_examples=30, deadline=None)
@given(blocks=st.lists(st.binary(max_size=300), max_size=30), segment=st.integers(1, 200), offset=st.integers(0, 2000))
def test_any_blocks_any_offset(tmp_path_factory: pytest.TempPathFactory, blocks, segment, offset) -> None:
    spool = open_spool(tmp_path_factory.mktemp("spool"))
    whole = b"".join(blocks)
    with spool.writer(STREAM, segment_bytes=segment) as writer:
        for block in blocks:
            writer.write(block)
        assert writer.finish().size == writer.size == len(whole)
    offset = min(offset, len(whole))
    assert read(spool, offset=offset) == whole[offset:]


def test_offset_beyond_the_end_is_another_source(spool: Spool) -> None:
    with spool.writer(STREAM) as writer:
        writer.write(b"12345")
        writer.finish()
    with pytest.raises(SourceError, match="before byte 6"):
        read(spool, offset=6)


def test_reader_follows_a_writer_closely(spool: Spool) -> None:
    writer = spool.writer(STREAM)
    seen: queue.Queue[bytes] = queue.Queue()

    def follow() -> None:
        for block in spool.reader(STREAM).blocks():
            seen.put(block)

    thread = threading.Thread(target=follow)
    thread.start()
    for number in range(5):
        writer.write(b"%d" % number)
        writer.seal()
        assert seen.get(timeout=30) == b"%d" % number, "it is read before the next one is written"
    writer.finish()
    thread.join(30)
    assert not thread.is_alive()
    assert seen.empty()


def test_slow_upload_becomes_visible_by_age_without_more_writes(spool: Spool) -> None:
    with spool.writer(STREAM) as writer:
        writer.write(b"first rows\n")
        assert next(iter(spool.reader(STREAM).blocks())) == b"first rows\n"


def test_flush_if_older(spool: Spool) -> None:
    with spool.writer(STREAM) as writer:
        writer.write(b"a")
        writer.flush_if_older(10)
        assert segment_keys(spool) == []
        writer.flush_if_older(0)
        assert next(iter(spool.reader(STREAM).blocks())) == b"a"


def test_writers_from_many_threads_lose_nothing(spool: Spool) -> None:
    writer = spool.writer(STREAM, segment_bytes=1000)
    threads = [
        threading.Thread(target=lambda n=n: [writer.write(b"%d" % n * 10) for _ in range(200)]) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.finish().size == 8000
    whole = read(spool)
    assert [whole.count(b"%d" % n) for n in range(4)] == [2000] * 4


def test_waiting_reader_stops_when_told(spool: Spool) -> None:
    writer = spool.writer(STREAM)
    writer.write(b"x")
    writer.seal()
    blocks = spool.reader(STREAM).blocks(wait=lambda: WaitState.STOP)
    while not segment_keys(spool):
        time.sleep(0.01)
    assert next(blocks) == b"x"
    with pytest.raises(RunStopped):
        next(blocks)
    writer.discard()


def test_broken_stream_says_why(spool: Spool) -> None:
    with spool.writer(STREAM) as writer:
        writer.write(b"half")
        writer.close()
        spool.mark_broken(STREAM, "the connection closed after 4 bytes")
        with pytest.raises(SourceError, match="closed after 4 bytes"):
            read(spool)
        assert not spool.reader(STREAM).complete()


def test_stream_sent_anew_is_never_mixed(spool: Spool) -> None:
    first = spool.writer(STREAM)
    first.write(b"old one")
    first.seal()
    blocks = spool.reader(STREAM).blocks()
    assert next(blocks) == b"old one"
    first.discard()
    with spool.writer(STREAM) as second:
        for _ in range(2):
            second.write(b"new")
            second.seal()
        second.finish()
        with pytest.raises(SourceError, match="sent anew"):
            next(blocks)


def test_deleted_stream_ends_a_waiting_reader(spool: Spool) -> None:
    writer = spool.writer(STREAM)
    writer.write(b"x")
    writer.seal()
    blocks = spool.reader(STREAM).blocks()
    next(blocks)
    writer.discard()
    spool.delete_stream("uploads/j1")
    with pytest.raises(SourceError, match="deleted"):
        next(blocks)
    assert spool.blobs.list("uploads") == []


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("place", [0, 3, 9, -1, -10, -20])
def test_flipped_byte_is_found(spool: Spool, place: int, finished: bool) -> None:
    writer = spool.writer(STREAM)
    writer.write(b"0123456789")
    if finished:
        writer.finish()
    else:
        writer.close()

    def flip(stored: bytes) -> bytes:
        flipped = bytearray(stored)
        flipped[place] ^= 0x10
        return bytes(flipped)

    change(spool, segment_keys(spool)[0], flip)
    with pytest.raises(SpoolError, match=r"segment 00000001 of uploads/j1/0"):
        next(iter(spool.reader(STREAM).blocks()))


@pytest.mark.parametrize("kept", [0, 5, 30, -1])
def test_torn_segment_is_found(spool: Spool, kept: int) -> None:
    with spool.writer(STREAM) as writer:
        writer.write(b"0123456789")
        writer.finish()
        change(spool, segment_keys(spool)[0], lambda stored: stored[:kept])
        with pytest.raises(SpoolError, match=r"segment 00000001 of uploads/j1/0"):
            read(spool)


def test_missing_segment_is_found(spool: Spool) -> None:
    with spool.writer(STREAM, segment_bytes=4) as writer:
        for _ in range(3):
            writer.write(b"abcd")
        writer.finish()
        spool.blobs.delete(segment_keys(spool)[1])
        with pytest.raises(SpoolError, match="segment 00000002 of uploads/j1/0 is missing"):
            read(spool)


def test_damaged_manifest_is_found(spool: Spool) -> None:
    with spool.writer(STREAM) as writer:
        writer.write(b"abcd")
        writer.finish()
        change(spool, f"{STREAM}/manifest.json", lambda stored: stored.replace(b'"size":4', b'"size":5'))
        with pytest.raises(SpoolError, match="manifest"):
            spool.reader(STREAM).complete()


def test_segments_by_name_and_commit(spool: Spool) -> None:
    stream = "results/j1"
    one = spool.put_segment(stream, "0000000000-0000000000.1", b"id,p\n")
    two = spool.put_segment(stream, "0000000001-0000000002.1", [b"1,2\n", b"2,3\n"])
    again = spool.put_segment(stream, "0000000001-0000000002.1", b"1,2\n2,3\n")
    other = spool.put_segment(stream, "0000000001-0000000009.9", b"never mind")
    assert again == two == {"segment": "0000000001-0000000002.1", "size": 8, "crc32": two["crc32"]}
    assert b"".join(spool.read_segment(stream, two["segment"], offset=3, crc32=two["crc32"])) == b"\n2,3\n"
    with pytest.raises(SpoolError, match="receipt"):
        list(spool.read_segment(stream, two["segment"], crc32=one["crc32"]))
    with pytest.raises(SpoolError, match="missing"):
        list(spool.read_segment(stream, "0000000001-0000000002.2"))
    assert not spool.reader(stream).complete()
    for _ in range(2):
        assert spool.commit(stream, [one, two], fence=2).size == 13
    assert read(spool, stream) == b"id,p\n1,2\n2,3\n"
    assert read(spool, stream, offset=6) == b",2\n2,3\n"
    assert spool.segment(stream, other["segment"]) is None
    with pytest.raises(LostLease):
        spool.commit(stream, [one], fence=1)
    with pytest.raises(SpoolError, match="missing"):
        spool.commit(stream, [one, other], fence=2)


def test_objects(spool: Spool, tmp_path: Path) -> None:
    source = tmp_path / "artefact"
    body = random.Random(1).randbytes(9 << 20)
    source.write_bytes(body)
    assert not spool.exists("artifacts/ab.tar")
    with source.open("rb") as file:
        assert spool.put_object("artifacts/ab.tar", file) == len(body)
    assert spool.exists("artifacts/ab.tar")
    assert not spool.exists("artifacts")
    with spool.open_object("artifacts/ab.tar") as file:
        assert file.read() == body
    spool.delete_object("artifacts/ab.tar")
    spool.delete_object("artifacts/ab.tar")
    with pytest.raises(SpoolError, match=r"artifacts/ab\.tar is not there"):
        spool.open_object("artifacts/ab.tar")


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../b", "a//b", ".tmp-x", "a/.hidden", "a\\b", "a\0", "a/"]
)
def test_names_cannot_leave_the_spool(spool: Spool, name: str) -> None:
    with pytest.raises(SpoolError, match="not a name"):
        spool.writer(name)
    with pytest.raises(SpoolError, match="not a name"):
        spool.exists(name)


def test_url_opens_the_same_spool(spool: Spool) -> None:
    spool.put_segment("results/a", "x", b"1")
    other = open_spool(spool.url)
    assert other.url == spool.url
    assert list(other.read_segment("results/a", "x")) == [b"1"]


def test_url_of_a_folder_with_an_odd_name(tmp_path: Path) -> None:
    odd = open_spool(tmp_path / "with space & ü%20?", min_free=4096, most=1 << 40)
    odd.put_segment("results/a", "x", b"1")
    other = open_spool(odd.url)
    assert list(other.read_segment("results/a", "x")) == [b"1"]
    assert other.blobs.limits == Limits(4096, 1 << 40)
    with pytest.raises(SetupError, match="s3://"):
        open_spool("ftp://bucket/x")


def test_too_little_space_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, min_free=1 << 60)
    with pytest.raises(SpoolFull, match="make space"):
        spool.writer(STREAM)
    with pytest.raises(SpoolFull, match="make space"):
        spool.put_segment("results/a", "x", b"1" * 100_000)
    spool.mark_broken(STREAM, "a marker is small and always passes")


@pytest.mark.parametrize("may", [os.R_OK, os.W_OK])
def test_a_folder_that_cannot_be_used_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, may: int
) -> None:
    monkeypatch.setattr(os, "access", lambda _path, mode: mode & ~may == 0)
    with pytest.raises(SpoolError, match="read and write"):
        open_spool(tmp_path)


def test_full_disk_comes_out_in_words(folder_spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC by patching fsync, where a delayed allocation fails; a test in contract/ fills a real tmpfs."""
    writer = folder_spool.writer(STREAM, segment_bytes=10)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    writer.write(b"0123456789")
    with pytest.raises(SpoolFull, match="disk is full"):
        writer.finish()
    monkeypatch.undo()
    assert segment_keys(folder_spool) == []
    writer.discard()
    assert folder_spool.blobs.list("uploads") == []


def test_write_after_the_end_is_refused(spool: Spool) -> None:
    writer = spool.writer(STREAM)
    writer.write(b"x")
    manifest = writer.finish()
    assert writer.finish() is manifest
    with pytest.raises(SpoolError, match="after its end"):
        writer.write(b"y")
    assert read(spool) == b"x"
    writer.discard()
    writer.discard()
    with pytest.raises(SpoolError, match="discarded"):
        writer.write(b"y")


def test_leaving_the_block_without_finish_discards(spool: Spool) -> None:
    def fail() -> None:
        with spool.writer(STREAM) as writer:
            writer.write(b"x")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert spool.blobs.list("uploads") == []


def test_backlog_is_bounded(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    put = spool.blobs.put
    monkeypatch.setattr(spool.blobs, "put", lambda *a, **k: (gate.wait(5), put(*a, **k)))
    writer = spool.writer(STREAM, segment_bytes=10)
    while not writer.would_block:
        writer.write(b"0123456789")
    assert writer.size == 40
    threading.Timer(0.1, gate.set).start()
    begun = time.monotonic()
    writer.write(b"0123456789")
    assert time.monotonic() - begun > 0.05
    assert writer.finish().size == 50


def test_killed_writer_leaves_no_complete_stream(spool: Spool) -> None:
    program = (
        "import sys, os, time\n"
        "from scoreline.spool import open_spool\n"
        f"w = open_spool({spool.url!r}).writer({STREAM!r}, segment_bytes=1000)\n"
        "for _ in range(100): w.write(b'x' * 100)\n"
        "print('written', flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    reader = spool.reader(STREAM)
    assert not reader.complete()
    with pytest.raises(RunStopped):
        list(reader.blocks(wait=lambda: WaitState.STOP))
    spool.delete_stream(STREAM)
    assert spool.blobs.list("uploads") == []


def test_sweep_takes_old_halves_only(folder_spool: Spool) -> None:
    assert isinstance(folder_spool.blobs, FolderBlobs)
    folder = folder_spool.blobs.root / "artifacts"
    folder.mkdir()
    (folder / ".tmp-1").write_bytes(b"x")
    (folder / "ab.tar").write_bytes(b"x")
    assert folder_spool.sweep() == 0
    assert folder_spool.sweep(-1) == 1
    assert folder_spool.exists("artifacts/ab.tar")
