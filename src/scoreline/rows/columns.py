"""The columns of an output: their names, their order and their cells.

The order is: class probabilities, the prediction, THRESHOLD and POSITIVE_CLASS, `prediction_status`, the
association id, passthrough columns. Renaming and dropping come last. A failed row keeps its place with all
generated cells empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoreline.errors import InvalidRequest, SourceError, WrongAnswer, one_line
from scoreline.rows import arrow, text
from scoreline.types import Scores, ScoringPlan, TargetType

Values = npt.NDArray[np.float64]
STATUS = "prediction_status"
OK = "OK"
_ERROR = "ERROR: "
_STATUS_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Generated:
    """One generated column: its name, and how its cells follow from the values of the rows scored."""

    name: str
    cells: Callable[[Values], pa.Array]


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    generated: Generated | None = None  # None: the status, or a source column
    source: str | None = None


class OutputColumns:
    """The output columns of one job over a source with `source_columns`.

    names: the header, in order. passthrough: the source columns that `build` needs. warnings: lines for the job log.
    Raises SourceError when a passthrough column is missing or the source's names are ambiguous, InvalidRequest when
    classes or renames cannot be done.
    """

    def __init__(self, plan: ScoringPlan, source_columns: Sequence[str]) -> None:
        check_header(source_columns)
        self.warnings: list[str] = []
        columns = [_Column(made.name, generated=made) for made in generated_columns(plan)]
        if plan.include_status:
            columns.append(_Column(STATUS))
        carried = _carried(plan, source_columns)
        columns += self._renamed_on_collision(carried, [column.name for column in columns])
        self._columns = self._remapped(columns, plan.remap)
        self.names = tuple(column.name for column in self._columns)
        self.passthrough = tuple(column.source for column in self._columns if column.source is not None)

    def build(
        self, scores: Scores, passthrough: Mapping[str, pa.Array], errors: Mapping[int, str], n: int
    ) -> list[pa.Array]:
        """Return one string array of `n` cells per name.

        `scores` has a row for each of the `n` rows, or only for those without an error; `scores.row_index` says
        which when it is given. `errors` has the message (without `ERROR:`) of each failed row.
        Raises WrongAnswer when the scores fit neither.
        """
        dense, place = _placed(scores, errors, n)
        arrays = []
        for column in self._columns:
            if column.source is not None:
                arrays.append(passthrough[column.source])
            elif column.generated is None:
                arrays.append(_status(errors, n))
            else:
                cells = column.generated.cells(dense)
                arrays.append(cells if place is None else cells.take(place))
        return arrays

    def _renamed_on_collision(self, carried: Sequence[str], generated: Sequence[str]) -> list[_Column]:
        taken = {*generated, *carried}
        columns = []
        for name in carried:
            if name not in generated:
                columns.append(_Column(name, source=name))
                continue
            new = f"{name}_INPUT"
            number = 2
            while new in taken:
                new = f"{name}_INPUT_{number}"
                number += 1
            taken.add(new)
            self.warnings.append(
                f"The source column '{name}' has the name of an output column; it is carried over as '{new}'."
            )
            columns.append(_Column(new, source=name))
        return columns

    def _remapped(self, columns: Sequence[_Column], remap: Sequence[tuple[str, str | None]]) -> tuple[_Column, ...]:
        renames = dict(remap)
        present = {column.name for column in columns}
        for name in renames:
            if name not in present:
                self.warnings.append(f"columnNamesRemapping names '{name}', which is not a column of the output.")
        kept = []
        for column in columns:
            new = renames.get(column.name, column.name)
            if new is not None:
                kept.append(_Column(new, column.generated, column.source))
        twice = repeated([column.name for column in kept])
        if twice:
            raise InvalidRequest(
                f"Setting up the output columns failed: columnNamesRemapping gives several columns the name "
                f"{_listed(twice)}; choose different names.",
                "columnNamesRemapping",
            )
        if not kept:
            raise InvalidRequest(
                "Setting up the output columns failed: columnNamesRemapping drops every column; keep at least one.",
                "columnNamesRemapping",
            )
        return tuple(kept)


def generated_columns(plan: ScoringPlan) -> list[Generated]:
    """Return the columns that the model's answers fill, in order.

    Raises InvalidRequest for a target type without columns, or a class that the model does not have.
    """
    make = _SHAPES.get(plan.target_type)
    if make is None:
        raise InvalidRequest(f"Batch scoring of {plan.target_type} models is not supported yet.", "deploymentId")
    return make(plan)


def check_header(names: Sequence[str]) -> None:
    """Raise SourceError when two source columns have the same name."""
    twice = repeated(names)
    if twice:
        raise SourceError(
            f"Reading the intake failed: the header has the column {_listed(twice)} more than once; "
            "give every column its own name."
        )


def repeated(names: Sequence[str]) -> list[str]:
    """Return the names that occur more than once, in order."""
    return [name for name, count in Counter(names).items() if count > 1]


def unusable(values: Values) -> dict[int, str]:
    """Return a message for each row whose prediction is no finite number; such a row counts as failed."""
    if np.isfinite(values).all():
        return {}
    rows = np.flatnonzero(~np.isfinite(values).all(axis=1))
    return dict.fromkeys(rows.tolist(), "the model's prediction is not a finite number")


def status_text(message: str) -> str:
    """Return what `prediction_status` says of a failed row: one line of at most 500 characters."""
    return one_line(_ERROR + message, _STATUS_LENGTH)


def _carried(plan: ScoringPlan, source: Sequence[str]) -> list[str]:
    wanted = list(source) if plan.passthrough == "all" else list(dict.fromkeys(plan.passthrough))
    present = set(source)
    absent = [name for name in wanted if name not in present]
    if absent:
        raise SourceError(
            f"Reading the intake failed: the header lacks the passthrough column {_listed(absent)}; "
            "correct passthroughColumns or the file."
        )
    if plan.association_id is not None and plan.association_id in present and plan.association_id not in wanted:
        wanted.insert(0, plan.association_id)
    return wanted


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:100]) + (", ..." if len(names) > 100 else "")


def _placed(scores: Scores, errors: Mapping[int, str], n: int) -> tuple[Values, pa.Array | None]:
    """Return the values of the rows scored, and for each of `n` rows its place among them (None: one to one)."""
    values, index = scores.values, scores.row_index
    if index is None:
        if len(values) == n and not errors:
            return values, None
        index = np.arange(n)
        failed = np.zeros(n, np.bool_)
        failed[list(errors)] = True
        if len(values) == n:
            values = values[~failed]
        index = index[~failed]
    if len(values) != len(index):
        raise WrongAnswer(f"Scoring failed: {len(values)} predictions came back for {len(index)} rows.")
    place = np.full(n, -1, np.int64)
    place[index] = np.arange(len(index))
    if errors:
        place[list(errors)] = -1
    return values, arrow.numbers(place, place < 0)


def _status(errors: Mapping[int, str], n: int) -> pa.Array:
    if not errors:
        return pa.repeat(arrow.text(OK), n)
    messages = list(dict.fromkeys(errors.values()))
    number = {message: i + 1 for i, message in enumerate(messages)}
    codes = np.zeros(n, np.int64)
    codes[list(errors)] = [number[message] for message in errors.values()]
    return arrow.texts([OK, *map(status_text, messages)]).take(arrow.numbers(codes))


def _prefix(plan: ScoringPlan) -> str:
    return f"{plan.target_name}_" if plan.target_name else ""


def _number(column: int) -> Callable[[Values], pa.Array]:
    return lambda values: text.floats(values[:, column])


def _constant(cell: str) -> Callable[[Values], pa.Array]:
    return lambda values: pa.repeat(arrow.text(cell), len(values))


def _chosen(labels: Sequence[str], choose: Callable[[Values], npt.NDArray[np.int64]]) -> Callable[[Values], pa.Array]:
    known = arrow.texts(labels)
    return lambda values: known.take(arrow.numbers(choose(values)))


def _wanted_classes(plan: ScoringPlan) -> frozenset[str]:
    unknown = [label for label in plan.include_classes if label not in plan.class_labels]
    if unknown:
        raise InvalidRequest(
            f"includeProbabilitiesClasses names {_listed(unknown)}; the classes are {_listed(plan.class_labels)}.",
            "includeProbabilitiesClasses",
        )
    if plan.include_classes:
        return frozenset(plan.include_classes)
    return frozenset(plan.class_labels) if plan.include_probabilities else frozenset()


def _regression(plan: ScoringPlan) -> list[Generated]:
    return [Generated(f"{_prefix(plan)}PREDICTION", _number(0))]


def _binary(plan: ScoringPlan) -> list[Generated]:
    labels = plan.class_labels
    if len(labels) != 2:
        raise InvalidRequest(f"A binary model has two class labels, not {len(labels)}.", "classLabels")
    positive = labels[-1] if plan.positive_class is None else plan.positive_class
    if positive not in labels:
        raise InvalidRequest(f"The positive class '{positive}' is none of {_listed(labels)}.", "positiveClass")
    side = labels.index(positive)
    negative = labels[1 - side]
    wanted = _wanted_classes(plan)

    def probability(values: Values) -> Values:
        if values.shape[1] == 1:  # a server that gives the last label's probability alone
            return values[:, 0] if side == 1 else 1 - values[:, 0]
        return values[:, side]

    columns = []
    if positive in wanted:
        columns.append(
            Generated(f"{_prefix(plan)}{positive}_PREDICTION", lambda values: text.floats(probability(values)))
        )
    if negative in wanted:
        columns.append(
            Generated(f"{_prefix(plan)}{negative}_PREDICTION", lambda values: text.floats(1 - probability(values)))
        )
    choice = _chosen((negative, positive), lambda values: (probability(values) > plan.threshold).astype(np.int64))
    return [
        *columns,
        Generated(f"{_prefix(plan)}PREDICTION", choice),
        Generated("THRESHOLD", _constant(repr(float(plan.threshold)))),
        Generated("POSITIVE_CLASS", _constant(positive)),
    ]


def _multiclass(plan: ScoringPlan) -> list[Generated]:
    wanted = _wanted_classes(plan)
    columns = [
        Generated(f"{_prefix(plan)}{label}_PREDICTION", _number(i))
        for i, label in enumerate(plan.class_labels)
        if label in wanted
    ]
    choice = _chosen(plan.class_labels, lambda values: values.argmax(axis=1))
    return [*columns, Generated(f"{_prefix(plan)}PREDICTION", choice)]


# A further target type is one more function here.
_SHAPES: dict[TargetType, Callable[[ScoringPlan], list[Generated]]] = {
    TargetType.REGRESSION: _regression,
    TargetType.BINARY: _binary,
    TargetType.MULTICLASS: _multiclass,
}
