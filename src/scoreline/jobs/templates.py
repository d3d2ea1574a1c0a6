"""Times in the settings of a job: the language of `{{ current_run_time }}`, read to an allow-list and never evaluated.

    text       = { what stands there, kept as it is | "{{" expression "}}" }
    expression = variable | moment | moment "." part | "'" a sign in braces "'"
    moment     = variable { ("+" | "-") delta } | "(" moment ")"
    delta      = "timedelta" "(" unit "=" number { "," unit "=" number } ")"
    part       = "year" | ... | "isoformat" "(" [ separator ] ")" | "strftime" "(" format ")"

It is a small part of what Jinja reads, with the same meaning. Nothing else can be said, so nothing else can happen: a
value is digits, names of months and weekdays, and the few signs of a format, so that none ends a literal of SQL or a
part of a URL. All times are UTC, in whole seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from scoreline.errors import InvalidRequest
from scoreline.types import JsonObject

NEVER = datetime(1900, 1, 1, tzinfo=UTC)
"""What stands for a time that never was."""

MOST_DAYS = 36_525
"""How far a sum of `timedelta`s may lead from its moment."""

UNITS = ("weeks", "days", "hours", "minutes", "seconds")
PARTS = ("year", "month", "day", "hour", "minute", "second")

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# Written out, because the C library's names follow the process's locale.
DIRECTIVES: dict[str, Callable[[datetime], str]] = {
    "Y": lambda at: f"{at.year:04}",
    "y": lambda at: f"{at.year % 100:02}",
    "m": lambda at: f"{at.month:02}",
    "d": lambda at: f"{at.day:02}",
    "H": lambda at: f"{at.hour:02}",
    "I": lambda at: f"{(at.hour - 1) % 12 + 1:02}",
    "M": lambda at: f"{at.minute:02}",
    "S": lambda at: f"{at.second:02}",
    "p": lambda at: "AM" if at.hour < 12 else "PM",
    "j": lambda at: f"{at.timetuple().tm_yday:03}",
    "B": lambda at: _MONTHS[at.month - 1],
    "b": lambda at: _MONTHS[at.month - 1][:3],
    "A": lambda at: _WEEKDAYS[at.weekday()],
    "a": lambda at: _WEEKDAYS[at.weekday()][:3],
    "u": lambda at: str(at.isoweekday()),
    "w": lambda at: str(at.isoweekday() % 7),
    "G": lambda at: f"{at.isocalendar().year:04}",
    "V": lambda at: f"{at.isocalendar().week:02}",
    "F": lambda at: f"{at.year:04}-{at.month:02}-{at.day:02}",
    "T": lambda at: f"{at.hour:02}:{at.minute:02}:{at.second:02}",
}
"""What may stand behind `%` in a format, with its value."""

SAFE = re.compile(r"[A-Za-z0-9 _.,:/=-]*")
"""What the text of a format, and so every value, is made of."""

_OPENS = re.compile(r"\{\{|\{%|\{#")
_TOKEN = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>[0-9]+)|(?P<text>'[^'\\]*'|\"[^\"\\]*\")|(?P<sign>.)")
_PIECE = re.compile(r"%(.?)|[^%]+", re.DOTALL)
_BLANKS = re.compile(r"[ \t\r\n]*")
_BRACES = frozenset(("{{", "}}", "{%", "%}", "{#", "#}"))
_TWICE = ("--", "//", "..")  # begins a comment, a host, a way up
_MOST_DIGITS = 7  # of which no timedelta overflows
_END = "}}"


@dataclass(frozen=True, slots=True)
class Moments:
    """What the variables stand for in one run. None: it never was."""

    current: datetime
    last_scheduled: datetime | None = None
    next_scheduled: datetime | None = None
    last_completed: datetime | None = None

    def to_json(self) -> JsonObject:
        """Return them as they are stored."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: at.astimezone(UTC).isoformat() for name, at in found.items() if at is not None}

    @classmethod
    def from_json(cls, stored: Mapping[str, str]) -> Moments:
        """Return them as they were stored."""
        return cls(**{name: datetime.fromisoformat(at) for name, at in stored.items()})


_TIMES: dict[str, Callable[[Moments], datetime | None]] = {
    "current_run_time": lambda moments: moments.current,
    "last_scheduled_run_time": lambda moments: moments.last_scheduled,
    "next_scheduled_run_time": lambda moments: moments.next_scheduled,
    "last_completed_run_time": lambda moments: moments.last_completed,
}
_TIMESTAMP = "current_run_timestamp"

