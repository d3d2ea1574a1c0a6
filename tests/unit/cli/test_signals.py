"""Signals that come at the worst moment."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

HANDLED = {
    "serve": "serve._handle_signals(stop, threading.Event())",
    "score": "stack.enter_context(local._interruptible())",
}
PROGRAM = """
import contextlib, signal, threading
from scoreline.cli import local, serve

with contextlib.ExitStack() as stack:
    stop = threading.Event()
    stop = {handled} or stop
    with stop._cond:  # where the main thread is for a moment whenever it waits
        signal.raise_signal({number})
    print("stopped" if stop.wait(10) else "still waiting")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", HANDLED)
def test_a_signal_while_the_event_is_waited_for(command: str, number: signal.Signals) -> None:
    program = PROGRAM.format(handled=HANDLED[command], number=int(number))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "stopped\n"
