"""Answers of models that return any table they like: which columns are predictions, and which come besides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoreline.errors import DataRefused, ModelBroken
from scoreline.models.base import as_values, bools, broken, class_target, floats, integers, label
from scoreline.types import ExtraOutput, FeatureType, Scores, TargetType

_PREDICTION = ("prediction", "predictions")  # names of the column that is one, in any case
_SUM_TOLERANCE = 1e-3
_KINDS = {
    "f": FeatureType.NUMERIC,
    "i": FeatureType.INTEGER,
    "u": FeatureType.INTEGER,
    "b": FeatureType.BOOLEAN,
}


@dataclass(frozen=True, slots=True)
class Table:
    """An answer as columns; names: None where the answer has none."""

    columns: list[npt.NDArray[Any]]
    names: tuple[str, ...] | None

    @classmethod
    def of(cls, answer: Any, rows: int) -> Table:
        """Read a DataFrame, a Series, an array, a list, or a mapping of names to columns. Raises ModelBroken."""
        names = None
        if isinstance(answer, dict) and len(answer) == 1:
            (answer,) = answer.values()
        answer = _in_order(answer, rows)
        if hasattr(answer, "columns"):
            names = tuple(map(label, answer.columns))
            columns = [_flat(answer.iloc[:, place].to_numpy()) for place in range(len(names))]
        elif isinstance(answer, dict):
            names = tuple(map(label, answer))
            columns = [_flat(values) for values in answer.values()]
        elif isinstance(answer, list) and answer and isinstance(answer[0], dict):
            names = tuple(map(label, answer[0]))
            columns = [_flat([row.get(name) for row in answer]) for name in answer[0]]
        else:
            columns = _unnamed(answer)
        if names is not None and len(set(names)) < len(names):
            raise ModelBroken("The model answered two columns of the same name; give each its own.")
        if not columns or any(column.shape != (rows,) for column in columns):
            shape = np.shape(columns[0]) if columns else (0,)
            raise ModelBroken(
                f"The model answered a column of the shape {shape} for {rows} rows; register one that answers one line "
                "for each row."
            )
        return cls(columns, names)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a model's answers are what; fixed when the model is loaded.

    predictions, beside: places in the answer, or names where it has names. outputs: 0 for text.
    """

    predictions: tuple[int | str, ...]
    beside: tuple[int | str, ...]
    outputs: int
    target_type: TargetType | None
    labels: tuple[str, ...] | None
    extra: tuple[ExtraOutput, ...]

    def read(self, answer: Any, rows: int) -> Scores:
        """Return the scores in an answer. Raises ModelBroken for columns of another kind than when it was loaded."""
        table = Table.of(answer, rows)
        extra = tuple(
            texts(column) if each.type is FeatureType.TEXT else beside(column)
            for each, column in zip(self.extra, self._pick(table, self.beside), strict=True)
        )
        found = self._pick(table, self.predictions)
        if self.outputs == 0:
            return Scores(np.empty((rows, 0)), texts(found[0]), extra)
        return Scores(as_values(np.column_stack(found) if len(found) > 1 else found[0], rows), None, extra)

    def _pick(self, table: Table, wanted: Sequence[int | str]) -> list[npt.NDArray[Any]]:
        places: Sequence[int | str] = range(len(table.columns)) if table.names is None else table.names
        known = dict(zip(places, table.columns, strict=True))
        missing = [each for each in wanted if each not in known]
        if missing or (table.names is None and len(known) != len(self.predictions)):
            raise ModelBroken("The model answered other columns than when it was registered; register it again.")
        return [known[each] for each in wanted]


def layout(answer: Any, rows: int, name: str) -> Layout:
    """Find out what the columns of an answer are. Raises ModelBroken when that cannot be told."""
    table = Table.of(answer, rows)
    keys: list[int | str] = list(range(len(table.columns)) if table.names is None else table.names)
    kinds = {key: kind(column) for key, column in zip(keys, table.columns, strict=True)}
    numeric = [key for key in keys if kinds[key] in (FeatureType.NUMERIC, FeatureType.INTEGER)]
    named = [key for key in keys if len(keys) > 1 and str(key).casefold() in _PREDICTION and table.names is not None]
    if len(named) == 1 or len(keys) == 1:
        return _single(named[0] if named else keys[0], keys, kinds, name)
    if len(numeric) < 2:
        shown = ", ".join(f"{key!r} ({kinds[key]})" for key in keys[:5])
        raise broken(
            name,
            f"which of its columns is the prediction cannot be told ({shown}): let its `predict` name it `prediction`, "
            "or return one probability for each class",
        )
    row = np.array([float(table.columns[keys.index(key)][0]) for key in numeric])
    certain = abs(float(row.sum()) - 1) <= _SUM_TOLERANCE
    if not certain and not ((row >= 0) & (row <= 1)).all():
        raise broken(
            name,
            f"it gives {len(row)} numbers for a row that are no probabilities (their sum is {row.sum():.6g}): let "
            "its `predict` return one number, or one probability for each class or label; with other columns besides, "
            "name the prediction `prediction`",
        )
    others = [key for key in keys if key not in numeric]
    return Layout(
        predictions=tuple(numeric),
        beside=tuple(others),
        outputs=len(numeric),
        # Numbers from 0 to 1 with another sum may be those of labels: the registration has to say it.
        target_type=class_target(len(numeric)) if certain else None,
        labels=None if table.names is None else tuple(map(str, numeric)),
        extra=tuple(ExtraOutput(str(key), kinds[key]) for key in others),
    )


