"""Files below one folder: what a path means there, opened so that no link leads out of it.

The operator names the folder; jobs name paths in it. Links are followed as long as they stay inside. A path is resolved
first and then opened step by step without following links, so that one that is put there in between is refused.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from scoreline.errors import InvalidRequest, OutputError, SourceError

FIELD = "path"


def check(path: str, *, folder: bool = False) -> None:
    """Raise InvalidRequest for a path that cannot name a file in any folder, or, if that may be, a folder."""
    if not folder and path.endswith("/"):
        raise InvalidRequest(f"path {path[:100]!r} names a folder, where a file is needed.", FIELD)
    if not path or "\0" in path or Path(path).name in {"", ".", ".."}:
        raise InvalidRequest(f"path {path[:100]!r} does not name a file.", FIELD)
    if ".." in Path(path).parts:
        raise InvalidRequest(f"path {path[:100]!r} must not have '..' in it.", FIELD)


def source(root: str, path: str) -> int:
    """Return a descriptor of a file to read. Raises SourceError when there is none below `root`, or it is no file."""
    try:
        found = _resolved(root, path)
        if found is None:
            raise SourceError(f"Intake: {path} leads out of the folder that is open to jobs; name a file in it.")
        handle = _open_below(os.path.realpath(root), found)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise SourceError(f"Intake: {path} is not a regular file; name one.")
    except OSError as error:
        raise SourceError(f"Intake: cannot read {path}: {error.strerror or error}.") from error
    return handle


def target(root: str, path: str) -> str:
    """Return the full path of a file to write. Raises OutputError when it is not below `root`, or is no file."""
    try:
        found = _resolved(root, path)
        if found is None:
            raise OutputError(f"Output: {path} leads out of the folder that is open to jobs; name a file in it.")
        full = Path(os.path.realpath(root), found)
        if full.exists() and not full.is_file():
            raise OutputError(f"Output: {path} is there already and is not a regular file; name another one.")
    except OSError as error:
        raise OutputError(f"Output: cannot write {path}: {error.strerror or error}.") from error
    return str(full)


def _resolved(root: str, path: str) -> Path | None:
    """Return the path as the folder sees it, all links followed; None when it leads out. Raises OSError for loops."""
    real_root = Path(os.path.realpath(root, strict=True))
    real = Path(os.path.realpath(real_root / path))
    return real.relative_to(real_root) if real_root in real.parents else None


def _open_below(root: str, path: Path) -> int:
    """Open a resolved path; a link that has come into it meanwhile is refused."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in path.parts[:-1]:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        # O_NONBLOCK: a named pipe must not hold the run up.
        return os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
