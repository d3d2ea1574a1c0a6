"""What is to be done about a definition at a moment: decided from what is stored and the clock alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from scoreline.definitions.records import CatchUp, Definition
from scoreline.definitions.schedule import Schedule, zone_named
from scoreline.jobs.model import clock

_A_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Turn:
    """A due run, or none, and what comes of the definition.

    at: when it was due; None where runs were missed and none is to be made for them. following: the due time after it.
    waited: it waited for the end of another. missed: the first and the last due time at which no scheduler was there,
    that of this run included if it is one of them.
    """

    at: datetime | None
    following: datetime | None
    waited: bool = False
    missed: tuple[datetime, datetime] | None = None

    @property
    def note(self) -> str | None:
        """What the log of its job says about it."""
        if self.waited:
            return "It waited for the end of the run before"
        if self.missed is None:
            return None
        return f"No scheduler was there for what was due {_from_to(*self.missed)}: this run is made for it"

    @property
    def left_out(self) -> tuple[datetime, str] | None:
        """Up to when runs were missed that none is made for, and that in words."""
        if self.missed is None or self.at is not None:
            return None
        return self.missed[1], f"No scheduler was there for what was due {_from_to(*self.missed)}: it was left out."


def turn(definition: Definition, moment: datetime, since: datetime, *, occupied: bool) -> Turn | None:
    """Return what is due at a moment; None for nothing.

    since: what was due before had no scheduler. occupied: an earlier run is not over. Raises InvalidRequest for a
    schedule that cannot be read here any more.
    """
    if definition.waiting_for is not None and not occupied:
        return Turn(definition.waiting_for, definition.next_run_at, waited=True)
    due = definition.next_run_at
    if due is None or due > moment:
        return None
    schedule, zone = Schedule.from_document(definition.schedule), zone_named(definition.time_zone)
    if due >= since:
        return Turn(due, schedule.next_after(due, zone))
    last = max(due, schedule.last_until(since - _A_MOMENT, zone))
    following = schedule.next_after(last, zone)
    if following <= moment:
        return Turn(following, schedule.next_after(following, zone), missed=(due, last))
    if definition.catch_up is CatchUp.ONCE:
        return Turn(last, following, missed=(due, last))
    return Turn(None, following, missed=(due, last))


def _from_to(first: datetime, last: datetime) -> str:
    return f"at {clock(first)}" if first == last else f"from {clock(first)} to {clock(last)}"
