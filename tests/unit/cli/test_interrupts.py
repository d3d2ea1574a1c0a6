"""Ctrl-C before a command has begun: an exit code, and no trace."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from scoreline import cli


def _interrupt(wrapped: bool) -> int:
    if wrapped:
        raise RuntimeError("Error calling __set_name__ on 'cached_property' instance") from KeyboardInterrupt()
    raise KeyboardInterrupt


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "while a class is made"])
def test_while_things_are_loaded(monkeypatch, capsys, wrapped):
    monkeypatch.setitem(sys.modules, "scoreline.cli.app", SimpleNamespace(run=lambda: _interrupt(wrapped)))
    monkeypatch.setattr(sys, "argv", ["scoreline", "score"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "Error: Interrupted.\n"


def test_other_errors_stay(monkeypatch):
    def fail() -> int:
        raise RuntimeError("a defect")

    monkeypatch.setitem(sys.modules, "scoreline.cli.app", SimpleNamespace(run=fail))
    monkeypatch.setattr(sys, "argv", ["scoreline", "score"])
    with pytest.raises(RuntimeError, match="a defect"):
        cli.main()
