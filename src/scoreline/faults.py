"""Named moments at which tests let a process fail; docs/faults.md says which test uses which.

Nothing happens at them unless SCORELINE_TEST_FAULTS names a folder when the program starts: `at` does nothing then.
With it, a file in that folder which is named like a moment is a fault that waits: the first process that comes there
takes the file away and does what it says, so that it happens once however often the process is started again.

The file holds JSON: `action` is kill (SIGKILL), stop (SIGSTOP), raise (OSError with `errno`, or RuntimeError) or sleep
(`seconds`). `skip`: so many times of a process pass unharmed. `part`: only in the process that was started with this
word, such as worker.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

VARIABLE = "SCORELINE_TEST_FAULTS"


class Faults:
    """The faults that wait in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._passed: dict[tuple[str, int], int] = {}

    def at(self, point: str) -> None:
        """Fail here, if a fault waits for this moment. Raises what it says."""
        waiting = self._folder / point
        try:
            fault = json.loads(waiting.read_text())
            number = waiting.stat().st_mtime_ns
        except (OSError, ValueError):
            return
        if fault.get("part") not in (None, *sys.argv) or not self._due((point, number), fault.get("skip", 0)):
            return
        try:
            waiting.rename(waiting.with_name(f"{point}.done-{os.getpid()}"))
        except FileNotFoundError:  # another process has it
            return
        _happen(point, fault)

    def _due(self, key: tuple[str, int], skip: int) -> bool:
        with self._lock:
            self._passed[key] = self._passed.get(key, 0) + 1
            return self._passed[key] > skip


def _happen(point: str, fault: dict[str, Any]) -> None:
    action = fault["action"]
    if action in ("kill", "stop"):
        os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
    elif action == "sleep":
        time.sleep(fault["seconds"])
    elif "errno" in fault:
        raise OSError(fault["errno"], os.strerror(fault["errno"]))
    else:
        raise RuntimeError(f"a test lets {point} fail")


def _nothing(point: str) -> None:
    """Do nothing."""


_folder = os.environ.get(VARIABLE)
at = Faults(Path(_folder)).at if _folder else _nothing
