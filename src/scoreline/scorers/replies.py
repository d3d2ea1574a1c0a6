"""Predictions out of a server's JSON: one row of numbers for each row sent, classes told apart by their names."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoreline.errors import ModelBroken, WrongAnswer, one_line
from scoreline.rows import arrow
from scoreline.types import Scores, ScoringPlan, TargetType

Values = npt.NDArray[np.float64]


class Reader:
    """Reads the answers of one server for one plan.

    single: a binary model's one value for a row is the last class's probability. Without it such an answer is refused,
    because a predicted label 0 or 1 looks the same. advice: what to do about labels instead of probabilities.

    Raises WrongAnswer for what may be right another time, ModelBroken for what contradicts the registration. A null or
    nan stays nan, which fails its own row only.
    """

    def __init__(self, plan: ScoringPlan, where: str, *, single: bool = False, advice: str = "") -> None:
        self._where = where
        self._labels = plan.class_labels
        self._single = single and plan.target_type is TargetType.BINARY
        self._advice = advice
        self.outputs = plan.outputs
        self.extra = tuple(each.name for each in plan.extra)

    def rows(self, answer: Any, rows: int, extra: Sequence[pa.Array] | None = None) -> Scores:
        """Read a list with one item for each row: a value, a list of numbers, or an object of names.

        extra: the columns beside the predictions, where the answer has them elsewhere than in such objects.
        """
        if not isinstance(answer, list):
            raise self.wrong("no list of predictions")
        self.check_count(len(answer), rows)
        if answer and isinstance(answer[0], dict):
            if extra is None:
                extra = self.beside(answer)
                answer = [{k: v for k, v in item.items() if k not in self.extra} for item in answer]
            answer = self._by_name(answer)
        return self.scores(answer, extra or ())

    def named(self, answer: Sequence[dict[str, Any]], extra: Sequence[pa.Array] = ()) -> Scores:
        """Read an object of class names and probabilities for each row."""
        return self.scores(self._by_name(answer), extra)

    def scores(self, answer: list[Any], extra: Sequence[pa.Array] = ()) -> Scores:
        """Read one value, or one list of numbers, for each row."""
        if len(extra) != len(self.extra):
            raise self.wrong(f"no columns beside the predictions, where {', '.join(self.extra)} were expected")
        if self.outputs == 0:
            return Scores(np.empty((len(answer), 0)), texts(answer, self), tuple(extra))
        return Scores(self.shaped(numbers(answer, self)), None, tuple(extra))

    def beside(self, rows: Sequence[Any]) -> list[pa.Array]:
        """Read the columns beside the predictions out of an object for each row."""
        if self.extra and not all(isinstance(row, dict) for row in rows):
            raise self.wrong("rows without columns beside the predictions")
        return [column([row.get(name) for row in rows], self) for name in self.extra]

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


def texts(answer: list[Any], reader: Reader) -> pa.Array:
    """Return a list of texts, some of them perhaps null; anything else is refused."""
    answer = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in answer]
    odd = next((item for item in answer if not isinstance(item, str | None)), None)
    if odd is not None:
        raise reader.broken(f"{odd!r} where a text was expected")
    return _encoded(answer, reader)


def column(cells: list[Any], reader: Reader) -> pa.Array:
    """Return a column beside the predictions: of numbers or of truth values where all are such, else of texts."""
    known = [cell for cell in cells if cell is not None]
    if known and all(isinstance(cell, bool) for cell in known):
        return _encoded([None if cell is None else str(cell) for cell in cells], reader)
    if known and all(_is_number(cell) for cell in known):
        return arrow.numbers(np.array([np.nan if cell is None else cell for cell in cells], np.float64))
    return _encoded([_text(cell) for cell in cells], reader)


def _text(cell: Any) -> str | None:
    return cell if isinstance(cell, str | None) else json.dumps(cell, ensure_ascii=False)


def _encoded(cells: list[str | None], reader: Reader) -> pa.Array:
    try:
        return arrow.texts(cells)
    except UnicodeEncodeError as error:
        raise reader.wrong("half of a surrogate pair, which is no text") from error


def meaning(label: str) -> str | float:
    """Return what several spellings of a class have in common."""
    try:
        number = float(label)
    except ValueError:
        return label
    return number if math.isfinite(number) else label


def _is_number(item: Any) -> bool:
    return item is None or (isinstance(item, int | float) and not isinstance(item, bool))
