"""Work that goes on after its request was answered: in threads of their own, a few at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

_AT_ONCE = 4


class Makers:
    """The work of this process, by the names of the requests that began it (`Presence.sender`)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._going: set[str] = set()
        self._places = threading.BoundedSemaphore(_AT_ONCE)

    def claim(self, sender: str) -> None:
        """Say that there will be work, before anybody can hear of it; then `start` it, or `release` the name."""
        with self._lock:
            self._going.add(sender)

    def release(self, sender: str) -> None:
        """Say that there is no work, or no more."""
        with self._lock:
            self._going.discard(sender)

    def start(self, sender: str, work: Callable[[], None]) -> Future[None]:
        """Begin work, which raises nothing, as soon as there is a place; what is returned is set at its end."""
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()

        def run() -> None:
            try:
                with self._places:
                    work()
            finally:
                self.release(sender)
                done.set_result(None)

        # A daemon: a process that goes down waits for none of it.
        threading.Thread(target=run, name=f"maker {sender}", daemon=True).start()
        return done

    def goes_on(self, sender: str) -> bool:
        """Say whether work of a request goes on here."""
        with self._lock:
            return sender in self._going
