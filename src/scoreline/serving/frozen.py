"""Waiting for the end of a child process, and for the moment when it has stood still for too long."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

SECONDS = 5.0
_LOOK_SECONDS = 0.2


def wait_for_end(pid: int, frozen: Callable[[], None]) -> None:
    """Wait for a child's end; it stays a zombie, so that its number is not given to another.

    frozen: called when somebody has stopped it (SIGSTOP) and it did not go on for 5 seconds. Raises ChildProcessError
    for a child that is gone.
    """
    while _is_stopped(pid):
        if not _moves_on(pid):
            frozen()


def _is_stopped(pid: int) -> bool:
    """Wait until a child ends or is stopped; say which."""
    while True:
        news = os.waitid(os.P_PID, pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        if news is None or news.si_code != os.CLD_STOPPED:
            return False
        if os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG) is not None:  # taken, so that it is told once
            return True


def _moves_on(pid: int) -> bool:
    """Say whether a stopped child goes on, or ends, in time. Time in which nobody looked does not count."""
    for _ in range(round(SECONDS / _LOOK_SECONDS)):
        time.sleep(_LOOK_SECONDS)
        news = os.waitid(os.P_PID, pid, os.WEXITED | os.WCONTINUED | os.WNOWAIT | os.WNOHANG)
        if news is not None:
            if news.si_code == os.CLD_CONTINUED:
                os.waitid(os.P_PID, pid, os.WCONTINUED | os.WNOHANG)
            return True
    return False
