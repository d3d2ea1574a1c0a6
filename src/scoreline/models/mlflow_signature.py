"""The signature of an MLflow model: which columns it takes and of which types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from scoreline.models.base import broken
from scoreline.types import FeatureType, JsonObject

_TYPES = {
    "boolean": FeatureType.BOOLEAN,
    "integer": FeatureType.INTEGER,
    "long": FeatureType.INTEGER,
    "float": FeatureType.NUMERIC,
    "double": FeatureType.NUMERIC,
    "string": FeatureType.TEXT,
    "datetime": FeatureType.TEXT,
}
_TENSOR = "tensor"


@dataclass(frozen=True, slots=True)
class Column:
    """One input column. kind: the type as MLflow names it, or "tensor" for a column of an unnamed array."""

    name: str
    type: FeatureType
    required: bool
    kind: str


def signature(document: JsonObject, name: str) -> tuple[Column, ...] | None:
    """Return the columns that the signature in an `MLmodel` document declares; None when there is none.

    Raises ModelBroken for types that no column of a table has.
    """
    declared = document.get("signature")
    inputs = declared.get("inputs") if isinstance(declared, dict) else None
    if not inputs:
        return None
    try:
        entries = json.loads(inputs) if isinstance(inputs, str) else inputs
        if len(entries) == 1 and entries[0].get("type") == _TENSOR:
            return _array(entries[0], name)
        return tuple(_column(entry, index, name) for index, entry in enumerate(entries))
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise broken(name, "its signature cannot be read: save the model again") from exc


def _column(entry: Any, index: int, name: str) -> Column:
    kind = str(entry.get("type"))
    column = str(entry.get("name", index))
    if kind not in _TYPES:
        raise broken(name, f"its signature has the type {kind!r} in the column {column!r}, which no table column has")
    required = entry.get("required", not entry.get("optional", False))
    return Column(column, _TYPES[kind], bool(required), kind)


def _array(entry: Any, name: str) -> tuple[Column, ...]:
    """The columns of a two-dimensional array; they have no names, so x0, x1, ..."""
    shape = entry["tensor-spec"]["shape"]
    kind = str(entry["tensor-spec"]["dtype"])
    if len(shape) != 2 or shape[1] < 1:
        raise broken(name, f"its signature takes an array of the shape {shape}, and only tables are scored")
    if kind.startswith("float"):
        found = FeatureType.NUMERIC
    elif kind.startswith(("int", "uint")):
        found = FeatureType.INTEGER
    else:
        raise broken(name, f"its signature takes an array of {kind}, and only numbers are taken there")
    return tuple(Column(f"x{index}", found, required=True, kind=f"{_TENSOR}:{kind}") for index in range(shape[1]))
