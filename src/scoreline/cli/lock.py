"""One server a data folder: locks that end with their holders, and a word about who holds them.

`serve.lock` is the supervisor's. `parts.lock` is inherited by its parts, too: whoever gets it knows that no part of an
earlier server lives any more. What is written in `serve.lock` stays there when its holder is killed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from scoreline.errors import SetupError

_NAME = "serve.lock"
_PARTS = "parts.lock"
_PATIENCE_SECONDS = 2.0  # for parts to end by themselves, of the ten in which all runs again; nothing is lost with them
_END_SECONDS = 10.0  # for the system to end what was killed
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Left:
    """What a server that was killed left: the name its worker had, and its parts (process id -> when it started)."""

    worker: str = ""
    parts: dict[int, str] = field(default_factory=dict)


class FolderLock:
    """Holds a data folder. `left`: what the last holder left behind, None if it let go by itself."""

    def __init__(self, folder: Path) -> None:
        """Lock the folder, which is made if need be. Raises SetupError naming the holder when there is one."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = _open(folder / _NAME)
            self._parts = _open(folder / _PARTS)
        except OSError as error:
            raise SetupError(
                f"The data folder {folder} cannot be used ({error.strerror}): choose another with --data-dir."
            ) from error
        found = _read(self._file)
        if not _try_lock(self._file):
            self._close()
            raise SetupError(
                f"The data folder {folder} is in use by a Scoreline server with process id {found.get('pid', '?')} "
                f"on host {found.get('host', '?')}: stop that one, or name another folder with --data-dir."
            )
        self.left = _left(found) if found else None
        self._taken_over = False
        self._now: dict[int, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go; what the last holder left stays written if nobody took it over."""
        if self._taken_over:
            self._write("")
        self._close()

    @property
    def descriptor(self) -> int:
        """What the parts have to inherit."""
        return self._parts

    def take_over(self, stop: threading.Event) -> bool:
        """Wait until no part of the last holder lives; False when `stop` comes first.

        They end by themselves within seconds; one that does not, because it is frozen, is killed. Raises SetupError
        when one lives on.
        """
        ends = [time.monotonic() + seconds for seconds in (_PATIENCE_SECONDS, _PATIENCE_SECONDS + _END_SECONDS)]
        while not _try_lock(self._parts):
            if stop.wait(_LOOK_SECONDS):
                return False
            moment = time.monotonic()
            alive = [pid for pid, started in (self.left or Left()).parts.items() if _started(pid) == started]
            if moment > ends[0]:
                for pid in alive:
                    with suppress(OSError):
                        os.kill(pid, signal.SIGKILL)
            if moment > ends[1]:
                raise SetupError(
                    "Parts of an earlier server on this data folder are still there, though it was killed (process "
                    f"ids {', '.join(map(str, alive)) or 'not known'}): end them, then start the server again."
                )
        self._taken_over = True
        self._write(self._text(self.left.worker if self.left else ""))
        return True

    def note(self, worker: str, part: int | None = None) -> None:
        """Keep the worker's name, and one more part, for whoever comes after a holder that was killed."""
        self._now = {pid: started for pid, started in self._now.items() if _started(pid) == started}
        if part is not None and (started := _started(part)):
            self._now[part] = started
        self._write(self._text(worker))

    def _text(self, worker: str) -> str:
        document = {"pid": os.getpid(), "host": socket.gethostname(), "worker": worker, "parts": self._now}
        return json.dumps(document)

    def _write(self, text: str) -> None:
        """Write the first line, in one step; what is behind it counts for nothing."""
        line = f"{text}\n".encode()
        os.pwrite(self._file, line, 0)
        os.ftruncate(self._file, len(line))

    def _close(self) -> None:
        os.close(self._file)
        os.close(self._parts)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _read(file: int) -> dict[str, object]:
    try:
        found = json.loads(os.pread(file, 1 << 16, 0).partition(b"\n")[0])
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _left(found: dict[str, object]) -> Left:
    worker, parts = found.get("worker"), found.get("parts")
    known = parts if isinstance(parts, dict) and found.get("host") == socket.gethostname() else {}
    return Left(str(worker or ""), {int(pid): str(started) for pid, started in known.items()})


def _started(pid: int) -> str:
    """Return when a process started, which tells it from a later one of the same number; "" where nobody says."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    return ""


def _try_lock(file: int) -> bool:
    import fcntl  # noqa: PLC0415 -- not on every system that has the client commands

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
