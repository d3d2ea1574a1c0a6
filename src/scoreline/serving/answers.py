"""The two forms of a Prediction API answer: JSON records, and the CSV of a batch job."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from scoreline.rows import csvout
from scoreline.rows.columns import OutputColumns
from scoreline.rows.scores import unusable
from scoreline.rows.shapes import label_thresholds
from scoreline.types import Boundaries, CsvDialect, JsonObject, Scores, ScoringPlan, TargetType

_SLICE = 4096  # rows that are Python objects at once


def csv_body(columns: OutputColumns, scores: Scores, source: Mapping[str, pa.Array]) -> bytes:
    """Header and records, exactly as a batch job with the same plan writes them."""
    dialect = CsvDialect()
    rows = len(scores.values)
    arrays = columns.build(scores, source, unusable(scores), rows)
    head = csvout.header(columns.names, dialect)
    return head + csvout.records(arrays, dialect) if rows else head


def json_body(plan: ScoringPlan, scores: Scores, passthrough: Mapping[str, pa.Array]) -> bytes:
    """`{"data": [...]}`, one record per row in order; a prediction that is no finite number is null."""
    describe = _DESCRIBE[plan.target_type](plan)
    parts = []
    for start in range(0, len(scores.values), _SLICE):
        records = []
        carried = {name: column.slice(start, _SLICE).to_pylist() for name, column in passthrough.items()}
        extra = [column.slice(start, _SLICE).to_pylist() for column in scores.extra]
        for i, cells in enumerate(_rows(scores, start)):
            record: JsonObject = {
                "rowId": start + i,
                **describe(cells),
                "deploymentApprovalStatus": plan.approval or "APPROVED",
            }
            if plan.outliers is not None:
                record["isOutlierPrediction"] = _outlier(cells[0], plan.outliers)
            if extra:
                record["extraModelOutput"] = {
                    each.name: _plain(column[i]) for each, column in zip(plan.extra, extra, strict=True)
                }
            if carried:
                record["passthroughValues"] = {name: texts[i] for name, texts in carried.items()}
            records.append(record)
        parts.append(json.dumps(records, allow_nan=False, separators=(",", ":"))[1:-1].encode("ascii"))
    return b'{"data":[' + b",".join(parts) + b"]}"


Describe = Callable[[list[Any]], JsonObject]


def _rows(scores: Scores, start: int) -> list[list[Any]]:
    """Return what the model gave for each row of a slice: its numbers, or its text."""
    if scores.text is not None:
        return [[text] for text in scores.text.slice(start, _SLICE).to_pylist()]
    rows: list[list[Any]] = scores.values[start : start + _SLICE].tolist()
    return rows


def _outlier(value: float, usual: Boundaries) -> bool | None:
    if not math.isfinite(value):
        return None
    below = usual.lower is not None and value < usual.lower
    return below or (usual.upper is not None and value > usual.upper)


def _plain(value: Any) -> Any:
    return _finite(value) if isinstance(value, float) else value


def _one(label: str) -> Callable[[ScoringPlan], Describe]:
    """Describe a single value; without a label it has the target's name."""

    def of_plan(plan: ScoringPlan) -> Describe:
        name = label or plan.target_name

        def describe(cells: list[Any]) -> JsonObject:
            value = _plain(cells[0])
            return {"prediction": value, "predictionValues": [{"label": name, "value": value}]}

        return describe

    return of_plan


def _binary(plan: ScoringPlan) -> Describe:
    labels = plan.class_labels
    positive = labels[-1] if plan.positive_class is None else plan.positive_class
    side = labels.index(positive)
    negative = labels[1 - side]

    def describe(cells: list[Any]) -> JsonObject:
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
    def describe(cells: list[Any]) -> JsonObject:
        values = [_finite(cell) for cell in cells]
        best = None if None in values else plan.class_labels[cells.index(max(cells))]
        return {
            "prediction": best,
            "predictionValues": [
                {"label": label, "value": value} for label, value in zip(plan.class_labels, values, strict=True)
            ],
        }

    return describe


def _multilabel(plan: ScoringPlan) -> Describe:
    thresholds = label_thresholds(plan)

    def describe(cells: list[Any]) -> JsonObject:
        each = list(zip(plan.class_labels, map(_finite, cells), thresholds, strict=True))
        found = [label for label, value, threshold in each if value is not None and value > threshold]
        return {
            "prediction": None if any(value is None for _, value, _ in each) else found,
            "predictionValues": [
                {"label": label, "value": value, "threshold": threshold} for label, value, threshold in each
            ],
        }

    return describe


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


_DESCRIBE: dict[TargetType, Callable[[ScoringPlan], Describe]] = {
    TargetType.REGRESSION: _one(""),
    TargetType.BINARY: _binary,
    TargetType.MULTICLASS: _multiclass,
    TargetType.MULTILABEL: _multilabel,
    TargetType.ANOMALY: _one("Anomaly Score"),
    TargetType.TEXT_GENERATION: _one(""),
}
