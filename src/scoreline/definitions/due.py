"""The scheduler: makes the jobs of definitions when they are due.

There is one in each API process, and any number of them may look at the same definitions: a run is taken in the
transaction that makes its job. What could not be made is noted on the definition, in words, and not tried again.

A scheduler that has looked without a break since some moment makes each run that is due from then on, however late it
comes to it. What was due before, while no scheduler was there, is made up for once, or left out; what is late by less
than a minute counts as on time.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from scoreline.definitions import claims, records, service, turns
from scoreline.definitions.claims import Occupied, Taken
from scoreline.definitions.records import Definition, Overlap
from scoreline.definitions.service import Rules
from scoreline.definitions.turns import Turn
from scoreline.errors import InvalidRequest, ScorelineError, StoreError, one_line
from scoreline.jobs import service as jobs_service
from scoreline.jobs.outcomes import Origin
from scoreline.jobs.templates import Moments
from scoreline.store import Store, now

SOURCE = "schedule"
"""Where the jobs come from, as they say themselves."""

GRACE = timedelta(minutes=1)
"""A run that is late by so much is not missed."""

_LOOK_SECONDS = 1.0

_log = structlog.get_logger(__name__)

Make = Callable[[Definition, Origin, Moments], None]
"""Makes the job of a run. Calls the origin's `claim` in the transaction that does it."""


class Scheduler:
    """One scheduler. Not for several threads."""

    def __init__(self, store: Store, make: Make, *, clock: Callable[[], datetime] = now) -> None:
        """Make runs that are due by `clock`."""
        self._store = store
        self._make = make
        self._clock = clock
        self._since = datetime.min.replace(tzinfo=UTC)
        self._seen: datetime | None = None  # when all that was due had been done
        self._away = False

    def keep(self, stop: threading.Event) -> None:
        """Look every second until `stop` is set."""
        while not stop.is_set():
            try:
                self.look(stop)
                if self._away:
                    _log.info("schedules are looked after again")
                self._away = False
            except ScorelineError as exc:
                if not self._away:
                    _log.warning("schedules cannot be looked after now", cause=exc.message)
                self._away = True
            except Exception:  # noqa: BLE001 -- one fault must not end all schedules
                _log.exception("schedules could not be looked after")
            stop.wait(_LOOK_SECONDS)

    def look(self, stop: threading.Event | None = None) -> int:
        """Do all that is due; return how many definitions that were. Raises StoreError."""
        moment = self._clock()
        with self._store.read() as connection:
            found = claims.due(connection, moment)
        if self._seen is None or moment - self._seen > GRACE:
            self._since = moment
        random.shuffle(found)  # so that several schedulers seldom look at the same one
        for definition_id in found:
            if stop is not None and stop.is_set():
                break
            self._settle(definition_id, moment, min(self._since, moment - GRACE))
            self._seen = self._clock()
        self._seen = self._clock()
        return len(found)

    def _settle(self, definition_id: str, moment: datetime, since: datetime) -> None:
        """Do all that is due of one definition; before `since` nobody was there."""
        going_on = True
        while going_on:
            with self._store.read() as connection:
                found = records.find(connection, definition_id)
                live = claims.live(connection, definition_id)
            if found is None or not found.enabled:
                return
            going_on = self._step(found, moment, since, live)

    def _step(self, found: Definition, moment: datetime, since: datetime, live: list[str]) -> bool:
        """Do one thing that is due; say whether there may be more."""
        try:
            turn = turns.turn(found, moment, since, occupied=bool(live))
        except InvalidRequest as error:
            why = error.message
            return self._change(lambda: self._disable(found, why), more=False)
        if turn is None:
            return False
        more = turn.following is not None and turn.following <= moment
        if turn.at is None:
            return self._change(lambda: self._store.run(lambda connection: claims.take(connection, found, turn)), more)
        if live and found.overlap is not Overlap.REPLACE:
            return self._change(lambda: self._put_off(found, turn, live[0]), more)
        return self._change(lambda: self._run(found, turn, live), more)

    @staticmethod
    def _change(work: Callable[[], None], more: bool) -> bool:
        try:
            work()
        except Taken:
            return False
        return more

    def _run(self, found: Definition, turn: Turn, live: list[str]) -> None:
        """Make a job, or note why there is none. Raises Taken, StoreError."""
        moment = self._clock()
        try:
            origin = Origin(
                found.id,
                found.name,
                scheduled_for=turn.at,
                note=turn.note,
                claim=lambda connection: claims.take_place(connection, found, turn),
            )
            self._make(found, origin, replace(service.moments_of(found, moment), next_scheduled=turn.following))
        except Occupied:
            if live:  # its output is being put in place, which nothing stops
                self._put_off(found, turn, live[0])
        except (Taken, StoreError):
            raise
        except ScorelineError as error:
            self._refuse(found, turn, moment, error.message)
        except Exception:  # noqa: BLE001 -- nor those of others
            _log.exception("due run failed", definition=found.name, definition_id=found.id)
            self._refuse(found, turn, moment, "Making the job failed by a fault of the server: its log says which.")

    def _put_off(self, found: Definition, turn: Turn, job_id: str) -> None:
        self._store.run(lambda connection: claims.put_off(connection, found, turn, job_id))

    def _refuse(self, found: Definition, turn: Turn, moment: datetime, why: str) -> None:
        why = one_line(why)
        self._store.run(lambda connection: claims.refuse(connection, found, turn, moment, why))
        _log.warning("no job was made of a definition", definition=found.name, definition_id=found.id, cause=why)

    def _disable(self, found: Definition, why: str) -> None:
        words = one_line(f"Disabled, because its schedule cannot be read any more: {why}")
        self._store.run(lambda connection: claims.disable(connection, found, words))
        _log.warning("a definition was disabled", definition=found.name, definition_id=found.id, cause=why)


def scheduler(store: Store, rules: Rules, room: Callable[[], None]) -> Scheduler:
    """Return a scheduler that makes jobs as their owners would. room: raises SpoolFull when nothing can be staged."""

    def make(definition: Definition, origin: Origin, times: Moments) -> None:
        jobs_service.create(
            store,
            service.owner_of(store, definition),
            service.spec_of(definition, rules.outside),
            source=SOURCE,
            files_open=rules.files_open,
            outside=rules.outside,
            room=room,
            origin=origin,
            moments=times,
        )

    return Scheduler(store, make)
