"""Schedules: read in all spellings, and due just when a look at each minute says so."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scoreline.definitions.schedule import Schedule, zone_named
from scoreline.errors import InvalidRequest

ANY = ["*"]
ZONE = ZoneInfo("UTC")
MINUTE = timedelta(minutes=1)


def document(**lists: list[Any]) -> dict[str, Any]:
    return {"minute": [0], "hour": [0], "dayOfMonth": ANY, "month": ANY, "dayOfWeek": ANY, **lists}


def due(lists: dict[str, Any], after: str, count: int = 3, zone: str = "UTC") -> list[str]:
    """Return the next times on the clock of the zone, each with its offset."""
    times = Schedule.from_document(lists).next_times(datetime.fromisoformat(after), zone_named(zone), count)
    assert all(at.tzinfo is UTC for at in times)
    return [at.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes") for at in times]


def looked_at(lists: dict[str, Any], start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the due minutes in [start, end), by the rules in words: each minute is looked at."""
    before = (start - MINUTE).astimezone(zone)
    at = start
    while at < end:
        here = at.astimezone(zone)
        walls = [here.replace(tzinfo=None)]
        left_out = []
        wall = before.replace(tzinfo=None) + MINUTE
        while wall < walls[0]:
            left_out.append(wall)
            wall += MINUTE
        if lists["hour"] == ANY:
            hit = matches(lists, walls[0])
        else:
            hit = (here.fold == 0 and matches(lists, walls[0])) or any(matches(lists, gone) for gone in left_out)
        if hit:
            yield at
        before, at = here, at + MINUTE


def matches(lists: dict[str, Any], wall: datetime) -> bool:
    of_month, of_week = lists["dayOfMonth"], lists["dayOfWeek"]
    sunday_first = (wall.weekday() + 1) % 7
    days = [wall.day in of_month] if of_month != ANY else []
    days += [sunday_first in of_week] if of_week != ANY else []
    return (
        (lists["month"] == ANY or wall.month in lists["month"])
        and (lists["hour"] == ANY or wall.hour in lists["hour"])
        and (lists["minute"] == ANY or wall.minute in lists["minute"])
        and (any(days) if days else True)
    )


@pytest.mark.parametrize(
    ("lists", "times"),
    [
        (document(minute=ANY, hour=ANY), ["2026-11-26T07:31", "2026-11-26T07:32", "2026-11-26T07:33"]),
        (document(minute=[0, 30], hour=[16]), ["2026-11-26T16:00", "2026-11-26T16:30", "2026-11-27T16:00"]),
        (document(dayOfWeek=["mon"]), ["2026-11-30T00:00", "2026-12-07T00:00", "2026-12-14T00:00"]),
        (document(dayOfMonth=[1], dayOfWeek=[1]), ["2026-11-30T00:00", "2026-12-01T00:00", "2026-12-07T00:00"]),
        (document(dayOfMonth=[31]), ["2026-12-31T00:00", "2027-01-31T00:00", "2027-03-31T00:00"]),
        (document(dayOfMonth=[30], month=["feb", "apr"]), ["2027-04-30T00:00", "2028-04-30T00:00", "2029-04-30T00:00"]),
        (document(dayOfMonth=[29], month=[2]), ["2028-02-29T00:00", "2032-02-29T00:00", "2036-02-29T00:00"]),
        (
            document(dayOfMonth=[31], month=[2], dayOfWeek=[0]),
            ["2027-02-07T00:00", "2027-02-14T00:00", "2027-02-21T00:00"],
        ),
        (
            document(dayOfMonth=list(range(1, 32)), dayOfWeek=[1]),
            ["2026-11-27T00:00", "2026-11-28T00:00", "2026-11-29T00:00"],
        ),
    ],
)
def test_when_it_is_due(lists: dict[str, Any], times: list[str]) -> None:
    assert due(lists, "2026-11-26T07:30:20+00:00") == [f"{at}+00:00" for at in times]


def test_a_leap_day_is_found_over_the_year_that_has_none() -> None:
    assert due(document(dayOfMonth=[29], month=[2]), "2096-03-01T00:00:00+00:00", 1) == ["2104-02-29T00:00+00:00"]
    last = Schedule.from_document(document(dayOfMonth=[29], month=[2])).last_until(
        datetime(2104, 2, 28, tzinfo=UTC), ZONE
    )
    assert last == datetime(2096, 2, 29, tzinfo=UTC)


