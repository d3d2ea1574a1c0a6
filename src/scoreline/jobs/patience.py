"""Waiting for a database that is away for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from scoreline.errors import RunStopped, StoreError

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds that a database may be away before a run gives up."""

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


def patiently(work: Callable[[], T], stopped: Callable[[], RunStopped | None], patience: float = PATIENCE) -> T:
    """Do `work` again while it raises StoreError: until `stopped` gives a reason to end (raised), or time is up.

    `work` must be harmless when its change was stored although it raised. Raises the last StoreError.
    """
    deadline = time.monotonic() + patience
    pause = _FIRST_PAUSE
    while True:
        try:
            return work()
        except StoreError:
            reason = stopped()
            if reason is not None:
                raise reason from None
            if time.monotonic() >= deadline:
                raise
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE, 2 * pause)
