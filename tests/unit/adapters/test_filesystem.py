"""Files and pipes of the command line, beyond what the contract asks of every adapter."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scoreline import adapters
from scoreline.adapters.targets import FileOutput
from scoreline.errors import OutputError, RunStopped, SourceError
from scoreline.protocols import ByteIntake, Output
from scoreline.spool import Spool, open_spool
from scoreline.types import Range, ScoredChunk
from tests.contract.matrix import ticket


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return open_spool(tmp_path / "spool")


def source(spool: Spool, path: Path | str) -> ByteIntake:
    return adapters.open_intake(ticket({"type": "filesystem", "path": str(path)}, {}, spool), spool)


def target(spool: Spool, path: Path | str) -> Output:
    return adapters.open_output(ticket({}, {"type": "filesystem", "path": str(path)}, spool), spool)


def write(output: Output, body: bytes) -> None:
    output.open(output.prepare())
    output.commit([output.write(ScoredChunk(0, 0, body, 0))])
    output.close()


def test_pipe_as_source_waits_and_stops(spool: Spool, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)
    intake = source(spool, pipe)
    assert intake.size() is None
    blocks = intake.blocks(Range(), 0)
    os.write(end, b"a,b\n")
    assert next(blocks) == b"a,b\n"
    threading.Timer(0.1, intake.close).start()
    with pytest.raises(RunStopped):
        next(blocks)
    os.close(end)


def test_pipe_cannot_be_read_again(spool: Spool, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)
    intake = source(spool, pipe)
    with pytest.raises(SourceError, match="pipe"):
        next(intake.blocks(Range(), 5))
    intake.close()
    os.close(end)


def test_standard_input_and_output(tmp_path: Path) -> None:
    program = (
        "from scoreline import adapters\n"
        "from scoreline.spool import open_spool\n"
        "from scoreline.types import Range, ScoredChunk\n"
        "from tests.contract.matrix import ticket\n"
        f"spool = open_spool({str(tmp_path)!r})\n"
        "run = ticket({'type': 'filesystem', 'path': '-'}, {'type': 'filesystem', 'path': '-'}, spool)\n"
        "intake, output = adapters.open_intake(run, spool), adapters.open_output(run, spool)\n"
        "output.open(output.prepare())\n"
        "body = b''.join(intake.blocks(Range(), 0))\n"
        "receipts = [output.write(ScoredChunk(n, n, body, 1)) for n in (0, 1, 1)]\n"
        "output.commit(receipts)\n"
        "intake.close(); output.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], input=b"a\n1\n", capture_output=True, check=True)
    assert done.stdout == b"a\n1\n" * 2


def test_reader_that_has_gone(spool: Spool, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    output = target(spool, pipe)
    output.open(output.prepare())
    os.close(end)
    with pytest.raises(OutputError, match="has gone"):
        output.write(ScoredChunk(0, 0, b"x", 0))
    output.close()


def test_device_stays_a_device(spool: Spool) -> None:
    write(target(spool, "/dev/null"), b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_link_and_mode_stay(spool: Spool, tmp_path: Path) -> None:
    real = tmp_path / "real.csv"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link = tmp_path / "link.csv"
    link.symlink_to(real)
    write(target(spool, link), b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_old_file_stays_when_the_run_is_given_up(spool: Spool, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")
    output = target(spool, path)
    state = output.prepare()
    output.open(state)
    output.write(ScoredChunk(0, 0, b"new", 0))
    output.abort(state)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.glob("*out.csv*")] == ["out.csv"]


@pytest.mark.parametrize(("name", "words"), [("", "is a folder"), ("no/out.csv", "does not exist")])
def test_impossible_targets(spool: Spool, tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(OutputError, match=words):
        target(spool, tmp_path / name).prepare()


def test_source_cut_while_it_is_read(spool: Spool, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b"x" * (9 << 20))
    intake = source(spool, path)
    blocks = intake.blocks(Range(), 0)
    next(blocks)
    os.truncate(path, 5 << 20)
    with pytest.raises(SourceError, match="cut meanwhile"):
        list(blocks)
    intake.close()


def test_a_run_that_lost_its_job_unawares_takes_nothing_from_the_next_one(tmp_path: Path) -> None:
    """It woke up before it opened its file, when the next run had written already."""
    first, second = (FileOutput(str(tmp_path / "out.csv"), "job", fence) for fence in (9, 10))
    state = first.prepare()
    second.open(state)
    receipts = [second.write(ScoredChunk(0, 0, b"head\n", 0))]
    first.open(state)
    receipts.append(second.write(ScoredChunk(1, 1, b"row\n", 1)))
    second.commit(receipts)
    assert (tmp_path / "out.csv").read_bytes() == b"head\nrow\n"
    first.close()
    second.close()
