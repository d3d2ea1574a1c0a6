"""What every output promises; one row of the matrix for each adapter."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from scoreline import adapters
from scoreline.errors import LostLease, OutputError, SpoolError
from scoreline.protocols import Output
from scoreline.spool import Spool, open_spool
from scoreline.types import Receipt, ScoredChunk
from tests.contract.matrix import OUTPUTS, OutputRow, ticket

CHUNKS = [
    ScoredChunk(0, 0, b"id,y\n", 0),
    ScoredChunk(1, 3, b"1,0.5\n2,0.25\n", 2),
    ScoredChunk(4, 4, b'"x\ny",1.0\n', 1),
]
WHOLE = b"".join(chunk.body for chunk in CHUNKS)


@pytest.fixture(params=OUTPUTS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> OutputRow:
    return request.param


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return open_spool(tmp_path / "spool")


def made(row: OutputRow, spool: Spool, folder: Path, fence: int = 1) -> Output:
    return adapters.open_output(ticket({}, row.settings(folder), spool, fence=fence), spool, row.keys)


def write(output: Output, chunks: list[ScoredChunk]) -> list[Receipt]:
    return [output.write(chunk) for chunk in chunks]


def flip(file: Path) -> None:
    stored = bytearray(file.read_bytes())
    stored[len(stored) // 3] ^= 4
    file.write_bytes(stored)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_all_at_once_at_commit(row: OutputRow, spool: Spool, tmp_path: Path, count: int) -> None:
    output = made(row, spool, tmp_path)
    output.open(output.prepare())
    receipts = write(output, CHUNKS[:count])
    assert row.content(spool, tmp_path) is None
    output.commit(receipts)
    output.close()
    output.close()
    assert row.content(spool, tmp_path) == b"".join(chunk.body for chunk in CHUNKS[:count])


def test_nothing_left_beside_the_result(row: OutputRow, spool: Spool, tmp_path: Path) -> None:
    output = made(row, spool, tmp_path)
    output.open(output.prepare())
    output.commit(write(output, CHUNKS))
    output.close()
    traces = [name for name in row.traces(spool, tmp_path) if not name.endswith((".seg", "manifest.json"))]
    assert traces == []


def test_same_chunk_twice_counts_once(row: OutputRow, spool: Spool, tmp_path: Path) -> None:
    output = made(row, spool, tmp_path)
    output.open(output.prepare())
    first = write(output, CHUNKS)
    assert write(output, CHUNKS) == first
    output.commit(first)
    output.close()
    assert row.content(spool, tmp_path) == WHOLE


def test_commit_again_after_a_crash_right_behind_it(row: OutputRow, spool: Spool, tmp_path: Path) -> None:
    output = made(row, spool, tmp_path)
    state = output.prepare()
    output.open(state)
    receipts = write(output, CHUNKS)
    output.commit(receipts)
    output.commit(receipts)
    output.close()
    again = made(row, spool, tmp_path, fence=2)
    again.open(state, receipts)
    again.commit(receipts)
    again.close()
    assert row.content(spool, tmp_path) == WHOLE


@pytest.mark.parametrize("done", [1, 2, 3])
def test_taken_up_again(row: OutputRow, spool: Spool, tmp_path: Path, done: int) -> None:
    """The first run dies after it wrote; the ledger has the first `done` receipts; chunks may now be cut otherwise."""
    dead = made(row, spool, tmp_path)
    state = dead.prepare()
    dead.open(state)
    recorded = write(dead, CHUNKS)[:done]
    dead.close()
    assert row.content(spool, tmp_path) is None

    output = made(row, spool, tmp_path, fence=2)
    output.open(state, recorded)
    durable = list(output.durable(state))
    assert [receipt for receipt in recorded if receipt not in durable] == []
    rest = b"".join(chunk.body for chunk in CHUNKS[done:])
    again = [
        ScoredChunk(number + CHUNKS[done - 1].last + 1, number + CHUNKS[done - 1].last + 1, rest[at : at + 4], 1)
        for number, at in enumerate(range(0, len(rest), 4))
    ]
    output.commit([*recorded, *write(output, again)])
    output.close()
    assert row.content(spool, tmp_path) == WHOLE


def test_abort_leaves_nothing(row: OutputRow, spool: Spool, tmp_path: Path) -> None:
    output = made(row, spool, tmp_path)
    state = output.prepare()
    output.open(state)
    write(output, CHUNKS)
    output.abort(state)
    output.abort(state)
    output.close()
    assert row.content(spool, tmp_path) is None
    assert row.traces(spool, tmp_path) == []


def test_flipped_byte_is_found(row: OutputRow, spool: Spool, tmp_path: Path) -> None:
    output = made(row, spool, tmp_path)
    state = output.prepare()
    output.open(state)
    receipts = write(output, CHUNKS)
    output.close()
    flip(row.files(spool, tmp_path)[-1])
    again = made(row, spool, tmp_path, fence=2)
    again.open(state)
    with pytest.raises((SpoolError, OutputError)):
        again.commit(receipts) or row.content(spool, tmp_path)
    again.close()


def test_missing_block_is_found_at_commit(row: OutputRow, spool: Spool, tmp_path: Path) -> None:
    output = made(row, spool, tmp_path)
    state = output.prepare()
    output.open(state)
    receipts = write(output, CHUNKS)
    output.close()
    row.files(spool, tmp_path)[-1].unlink()
    again = made(row, spool, tmp_path, fence=2)
    again.open(state)
    with pytest.raises((SpoolError, OutputError)):
        again.commit(receipts)
    again.close()
    assert row.content(spool, tmp_path) is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True
        ).returncode
    )
    if not mounted:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(row: OutputRow, small_disk: Path) -> None:
    spool = open_spool(small_disk / "spool")
    output = made(row, spool, small_disk)
    state = output.prepare()
    output.open(state)
    output.write(CHUNKS[0])
    big = ScoredChunk(1, 1, b"x" * (2 << 20), 1)
    for _ in range(2):
        with pytest.raises(row.full, match="the disk is full"):
            output.write(big)
    output.abort(state)
    output.close()
    assert row.traces(spool, small_disk) == []


def test_full_disk_by_errno(row: OutputRow, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where no file system can be mounted; fsync is where a disk that promised too much says so."""
    output = made(row, spool, tmp_path)
    state = output.prepare()
    output.open(state)

    def full(_: int) -> None:
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(row.full, match="the disk is full; make space"):
        output.write(CHUNKS[0])
    monkeypatch.undo()
    output.abort(state)
    output.close()
    assert row.traces(spool, tmp_path) == []


