"""The generated columns of each target type: their names, and how their cells follow from a model's answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.errors import InvalidRequest, WrongAnswer
from scoreline.rows import arrow, cast, text
from scoreline.types import Boundaries, ExtraOutput, FeatureType, Scores, ScoringPlan, TargetType

Values = npt.NDArray[np.float64]
ANOMALY_SCORE = "ANOMALY_SCORE"
OUTLIER = "IS_OUTLIER_PREDICTION"
STATUS = "prediction_status"
APPROVAL = "DEPLOYMENT_APPROVAL_STATUS"
_NAMELESS = "target"  # stands for the name that a multilabel target does not have
_EXTRA = "EXTRA_"
_TEXT, _DOUBLE, _FLAG = pa.string(), pa.float64(), pa.bool_()


@dataclass(frozen=True, slots=True)
class Generated:
    """One generated column: its name, and how it follows from the scores of the rows scored.

    values: with the type `kind`. texts: what CSV has instead, where that is not what `text.cells` makes of them.
    """

    name: str
    kind: pa.DataType
    values: Callable[[Scores], pa.Array]
    texts: Callable[[Scores], pa.Array] | None = None

    def cells(self, scores: Scores) -> pa.Array:
        """Return the cells as texts."""
        return text.cells(self.values(scores)) if self.texts is None else self.texts(scores)


def generated_columns(plan: ScoringPlan) -> list[Generated]:
    """Return the columns that the model's answers fill, in order.

    Raises InvalidRequest for a target type without columns, or a class that the model does not have.
    """
    make = _SHAPES.get(plan.target_type)
    if make is None:
        raise InvalidRequest(
            f"{plan.target_type} models cannot be scored in rows and columns: batch scoring is for "
            f"{', '.join(_SHAPES)} models.",
            "deploymentId",
        )
    columns = make(plan)
    marks = [] if plan.outliers is None else [_outlier(plan.outliers)]
    others = [*([STATUS] if plan.include_status else []), *([] if plan.approval is None else [APPROVAL])]
    columns += _extra(plan.extra, [*(column.name for column in (*columns, *marks)), *others])
    return columns + marks


def label_thresholds(plan: ScoringPlan) -> tuple[float, ...]:
    """Return the threshold of each label of a multilabel target, in the order of the labels."""
    return plan.label_thresholds or (plan.threshold,) * len(plan.class_labels)


def listed(names: Sequence[str]) -> str:
    """Return names for a sentence."""
    return ", ".join(f"'{name}'" for name in names[:100]) + (", ..." if len(names) > 100 else "")


def _prefix(plan: ScoringPlan) -> str:
    return f"{plan.target_name}_" if plan.target_name else ""


def _number(column: int) -> Callable[[Scores], pa.Array]:
    return lambda scores: _finite(scores.values[:, column])


def _finite(values: Values) -> pa.Array:
    return arrow.numbers(values, ~np.isfinite(values))


def _constant(cell: pa.Scalar) -> Callable[[Scores], pa.Array]:
    return lambda scores: pa.repeat(cell, len(scores.values))


def _fixed(name: str, number: float) -> Generated:
    value = arrow.numbers(np.array([float(number)]))[0]
    return Generated(name, _DOUBLE, _constant(value), _constant(arrow.text(repr(float(number)))))


def _yes_no(decide: Callable[[Values], npt.NDArray[np.bool_]]) -> Callable[[Scores], pa.Array]:
    return lambda scores: arrow.flags(decide(scores.values))


def _chosen(labels: Sequence[str], choose: Callable[[Values], npt.NDArray[np.int64]]) -> Callable[[Scores], pa.Array]:
    known = arrow.texts(labels)
    return lambda scores: known.take(arrow.numbers(choose(scores.values)))


def _wanted_classes(plan: ScoringPlan) -> frozenset[str]:
    unknown = [label for label in plan.include_classes if label not in plan.class_labels]
    if unknown:
        raise InvalidRequest(
            f"includeProbabilitiesClasses names {listed(unknown)}; the classes are {listed(plan.class_labels)}.",
            "includeProbabilitiesClasses",
        )
    if plan.include_classes:
        return frozenset(plan.include_classes)
    return frozenset(plan.class_labels) if plan.include_probabilities else frozenset()


def _regression(plan: ScoringPlan) -> list[Generated]:
    return [Generated(f"{_prefix(plan)}PREDICTION", _DOUBLE, _number(0))]


def _anomaly(_plan: ScoringPlan) -> list[Generated]:
    return [Generated(ANOMALY_SCORE, _DOUBLE, _number(0))]


def _text(plan: ScoringPlan) -> list[Generated]:
    return [Generated(f"{_prefix(plan)}PREDICTION", _TEXT, lambda scores: scores.text)]


def _binary(plan: ScoringPlan) -> list[Generated]:
    labels = plan.class_labels
    if len(labels) != 2:
        raise InvalidRequest(f"A binary model has two class labels, not {len(labels)}.", "classLabels")
    positive = labels[-1] if plan.positive_class is None else plan.positive_class
    if positive not in labels:
        raise InvalidRequest(f"The positive class '{positive}' is none of {listed(labels)}.", "positiveClass")
    side = labels.index(positive)
    negative = labels[1 - side]
    wanted = _wanted_classes(plan)

    def probability(values: Values) -> Values:
        if values.shape[1] == 1:  # a server that gives the last label's probability alone
            return values[:, 0] if side == 1 else 1 - values[:, 0]
        return values[:, side]

    columns = []
    if positive in wanted:
        name = f"{_prefix(plan)}{positive}_PREDICTION"
        columns.append(Generated(name, _DOUBLE, lambda scores: _finite(probability(scores.values))))
    if negative in wanted:
        name = f"{_prefix(plan)}{negative}_PREDICTION"
        columns.append(Generated(name, _DOUBLE, lambda scores: _finite(1 - probability(scores.values))))
    choice = _chosen((negative, positive), lambda values: (probability(values) > plan.threshold).astype(np.int64))
    return [
        *columns,
        Generated(f"{_prefix(plan)}PREDICTION", _TEXT, choice),
        _fixed("THRESHOLD", plan.threshold),
        Generated("POSITIVE_CLASS", _TEXT, _constant(arrow.text(positive))),
    ]


def _multiclass(plan: ScoringPlan) -> list[Generated]:
    wanted = _wanted_classes(plan)
    columns = [
        Generated(f"{_prefix(plan)}{label}_PREDICTION", _DOUBLE, _number(i))
        for i, label in enumerate(plan.class_labels)
        if label in wanted
    ]
    choice = _chosen(plan.class_labels, lambda values: values.argmax(axis=1))
    return [*columns, Generated(f"{_prefix(plan)}PREDICTION", _TEXT, choice)]


def _multilabel(plan: ScoringPlan) -> list[Generated]:
    columns = []
    for place, (label, threshold) in enumerate(zip(plan.class_labels, label_thresholds(plan), strict=True)):
        name = f"{plan.target_name or _NAMELESS}_{label}"
        columns += [
            Generated(f"{name}_PROBABILITY", _DOUBLE, _number(place)),
            _fixed(f"{name}_THRESHOLD", threshold),
            Generated(f"{name}_DECISION", _FLAG, _yes_no(_above(place, threshold))),
        ]
    return columns


def _above(place: int, threshold: float) -> Callable[[Values], npt.NDArray[np.bool_]]:
    return lambda values: values[:, place] > threshold


def _extra(extra: Sequence[ExtraOutput], generated: Sequence[str]) -> list[Generated]:
    """Return the columns of what a model gives besides; a name that is taken gets a prefix."""
    taken = {*generated, *(each.name for each in extra)}
    columns = []
    for place, each in enumerate(extra):
        name = each.name
        if name in generated:
            name, number = f"{_EXTRA}{each.name}", 2
            while name in taken:
                name, number = f"{_EXTRA}{number}_{each.name}", number + 1
            taken.add(name)
        columns.append(
            Generated(name, cast.ARROW_TYPES[each.type], _beside_typed(place, each), _beside(place, each.type))
        )
    return columns


def _beside(place: int, kind: FeatureType) -> Callable[[Scores], pa.Array]:
    if kind is FeatureType.INTEGER:
        return lambda scores: text.whole_cells(scores.extra[place])
    if kind is FeatureType.NUMERIC:
        return lambda scores: text.cells(_as_floats(scores.extra[place]))
    return lambda scores: text.cells(scores.extra[place])


def _beside_typed(place: int, each: ExtraOutput) -> Callable[[Scores], pa.Array]:
    def values(scores: Scores) -> pa.Array:
        column, kind = scores.extra[place], cast.ARROW_TYPES[each.type]
        if column.type == kind:
            return _finite(arrow.values(column)) if kind == _DOUBLE else column
        try:
            return text.cells(column) if kind == _TEXT else pc.cast(column, kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise WrongAnswer(
                f"Scoring failed: the model's column '{each.name}' is declared as {each.type}, and its values are not: "
                f"{error}; deploy the model with another type for it, or write CSV."
            ) from error

    return values


def _as_floats(column: pa.Array) -> pa.Array:
    return pc.cast(column, pa.float64()) if pa.types.is_integer(column.type) else column


def _outlier(usual: Boundaries) -> Generated:
    lower = -np.inf if usual.lower is None else usual.lower
    upper = np.inf if usual.upper is None else usual.upper
    return Generated(OUTLIER, _FLAG, _yes_no(lambda values: (values[:, 0] < lower) | (values[:, 0] > upper)))


# A further target type is one more function here.
_SHAPES: dict[TargetType, Callable[[ScoringPlan], list[Generated]]] = {
    TargetType.REGRESSION: _regression,
    TargetType.BINARY: _binary,
    TargetType.MULTICLASS: _multiclass,
    TargetType.MULTILABEL: _multilabel,
    TargetType.ANOMALY: _anomaly,
    TargetType.TEXT_GENERATION: _text,
}
