"""Reading the fields of a job document: each is of the right type, or the request is refused by the field's name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from scoreline.errors import InvalidRequest
from scoreline.types import JsonObject


class Fields:
    """One JSON object of a request. Every method raises InvalidRequest, with the field's path, for a wrong value.

    A field that is absent and one that is null are the same: the default.
    """

    def __init__(self, document: Mapping[str, Any], path: str = "") -> None:
        self._document = document
        self._path = path

    def only(self, allowed: Iterable[str]) -> None:
        """Refuse fields with other names, and point at the nearest one that exists."""
        names = list(allowed)
        for name in self._document:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                hint = f": did you mean {near[0]!r}?" if near else ""
                where = f" in {self._path.rstrip('.')}" if self._path else ""
                raise InvalidRequest(f"There is no field {name!r}{where}{hint or '.'}", self._path + name)

    def has(self, name: str) -> bool:
        """Tell whether the field is there and not null."""
        return self._document.get(name) is not None

    def text(self, name: str, default: str | None = None, *, one_of: Iterable[str] | None = None) -> str | None:
        """Return a text that is not empty."""
        value = self._document.get(name)
        if value is None:
            return default
        if not isinstance(value, str) or not value:
            raise self._wrong(name, "a text")
        if one_of is not None and value not in (choices := list(one_of)):
            raise self._wrong(name, " or ".join(f"{choice!r}" for choice in choices))
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self._document.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def whole(self, name: str, low: int, high: int) -> int | None:
        """Return a whole number within limits, None when absent."""
        value = self._document.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._wrong(name, f"a whole number from {low} to {high}")
        return value

    def number(self, name: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        """Return a finite number within limits, None when absent."""
        value = self._document.get(name)
        if value is None:
            return None
        limits = "" if math.isinf(low) else f" from {low:g} to {high:g}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, f"a number{limits}")
        if isinstance(value, float) and not math.isfinite(value):
            raise self._wrong(name, f"a number{limits}")
        if not low <= value <= high:
            raise self._wrong(name, f"a number{limits}")
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Return a list of texts, None when absent; an empty text may be one of them."""
        value = self._document.get(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, "a list of texts")
        return tuple(value)

    def object(self, name: str) -> JsonObject | None:
        """Return a JSON object, a copy of its own, None when absent."""
        value = self._document.get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise self._wrong(name, "an object")
        return deepcopy(dict(value))

    def objects(self, name: str) -> tuple[JsonObject, ...] | None:
        """Return a list of JSON objects, copies of their own, None when absent."""
        value = self._document.get(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
            raise self._wrong(name, "a list of objects")
        return tuple(deepcopy(dict(item)) for item in value)

    def raw(self, name: str) -> Any:
        """Return a copy of whatever is there."""
        return deepcopy(self._document.get(name))

    def _wrong(self, name: str, wanted: str) -> InvalidRequest:
        return InvalidRequest(f"{self._path}{name} must be {wanted}.", self._path + name)