VARIABLES = ("current_run_time", _TIMESTAMP, *list(_TIMES)[1:])
"""The names that a template may have."""

_Value = Callable[[Moments], str]
_Time = Callable[[Moments], datetime]


def render(text: str, moments: Moments, field: str) -> str:
    """Return a text with its templates replaced by their values.

    Raises InvalidRequest, naming the field and the position, for a template that is not of the language above.
    """
    return "".join(part if isinstance(part, str) else part(moments) for part in _parts(text, field))


def prefix(text: str) -> str | None:
    """Return what stands before the first template; None where there is none."""
    found = _OPENS.search(text)
    return None if found is None else text[: found.start()]


def _parts(text: str, field: str) -> list[str | _Value]:
    found: list[str | _Value] = []
    done = 0
    while (opens := _OPENS.search(text, done)) is not None:
        found.append(text[done : opens.start()])
        if opens[0] != "{{":
            wrong = (
                f"only {{{{ ... }}}} is known, not {opens[0]}; write {{{{ '{opens[0]}' }}}} for the signs themselves"
            )
            raise _Wrong(wrong, opens.start()).of(field)
        try:
            value, done = _Reader(text, opens.end()).expression()
        except _Wrong as wrong_here:
            raise wrong_here.of(field) from None
        found.append(value)
    found.append(text[done:])
    return found


