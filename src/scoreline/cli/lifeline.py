"""A part's side of its supervisor: stop when the supervisor is gone, tell it the address once that is open, and beat.

Standard input is a pipe whose other end only the supervisor holds. It ends when the supervisor ends, however that
happened, on every system; nothing is ever sent through it. Standard output carries JSON lines: the address, and a beat
each second, without which the supervisor takes the part for frozen.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress

SUPERVISED = "SCORELINE_SUPERVISED"
READY = "ready"
BEAT = "alive"
_BEAT_SECONDS = 1.0
_LAST_SECONDS = 12.0


def is_supervised() -> bool:
    """True in a child of `scoreline serve`."""
    return os.environ.get(SUPERVISED) == "1"


def hold() -> None:
    """Show the supervisor that this process lives; stop it as SIGTERM would, and by force if that takes long, without.

    Call it early: a part is given long for its first beat only.
    """
    if is_supervised():
        for work in (_wait_for_end, _beat):
            threading.Thread(target=work, name="lifeline", daemon=True).start()


def say_ready(address: str) -> None:
    """Tell the supervisor, or whoever reads standard output, under which address this part answers."""
    if is_supervised():
        _tell({READY: address})
    else:
        print(f"Ready at {address}", flush=True)  # noqa: T201 -- for a person


def _tell(message: dict[str, str | bool]) -> None:
    """Send a line to the supervisor in one piece, whoever else writes."""
    descriptor = sys.__stdout__.fileno() if sys.__stdout__ is not None else 1
    os.write(descriptor, f"{json.dumps(message)}\n".encode())


def _beat() -> None:
    with suppress(OSError):  # nobody listens any more: `_wait_for_end` sees to the rest
        while True:
            _tell({BEAT: True})
            time.sleep(_BEAT_SECONDS)


def _wait_for_end() -> None:
    descriptor = sys.__stdin__.fileno() if sys.__stdin__ is not None else 0
    while os.read(descriptor, 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_LAST_SECONDS)
    os._exit(1)
