"""What all request models share: camelCase, unknown names refused with the nearest one, null the same as absent."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Self, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from scoreline.api.problems import WrongFields

_SECONDS = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?")

MOST_ON_A_PAGE = 1000


class Wire(BaseModel):
    """A request's body or query."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Read a JSON object. Raises WrongFields: names the fields that are wrong or unknown, and what is allowed."""
        given = {name: value for name, value in document.items() if value is not None}
        try:
            return cls.model_validate(given, strict=True)
        except ValidationError as exc:
            raise WrongFields(_texts(exc, cls.names())) from exc

    @classmethod
    def read_query(cls, pairs: Sequence[tuple[str, str]]) -> Self:
        """Read the parameters of a URL; those that are lists may be repeated. Raises WrongFields."""
        lists = {name for name, field in cls.by_name().items() if get_origin(field.annotation) is tuple}
        given: dict[str, Any] = {}
        for name, value in pairs:
            if name in lists:
                given.setdefault(name, []).append(value)
            elif value != "" and name in given:
                raise WrongFields({name: f"{name} is there twice: give it once."})
            elif value != "":
                given[name] = value
        try:
            return cls.model_validate(given)
        except ValidationError as exc:
            raise WrongFields(_texts(exc, cls.names())) from exc

    @classmethod
    def by_name(cls) -> dict[str, Any]:
        """Return the fields by their names on the wire."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}

    @classmethod
    def names(cls) -> list[str]:
        """Return the fields' names on the wire."""
        return list(cls.by_name())


class Paging(Wire):
    """The query of a list."""

    offset: int = Field(0, ge=0, le=2**31, description="Items to leave out at the start.")
    limit: int = Field(100, ge=1, le=MOST_ON_A_PAGE, description="Items on a page.")


def _iso(given: Any) -> Any:
    """Refuse seconds since 1970, which pydantic would take, too."""
    if isinstance(given, str) and _SECONDS.fullmatch(given):
        raise ValueError("a time is written as in ISO 8601, for instance 2026-01-31T12:00:00Z")
    return given


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as exc:
        raise ValueError("in UTC it lies before the year 1 or after 9999") from exc


Time = Annotated[datetime, BeforeValidator(_iso), AfterValidator(_in_utc)]
"""A time in a query: ISO 8601; without an offset it is UTC."""


def timestamp(moment: datetime | None) -> str | None:
    """Return a time as JSON carries it: ISO 8601 in UTC with a Z."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def nearest(name: str, known: Sequence[str]) -> str:
    """Return the end of a sentence that refuses a name: the nearest one that exists, or all of them."""
    near = difflib.get_close_matches(name, known, 1, 0.6)
    if near:
        return f": did you mean {near[0]!r}?"
    return f": possible is {', '.join(known)}." if known else "."


def _texts(error: ValidationError, known: Sequence[str]) -> dict[str, str]:
    return dict(_text(detail, known) for detail in error.errors(include_url=False, include_context=False))


def _text(detail: ErrorDetails, known: Sequence[str]) -> tuple[str, str]:
    name = ".".join(str(step) for step in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return name, f"There is no field {name[:100]!r}{nearest(name, known) if len(detail['loc']) == 1 else '.'}"
    if detail["type"] == "missing":
        return name, f"{name} is required."
    message = detail["msg"].removeprefix("Value error, ")
    return name, f"{name}: {message[:1].lower()}{message[1:].rstrip('.')}."
