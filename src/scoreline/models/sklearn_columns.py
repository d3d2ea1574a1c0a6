"""Which types the columns of a fitted scikit-learn estimator have.

An estimator does not store them. What the encoders, imputers and scalers inside it have learned tells: categories that
are texts come from a text column. Columns of which nothing is known are taken as numbers; a registration may say else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scoreline.types import Feature, FeatureType

_KEEPS_COLUMNS = ("SimpleImputer", "FunctionTransformer", "StandardScaler", "MinMaxScaler", "RobustScaler")
_TEXT_READERS = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")
_INNER = ("best_estimator_", "regressor_", "estimator_", "_preprocessor")


@dataclass(frozen=True, slots=True)
class _Known:
    """A column's type, and a value the estimator knows."""

    type: FeatureType
    example: str | float | None = None


_Found = dict[int, _Known]


def features(estimator: Any, names: Sequence[str]) -> tuple[Feature, ...]:
    """Return the columns that a fitted estimator takes, in the order of `names`."""
    found = _inspect(estimator, list(names))
    number = _Known(FeatureType.NUMERIC)
    known = [found.get(index, number) for index in range(len(names))]
    return tuple(Feature(name, item.type, example=item.example) for name, item in zip(names, known, strict=True))


def _inspect(estimator: Any, names: list[str]) -> _Found:
    """What is known of the columns `names`, by their places."""
    if hasattr(estimator, "steps"):
        return _pipeline([step for _name, step in estimator.steps], names)
    if hasattr(estimator, "transformers_"):
        return _column_transformer(estimator, names)
    if hasattr(estimator, "transformer_list"):
        return _merge(_inspect(inner, names) for _name, inner in estimator.transformer_list if _fitted(inner))
    learned = _learned(estimator)
    return _merge(_inspect(inner, names) for inner in _inner(estimator)) if learned is None else learned


def _learned(estimator: Any) -> _Found | None:
    """What a single encoder or imputer has learned of its columns; None for another estimator."""
    if type(estimator).__name__ in _TEXT_READERS:
        return {0: _Known(FeatureType.TEXT)}
    per_column = getattr(estimator, "categories_", None)
    if per_column is None:
        statistics = getattr(estimator, "statistics_", None)  # of an imputer
        if statistics is None or getattr(statistics, "dtype", np.dtype(float)).kind != "O":
            return None
        per_column = [[value] for value in statistics]
    return {index: known for index, values in enumerate(per_column) if (known := _from_values(values)) is not None}


def _pipeline(steps: list[Any], names: list[str]) -> _Found:
    """The first step that knows; a step that gives the same columns on lets the next one speak, too."""
    found: _Found = {}
    for step in steps:
        if step is None or isinstance(step, str):  # "passthrough"
            continue
        found = _merge((found, _inspect(step, names)))
        if type(step).__name__ not in _KEEPS_COLUMNS or getattr(step, "add_indicator", False):
            break
    return found


def _column_transformer(transformer: Any, names: list[str]) -> _Found:
    found: _Found = {}
    for _name, inner, wanted in transformer.transformers_:
        if isinstance(inner, str):
            continue
        places = _places(wanted, names)
        known = _inspect(inner, [names[place] for place in places])
        found = _merge((found, {places[index]: value for index, value in known.items() if index < len(places)}))
    return found


def _places(wanted: Any, names: list[str]) -> list[int]:
    """Resolve a column selection of a fitted ColumnTransformer: names, numbers, slices or a mask."""
    if isinstance(wanted, slice):
        ends = [names.index(end) if isinstance(end, str) else end for end in (wanted.start, wanted.stop)]
        if isinstance(wanted.stop, str):
            ends[1] += 1  # names include the last one
        return list(range(len(names)))[ends[0] : ends[1] : wanted.step]
    items = [wanted] if isinstance(wanted, str | int | np.integer) else list(wanted)
    if items and all(isinstance(item, bool | np.bool_) for item in items):
        return [place for place, chosen in enumerate(items) if chosen]
    position = {name: place for place, name in enumerate(names)}
    resolved = [position.get(item, -1) if isinstance(item, str) else int(item) for item in items]
    return [place % len(names) for place in resolved if -len(names) <= place < len(names)]


def _inner(estimator: Any) -> list[Any]:
    """Fitted estimators inside a meta-estimator that take the same columns."""
    inner = [value for name in _INNER if (value := getattr(estimator, name, None)) is not None]
    calibrated = getattr(estimator, "calibrated_classifiers_", None)
    if calibrated:
        inner.append(calibrated[0].estimator)
    members = getattr(estimator, "estimators_", None)
    if isinstance(members, list) and members and not isinstance(members[0], tuple):
        inner.extend(members)
    return [value for value in inner if hasattr(value, "get_params") or hasattr(value, "transformers_")]


def _from_values(values: Any) -> _Known | None:
    """The type of a column with these values; None when they do not tell."""
    present = [value for value in values if value is not None and value == value]  # noqa: PLR0124 -- NaN differs from itself
    if not present:
        return None
    if all(isinstance(value, bool | np.bool_) for value in present):
        return _Known(FeatureType.BOOLEAN, float(present[0]))
    if all(isinstance(value, int | float | np.integer | np.floating) for value in present):
        return _Known(FeatureType.NUMERIC, float(present[0]))
    return _Known(FeatureType.TEXT, next((str(value) for value in present if isinstance(value, str)), None))


def _fitted(value: Any) -> bool:
    return value is not None and not isinstance(value, str)


def _merge(parts: Any) -> _Found:
    """Join what several parts know of the same columns: the first that knows wins, but text wins over numbers."""
    merged: _Found = {}
    for part in parts:
        for place, known in part.items():
            if place not in merged or (known.type is FeatureType.TEXT and merged[place].type is not FeatureType.TEXT):
                merged[place] = known
    return merged
