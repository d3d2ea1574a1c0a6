"""The two forms of a Prediction API answer: JSON records, and the CSV of a batch job."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoreline.rows import csvout
from scoreline.rows.columns import OutputColumns, unusable
from scoreline.types import CsvDialect, JsonObject, Scores, ScoringPlan, TargetType

Values = npt.NDArray[np.float64]
_SLICE = 4096  # rows that are Python objects at once


def csv_body(columns: OutputColumns, scores: Scores, source: Mapping[str, pa.Array]) -> bytes:
    """Header and records, exactly as a batch job with the same plan writes them."""
    dialect = CsvDialect()
    rows = len(scores.values)
    arrays = columns.build(scores, source, unusable(scores.values), rows)
    head = csvout.header(columns.names, dialect)
    return head + csvout.records(arrays, dialect) if rows else head


def json_body(plan: ScoringPlan, values: Values, passthrough: Mapping[str, pa.Array]) -> bytes:
    """`{"data": [...]}`, one record per row in order; a prediction that is no finite number is null."""
    describe = _DESCRIBE[plan.target_type](plan)
    parts = []
    for start in range(0, len(values), _SLICE):
        records = []
        carried = {name: column.slice(start, _SLICE).to_pylist() for name, column in passthrough.items()}
        for i, cells in enumerate(values[start : start + _SLICE].tolist()):
            record: JsonObject = {"rowId": start + i, **describe(cells), "deploymentApprovalStatus": "APPROVED"}
            if carried:
                record["passthroughValues"] = {name: texts[i] for name, texts in carried.items()}
            records.append(record)
        parts.append(json.dumps(records, allow_nan=False, separators=(",", ":"))[1:-1].encode("ascii"))
    return b'{"data":[' + b",".join(parts) + b"]}"


Describe = Callable[[list[float]], JsonObject]


def _regression(plan: ScoringPlan) -> Describe:
    def describe(cells: list[float]) -> JsonObject:
        value = _finite(cells[0])
        return {"prediction": value, "predictionValues": [{"label": plan.target_name, "value": value}]}

    return describe


def _binary(plan: ScoringPlan) -> Describe:
    labels = plan.class_labels
    positive = labels[-1] if plan.positive_class is None else plan.positive_class
    side = labels.index(positive)
    negative = labels[1 - side]

    def describe(cells: list[float]) -> JsonObject:
        probability = _finite(cells[side])
        chosen = other = None
        if probability is not None:
            chosen = positive if probability > plan.threshold else negative
            other = 1 - probability
        return {
            "prediction": chosen,
            "predictionThreshold": plan.threshold,
            "predictionValues": [
                {"label": positive, "value": probability, "threshold": plan.threshold},
                {"label": negative, "value": other, "threshold": plan.threshold},
            ],
        }

    return describe


def _multiclass(plan: ScoringPlan) -> Describe:
    def describe(cells: list[float]) -> JsonObject:
        values = [_finite(cell) for cell in cells]
        best = None if None in values else plan.class_labels[cells.index(max(cells))]
        return {
            "prediction": best,
            "predictionValues": [
                {"label": label, "value": value} for label, value in zip(plan.class_labels, values, strict=True)
            ],
        }

    return describe


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


_DESCRIBE: dict[TargetType, Callable[[ScoringPlan], Describe]] = {
    TargetType.REGRESSION: _regression,
    TargetType.BINARY: _binary,
    TargetType.MULTICLASS: _multiclass,
}
