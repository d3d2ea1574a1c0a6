"""The folder in which models lie while they are received."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from scoreline.registry.tree import disk_errors
from scoreline.settings import Settings

_ABANDONED_SECONDS = 86_400.0


def scratch_of(settings: Settings) -> Path:
    """Return the folder; it need not be there."""
    return settings.data_dir / "scratch"


def new_folder(scratch: Path) -> Path:
    """Return a new folder in it. Raises SpoolFull, SpoolError."""
    with disk_errors():
        scratch.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="upload-", dir=scratch))


def sweep(settings: Settings) -> None:
    """Delete what killed processes left in the folder for models that are received; trouble is left for next time."""
    limit = time.time() - _ABANDONED_SECONDS
    with suppress(OSError):
        for folder in scratch_of(settings).iterdir():
            if folder.stat().st_mtime < limit:
                shutil.rmtree(folder, ignore_errors=True)
