"""The moments at which tests let the program fail."""

from __future__ import annotations

import errno
import json
import re
import sys
import time
from pathlib import Path

import pytest

from scoreline import faults

ROOT = Path(__file__).resolve().parents[2]
DOCS = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")


def test_nothing_happens_without_the_variable():
    assert faults.at("spool.written") is None
    began = time.perf_counter()
    for _ in range(100_000):
        faults.at("spool.written")
    assert time.perf_counter() - began < 10  # 0.01 on a quiet machine


def test_a_fault_happens_once_when_it_is_due(tmp_path):
    here = faults.Faults(tmp_path)
    here.at("spool.written")
    (tmp_path / "spool.written").write_text(json.dumps({"action": "raise", "errno": errno.EIO, "skip": 2}))
    here.at("spool.written")
    here.at("spool.written")
    here.at("spool.synced")
    with pytest.raises(OSError, match="Input/output error"):
        here.at("spool.written")
    here.at("spool.written")
    (tmp_path / "spool.written").write_text(json.dumps({"action": "raise"}))
    with pytest.raises(RuntimeError, match="lets spool"):
        here.at("spool.written")


def test_a_fault_waits_for_its_process_and_can_be_a_pause(tmp_path, monkeypatch):
    here = faults.Faults(tmp_path)
    (tmp_path / "job.claimed").write_text(json.dumps({"action": "sleep", "seconds": 5, "part": "worker"}))
    began = time.monotonic()
    here.at("job.claimed")
    assert time.monotonic() - began < 5
    (tmp_path / "job.claimed").write_text(json.dumps({"action": "sleep", "seconds": 0.2, "part": "worker"}))
    monkeypatch.setattr(sys, "argv", ["scoreline", "worker"])
    began = time.monotonic()
    here.at("job.claimed")
    assert time.monotonic() - began >= 0.2


def test_every_moment_is_described_and_used_by_a_test():
    used = set()
    for file in (ROOT / "src").rglob("*.py"):
        used.update(re.findall(r'faults\.at\("([a-z.]+)"\)', file.read_text()))
    assert used == set(re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", DOCS, re.MULTILINE))
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("*.py") if file != Path(__file__))
    assert not {point for point in used if f'"{point}"' not in tests}


def test_every_test_that_is_named_exists():
    known = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        known.update(re.findall(r"^ *def (test_\w+)", file.read_text(), re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", DOCS))
    assert len(named) > 10
    assert named <= known, named - known
