"""Settings of intake and output that say how files hold rows."""

from __future__ import annotations

from scoreline import adapters
from scoreline.errors import InvalidRequest
from scoreline.jobs.fields import Fields
from scoreline.rows import forms
from scoreline.types import JsonObject

PARTITION = "partitionColumns"
_MOST_COLUMNS = 100


def fields(kind: str, side: str) -> tuple[str, ...]:
    """Return the names of these settings for a type on a side, "intake" or "output"."""
    can = adapters.REGISTRY[kind].can
    if side == "intake":
        return ("format",) if can.reads != (forms.CSV,) else ()
    if can.writes == (forms.CSV,):
        return ()
    return ("format", "compression", PARTITION) if can.folders else ("format", "compression")


def check_partition(settings: Fields, field: str, place: str, name: str) -> None:
    """Raise InvalidRequest unless an output names a folder, in its field `name`, just when it has partition columns."""
    columns = settings.texts(PARTITION)
    if place.endswith("/") and not columns:
        raise InvalidRequest(
            f"{field}.{PARTITION} must name at least one column, since {name} {place[:200]!r} names a folder; for one "
            f"file let {name} end without '/'.",
            f"{field}.{PARTITION}",
        )
    if columns and not place.endswith("/"):
        raise InvalidRequest(
            f"{field}.{name} {place[:200]!r} must name a folder, with '/' at its end, since there are {PARTITION}.",
            f"{field}.{name}",
        )
    if columns and (len(columns) > _MOST_COLUMNS or len(set(columns)) < len(columns) or not all(columns)):
        raise InvalidRequest(
            f"{field}.{PARTITION} must name at most {_MOST_COLUMNS} columns, each once.", f"{field}.{PARTITION}"
        )


def check(settings: Fields, kind: str, field: str, side: str) -> None:
    """Raise InvalidRequest, naming the field, for a format that the type does not have, or a compression it has not."""
    can = adapters.REGISTRY[kind].can
    form = settings.text("format", forms.CSV, one_of=can.reads if side == "intake" else can.writes) or forms.CSV
    if side == "intake":
        return
    known = forms.COMPRESSIONS[form]
    if settings.text("compression", known[0]) not in known:
        raise InvalidRequest(
            f"{field}.compression must be {' or '.join(map(repr, known))} for the format {form!r}.",
            f"{field}.compression",
        )


def many(given: JsonObject, side: str) -> bool:
    """Say whether the settings may name a folder."""
    can = adapters.REGISTRY[str(given["type"])].can
    if side == "output":
        return len(can.writes) > 1
    return (given.get("format") or forms.CSV) in can.folders
