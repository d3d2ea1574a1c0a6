"""Keep a run in touch with those who watch it: is it to stop, how far is it, what went wrong meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

from scoreline.errors import Cancelled
from scoreline.pipeline.ask import Asker
from scoreline.pipeline.shared import Turns
from scoreline.pipeline.write import Writer
from scoreline.protocols import Progress
from scoreline.types import Snapshot

REPORT_SECONDS = 0.2


def check_stop(progress: Progress) -> None:
    """Raise Cancelled when the run is asked to end; `progress` may raise another RunStopped itself."""
    if progress.stop_requested():
        raise Cancelled("The run was stopped before its end, because the job was aborted.")


class Watch:
    """Called between any two steps of a run, at least each 0.2 seconds."""

    def __init__(
        self,
        progress: Progress,
        writer: Writer,
        asker: Asker,
        *,
        bytes_in: Callable[[int], int],
        bytes_total: Callable[[], int | None],
        in_flight: Callable[[], int],
        chunk_bytes: Callable[[], int],
        turns: Turns | None = None,
    ) -> None:
        self._progress = progress
        self._writer = writer
        self._asker = asker
        self._bytes_in = bytes_in
        self._bytes_total = bytes_total
        self._in_flight = in_flight
        self._chunk_bytes = chunk_bytes
        self._turns = turns
        self._reported = float("-inf")

    def look(self, *, last: bool = False) -> None:
        """Raise RunStopped when the run is to end; else pass on notes, flush what is due, and report from time to time.

        `last`: report in any case.
        """
        check_stop(self._progress)
        while self._asker.notes:
            self._progress.log(self._asker.notes.popleft())
        self._writer.tick()
        if self._turns is not None:
            self._asker.gate.runs = self._turns.runs()
            self._turns.recorded(self._writer.position.offset)
        if last or time.monotonic() - self._reported >= REPORT_SECONDS:
            self._reported = time.monotonic()
            self._progress.report(
                Snapshot(
                    self._writer.counts,
                    self._bytes_in(self._writer.position.offset),
                    self._writer.bytes_out,
                    self._in_flight(),
                    self._chunk_bytes(),
                    self._bytes_total(),
                    self._asker.gate.limit,
                )
            )
