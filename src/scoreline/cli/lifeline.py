"""A part's side of its supervisor: stop when the supervisor is gone, tell it the address once that is open.

Standard input is a pipe whose other end only the supervisor holds. It ends when the supervisor ends, however that
happened, on every system; nothing is ever sent through it. Standard output carries one JSON line, the address.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

SUPERVISED = "SCORELINE_SUPERVISED"
_LAST_SECONDS = 12.0


def is_supervised() -> bool:
    """True in a child of `scoreline serve`."""
    return os.environ.get(SUPERVISED) == "1"


def hold() -> None:
    """Stop this process as SIGTERM would, and by force if that takes long, once the supervisor is gone."""
    if is_supervised():
        threading.Thread(target=_wait_for_end, name="lifeline", daemon=True).start()


def say_ready(address: str) -> None:
    """Tell the supervisor, or whoever reads standard output, under which address this part answers."""
    if is_supervised():
        print(json.dumps({"ready": address}), flush=True)  # noqa: T201 -- a message to the supervisor
    else:
        print(f"Ready at {address}", flush=True)  # noqa: T201 -- for a person


def _wait_for_end() -> None:
    descriptor = sys.__stdin__.fileno() if sys.__stdin__ is not None else 0
    while os.read(descriptor, 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_LAST_SECONDS)
    os._exit(1)