def _single(key: int | str, keys: list[int | str], kinds: dict[int | str, FeatureType], name: str) -> Layout:
    said = kinds[key]
    if said is FeatureType.BOOLEAN:
        raise broken(
            name,
            "it gives true or false only, no probabilities: let its `predict` return one probability for each class "
            "(with scikit-learn's flavour, they are read from the model inside)",
        )
    others = tuple(each for each in keys if each != key)
    return Layout(
        predictions=(key,),
        beside=others,
        outputs=0 if said is FeatureType.TEXT else 1,
        # Whole numbers may be class numbers as well as counts, and texts labels: the registration has to say it.
        target_type=TargetType.REGRESSION if said is FeatureType.NUMERIC else None,
        labels=None,
        extra=tuple(ExtraOutput(str(each), kinds[each]) for each in others),
    )


def beside(column: npt.NDArray[Any]) -> pa.Array:
    """Return a column beside the predictions as Arrow's: numbers, truth values, or texts of whatever it holds."""
    sign = column.dtype.kind
    if sign == "f" or (sign == "u" and column.dtype.itemsize == 8):
        return floats(column.astype(np.float64).tolist())
    if sign in "iu":
        return integers(column.tolist())
    if sign == "b":
        return bools(column.tolist())
    if _is_numbers(column):
        return floats([np.nan if _is_missing(cell) else cell for cell in column])
    return texts(column)


def texts(column: npt.NDArray[Any]) -> pa.Array:
    """Return texts; what is missing is null, and what is something else is written as Python does.

    Raises DataRefused for a row whose text is none.
    """
    cells = [None if _is_missing(cell) else label(cell) for cell in column.tolist()]
    try:
        return pa.array(cells, pa.string())
    except UnicodeEncodeError:
        row = next(place for place, cell in enumerate(cells) if cell is not None and not _is_text(cell))
        raise DataRefused("the model's text holds half of a surrogate pair, which is no text", row) from None


def _in_order(answer: Any, rows: int) -> Any:
    """Return a DataFrame or Series whose index says that rows were moved (sorted, say) as they were sent."""
    if not hasattr(answer, "iloc"):
        return answer
    index = answer.index.to_numpy()
    sent = np.arange(rows)
    if index.dtype.kind not in "iu" or len(index) != rows or (index == sent).all():
        return answer
    order = np.argsort(index)
    return answer.iloc[order] if (index[order] == sent).all() else answer


def _flat(values: Any) -> npt.NDArray[Any]:
    column = values if isinstance(values, np.ndarray) else _array(values)
    return column.reshape(-1) if column.ndim == 2 and column.shape[1] == 1 else column


def _unnamed(answer: Any) -> list[npt.NDArray[Any]]:
    table = answer.to_numpy() if hasattr(answer, "to_numpy") else _array(answer)
    if table.ndim <= 1:
        return [table.reshape(-1)]
    return [table[:, place] for place in range(table.shape[1])] if table.ndim == 2 else []


def _array(values: Any) -> npt.NDArray[Any]:
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, list | tuple) and any(isinstance(value, str | dict) or value is None for value in values):
        cells = np.empty(len(values), object)  # NumPy would cut or merge them
        cells[:] = values
        return cells
    try:
        return np.asarray(values)
    except ValueError as exc:
        raise ModelBroken("The model answered rows of different lengths; register one with the same for all.") from exc


def kind(column: npt.NDArray[Any]) -> FeatureType:
    """Return what a column holds: numbers, whole ones, truth values, or texts of whatever it is."""
    found = _KINDS.get(column.dtype.kind)
    if found is not None:
        return found
    return FeatureType.NUMERIC if _is_numbers(column) else FeatureType.TEXT


def _is_numbers(column: npt.NDArray[Any]) -> bool:
    if column.dtype.kind != "O":
        return False
    known = [cell for cell in column.tolist() if not _is_missing(cell)]
    return bool(known) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in known)


def _is_missing(cell: Any) -> bool:
    if isinstance(cell, float):
        return math.isnan(cell)
    return cell is None or type(cell).__name__ in ("NAType", "NaTType")


def _is_text(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True
