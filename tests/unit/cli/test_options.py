"""What the commands share: settings given as options, pairs, lists."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from scoreline.cli import options
from scoreline.errors import SetupError


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCORELINE_PORT", "9001")
    monkeypatch.setenv("SCORELINE_DATA_DIR", str(tmp_path))
    settings = options.settings(port=9002, data_dir=None)
    assert settings.port == 9002
    assert settings.data_dir == tmp_path


def test_a_wrong_setting_is_named_where_it_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORELINE_WORKER_JOBS", "many")
    with pytest.raises(SetupError, match=r"SCORELINE_WORKER_JOBS \(or worker_jobs in scoreline.toml\) is wrong"):
        options.settings()


def test_a_wrong_setting_does_not_show_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORELINE_WORKER_JOBS", "hunter2")
    with pytest.raises(SetupError) as caught:
        options.settings()
    assert "hunter2" not in caught.value.message


def test_a_broken_settings_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "scoreline.toml"
    file.write_text("port = = 1")
    monkeypatch.setenv("SCORELINE_CONFIG", str(file))
    with pytest.raises(SetupError, match="cannot be read"):
        options.settings()


def test_an_unknown_name_in_the_settings_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "scoreline.toml"
    file.write_text("prot = 1")
    monkeypatch.setenv("SCORELINE_CONFIG", str(file))
    with pytest.raises(SetupError, match="prot"):
        options.settings()


def test_pairs_are_cut_at_their_last_sign() -> None:
    assert options.pairs(["a=b", "x=y=z"], "--rename") == [("a", "b"), ("x=y", "z")]


@pytest.mark.parametrize("wrong", ["a", "=b", ""])
def test_what_is_no_pair_is_refused(wrong: str) -> None:
    with pytest.raises(typer.BadParameter, match="name=value"):
        options.pairs([wrong], "--rename")


def test_a_name_with_a_comma_can_be_quoted() -> None:
    assert options.names('a,"b, c",d') == ["a", "b, c", "d"]
    assert options.names(None) == []


@given(
    st.lists(st.text(st.characters(exclude_characters='",\r\n\0', exclude_categories=["Cs"]), min_size=1), min_size=1)
)
def test_plain_names_come_back_as_they_are(names: list[str]) -> None:
    assert options.names(",".join(names)) == names
