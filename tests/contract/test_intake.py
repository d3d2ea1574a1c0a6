"""What every intake promises; one row of the matrix for each adapter."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from scoreline import adapters
from scoreline.errors import RunStopped, SourceError, SpoolError
from scoreline.protocols import ByteIntake
from scoreline.spool import Spool, open_spool
from scoreline.types import Range
from tests.contract.matrix import INTAKES, JOB, IntakeRow, ticket

HEADER = b"id,text\n"
PIECES = [HEADER + b'1,"a\nb"\n2,\n', b"3,c\n" * 5000, b"4,\xc3\xa9\n"]


@pytest.fixture(params=INTAKES, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> IntakeRow:
    return request.param


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return open_spool(tmp_path / "spool")


def opened(row: IntakeRow, spool: Spool, folder: Path, pieces: list[bytes]) -> ByteIntake:
    return adapters.open_intake(ticket(row.lay(spool, folder, pieces), {"type": "localFile"}, spool), spool, row.keys)


def read(intake: ByteIntake, offset: int = 0) -> bytes:
    [whole] = intake.partitions(1)
    return b"".join(intake.blocks(whole, offset))


def test_empty(row: IntakeRow, spool: Spool, tmp_path: Path) -> None:
    intake = opened(row, spool, tmp_path, [])
    assert read(intake) == b""
    assert intake.size() == 0
    intake.close()


def test_a_source_is_told_from_any_other(row: IntakeRow, spool: Spool, tmp_path: Path) -> None:
    settings = row.lay(spool, tmp_path, PIECES)
    output = {"type": "localFile"}
    first = adapters.open_intake(ticket(settings, output, spool), spool, row.keys)
    identity = first.identity()
    assert identity is not None
    assert identity["bytes"] == sum(map(len, PIECES))
    second = adapters.open_intake(ticket(settings, output, spool), spool, row.keys)
    assert second.identity() == identity
    for intake in (first, second):
        intake.close()
    time.sleep(0.01)
    other = [PIECES[0], PIECES[1].replace(b"3", b"4"), *PIECES[2:]]
    changed = adapters.open_intake(ticket(row.lay(spool, tmp_path, other), output, spool), spool, row.keys)
    assert changed.identity() != identity
    changed.close()


@pytest.mark.parametrize("count", [1, 3])
def test_bytes_as_they_are(row: IntakeRow, spool: Spool, tmp_path: Path, count: int) -> None:
    intake = opened(row, spool, tmp_path, PIECES[:count])
    expected = b"".join(PIECES[:count])
    assert read(intake) == expected
    parts = intake.partitions(4)
    assert [part.index for part in parts] == list(range(len(parts)))
    assert [part.start for part in parts] == [0, *(part.end for part in parts[:-1])]
    assert parts[-1].end is None
    if len(parts) > 1:
        assert b"".join(block for part in parts for block in intake.blocks(part, part.start)) == expected
    assert intake.size() == len(expected)
    intake.close()


def test_every_offset_gives_the_rest(row: IntakeRow, spool: Spool, tmp_path: Path) -> None:
    pieces = [b"id,text\n1,a\n", b"2,b\n3,c\n", b"4,d"]
    whole = b"".join(pieces)
    intake = opened(row, spool, tmp_path, pieces)
    for offset in range(len(whole) + 1):
        assert read(intake, offset) == whole[offset:]
    intake.close()


def test_offset_behind_the_end_is_not_silently_empty(row: IntakeRow, spool: Spool, tmp_path: Path) -> None:
    intake = opened(row, spool, tmp_path, PIECES)
    with pytest.raises(SourceError, match="end"):
        read(intake, len(b"".join(PIECES)) + 1)
    intake.close()


def test_pieces_without_a_line_end(row: IntakeRow, spool: Spool, tmp_path: Path) -> None:
    intake = opened(row, spool, tmp_path, [b"id\n1", b"2\n3", b"4"])
    assert read(intake) == (b"id\n1\n2\n3\n4" if row.pieces_end_lines else b"id\n12\n34")
    intake.close()


def test_flipped_byte(row: IntakeRow, spool: Spool, tmp_path: Path) -> None:
    if not row.checked:
        pytest.skip("the source keeps no checksum of its bytes")
    intake = opened(row, spool, tmp_path, PIECES)
    file = row.files(spool, tmp_path)[1]
    stored = bytearray(file.read_bytes())
    stored[len(stored) // 2] ^= 1
    file.write_bytes(stored)
    with pytest.raises(SpoolError, match=r"segment 0000000\d of uploads/.* is damaged"):
        read(intake)
    intake.close()


def test_closed_in_the_middle(row: IntakeRow, spool: Spool, tmp_path: Path) -> None:
    intake = opened(row, spool, tmp_path, [HEADER, b"1,a\n" * 2_000_000])
    blocks = intake.blocks(Range(), 0)
    assert next(blocks).startswith(HEADER)
    intake.close()
    intake.close()
    with pytest.raises((RunStopped, SourceError)):
        list(blocks)


@pytest.mark.parametrize("settings", [{}, {"multipart": True, "async": True}, {"multipart": True, "async": False}])
def test_waiting_for_an_upload_ends_with_close(spool: Spool, settings: dict) -> None:
    intake = adapters.open_intake(ticket({"type": "localFile", **settings}, {}, spool), spool)
    ended = []

    def wait() -> None:
        with pytest.raises(RunStopped):
            next(intake.blocks(Range(), 0))
        ended.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    assert intake.size() is None
    closed = time.monotonic()
    intake.close()
    thread.join(5)
    assert ended[0] - closed < 0.2


@pytest.mark.parametrize(
    ("settings", "stream"),
    [({}, f"uploads/{JOB}/0"), ({"multipart": True}, f"uploads/{JOB}")],
    ids=["single", "multipart"],
)
def test_broken_upload(spool: Spool, settings: dict, stream: str) -> None:
    intake = adapters.open_intake(ticket({"type": "localFile", **settings}, {}, spool), spool)
    spool.mark_broken(stream, "the client closed the connection after 12 bytes.")
    with pytest.raises(SourceError, match="closed the connection after 12 bytes"):
        read(intake)


def test_source_that_is_not_there(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no\.csv: No such file"):
        adapters.open_intake(ticket({"type": "filesystem", "path": str(tmp_path / "no.csv")}, {}, spool), spool)