class _Wrong(Exception):
    """What is wrong, and where in the text: counted from 0."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(what)
        self.what = what
        self.at = at

    def of(self, field: str) -> InvalidRequest:
        """Return the error of a request."""
        return InvalidRequest(
            f"{field} has a template that cannot be read, at character {self.at + 1}: {self.what}.", field
        )


class _Token(NamedTuple):
    kind: str
    text: str
    at: int

    def shown(self) -> str:
        return "the end of the text" if self.kind == "end" else repr(self.text[:40])


class _Reader:
    """Reads one expression, from behind its `{{` on. Raises _Wrong."""

    def __init__(self, text: str, at: int) -> None:
        self._text = text
        self._at = at

    def expression(self) -> tuple[_Value, int]:
        """Return its value and where the text goes on behind its `}}`."""
        token = self._peek()
        if token.kind == "text":
            value = self._braces(self._next())
        elif token.text == _TIMESTAMP:
            self._next()
            value = _timestamp
        else:
            time = self._moment()
            value = self._part(time) if self._peek().text == "." else lambda moments: iso(time(moments))
        self._take(_END)
        return value, self._at

    def _moment(self) -> _Time:
        if self._peek().text != "(":
            return self._sum()
        self._next()
        inner = self._sum()
        self._take(")")
        return self._moved(inner)

    def _sum(self) -> _Time:
        token = self._next()
        if token.text == _TIMESTAMP:
            raise _Wrong(f"{_TIMESTAMP} is a number, which stands alone; use current_run_time", token.at)
        if token.kind != "name" or token.text not in _TIMES:
            raise _Wrong(f"{token.shown()} is none of the variables {', '.join(VARIABLES)}", token.at)
        return self._moved(_at(_TIMES[token.text]))

    def _moved(self, time: _Time) -> _Time:
        """Return the moment with all that is added to it and taken from it."""
        total, first = timedelta(), self._peek().at
        while (sign := self._peek()).text in ("+", "-"):
            self._next()
            total += self._delta() * (1 if sign.text == "+" else -1)
            if abs(total) > timedelta(MOST_DAYS):
                raise _Wrong(f"it leads more than {MOST_DAYS} days away", first)
        return (lambda moments: time(moments) + total) if total else time

    def _delta(self) -> timedelta:
        self._take("timedelta")
        self._take("(")
        units: dict[str, int] = {}
        while True:
            unit = self._next()
            if unit.text not in UNITS or unit.text in units:
                raise _Wrong(f"timedelta takes {', '.join(UNITS)}, each once and by name, as in days=1", unit.at)
            self._take("=")
            units[unit.text] = self._number()
            if self._next_of(",", ")").text == ")":
                return timedelta(**units)

    def _number(self) -> int:
        token = self._next()
        sign = -1 if token.text == "-" else 1
        if sign < 0:
            token = self._next()
        if token.kind != "number" or len(token.text) > _MOST_DIGITS:
            raise _Wrong(f"{token.shown()} is no whole number of at most {_MOST_DIGITS} digits", token.at)
        return sign * int(token.text)

    def _part(self, time: _Time) -> _Value:
        self._take(".")
        name = self._next()
        if name.text in PARTS:
            return lambda moments: str(getattr(time(moments), name.text))
        if name.text not in ("isoformat", "strftime"):
            raise _Wrong(
                f"a time has no {name.shown()}; it has {', '.join(PARTS)}, isoformat() and strftime()", name.at
            )
        self._take("(")
        if name.text == "strftime":
            pieces = _format(self._string("strftime takes a format in quotes, such as '%Y-%m-%d'"))
            self._take(")")
            return lambda moments: "".join(p if isinstance(p, str) else p(time(moments)) for p in pieces)
        separator = "T" if self._peek().text == ")" else self._separator()
        self._take(")")
        return lambda moments: iso(time(moments), separator)

    def _separator(self) -> str:
        if self._peek().text == "sep":
            self._next()
            self._take("=")
        token = self._string("isoformat takes nothing, 'T' or ' '")
        if token.text[1:-1] not in ("T", " "):
            raise _Wrong("isoformat takes nothing, 'T' or ' '", token.at)
        return token.text[1:-1]

    def _string(self, wanted: str) -> _Token:
        token = self._next()
        if token.kind != "text":
            raise _Wrong(wanted, token.at)
        return token

    def _braces(self, token: _Token) -> _Value:
        signs = token.text[1:-1]
        if signs not in _BRACES:
            raise _Wrong(f"a text stands for signs in braces only, such as '{{{{', not {token.shown()}", token.at)
        return lambda _: signs

    def _take(self, wanted: str) -> None:
        self._next_of(wanted)

    def _next_of(self, *wanted: str) -> _Token:
        token = self._next()
        if token.text not in wanted or token.kind in ("text", "end"):
            raise _Wrong(f"{' or '.join(wanted)} is missing before {token.shown()}", token.at)
        return token

    def _peek(self) -> _Token:
        before = self._at
        token = self._next()
        self._at = before
        return token

    def _next(self) -> _Token:
        blanks = _BLANKS.match(self._text, self._at)
        at = self._at if blanks is None else blanks.end()
        if self._text.startswith(_END, at):
            self._at = at + len(_END)
            return _Token("sign", _END, at)
        found = _TOKEN.match(self._text, at)
        if found is None:
            return _Token("end", "", at)
        self._at = found.end()
        return _Token(str(found.lastgroup), found[0], at)


def _at(of: Callable[[Moments], datetime | None]) -> _Time:
    return lambda moments: (of(moments) or NEVER).astimezone(UTC).replace(microsecond=0)


def _timestamp(moments: Moments) -> str:
    """Milliseconds since 1970, without the rounding of a float."""
    return str((moments.current - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1))


def iso(time: datetime, separator: str = "T") -> str:
    """Return a time in UTC in the form of ISO 8601, in whole seconds and without its zone."""
    return f"{DIRECTIVES['F'](time)}{separator}{DIRECTIVES['T'](time)}"


def _format(token: _Token) -> list[str | Callable[[datetime], str]]:
    """Return what stands in a format and what it asks for."""
    pieces: list[str | Callable[[datetime], str]] = []
    plain = []
    for piece in _PIECE.finditer(token.text[1:-1]):
        if not piece[0].startswith("%"):
            pieces.append(piece[0])
        elif piece[1] in DIRECTIVES:
            pieces.append(DIRECTIVES[piece[1]])
        else:
            known = " ".join(f"%{name}" for name in DIRECTIVES)
            raise _Wrong(f"strftime has no {piece[0]}; it has {known}", token.at + 1 + piece.start())
        plain.append("0" if piece[0].startswith("%") else piece[0])
    whole = "".join(plain)
    if not SAFE.fullmatch(whole) or any(twice in whole for twice in _TWICE):
        raise _Wrong("beside % a format has letters, digits, blanks and single _ . , : / = - only", token.at + 1)
    return pieces


def check_text(value: Any, field: str, where: str) -> None:
    """Raise InvalidRequest when a variable stands in a setting that takes none; `where` says which do."""
    if isinstance(value, str) and any(name in piece for piece in value.split("{{")[1:] for name in VARIABLES):
        raise InvalidRequest(f"{field} cannot have a time in it: {where}.", field)