def test_what_was_written_is_read_back_for_its_digest(row: OutputRow, spool: Spool, tmp_path: Path) -> None:
    output = made(row, spool, tmp_path)
    state = output.prepare()
    output.open(state)
    receipts = write(output, CHUNKS)
    output.close()
    again = made(row, spool, tmp_path, fence=2)
    again.open(state, receipts)
    expected = hashlib.sha256(WHOLE).hexdigest()
    assert again.sha256(receipts) == expected
    again.commit(receipts)
    assert again.sha256(receipts) == (expected if row.read_back else None)
    again.close()


def test_a_run_that_lost_its_job_unawares_changes_nothing(row: OutputRow, spool: Spool, tmp_path: Path) -> None:
    """It was frozen, and wakes when another run has gone on."""
    old = made(row, spool, tmp_path, fence=1)
    state = old.prepare()
    old.open(state)
    first = write(old, CHUNKS[:1])
    new = made(row, spool, tmp_path, fence=2)
    new.open(state, first)
    second = write(new, CHUNKS[1:2])
    with suppress(SpoolError, OutputError):
        old.write(ScoredChunk(CHUNKS[1].first, CHUNKS[1].first, b"stale " * 100, 1))
    new.commit([*first, *second, *write(new, CHUNKS[2:])])
    new.close()
    old.close()
    assert row.content(spool, tmp_path) == WHOLE


def test_localfile_fences_off_an_older_run(spool: Spool, tmp_path: Path) -> None:
    [row] = [row for row in OUTPUTS if row.name == "localFile"]
    old, new = made(row, spool, tmp_path, fence=1), made(row, spool, tmp_path, fence=2)
    for output in (old, new):
        output.open(output.prepare())
    stale = write(old, [ScoredChunk(0, 0, b"old", 0)])
    new.commit(write(new, CHUNKS))
    with pytest.raises(LostLease):
        old.commit(stale)
    assert row.content(spool, tmp_path) == WHOLE
