"""Files of the folder that is open to jobs: nothing outside is ever read or written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scoreline import adapters
from scoreline.adapters import rooted
from scoreline.errors import InvalidRequest, OutputError, SourceError
from scoreline.protocols import Output
from scoreline.spool import Spool, open_spool
from scoreline.types import JsonObject, Range, ScoredChunk
from tests.contract.matrix import ticket
from tests.support.served import names


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return open_spool(tmp_path / "spool")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The open folder, with `in.csv` in it; beside it lies `secret.csv`."""
    (tmp_path / "open" / "sub").mkdir(parents=True)
    (tmp_path / "open" / "in.csv").write_bytes(b"a\n1\n")
    (tmp_path / "secret.csv").write_bytes(b"secret\n")
    return tmp_path / "open"


def read(spool: Spool, root: Path, path: str) -> bytes:
    intake = adapters.open_intake(ticket({"type": "filesystem", "path": path, "root": str(root)}, {}, spool), spool)
    try:
        return b"".join(intake.blocks(Range(), 0))
    finally:
        intake.close()


def opened(spool: Spool, root: Path, path: str) -> Output:
    return adapters.open_output(ticket({}, {"type": "filesystem", "path": path, "root": str(root)}, spool), spool)


def begun(spool: Spool, root: Path, path: str) -> tuple[Output, JsonObject]:
    output = opened(spool, root, path)
    state = output.prepare()
    output.open(state)
    return output, state


def write(spool: Spool, root: Path, path: str) -> None:
    output, _ = begun(spool, root, path)
    output.commit([output.write(ScoredChunk(0, 0, b"out\n", 0))])
    output.close()


@pytest.mark.parametrize("form", ["in.csv", "./in.csv", "{root}/in.csv"])
def test_a_file_of_the_folder(spool: Spool, root: Path, form: str) -> None:
    assert read(spool, root, form.format(root=root)) == b"a\n1\n"
    write(spool, root, form.format(root=root))
    assert (root / "in.csv").read_bytes() == b"out\n"


def test_links_are_followed_as_long_as_they_stay_inside(spool: Spool, root: Path) -> None:
    (root / "sub" / "link.csv").symlink_to("../in.csv")
    (root / "again").symlink_to("sub")
    assert read(spool, root, "again/link.csv") == b"a\n1\n"
    write(spool, root, "again/new.csv")
    assert (root / "sub" / "new.csv").read_bytes() == b"out\n"


def test_the_folder_itself_may_be_a_link(spool: Spool, root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    assert read(spool, tmp_path / "alias", "in.csv") == b"a\n1\n"


@pytest.mark.parametrize(
    "path", ["../secret.csv", "sub/../../secret.csv", "{outside}", "link.csv", "up/secret.csv", "/etc/hostname"]
)
def test_what_leads_out_is_refused(spool: Spool, root: Path, tmp_path: Path, path: str) -> None:
    (root / "link.csv").symlink_to(tmp_path / "secret.csv")
    (root / "up").symlink_to(tmp_path)
    path = path.format(outside=tmp_path / "secret.csv")
    with pytest.raises(SourceError, match="leads out"):
        read(spool, root, path)
    with pytest.raises(OutputError, match="leads out"):
        write(spool, root, path)
    assert (tmp_path / "secret.csv").read_bytes() == b"secret\n"


def test_a_link_that_is_put_there_after_the_check_is_not_followed(
    spool: Spool, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = rooted._resolved

    def swapped(folder: str, path: str) -> Path | None:
        found = resolved(folder, path)
        (root / "in.csv").unlink()
        (root / "in.csv").symlink_to(tmp_path / "secret.csv")
        return found

    monkeypatch.setattr(rooted, "_resolved", swapped)
    with pytest.raises(SourceError, match=r"in\.csv"):
        read(spool, root, "in.csv")


def test_only_regular_files(spool: Spool, root: Path) -> None:
    os.mkfifo(root / "pipe")
    for path in ("pipe", "sub"):
        with pytest.raises(SourceError, match="not a regular file"):
            read(spool, root, path)
        with pytest.raises(OutputError, match="not a regular file"):
            write(spool, root, path)


def test_what_is_missing_is_named_as_the_job_names_it(spool: Spool, root: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read none\.csv: No such file"):
        read(spool, root, "none.csv")
    with pytest.raises(OutputError, match=r"folder of in\.csv/out\.csv does not exist"):
        write(spool, root, "in.csv/out.csv")
    with pytest.raises(OutputError, match=r"cannot write in\.csv/a/out\.csv: Not a directory"):
        write(spool, root, "in.csv/a/out.csv")


def test_folders_on_the_way_are_made_and_go_with_an_aborted_job(spool: Spool, root: Path) -> None:
    write(spool, root, "2027/03/out.csv")
    assert (root / "2027" / "03" / "out.csv").read_bytes() == b"out\n"
    output, state = begun(spool, root, "2027/04/01/out.csv")
    assert list((root / "2027" / "04" / "01").iterdir())
    output.abort(state)
    assert names(root / "2027") == ["03"]
    output, state = begun(spool, root, "2027/05/out.csv")
    (root / "2027" / "05" / "of_others.csv").touch()
    output.abort(state)
    assert names(root / "2027" / "05") == ["of_others.csv"]


def test_a_folder_that_an_aborted_job_takes_away_is_made_again(spool: Spool, root: Path) -> None:
    first, made = begun(spool, root, "2027/first.csv")
    second = opened(spool, root, "2027/second.csv")
    found = second.prepare()
    first.abort(made)
    assert not (root / "2027").exists()
    second.open(found)
    second.commit([second.write(ScoredChunk(0, 0, b"out\n", 0))])
    second.close()
    assert names(root / "2027") == ["second.csv"]


@pytest.mark.parametrize("path", ["", "a/../b", "..", ".", "sub/", "a\0b", "/"])
def test_paths_that_name_no_file(path: str) -> None:
    with pytest.raises(InvalidRequest):
        rooted.check(path)


def test_a_dash_is_a_name_like_any_other(spool: Spool, root: Path) -> None:
    write(spool, root, "-")
    assert (root / "-").read_bytes() == b"out\n"
