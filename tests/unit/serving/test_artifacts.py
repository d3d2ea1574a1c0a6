"""The folder of artefacts that a prediction server has fetched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from scoreline.serving.artifacts import Artifacts


def test_what_a_killed_process_left_half_fetched_goes_after_a_day(tmp_path: Path) -> None:
    old, young, whole = (tmp_path / name for name in (".new-a", ".new-b", "0" * 64))
    for folder in (old, young, whole):
        folder.mkdir()
        (folder / "artifact.tar").write_bytes(b"half")
    for folder in (old, whole):
        os.utime(folder, (0, 0))
    upstream: Any = None
    Artifacts(tmp_path, upstream, 1)
    assert sorted(tmp_path.iterdir()) == [young, whole]
