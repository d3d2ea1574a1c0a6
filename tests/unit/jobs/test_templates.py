"""Templates: what can be said gives what Jinja gives for it, and nothing else can be said."""

from __future__ import annotations

import re
import string
from datetime import UTC, datetime, timedelta, timezone

import jinja2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scoreline.errors import InvalidRequest
from scoreline.jobs import templates
from scoreline.jobs.templates import Moments

NOW = datetime(2026, 11, 26, 7, 30, 5, 987654, tzinfo=UTC)
MOMENTS = Moments(
    NOW,
    last_scheduled=datetime(2026, 11, 25, 7, 30, tzinfo=UTC),
    next_scheduled=datetime(2026, 11, 27, 7, 30, tzinfo=UTC),
    last_completed=datetime(2026, 11, 25, 7, 41, 3, 5, tzinfo=UTC),
)
TIMES = ("current_run_time", "last_scheduled_run_time", "next_scheduled_run_time", "last_completed_run_time")


def render(text: str, moments: Moments = MOMENTS) -> str:
    return templates.render(text, moments, "outputSettings.url")


def jinja(text: str, moments: Moments) -> str:
    """Another engine's answer; its datetimes are shown in the form of ISO 8601, which Python itself does not do."""
    values = (moments.current, moments.last_scheduled, moments.next_scheduled, moments.last_completed)
    never = datetime(1900, 1, 1, tzinfo=UTC)
    plain = [(at or never).astimezone(UTC).replace(tzinfo=None, microsecond=0) for at in values]
    milliseconds = int(moments.current.timestamp()) * 1000 + moments.current.microsecond // 1000
    engine = jinja2.Environment(
        finalize=lambda value: value.isoformat() if isinstance(value, datetime) else value,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    known = dict(zip(TIMES, plain, strict=True))
    return engine.from_string(text).render(**known, current_run_timestamp=milliseconds, timedelta=timedelta)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("s3://b/o.csv", "s3://b/o.csv"),
        ("", ""),
        ("{{ current_run_time }}", "2026-11-26T07:30:05"),
        ("a {{current_run_timestamp}} b", "a 1795678205987 b"),
        ("{{ last_scheduled_run_time }}/{{ next_scheduled_run_time }}", "2026-11-25T07:30:00/2026-11-27T07:30:00"),
        ("{{ last_completed_run_time.isoformat() }}", "2026-11-25T07:41:03"),
        ("{{ last_completed_run_time.isoformat(' ') }}", "2026-11-25 07:41:03"),
        ('{{ last_completed_run_time.isoformat(sep="T") }}', "2026-11-25T07:41:03"),
        ("{{ current_run_time.strftime('%Y/%m/%d') }}", "2026/11/26"),
        ('{{ current_run_time.strftime("%b %-d".replace) }}', None),
        ("{{ current_run_time.day }}-{{ current_run_time.hour }}", "26-7"),
        ("{{ current_run_time - timedelta(days=1) }}", "2026-11-25T07:30:05"),
        ("{{ (current_run_time - timedelta(days=1, hours=7)).strftime('%F') }}", "2026-11-25"),
        ("{{ (current_run_time) }}", "2026-11-26T07:30:05"),
        ("{{ current_run_time + timedelta(hours=-3) - timedelta(minutes=30) }}", "2026-11-26T04:00:05"),
        ("{{ '{{' }} {{ '%}' }} }}", "{{ %} }}"),
    ],
)
def test_values(text: str, value: str | None) -> None:
    if value is None:
        with pytest.raises(InvalidRequest):
            render(text)
        return
    assert render(text) == value
    assert jinja(text, MOMENTS) == value


def test_a_time_that_never_was() -> None:
    first = Moments(NOW)
    for name in TIMES[1:]:
        assert render(f"{{{{ {name} }}}}", first) == "1900-01-01T00:00:00"
    assert render("{{ last_scheduled_run_time - timedelta(days=36524) }}", first) == "1800-01-01T00:00:00"


