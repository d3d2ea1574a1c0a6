"""The target of a download, the lock of a folder, the lines of a log."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import pytest

from scoreline.cli.lock import FolderLock
from scoreline.cli.logview import LogView
from scoreline.cli.target import Target
from scoreline.errors import OutputError, SetupError
from tests.support.served import names


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = Target(str(tmp_path / "out.csv"))
    target.write(b"a,b\n")
    assert not (tmp_path / "out.csv").exists()
    target.finish()
    target.discard()
    assert (tmp_path / "out.csv").read_bytes() == b"a,b\n"
    assert names(tmp_path) == ["out.csv"]


def test_a_discarded_target_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("old")
    target = Target(str(tmp_path / "out.csv"))
    target.write(b"new")
    target.discard()
    assert names(tmp_path) == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "old"


def test_a_link_stays_a_link_and_a_mode_stays(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "real.csv").chmod(0o600)
    (tmp_path / "link.csv").symlink_to("real.csv")
    target = Target(str(tmp_path / "link.csv"))
    target.write(b"new")
    target.finish()
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "new"
    assert (tmp_path / "real.csv").stat().st_mode & 0o777 == 0o600


def test_a_device_gets_the_bytes_as_they_come() -> None:
    target = Target(os.devnull)
    target.write(b"x")
    target.finish()
    assert target.written == 1


@pytest.mark.parametrize("path", ["", "nowhere/out.csv"])
def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(OutputError, match="Output: "):
        Target(str(tmp_path / path))


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "data") as lock:
        assert lock.left is None
        assert lock.take_over(threading.Event())
        with pytest.raises(SetupError, match=f"process id {os.getpid()} on host"):
            FolderLock(tmp_path / "data")
    with FolderLock(tmp_path / "data") as lock:
        assert lock.left is None


def test_a_holder_that_did_not_let_go_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "serve.lock").write_text(json.dumps({"pid": 1, "host": "gone"}))
    with FolderLock(tmp_path) as lock:
        assert lock.left is not None


def test_lines_are_kept_and_passed_on_as_they_are(tmp_path: Path) -> None:
    out = io.StringIO()
    view = LogView(tmp_path, stream=out)
    view.line("api", '{"event": "hello", "process": "api"}')
    view.line("worker", "Traceback: plain words")
    view.say("part ended", part="api")
    view.close()
    lines = out.getvalue().splitlines()
    assert lines[0] == '{"event": "hello", "process": "api"}'
    assert lines[1] == "[worker] Traceback: plain words"
    assert json.loads(lines[2])["event"] == "part ended"
    assert (tmp_path / "scoreline.log").read_text().splitlines() == lines


def test_people_at_a_terminal_get_words(tmp_path: Path) -> None:
    out = io.StringIO()
    out.isatty = lambda: True  # type: ignore[method-assign]
    view = LogView(tmp_path, stream=out)
    event = {"event": "ready", "process": "api", "level": "warning", "timestamp": "2026-01-02T03:04:05Z", "jobs": 4}
    view.line("api", json.dumps(event))
    view.close()
    assert out.getvalue() == "03:04:05 [api] warning: ready jobs=4\n"


def test_a_closed_terminal_does_not_matter(tmp_path: Path) -> None:
    out = io.StringIO()
    view = LogView(tmp_path, stream=out)
    out.close()
    view.line("api", "still kept")
    view.close()
    assert "still kept" in (tmp_path / "scoreline.log").read_text()
