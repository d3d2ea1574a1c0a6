"""What a signal handler may do to the events that the main thread waits for."""

from __future__ import annotations

import _thread
import threading


def set_soon(event: threading.Event) -> None:
    """Set an event from a signal handler.

    A handler runs in the main thread, between two of its steps. Where these are those of `event.wait`, that thread
    holds the event's lock, and `event.set` would wait for it for ever. So another thread does it; `threading.Thread`
    has locks of its own with the same flaw.
    """
    _thread.start_new_thread(event.set, ())
