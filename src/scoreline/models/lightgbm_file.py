"""What a LightGBM model file says in its text: features, objective, and which columns hold which categories.

The Python package appends the categories of a training DataFrame as a list of lists, without the columns they belong
to: `list i` is the i-th column of a pandas category type. Which columns these are has to be found again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from scoreline.errors import ModelBroken
from scoreline.models.base import broken
from scoreline.types import TargetType

Category = str | float | bool

_REGRESSION = frozenset(
    (
        *("regression", "regression_l2", "l2", "mean_squared_error", "mse"),
        *("regression_l1", "l1", "mean_absolute_error", "mae", "mape", "quantile", "huber", "fair"),
        *("poisson", "gamma", "tweedie", "cross_entropy", "xentropy"),
    )
)
_MULTICLASS = frozenset(("multiclass", "multiclassova"))
_UNKNOWN_RANGE = "none"
_TREE_SIZES = re.compile(rb"^tree_sizes=.*\n", re.MULTILINE)
_INTEGER = re.compile(r"-?\d+")


@dataclass(frozen=True, slots=True)
class Column:
    """A feature by its name; `categories` in the order of their codes, or None for a number."""

    name: str
    categories: tuple[Category, ...] | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """What the file says; classes is 1 for a regression and the number of classes otherwise.

    iterations: how many the file should hold; None when it does not say.
    """

    target_type: TargetType
    classes: int
    columns: tuple[Column, ...]
    iterations: int | None


def describe(text: str, name: str, text_columns: frozenset[str] | None = None) -> Description:
    """Read the model text. `text_columns`: the columns known to hold text, when a signature says so.

    Raises ModelBroken for a truncated file, an objective without predictions we can name, or categories whose columns
    cannot be told apart.
    """
    header = _header(text, name)
    names = header.get("feature_names", "").split()
    infos = header.get("feature_infos", "").split()
    if not names or len(names) != len(infos):
        raise broken(name, "its list of features is damaged: save the model again")
    target_type, classes = _target(header, name)
    lists = _categories(text, name)
    if lists:
        ranges = _Ranges(infos, _declared(text), text_columns, names)
        columns = ranges.assign(lists, name)
    else:
        columns = {}
    described = tuple(Column(column, columns.get(index)) for index, column in enumerate(names))
    trees, each = len(header.get("tree_sizes", "").split()), int(header.get("num_tree_per_iteration", "1"))
    return Description(target_type, classes, described, trees // each or None)


def for_reading(text: bytes) -> bytes:
    """Return the text without the sizes of its trees.

    With them LightGBM reads the trees in parallel and, when one is damaged, ends the whole process; without them it
    reports an error.
    """
    return _TREE_SIZES.sub(b"", text, count=1)


def _header(text: str, name: str) -> dict[str, str]:
    head, found, _trees = text.partition("\n\n")
    if not found or "\nend of trees" not in text:
        raise broken(name, "the file ends too early: copy or save it again")
    if "\nparameters:" in text and "\nend of parameters" not in text:
        raise broken(name, "the file ends within its parameters: copy or save it again")
    lines = (line.partition("=") for line in head.split("\n"))
    return {key: value.strip() for key, separator, value in lines if separator}


def _target(header: dict[str, str], name: str) -> tuple[TargetType, int]:
    objective = header.get("objective", "").split(" ")[0]
    trees = int(header.get("num_class", "1"))
    if objective == "binary":
        return TargetType.BINARY, 2
    if objective in _MULTICLASS:
        return (TargetType.BINARY if trees == 2 else TargetType.MULTICLASS), trees
    if objective in _REGRESSION:
        return TargetType.REGRESSION, 1
    if not objective:
        raise broken(
            name,
            "it was trained with an objective of its own, and the file does not hold the function that turns its raw "
            "scores into predictions: wrap it as an MLflow pyfunc model that does",
        )
    raise broken(
        name,
        f"the objective {objective!r} is neither a regression nor a classification: train with one of those, such as "
        "'binary', 'multiclass' or 'regression'",
    )


def _categories(text: str, name: str) -> list[list[Category]]:
    line = text.rstrip().rpartition("\n")[2]
    key, found, value = line.partition(":")
    if not found or key != "pandas_categorical":
        return []
    try:
        lists = json.loads(value)
    except ValueError as exc:
        raise broken(name, "its list of categories is damaged: copy or save it again") from exc
    if lists is None:
        return []
    if not isinstance(lists, list) or not all(isinstance(values, list) for values in lists):
        raise broken(name, "its list of categories is damaged: copy or save it again")
    return lists


def _declared(text: str) -> frozenset[int]:
    """Return the columns that the training parameters name as categories."""
    found = re.search(r"^\[categorical_feature: ([\d,]+)\]$", text[text.rfind("\nparameters:") :], re.MULTILINE)
    return frozenset(int(index) for index in found.group(1).split(",") if index) if found else frozenset()


class _Ranges:
    """What is known about each column's values in training."""

    def __init__(
        self, infos: Sequence[str], declared: frozenset[int], text: frozenset[str] | None, names: Sequence[str]
    ) -> None:
        self._infos = infos
        self._names = names
        self._text = text
        self._likely = [
            index in declared or not (info == _UNKNOWN_RANGE or info.startswith("["))
            for index, info in enumerate(infos)
        ]

    def assign(self, lists: list[list[Category]], name: str) -> dict[int, tuple[Category, ...]]:
        """Return the categories by column.

        The lists are in the order of their columns. Of all ways to lay them on columns that could hold such codes, the
        one that uses most of the columns known as categorical is right; where several ways are equally good (ordered
        categories leave no trace but their range), a guess would give silently wrong scores, so the model is refused.
        """
        likely = [index for index, flag in enumerate(self._likely) if flag]
        if len(likely) == len(lists) and all(
            self._fits(index, values) for index, values in zip(likely, lists, strict=True)
        ):
            chosen = likely
        else:
            chosen = self._search(lists, name)
        return {index: tuple(values) for index, values in zip(chosen, lists, strict=True)}

    def _fits(self, index: int, values: list[Category]) -> bool:
        """Whether the column can have been coded by these categories."""
        if self._text is not None and any(isinstance(value, str) for value in values) != (
            self._names[index] in self._text
        ):
            return False
        info = self._infos[index]
        if info == _UNKNOWN_RANGE:
            return True
        codes = info.strip("[]").split(":")
        if not all(_INTEGER.fullmatch(code) for code in codes):
            return False
        return all(-1 <= int(code) < len(values) for code in codes)

    def _search(self, lists: list[list[Category]], name: str) -> list[int]:
        # best[i]: for the first i lists, the best score so far, in how many ways, and the columns of one way.
        best: list[tuple[int, int, tuple[int, ...]]] = [(0, 1, ()), *[(-1, 0, ())] * len(lists)]
        for index, likely in enumerate(self._likely):
            for position in range(len(lists), 0, -1):
                score, ways, columns = best[position - 1]
                if not ways or not self._fits(index, lists[position - 1]):
                    continue
                score += likely
                old_score, old_ways, _old = best[position]
                if score > old_score:
                    best[position] = (score, ways, (*columns, index))
                elif score == old_score:
                    best[position] = (score, old_ways + ways, best[position][2])
        _score, ways, columns = best[-1]
        if ways != 1:
            raise self._undecided(name, lists, ways)
        assert all(left < right for left, right in pairwise(columns))
        return list(columns)

    def _undecided(self, name: str, lists: list[list[Category]], ways: int) -> ModelBroken:
        why = "fit several columns" if ways else "fit no columns"
        first = ", ".join(repr(value) for value in lists[0][:3])
        return broken(
            name,
            f"the categories it stores ({len(lists)} lists, the first with {first}) {why}: save it as an MLflow model "
            "folder with a signature, which names the type of each column",
        )
