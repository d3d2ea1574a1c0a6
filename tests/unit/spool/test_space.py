"""What may be staged: the bound on uploads and results, and what a disk has."""

import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from scoreline.errors import SpoolFull
from scoreline.spool import Spool, open_spool

MOST = 100_000


@pytest.fixture
def spool(spool_place: str) -> Spool:
    return open_spool(spool_place, most=MOST)


def test_uploads_results_and_lists_of_failed_rows_share_the_bound_and_models_do_not(
    spool: Spool, tmp_path: Path
) -> None:
    spool.put_segment("results/a", "x", b"1" * 50_000)
    with spool.writer("uploads/b/0") as writer:
        writer.write(b"1" * 30_000)
        writer.finish()
    spool.put_segment("errors/a", "x", b"1" * 15_000)
    for stream in ("results/a", "errors/a"):
        with pytest.raises(SpoolFull, match=r"what is staged takes 9[56]"):
            spool.put_segment(stream, "y", b"1" * 6_000)
    with spool.writer("uploads/c/0") as writer:
        writer.write(b"1" * 6_000)
        with pytest.raises(SpoolFull, match="SCORELINE_MAX_SPOOL_BYTES"):
            writer.finish()
    with (tmp_path / "model").open("wb+") as model:
        model.write(b"1" * 200_000)
        model.seek(0)
        assert spool.put_object("artifacts/m.tar", model) == 200_000


def test_datasets_and_all_that_is_staged_for_jobs_is_counted(spool: Spool) -> None:
    spool.put_object("datasets/d", io.BytesIO(b"1" * 40_000))
    spool.put_segment("parts/a", "x", b"1" * 25_000)
    spool.put_segment("staged/a", "x", b"1" * 25_000)
    for stream in ("results/a", "parts/a", "staged/a"):
        with pytest.raises(SpoolFull, match=r"what is staged takes 90"):
            spool.put_segment(stream, "y", b"1" * 12_000)
    with pytest.raises(SpoolFull, match=r"datasets/e is refused"):
        spool.put_object("datasets/e", io.BytesIO(b"1" * 120_000))
    assert not spool.exists("datasets/e")
    spool.delete_object("datasets/d")
    spool.put_segment("results/a", "y", b"1" * 12_000)


def test_many_small_segments_do_not_slip_through_and_markers_do(spool: Spool) -> None:
    names = map(str, range(1000))
    with pytest.raises(SpoolFull):
        any(spool.put_segment("results/a", name, b"1" * 900) is None for name in names)
    assert 100 < len(spool.segment_names("results/a")) < 110
    spool.put_marker("uploads/b/part-0.json", b"{}")


def test_what_others_delete_is_given_back_at_once(spool: Spool) -> None:
    other = open_spool(spool.url)
    spool.put_segment("results/a", "x", b"1" * 90_000)
    with pytest.raises(SpoolFull):
        spool.put_segment("results/b", "x", b"1" * 20_000)
    other.delete_stream("results/a")
    spool.put_segment("results/b", "x", b"1" * 20_000)


def test_what_others_stage_is_seen_within_seconds(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("scoreline.spool.space.time.monotonic", lambda: now[0])
    other = open_spool(spool.url)
    spool.check_space(1, "results")
    other.put_segment("results/a", "x", b"1" * 90_000)
    now[0] += 30
    with pytest.raises(SpoolFull):
        spool.put_segment("results/b", "x", b"1" * 20_000)


def test_the_error_says_what_it_takes_to_go_on(spool: Spool) -> None:
    with pytest.raises(SpoolFull) as refused:
        spool.check_space(MOST + 1, "results")
    assert (refused.value.size, refused.value.wanted, refused.value.capacity) == (MOST + 1, 2 * MOST + 2, MOST)
    spool.put_segment("results/a", "x", b"1" * 90_000)
    with pytest.raises(SpoolFull) as refused:
        spool.put_segment("results/a", "y", b"1" * 10_000)
    assert refused.value.wanted >= 20_000


@pytest.mark.parametrize(
    ("disk", "words"),
    [
        ({"f_bavail": 0}, r"the disk is full: 0 bytes are free"),
        ({"f_favail": 3}, r"no more files have room"),
        ({"f_blocks": 0, "f_bavail": 0}, None),
    ],
    ids=["bytes", "files", "unknown"],
)
def test_a_disk_without_bytes_or_files_left_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: dict[str, int], words: str | None
) -> None:
    spool = open_spool(tmp_path)
    found = {"f_blocks": 1000, "f_frsize": 4096, "f_bavail": 500, "f_files": 100, "f_favail": 50} | disk
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**found))
    if words is None:
        spool.put_segment("results/a", "x", b"1")
        return
    with pytest.raises(SpoolFull, match=words):
        spool.put_segment("results/a", "x", b"1")
    spool.put_marker("results/a/manifest.json", b"{}")