def test_the_moment_itself_is_not_after_it_but_until_it() -> None:
    schedule = Schedule.from_document(document(hour=[7], minute=[30]))
    at = datetime(2026, 11, 26, 7, 30, tzinfo=UTC)
    assert schedule.next_after(at - timedelta(microseconds=1), ZONE) == at
    assert schedule.next_after(at, ZONE) == at + timedelta(days=1)
    assert schedule.last_until(at, ZONE) == at
    assert schedule.last_until(at - timedelta(microseconds=1), ZONE) == at - timedelta(days=1)


SAME = [
    {"minute": [0], "hour": [16], "dayOfMonth": [1], "month": [1, 9], "dayOfWeek": [0, 1]},
    {"minute": ["0"], "hour": ["16"], "dayOfMonth": ["1"], "month": ["1", "9"], "dayOfWeek": ["0", "1"]},
    {"minute": [0], "hour": [16], "dayOfMonth": [1], "month": ["jan", "SEP"], "dayOfWeek": ["sun", "MON"]},
    {"minute": ["00"], "hour": [16, 16], "dayOfMonth": ["01"], "month": ["September", "january"],
     "dayOfWeek": ["Monday", "SUNDAY"]},
    {"dayOfWeek": ("mon", 0), "month": [9, "Jan"], "dayOfMonth": [1], "hour": ["16"], "minute": [0]},
]  # fmt: skip


def test_all_spellings_are_the_same() -> None:
    assert len({Schedule.from_document(lists) for lists in SAME}) == 1
    assert due(SAME[0], "2026-11-26T00:00:00+00:00") == [
        "2027-01-01T16:00+00:00",
        "2027-01-03T16:00+00:00",
        "2027-01-04T16:00+00:00",
    ]


