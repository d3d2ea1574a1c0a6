"""When a schedule is due: five lists of numbers and names, in a time zone.

A run is due at each minute whose month, hour, minute and day are all in their lists. `dayOfMonth` and `dayOfWeek` add
to each other: the 1st and Mondays. One of them that is `["*"]` says nothing, and the other alone counts. Dates that do
not exist, such as 31 February, are no days.

When clocks are put forward, a time that is left out is due once, at the end of the gap; when they are put back, a time
that comes twice is due the first time only. With all hours (`["*"]`) there is nothing to make up for: runs go on by the
clock on the wall, through the hour that comes twice, and none falls into the gap.
"""

from __future__ import annotations

import calendar
import functools
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from scoreline.errors import InvalidRequest

FIELD = "schedule"
ANY = "*"

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")

LISTS: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "minute": (0, 59, ()),
    "hour": (0, 23, ()),
    "dayOfMonth": (1, 31, ()),
    "month": (1, 12, _MONTHS),
    "dayOfWeek": (0, 6, _WEEKDAYS),
}
"""The lists of a schedule: the smallest number, the largest one, and their names."""

_A_DAY = timedelta(days=1)
_A_MINUTE = timedelta(minutes=1)
_MOST_DAYS = 9 * 366  # 29 February is away for up to 8 years
_LEAP_YEAR = 2024


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule that is due some time. days, weekdays (Sunday is 0): None stands for `["*"]`.

    times: the minutes of the day, in order. all_hours: each hour has the same ones.
    """

    times: tuple[int, ...]
    all_hours: bool
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None

    @classmethod
    def from_document(cls, document: Any, field: str = FIELD) -> Schedule:
        """Read the five lists. Raises InvalidRequest, naming list and value, also when it is never due."""
        if not isinstance(document, Mapping):
            raise InvalidRequest(f"{field} must be an object with the lists {', '.join(LISTS)}.", field)
        for name in document:
            if name not in LISTS:
                raise InvalidRequest(f"There is no field {str(name)[:40]!r} in {field}.", f"{field}.{str(name)[:40]}")
        read = {name: _numbers(document.get(name), name, f"{field}.{name}") for name in LISTS}
        return _built(*(None if numbers is None else tuple(sorted(numbers)) for numbers in read.values()), field=field)

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime:
        """Return the first time that is due later than a moment, in UTC."""
        found: datetime | None = None
        day = moment.astimezone(zone).date() - _A_DAY
        for _ in range(_MOST_DAYS):
            here = self._in_day(day, zone, moment, later=True)
            if found is not None:
                # Where clocks are put back over midnight, the day before may go on behind the first minutes of a day.
                return found if here is None else min(found, here)
            found = here
            day += _A_DAY
        assert found is not None, "each schedule that can be read is due some day"
        return found

    def last_until(self, moment: datetime, zone: ZoneInfo) -> datetime:
        """Return the last time that was due at a moment or before, in UTC."""
        found: datetime | None = None
        day = moment.astimezone(zone).date() + _A_DAY
        for _ in range(_MOST_DAYS):
            here = self._in_day(day, zone, moment, later=False)
            if found is not None:
                return found if here is None else max(found, here)
            found = here
            day -= _A_DAY
        assert found is not None, "each schedule that can be read was due some day"
        return found

    def next_times(self, moment: datetime, zone: ZoneInfo, count: int = 5) -> list[datetime]:
        """Return the next times that are due later than a moment, in UTC."""
        found: list[datetime] = []
        for _ in range(count):
            found.append(self.next_after(found[-1] if found else moment, zone))
        return found

    def _in_day(self, day: date, zone: ZoneInfo, moment: datetime, *, later: bool) -> datetime | None:
        """Return a day's first due time later than the moment, or its last one until then."""
        if not self._has(day):
            return None
        start, even = _begin(day, zone)
        minutes = self.times if even else _uneven(self.times, day, zone, all_hours=self.all_hours)
        place = bisect_right(minutes, (moment - start) // _A_MINUTE)
        if later:
            return start + minutes[place] * _A_MINUTE if place < len(minutes) else None
        return start + minutes[place - 1] * _A_MINUTE if place else None

    def _has(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        if self.weekdays is None:
            return self.days is None or day.day in self.days
        weekday = day.isoweekday() % 7 in self.weekdays
        return weekday or (self.days is not None and day.day in self.days)


def zone_named(name: Any, field: str = "timeZone") -> ZoneInfo:
    """Return a time zone of the IANA database, such as `Europe/Berlin`. Raises InvalidRequest."""
    if not isinstance(name, str) or name not in _zones():
        shown = f" {name[:60]!r}" if isinstance(name, str) else ""
        raise InvalidRequest(
            f"{field}{shown} is no time zone of the IANA database: give one such as 'UTC' or 'Europe/Berlin'.", field
        )
    return ZoneInfo(name)


@functools.cache
def _zones() -> frozenset[str]:
    """Return the names that mean the same on every machine."""
    return frozenset(available_timezones() - {"localtime"})


def _numbers(given: Any, name: str, field: str) -> set[int] | None:
    """Return the numbers of a list, None for `["*"]`."""
    low, high, names = LISTS[name]
    takes = f"whole numbers from {low} to {high}"
    if names:
        takes += f", or names such as '{names[1]}' or '{names[1][:3]}'"
    if not isinstance(given, list | tuple) or not given:
        there = "is required: it" if given is None else "must be a list that"
        raise InvalidRequest(f'{field} {there} has {takes}, or is ["*"].', field)
    if ANY in given:
        if len(given) > 1:
            raise InvalidRequest(f"{field} has '*' and more: '*' stands alone.", field)
        return None
    found = set()
    for value in given:
        number = _number(value, low, names)
        if number is None or not low <= number <= high:
            hint = "; Sunday is 0" if name == "dayOfWeek" and number == 7 else ""
            raise InvalidRequest(f'{field} has {str(value)[:40]!r}, but takes {takes}, or ["*"]{hint}.', field)
        found.add(number)
    return found


def _number(value: Any, low: int, names: Sequence[str]) -> int | None:
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if not isinstance(value, str):
        return None
    if value.isascii() and value.isdigit() and len(value) <= 2:
        return int(value)
    for number, name in enumerate(names, low):
        if value.lower() in (name, name[:3]):
            return number
    return None


# A definition is read again for each of its runs.
@functools.lru_cache(4096)
def _built(
    minutes: tuple[int, ...] | None,
    hours: tuple[int, ...] | None,
    days: tuple[int, ...] | None,
    months: tuple[int, ...] | None,
    weekdays: tuple[int, ...] | None,
    *,
    field: str,
) -> Schedule:
    in_months = months or range(1, 13)
    if weekdays is None and days and all(min(days) > calendar.monthrange(_LEAP_YEAR, m)[1] for m in in_months):
        raise InvalidRequest(
            f"{field} is never due, because no month in it has a day {min(days)}: change dayOfMonth or month.",
            f"{field}.dayOfMonth",
        )
    times = tuple(hour * 60 + minute for hour in hours or range(24) for minute in minutes or range(60))
    return Schedule(
        times=times,
        all_hours=hours is None or len(hours) == 24,
        days=None if days is None else frozenset(days),
        months=frozenset(in_months),
        weekdays=None if weekdays is None else frozenset(weekdays),
    )


def _moment(wall: datetime, zone: ZoneInfo, fold: int = 0) -> datetime:
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


@functools.lru_cache(4096)
def _begin(day: date, zone: ZoneInfo) -> tuple[datetime, bool]:
    """Return when a day begins, and whether its clock runs evenly to the end."""
    first, last = (datetime.combine(at, time()) for at in (day, day + _A_DAY))
    start, end = _moment(first, zone), _moment(last, zone, 1)
    even = end - start == _A_DAY and _moment(first, zone, 1) == start and _moment(last, zone) == end
    return start, even


@functools.lru_cache(1024)
def _uneven(times: tuple[int, ...], day: date, zone: ZoneInfo, *, all_hours: bool) -> tuple[int, ...]:
    """Return the minutes from the begin of a day on at which times of it are due while its clock is put on or back."""
    start, _ = _begin(day, zone)
    found = set()
    for minutes in times:
        wall = datetime.combine(day, time()) + minutes * _A_MINUTE
        first, second = _moment(wall, zone), _moment(wall, zone, 1)
        if first.astimezone(zone).replace(tzinfo=None) != wall:
            if not all_hours:
                found.add(_gap_end(second, first, zone))
            continue
        found.add(first)
        if all_hours:
            found.add(second)
    return tuple(sorted((at - start) // _A_MINUTE for at in found))


def _gap_end(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the minute between two moments at which the clock is put forward."""
    new = after.astimezone(zone).utcoffset()
    while after - before > _A_MINUTE:
        middle = before + (after - before) // _A_MINUTE // 2 * _A_MINUTE
        if middle.astimezone(zone).utcoffset() == new:
            after = middle
        else:
            before = middle
    return after
