"""The program itself: its name, help, exit codes, and what becomes of errors."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from scoreline import __version__, errors
from scoreline.cli import app as program
from scoreline.cli import deploy
from tests.support.served import scoreline

runner = CliRunner()


def test_version_is_said_both_ways() -> None:
    assert scoreline("--version").stdout == f"scoreline {__version__}\n"
    assert runner.invoke(program.app, ["--version"]).stdout == f"scoreline {__version__}\n"


def test_it_starts_at_once() -> None:
    def started(*words: str) -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begun

    # Against the bare interpreter, so that a busy machine does not matter.
    bare = min(started("-c", "pass") for _ in range(3))
    ours = min(started("-m", "scoreline", "--version") for _ in range(3))
    assert ours - bare < 0.3


@pytest.mark.parametrize("heavy", ["pyarrow", "sqlalchemy", "fastapi", "httpx2", "numpy", "pydantic", "rich.progress"])
def test_heavy_libraries_wait_for_the_command_that_needs_them(heavy: str) -> None:
    code = f"import sys, scoreline.cli.app; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_names_every_command() -> None:
    words = runner.invoke(program.app, ["--help"]).stdout
    for command in ("serve", "api", "worker", "predictor", "deploy", "score", "deployments", "jobs", "token", "user"):
        assert f" {command} " in words


def test_no_command_shows_the_help() -> None:
    assert "Usage: scoreline" in scoreline().stdout


def test_an_error_is_one_sentence_and_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def fail(*_: object, **__: object) -> None:
        raise errors.NotFound("There is no such thing: look elsewhere.")

    monkeypatch.setattr(deploy, "upload", fail)
    code = program.run(["deploy", "model.txt", "--name", "x", "--token", "t"])
    assert code == 1
    shown = capsys.readouterr()
    assert shown.err == "Error: There is no such thing: look elsewhere.\n"
    assert shown.out == ""


def test_an_unforeseen_file_error_is_a_sentence_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "model.txt")

    monkeypatch.setattr(deploy, "upload", fail)
    assert program.run(["deploy", "model.txt", "--name", "x", "--token", "t"]) == 1
    assert capsys.readouterr().err == "Error: Permission denied: model.txt\n"


def test_interrupting_gives_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(deploy, "upload", interrupt)
    assert program.run(["deploy", "model.txt", "--name", "x", "--token", "t"]) == 130


def test_an_unknown_option_is_code_2_and_names_a_near_one() -> None:
    done = scoreline("score", "in.csv", "-o", "out.csv", "--deploymnet", "x")
    assert done.returncode == 2
    assert "--deployment" in done.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "scoreline", "score", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.wait(30)
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
