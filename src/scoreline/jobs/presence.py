"""Which API processes live. Each holds the lock of a file of its own, which the system lets go however it ends.

The files lie in the data folder, which all API processes of an installation share.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import secrets
import threading
from collections.abc import Collection
from contextlib import suppress
from io import FileIO
from pathlib import Path

import structlog

from scoreline.errors import SetupError

_FOLDER = "apis"
_FULL = (errno.ENOSPC, errno.EDQUOT)

_log = structlog.get_logger(__name__)


class Presence:
    """One API process among all of them, and the names of the requests in it that send data."""

    def __init__(self, data_dir: Path) -> None:
        """Name the process; `open` makes it known."""
        self._folder = data_dir / _FOLDER
        self._name = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._file: FileIO | None = None
        self._place = ""
        self._warned = False

    def open(self) -> None:
        """Show that this process lives. On a full disk `show` does it later, and until then others know nothing of it.

        Raises SetupError.
        """
        self.show()

    def answers_at(self, place: str) -> None:
        """Show where this process answers, as `host:port`: no user may send a job there. As `open` does."""
        self._place = place
        self.show()

    def show(self) -> None:
        """Show what there was no space for before; do nothing where all is shown. Raises SetupError."""
        with self._lock:
            try:
                if self._file is None:
                    self._file = self._locked_file()
                if self._place and not self._file.tell():
                    self._file.write(self._place.encode())
            except OSError as error:
                if error.errno not in _FULL:
                    raise SetupError(
                        f"The folder {self._folder} cannot be used ({error.strerror}): let this user write to it."
                    ) from error
                if not self._warned:
                    _log.warning("no space to show that this process lives", cause=error.strerror)
                self._warned = True

    def _locked_file(self) -> FileIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / self._name
        while True:
            file = path.open("wb", buffering=0)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if path.exists():  # who tidies up may take it away before it is locked
                    return file
            except OSError:
                file.close()
                raise
            file.close()

    def close(self) -> None:
        """Show that it does not any more."""
        with self._lock:
            self._place = ""
            if self._file is not None:
                self._file.close()

    def sender(self) -> str:
        """Return a name for a request that sends data, which no other one has."""
        return f"{self._name}.{next(self._numbers)}"

    def has(self, sender: str) -> bool:
        """Say whether a request is of this process."""
        return _process(sender) == self._name

    def gone(self, sender: str) -> bool:
        """Say whether the process that has this request is dead for certain; False when that is not known."""
        return not self.has(sender) and _unlocked(self._folder / _process(sender))

    def dead(self) -> set[Path]:
        """Return the files of processes that are dead by now: who asks later for their requests finds all of them."""
        with suppress(OSError):
            return {file for file in self._folder.iterdir() if file.name != self._name and _unlocked(file)}
        return set()

    def forget(self, dead: Collection[Path], senders: Collection[str]) -> None:
        """Delete these files, but of processes that have one of these requests."""
        kept = set(map(_process, senders))
        with suppress(OSError):
            for file in dead:
                if file.name not in kept:
                    file.unlink(missing_ok=True)


def places(data_dir: Path) -> list[str]:
    """Return where the API processes answer that may be alive."""
    found = []
    with suppress(OSError):
        for file in (data_dir / _FOLDER).iterdir():
            with suppress(OSError):
                if not _unlocked(file) and (place := file.read_text(encoding="utf-8", errors="replace")):
                    found.append(place)
    return sorted(found)


def _process(sender: str) -> str:
    return sender.partition(".")[0]


def _unlocked(path: Path) -> bool:
    """Say whether a process had this file, and has it no more."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # it is held; or not there, or no place for locks: then nothing is known
        return False
    return True
