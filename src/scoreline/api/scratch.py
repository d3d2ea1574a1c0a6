"""The folder in which models and datasets lie while they are received."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from scoreline.jobs.presence import Presence
from scoreline.registry.tree import disk_errors
from scoreline.settings import Settings

_ABANDONED_SECONDS = 86_400.0
_PREFIX = "upload-"


def scratch_of(settings: Settings) -> Path:
    """Return the folder; it need not be there."""
    return settings.data_dir / "scratch"


def new_folder(scratch: Path, sender: str) -> Path:
    """Return a new folder in it for a request. Raises SpoolFull, SpoolError."""
    with disk_errors():
        scratch.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{sender}-", dir=scratch))


def sweep(settings: Settings, presence: Presence) -> None:
    """Delete what killed processes left in the folder; trouble is left for next time."""
    limit = time.time() - _ABANDONED_SECONDS
    with suppress(OSError):
        for folder in scratch_of(settings).iterdir():
            sender = folder.name.removeprefix(_PREFIX).rpartition("-")[0]
            if folder.stat().st_mtime < limit or (sender and presence.gone(sender)):
                shutil.rmtree(folder, ignore_errors=True)
