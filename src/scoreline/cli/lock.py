"""One server a data folder: a lock that ends with its holder, and a word about who holds it."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import IO, Self

from scoreline.errors import SetupError

_NAME = "serve.lock"


class FolderLock:
    """Holds a data folder. `was_broken`: the last holder did not let go by itself, so its children may still run."""

    def __init__(self, folder: Path) -> None:
        """Lock the folder, which is made if need be. Raises SetupError naming the holder when there is one."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] = (folder / _NAME).open("a+", encoding="utf-8")
        except OSError as error:
            raise SetupError(
                f"The data folder {folder} cannot be used ({error.strerror}): choose another with --data-dir."
            ) from error
        if not _try_lock(self._file):
            holder = _read(self._file)
            self._file.close()
            raise SetupError(
                f"The data folder {folder} is in use by a Scoreline server with process id {holder.get('pid', '?')} "
                f"on host {holder.get('host', '?')}: stop that one, or name another folder with --data-dir."
            )
        self.was_broken = bool(_read(self._file))
        self._write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self._write("")
        self._file.close()

    def _write(self, text: str) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.write(text)
        self._file.flush()


def _read(file: IO[str]) -> dict[str, object]:
    file.seek(0)
    try:
        found = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _try_lock(file: IO[str]) -> bool:
    import fcntl  # noqa: PLC0415 -- not on every system that has the client commands

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
