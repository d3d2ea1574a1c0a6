"""Answers of models and servers as they are: checked, put together from parts, cut down to some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.errors import WrongAnswer
from scoreline.rows import arrow, text
from scoreline.types import Scores, ScoringPlan

Values = npt.NDArray[np.float64]


def nothing(plan: ScoringPlan) -> Scores:
    """Return the scores of no rows."""
    texts = pa.nulls(0, pa.string()) if plan.outputs == 0 else None
    return Scores(np.empty((0, plan.outputs)), texts, tuple(pa.nulls(0, pa.string()) for _ in plan.extra))


def checked(scores: Scores, rows: int, plan: ScoringPlan) -> Scores:
    """Return one score for each of `rows` rows, as the plan has them. Raises WrongAnswer for any other shape."""
    values = scores.values
    found = next((len(each) for each in (values, *_columns(scores)) if len(each) != rows), rows)
    if values.ndim != 2 or found != rows:
        raise WrongAnswer(
            f"Scoring failed: the prediction server gave {found} predictions for {rows} rows; "
            "check that the model keeps every row."
        )
    if values.shape[1] == 1 and plan.outputs == 2:  # the last label's probability alone
        values = np.hstack([1 - values, values])
    if values.shape[1] != plan.outputs or (scores.text is None) is (plan.outputs == 0):
        gave = f"{values.shape[1]} values a row" if scores.text is None else "text"
        wanted = f"{plan.outputs}" if plan.outputs else "text"
        raise WrongAnswer(
            f"Scoring failed: the prediction server gave {gave}, not {wanted}; check the deployment's class labels."
        )
    if len(scores.extra) != len(plan.extra):
        raise WrongAnswer(
            f"Scoring failed: the prediction server gave {len(scores.extra)} columns beside the predictions, not "
            f"{len(plan.extra)}; register the model again."
        )
    if scores.row_index is not None and not np.array_equal(scores.row_index, np.arange(rows)):
        raise WrongAnswer("Scoring failed: the prediction server gave rows in another order than they were sent.")
    return Scores(values, scores.text, scores.extra, model=scores.model)


def joined(parts: Sequence[tuple[int, Scores]], rows: int, plan: ScoringPlan) -> Scores:
    """Put together the scores of parts of a batch of `rows` rows, each given with its first row.

    The result's `row_index` says which rows they are, unless they are all.
    """
    if len(parts) == 1 and len(parts[0][1].values) == rows:
        return parts[0][1]
    if not parts:
        return replace(nothing(plan), row_index=np.empty(0, np.int64))
    ordered = sorted(parts, key=lambda part: part[0])
    each = [scores for _, scores in ordered]
    index = np.concatenate([np.arange(first, first + len(scores.values)) for first, scores in ordered])
    return Scores(
        np.concatenate([scores.values for scores in each]),
        None if plan.outputs else pa.concat_arrays([scores.text for scores in each]),
        tuple(_together([scores.extra[place] for scores in each]) for place in range(len(plan.extra))),
        index if len(index) < rows else None,
    )


def chosen(scores: Scores, keep: npt.NDArray[np.bool_]) -> Scores:
    """Return the scores of some rows; their `row_index` is lost."""
    mask = arrow.flags(keep)
    texts = None if scores.text is None else scores.text.filter(mask)
    return Scores(scores.values[keep], texts, tuple(column.filter(mask) for column in scores.extra))


def unusable(scores: Scores) -> dict[int, str]:
    """Return a message for each row without a usable prediction; such a row counts as failed."""
    if scores.text is not None:
        if not scores.text.null_count:
            return {}
        rows = np.flatnonzero(~arrow.valid(scores.text))
        return dict.fromkeys(rows.tolist(), "the model gave no text")
    finite = np.isfinite(scores.values)
    if finite.all():
        return {}
    rows = np.flatnonzero(~finite.all(axis=1))
    return dict.fromkeys(rows.tolist(), "the model's prediction is not a finite number")


def _columns(scores: Scores) -> list[pa.Array]:
    return [*([] if scores.text is None else [scores.text]), *scores.extra]


def _together(columns: list[pa.Array]) -> pa.Array:
    """Concatenate columns whose types may differ: whole numbers with gaps in one part come as other numbers do."""
    kinds = {column.type for column in columns}
    if kinds == {pa.int64(), pa.float64()}:
        columns = [pc.cast(column, pa.float64()) for column in columns]
    elif len(kinds) > 1:
        columns = [text.cells(column) for column in columns]
    return pa.concat_arrays(columns)