@pytest.mark.parametrize("key", ["minute", "hour", "dayOfMonth", "month", "dayOfWeek"])
@pytest.mark.parametrize(
    "value", [None, [], "*", 5, {}, ["*", 5], [-1], [60], [True], [1.0], ["1-5"], ["*/5"], ["x"], [""], [None], [" 1"]]
)
def test_what_is_refused_is_named(key: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Schedule.from_document(document(**{key: value}))
    assert refused.value.field == f"schedule.{key}"
    assert f"schedule.{key}" in refused.value.message
    if isinstance(value, list) and len(value) == 1:
        assert repr(str(value[0])) in refused.value.message


@pytest.mark.parametrize(
    ("lists", "field", "says"),
    [
        (document(dayOfWeek=[7]), "schedule.dayOfWeek", "Sunday is 0"),
        (document(month=[0]), "schedule.month", "'0'"),
        (document(month=["mon"]), "schedule.month", "'february' or 'feb'"),
        (document(dayOfWeek=["tues"]), "schedule.dayOfWeek", "'tues'"),
        (document(dayOfMonth=[0]), "schedule.dayOfMonth", "1 to 31"),
        (document(dayOfMonth=[31], month=[2]), "schedule.dayOfMonth", "no month in it has a day 31"),
        (document(dayOfMonth=[31], month=["feb", "apr", "jun"]), "schedule.dayOfMonth", "never due"),
        (document(dayOfMonth=["30", 31], month=[2]), "schedule.dayOfMonth", "no month in it has a day 30"),
        (document() | {"second": [0]}, "schedule.second", "'second'"),
        ({"minute": [0]}, "schedule.hour", "is required"),
        ([], "schedule", "must be an object"),
        ("0 0 * * *", "schedule", "must be an object"),
    ],
)
def test_what_is_refused_in_words(lists: Any, field: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Schedule.from_document(lists)
    assert refused.value.field == field
    assert says in refused.value.message


@pytest.mark.parametrize("name", ["Mars/Phobos", "", "../etc/passwd", "localtime", "europe/berlin ", "Europe", 5, None])
def test_time_zones_that_are_none(name: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        zone_named(name)
    assert refused.value.field == "timeZone"


def test_clocks_put_forward() -> None:
    """In Berlin 02:00 to 03:00 is left out on 28 March 2027."""
    lists = document(hour=[2], minute=[15, 30])
    assert due(lists, "2027-03-27T00:00:00+00:00", 5, "Europe/Berlin") == [
        "2027-03-27T02:15+01:00",
        "2027-03-27T02:30+01:00",
        "2027-03-28T03:00+02:00",
        "2027-03-29T02:15+02:00",
        "2027-03-29T02:30+02:00",
    ]
    once = document(hour=[2, 3], minute=[0, 30])
    assert due(once, "2027-03-28T00:00:00+00:00", 2, "Europe/Berlin") == [
        "2027-03-28T03:00+02:00",
        "2027-03-28T03:30+02:00",
    ]
    always = document(hour=ANY, minute=[30])
    assert due(always, "2027-03-28T00:00:00+00:00", 2, "Europe/Berlin") == [
        "2027-03-28T01:30+01:00",
        "2027-03-28T03:30+02:00",
    ]


def test_clocks_put_back() -> None:
    """In Berlin 02:00 to 03:00 comes twice on 31 October 2027."""
    lists = document(hour=[2], minute=[30])
    assert due(lists, "2027-10-30T12:00:00+00:00", 2, "Europe/Berlin") == [
        "2027-10-31T02:30+02:00",
        "2027-11-01T02:30+01:00",
    ]
    always = document(hour=ANY, minute=[30])
    assert due(always, "2027-10-30T23:59:00+00:00", 3, "Europe/Berlin") == [
        "2027-10-31T02:30+02:00",
        "2027-10-31T02:30+01:00",
        "2027-10-31T03:30+01:00",
    ]


def test_a_day_that_an_island_left_out() -> None:
    """Samoa had no 30 December 2011: what is due then is due once, as the next day begins."""
    lists = document(dayOfMonth=[30], hour=[1, 5], minute=[10])
    assert due(lists, "2011-12-01T00:00:00+00:00", 2, "Pacific/Apia") == [
        "2011-12-31T00:00+14:00",
        "2012-01-30T01:10+14:00",
    ]


# A clock that is put forward or back in each: also by half an hour, by two, at midnight, over midnight, by a day.
TURNS = [
    ("Europe/Berlin", datetime(2027, 3, 28, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2027, 10, 31, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 3, 14, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 11, 7, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2027, 4, 4, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2027, 10, 3, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2027, 3, 28, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2027, 10, 31, tzinfo=UTC)),
    ("Asia/Beirut", datetime(2027, 3, 28, tzinfo=UTC)),
    ("Asia/Beirut", datetime(2027, 10, 31, tzinfo=UTC)),
    ("America/Nuuk", datetime(2027, 3, 28, tzinfo=UTC)),
    ("America/Nuuk", datetime(2027, 10, 31, tzinfo=UTC)),
    ("America/Havana", datetime(2027, 11, 7, tzinfo=UTC)),
    ("America/St_Johns", datetime(2006, 10, 29, tzinfo=UTC)),
    ("America/St_Johns", datetime(2007, 3, 11, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2027, 2, 28, tzinfo=UTC)),
    ("UTC", datetime(2028, 2, 29, tzinfo=UTC)),
]


def _some(low: int, high: int) -> st.SearchStrategy[list[Any]]:
    return st.just(ANY) | st.lists(st.integers(low, high), min_size=1, max_size=4, unique=True)


_lists = st.fixed_dictionaries(
    {
        "minute": _some(0, 59),
        "hour": _some(0, 23) | st.sampled_from([[0], [1, 2], [23], [0, 1, 2, 3, 22, 23]]),
        "dayOfMonth": st.just(ANY) | _some(1, 31),
        "month": st.just(ANY) | _some(1, 12),
        "dayOfWeek": st.just(ANY) | _some(0, 6),
    }
)


@given(_lists, st.sampled_from(TURNS), st.integers(0, 2 * 24 * 60))
@settings(max_examples=150, deadline=None)
@example(document(minute=ANY, hour=ANY), TURNS[13], 0)
@example(document(minute=ANY, hour=[0, 23]), TURNS[13], 0)
def test_as_by_a_look_at_each_minute(lists: dict[str, Any], turn: tuple[str, datetime], later: int) -> None:
    name, around = turn
    zone = ZoneInfo(name)
    start, end = around - timedelta(days=2) + later * MINUTE, around + timedelta(days=3)
    days = [at for year in (2027, 2028) for at in _days(year) if matches(lists | {"hour": ANY, "minute": ANY}, at)]
    if not days:
        with pytest.raises(InvalidRequest, match="never due"):
            Schedule.from_document(lists)
        return
    schedule = Schedule.from_document(lists)
    expected = list(looked_at(lists, start, end, zone))
    found, at = [], start - timedelta(seconds=1)
    while (at := schedule.next_after(at, zone)) < end:
        found.append(at)
    assert found == expected
    if expected:
        back, at = [], end - timedelta(seconds=1)
        while (at := schedule.last_until(at, zone)) >= start:
            back.append(at)
            at -= timedelta(seconds=1)
        assert back == expected[::-1]


def _days(year: int) -> Iterator[datetime]:
    for month in range(1, 13):
        for day in range(1, calendar.monthrange(year, month)[1] + 1):
            yield datetime(year, month, day)  # noqa: DTZ001 -- what a clock on the wall shows
