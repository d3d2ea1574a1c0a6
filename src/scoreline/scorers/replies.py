"""Predictions out of a server's JSON: one row of numbers for each row sent, classes told apart by their names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from scoreline.errors import ModelBroken, WrongAnswer, one_line
from scoreline.types import ScoringPlan, TargetType

Values = npt.NDArray[np.float64]

_CLASSES = frozenset({TargetType.BINARY, TargetType.MULTICLASS})


class Reader:
    """Reads the answers of one server for one plan.

    single: a binary model's one value for a row is the last class's probability. Without it such an answer is refused,
    because a predicted label 0 or 1 looks the same. advice: what to do about labels instead of probabilities.

    Raises WrongAnswer for what may be right another time, ModelBroken for what contradicts the registration. A null or
    nan stays nan, which fails its own row only.
    """

    def __init__(self, plan: ScoringPlan, where: str, *, single: bool = False, advice: str = "") -> None:
        self._where = where
        self._labels = plan.class_labels if plan.target_type in _CLASSES else ()
        self._single = single and plan.target_type is TargetType.BINARY
        self._advice = advice
        self.outputs = len(self._labels) or 1

    def rows(self, answer: Any, rows: int) -> Values:
        """Read a list with one item for each row: a number, a list of numbers, or an object of class names."""
        if not isinstance(answer, list):
            raise self.wrong("no list of predictions")
        self.check_count(len(answer), rows)
        if answer and isinstance(answer[0], dict):
            answer = self._by_name(answer)
        return self.shaped(numbers(answer, self))

    def named(self, answer: Sequence[dict[str, Any]]) -> Values:
        """Read an object of class names and probabilities for each row."""
        return self.shaped(numbers(self._by_name(answer), self))

    def shaped(self, values: Values) -> Values:
        """Return [rows, outputs] of what has one row or one number for each row."""
        if values.ndim == 1:
            values = values[:, np.newaxis]
        if values.ndim != 2:
            raise self.wrong(f"an array of {values.ndim} dimensions")
        if values.shape[1] == self.outputs:
            return values
        if values.shape[1] == 1 and self._single:
            return np.hstack([1 - values, values])
        raise self.broken(f"{values.shape[1]} values for a row where its registration says {self.outputs}")

    def check_count(self, found: int, rows: int) -> None:
        """Raise WrongAnswer unless there is one prediction for each row sent."""
        if found != rows:
            raise WrongAnswer(f"Scoring failed: the {self._where} answered {found} predictions for {rows} rows.")

    def wrong(self, what: str) -> WrongAnswer:
        """Return the error for an answer that cannot be read."""
        return WrongAnswer(f"Scoring failed: the {self._where} answered {one_line(what, 200)}.")

    def broken(self, what: str) -> ModelBroken:
        """Return the error for an answer that contradicts the registration."""
        advice = self._advice or "register it again with its class labels in the order of its outputs"
        return ModelBroken(f"Scoring failed: the {self._where} answered {one_line(what, 200)}; {advice}.")

    def _by_name(self, answer: Sequence[Any]) -> list[Any]:
        """Return the values in the order of the labels; every row must name the same classes."""
        first = answer[0]
        if not self._labels:
            if len(first) != 1:
                raise self.broken(f"the outputs {', '.join(map(repr, list(first)[:10]))} where one was expected")
            names = list(first)
        else:
            names = self._spelling(first)
        size, take = len(first), itemgetter(*names)
        try:
            found = [take(item) for item in answer]
        except (KeyError, TypeError) as error:
            raise self.wrong("rows with different class names") from error
        if any(len(item) != size for item in answer):
            raise self.wrong("rows with different class names")
        return found

    def _spelling(self, first: dict[str, Any]) -> list[str]:
        """Return the server's spelling of each label, in order: `1` and `1.0` are the same class."""
        if first.keys() == set(self._labels):
            return list(self._labels)
        known = {meaning(name): name for name in first}
        names = [known.get(meaning(label), "") for label in self._labels]
        if len(first) != len(self._labels) or len(known) != len(first) or not all(name in first for name in names):
            shown = ", ".join(map(repr, list(first)[:10]))
            raise self.broken(f"the classes {shown}, which are not those of its registration")
        return names


def numbers(answer: list[Any], reader: Reader) -> Values:
    """Return a list of numbers, or of lists of them, as float64; null is nan. Texts and flags are no numbers."""
    try:
        found = np.array(answer)
    except (ValueError, OverflowError) as error:
        raise reader.wrong("rows of different lengths") from error
    if found.dtype.kind == "O":
        odd = next((item for item in found.ravel() if not _is_number(item)), None)
        if isinstance(odd, list | tuple):
            raise reader.wrong("rows of different lengths")
        if odd is not None:
            raise reader.broken(f"{odd!r} where a number was expected")
    elif found.dtype.kind not in "iuf":
        shown = found.ravel()[0].item() if found.size else ""
        raise reader.broken(f"{shown!r} where a number was expected")
    try:
        return found.astype(np.float64)
    except (ValueError, OverflowError) as error:
        raise reader.wrong("a number that is too large") from error


def meaning(label: str) -> str | float:
    """Return what several spellings of a class have in common."""
    try:
        number = float(label)
    except ValueError:
        return label
    return number if math.isfinite(number) else label


def _is_number(item: Any) -> bool:
    return item is None or (isinstance(item, int | float) and not isinstance(item, bool))