def test_times_are_utc_wherever_they_were_taken() -> None:
    east = NOW.astimezone(timezone(timedelta(hours=9)))
    assert render("{{ current_run_time }} {{ current_run_timestamp }}", Moments(east)) == (
        "2026-11-26T07:30:05 1795678205987"
    )


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        ("{{ current_time }}", 4, "'current_time' is none of the variables"),
        ("ab{{ }}", 6, "'}}' is none of the variables"),
        ("{{", 3, "the end of the text is none"),
        ("{{ current_run_time", 20, "missing before the end of the text"),
        ("{{ current_run_time }", 21, "}} is missing before '}'"),
        ("{{ current_run_time | upper }}", 21, "}} is missing before '|'"),
        ("{{ current_run_time.tzinfo }}", 21, "a time has no 'tzinfo'"),
        ("{{ current_run_time.__class__ }}", 21, "a time has no '__class__'"),
        ("{{ current_run_time['day'] }}", 20, "missing before '['"),
        ("{{ current_run_time.replace(day=1) }}", 21, "no 'replace'"),
        ("{{ current_run_time.day.real }}", 24, "missing before '.'"),
        ("{{ current_run_time.strftime(x) }}", 30, "a format in quotes"),
        ("{{ current_run_time.strftime('%Y', 1) }}", 34, ") is missing"),
        ("{{ current_run_time.strftime('%Y%f') }}", 33, "strftime has no %f"),
        ("{{ current_run_time.strftime('%') }}", 31, "strftime has no %; it"),
        ("{{ current_run_time.strftime('%%') }}", 31, "strftime has no %%"),
        ("{{ current_run_time.strftime('%Y\\'') }}", 30, "a format in quotes"),
        ("{{ current_run_time.strftime('%Y;') }}", 31, "single _"),
        ('{{ current_run_time.strftime("\'") }}', 31, "single _"),
        ("{{ current_run_time.strftime('%Y--') }}", 31, "single _"),
        ("{{ current_run_time.strftime('../') }}", 31, "single _"),
        ("{{ current_run_time.strftime('\u0660') }}", 31, "single _"),
        ("{{ current_run_time.strftime('%\n') }}", 31, "strftime has no"),
        ("{{ current_run_time.isoformat('x') }}", 31, "isoformat takes"),
        ("{{ current_run_time - 1 }}", 23, "timedelta is missing"),
        ("{{ current_run_time - timedelta(1) }}", 33, "by name"),
        ("{{ current_run_time - timedelta(days=1, days=1) }}", 41, "each once"),
        ("{{ current_run_time - timedelta(days=0.5) }}", 39, ", or ) is missing"),
        ("{{ current_run_time - timedelta(days=99999999) }}", 38, "no whole number"),
        ("{{ current_run_time - timedelta(days=\u0661) }}", 38, "no whole number"),
        ("{{ current_run_time + timedelta(weeks=9999999) }}", 21, "days away"),
        ("{{ current_run_timestamp - timedelta(days=1) }}", 26, "missing before '-'"),
        ("{{ (current_run_timestamp) }}", 5, "stands alone"),
        ("{{ 'DROP TABLE' }}", 4, "signs in braces only"),
        ("{{ ((current_run_time)) }}", 5, "'(' is none"),
        ("{{- current_run_time -}}", 3, "'-' is none"),
        ("{% for x in y %}", 1, "not {%; write {{ '{%' }}"),
        ("a{# hidden #}", 2, "not {#"),
        ("{{ 'a'*10**8 }}", 4, "signs in braces only"),
        ("{{ lipsum(n=100000)|length }}", 4, "'lipsum' is none"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", 4, "signs in braces only"),
        ("{{ self._TemplateReference__context }}", 4, "'self' is none"),
        ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", 4, "'cycler' is none"),
    ],
)
def test_anything_else_is_refused_by_its_position(text: str, at: int, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        render(text)
    assert refused.value.field == "outputSettings.url"
    assert f"outputSettings.url has a template that cannot be read, at character {at}: " in refused.value.message
    assert says in refused.value.message


def test_long_texts_take_no_time() -> None:
    assert len(render("{{ current_run_time.day }}" * 20_000)) == 40_000
    many = "+ timedelta(days=1) - timedelta(days=1)" * 10_000
    assert render(f"{{{{ current_run_time {many} }}}}") == "2026-11-26T07:30:05"
    for hostile in ("{{" * 100_000, "{{ " + "(" * 100_000, "{{ " + " " * 300_000, "{{ '" + "a" * 300_000):
        with pytest.raises(InvalidRequest) as refused:
            render(hostile)
        assert len(refused.value.message) < 400


_moment = st.integers(0, 180 * 366 * 86_400 * 10**6).map(
    lambda passed: datetime(1971, 1, 1, tzinfo=UTC) + timedelta(microseconds=passed)
)
_moments = st.builds(Moments, _moment, st.none() | _moment, st.none() | _moment, st.none() | _moment)
_deltas = st.lists(
    st.tuples(
        st.sampled_from("+-"),
        st.dictionaries(st.sampled_from(templates.UNITS), st.integers(-400, 400), min_size=1),
    ),
    max_size=3,
)
_plain = st.text(string.ascii_letters + string.digits + " _", max_size=3)
_formats = st.lists(
    st.tuples(_plain, st.sampled_from([f"%{name}" for name in templates.DIRECTIVES]), st.sampled_from(["", ":", "/"])),
    max_size=5,
).map(lambda pieces: "".join(map("".join, pieces)))
_parts = st.one_of(
    st.just(""),
    st.sampled_from([f".{name}" for name in templates.PARTS]),
    st.just(".isoformat(' ')"),
    _formats.map(lambda text: f".strftime('{text}')"),
)


@given(_moments, st.sampled_from(TIMES), _deltas, _parts, st.booleans())
@example(MOMENTS, "current_run_time", [], ".strftime('%G %V %u %w %j %I %p %A %B')", False)
def test_what_can_be_said_means_what_it_means_to_jinja(
    moments: Moments, name: str, deltas: list[tuple[str, dict[str, int]]], part: str, blanks: bool
) -> None:
    text = name
    for sign, units in deltas:
        text += f" {sign} timedelta({', '.join(f'{unit}={number}' for unit, number in units.items())})"
    text = f"({text}){part}" if part or deltas else text
    text = f"a{{{{{' ' if blanks else ''}{text}\t}}}}b\n"
    assert render(text, moments) == jinja(text, moments)


_signs = [
    "{{",
    "}}",
    "{%",
    "(",
    ")",
    ".",
    ",",
    "=",
    "+",
    "-",
    "1",
    "'%Y'",
    "'",
    '"',
    "'{{'",
    " ",
    "|",
    "x",
    ";",
    "'%s'",
]
_names = ("timedelta", "strftime", "isoformat", "sep", "self")
_words = st.sampled_from([*templates.VARIABLES, *templates.PARTS, *templates.UNITS, *_names, *_signs])


@given(st.lists(_words, max_size=12).map("".join) | st.text(max_size=30))
def test_a_value_is_safe_or_there_is_none(inner: str) -> None:
    text = f"{{{{{inner}}}}}"
    try:
        value = render(text)
    except InvalidRequest:
        return
    if "}}" not in inner:  # it is one template, and all of the text
        assert re.fullmatch(r"[A-Za-z0-9 _.,:/=-]*", value) or value in ("{{", "{%", "{#", "%}", "#}")


@given(st.text("%Yma '\"-_./;\\\u00e9\n", max_size=8))
def test_no_format_lets_anything_out(form: str) -> None:
    quote = '"' if "'" in form else "'"
    try:
        value = render(f"{{{{ current_run_time.strftime({quote}{form}{quote}) }}}}")
    except InvalidRequest:
        return
    assert re.fullmatch(r"[A-Za-z0-9 _.,:/=-]*", value)
    assert not any(sign in value for sign in ("--", "//", "..", "'", '"', ";", "\\"))


@given(_moments)
def test_moments_are_stored_to_the_microsecond(moments: Moments) -> None:
    assert Moments.from_json(moments.to_json()) == moments
