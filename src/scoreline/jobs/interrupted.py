"""Uploads that broke off: how long they may be sent again, and how the death of an API process is noticed.

Every API process watches, so that the time runs only while there is an API that would take the data again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from scoreline.errors import ScorelineError
from scoreline.jobs import uploads
from scoreline.jobs.model import UploadState
from scoreline.jobs.presence import Presence
from scoreline.jobs.uploads import Open
from scoreline.spool import Spool, finalised
from scoreline.store import Store

_LOOK_SECONDS = 0.4
_TIDY_SECONDS = 60.0
_FINAL_SECONDS = 1.0  # who finalises an upload needs so long at most to note it

_log = structlog.get_logger(__name__)


class UploadKeeper:
    """Interrupts uploads whose API process is dead, and gives up those that are not sent again in time."""

    def __init__(
        self,
        store: Store,
        spool: Spool,
        presence: Presence,
        *,
        grace_seconds: float,
        parts_seconds: float,
        others: Callable[[], Sequence[str]] = list,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Give an upload `grace_seconds` on `clock`, and one in parts `parts_seconds`: between parts clients pause.

        others: looks after what else requests do that may die, and returns those that go on.
        """
        self._store = store
        self._spool = spool
        self._presence = presence
        self._grace_seconds = grace_seconds
        self._parts_seconds = parts_seconds
        self._others = others
        self._clock = clock
        self._since: dict[tuple[str, int], float] = {}

    def keep(self, stop: threading.Event) -> None:
        """Look about twice a second until `stop` is set."""
        tidy_at = 0.0
        while not stop.is_set():
            try:
                self._presence.show()
                dead = self._presence.dead() if self._clock() >= tidy_at else None
                found, others = self.look(), self._others()
                if dead is not None:
                    self._presence.forget(dead, [*others, *(one.sender for one in found if one.sender is not None)])
                    tidy_at = self._clock() + _TIDY_SECONDS
            except ScorelineError as exc:
                _log.warning("uploads could not be looked after", cause=exc.message)
            stop.wait(_LOOK_SECONDS)

    def look(self) -> list[Open]:
        """Do what is due; return what was found. Raises StoreError, SpoolError."""
        with self._store.read() as connection:
            found = uploads.unfinished(connection)
        moment = self._clock()
        before, self._since = self._since, {}
        for one in found:
            self._since[one.job_id, one.beat] = since = before.get((one.job_id, one.beat), moment)
            silence = moment - since
            if one.in_parts and silence >= _FINAL_SECONDS and self._finalised(one):
                continue
            if one.state is UploadState.INTERRUPTED:
                patience = self._parts_seconds if one.in_parts else self._grace_seconds
                if silence >= patience:
                    self._give_up(one, patience)
            elif one.sender is not None and self._presence.gone(one.sender):
                self._settle(one, one.sender)
        return found

    def _finalised(self, one: Open) -> bool:
        """Note that an upload in parts is whole, if the spool says so: who was told died before it could note it."""
        known = finalised(self._spool, one.job_id)
        if known is None:
            return False
        size = sum(part.size for part in known)
        return self._store.run(lambda connection: uploads.finish(connection, one.job_id, size))

    def _settle(self, one: Open, sender: str) -> None:
        """Note how an upload ended whose API process can say it no more: whole, if all of it came, or interrupted."""
        how = "the API server that received it ended"
        received = None
        if one.in_parts:
            how = f"a part broke off ({how})"
        else:
            stream = f"uploads/{one.job_id}/{sender}"
            size = self._spool.reader(stream).size()
            if size is not None:
                whole = size
                if self._store.run(lambda connection: uploads.finish(connection, one.job_id, whole, sender)):
                    return
            received = self._spool.staged_bytes(stream)
            how += f" after {received} bytes"
        _log.warning("upload interrupted by the end of its API process", job_id=one.job_id, received=received)
        if one.over:  # nobody wants the data any more: it can be deleted now
            self._store.run(lambda connection: uploads.give_up(connection, one.job_id, how, received, sender=sender))
            return
        self._store.run(
            lambda connection: uploads.interrupt(connection, one.job_id, how, sender=sender, received=received)
        )

    def _give_up(self, one: Open, patience: float) -> None:
        what = "no part of it came" if one.in_parts else "it was not sent again"
        reason = (
            f"Receiving the upload failed: {one.trouble}, and {what} within {patience:g} s; create the job again and "
            "send all of the data."
        )
        self._store.run(lambda connection: uploads.give_up(connection, one.job_id, reason, None, beat=one.beat))
