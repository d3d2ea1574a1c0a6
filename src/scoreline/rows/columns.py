"""The columns of an output: their names, their order and their cells.

The order is: what the model gives (`rows.shapes`), IS_OUTLIER_PREDICTION, `prediction_status`, the association id,
passthrough columns, DEPLOYMENT_APPROVAL_STATUS. Renaming and dropping come last. A failed row keeps its place with all
generated cells empty.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from scoreline.errors import InvalidRequest, SourceError, WrongAnswer, one_line
from scoreline.rows import arrow
from scoreline.rows.scores import chosen
from scoreline.rows.shapes import APPROVAL, STATUS, Generated, generated_columns, listed
from scoreline.rows.typed import as_text
from scoreline.types import Scores, ScoringPlan

OK = "OK"
_ERROR = "ERROR: "
_STATUS_LENGTH = 500

_SNAKE = re.compile("(?<!_)_([a-z])")


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    generated: Generated | None = None
    constant: str | None = None
    source: str | None = None  # none of the three: the status


class OutputColumns:
    """The output columns of one job over a source with `source_columns`.

    names: the header, in order. passthrough: the source columns that `build` needs. partition: source columns by which
    the output is divided; they are no columns of it under their own names. warnings: lines for the job log.
    Raises SourceError when a passthrough column is missing or the source's names are ambiguous, InvalidRequest when
    classes or renames cannot be done.
    """

    def __init__(self, plan: ScoringPlan, source_columns: Sequence[str], partition: Sequence[str] = ()) -> None:
        check_header(source_columns)
        self.warnings: list[str] = list(plan.notes)
        columns = [_Column(made.name, generated=made) for made in generated_columns(plan)]
        if plan.include_status:
            columns.append(_Column(STATUS))
        last = [] if plan.approval is None else [_Column(APPROVAL, constant=plan.approval)]
        generated = [column.name for column in (*columns, *last)]
        if twice := repeated(generated):
            raise InvalidRequest(
                f"Setting up the output columns failed: two of them have the name {listed(twice)}; deploy the model "
                "with another target name.",
                "deploymentId",
            )
        columns += self._renamed_on_collision(_carried(plan, source_columns), generated)
        self._columns = self._remapped([*columns, *last], plan.remap)
        self._partition = _divided(partition, source_columns)
        self._columns = tuple(
            column for column in self._columns if column.source != column.name or column.source not in partition
        )
        self.names = tuple(column.name for column in self._columns)
        carried = [column.source for column in self._columns if column.source is not None]
        self.passthrough = tuple(dict.fromkeys((*carried, *partition)))

    def types(self, source: Mapping[str, pa.DataType]) -> list[pa.DataType]:
        """Return the types that `build` gives when it is to keep types; `source`: those of the source's columns."""
        return [
            source[column.source]
            if column.source is not None
            else (pa.string() if column.generated is None else column.generated.kind)
            for column in self._columns
        ]

    def build(
        self,
        scores: Scores,
        passthrough: Mapping[str, pa.Array],
        errors: Mapping[int, str],
        n: int,
        *,
        typed: bool = False,
    ) -> list[pa.Array]:
        """Return one array of `n` cells per name: of strings, or with the types that `types` says; then partitions.

        `scores` has a row for each of the `n` rows, or only for those without an error; `scores.row_index` says
        which when it is given. `errors` has the message (without `ERROR:`) of each failed row.
        Raises WrongAnswer when the scores fit neither.
        """
        dense, place = _placed(scores, errors, n)
        arrays = []
        for column in self._columns:
            if column.source is not None:
                cells = passthrough[column.source]
                arrays.append(cells if typed else as_text(cells))
                continue
            if column.generated is not None:
                cells = column.generated.values(dense) if typed else column.generated.cells(dense)
            elif column.constant is not None:
                cells = pa.repeat(arrow.text(column.constant), len(dense.values))
            else:
                arrays.append(_status(errors, n))
                continue
            arrays.append(cells if place is None else cells.take(place))
        return [*arrays, *(as_text(passthrough[name]) for name in self._partition)]

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
        for name in [name for name in renames if name not in present]:
            # The official client sends the names in a job definition's object so.
            meant = [each for each in present - renames.keys() if _SNAKE.sub(_camel, each) == name]
            if len(meant) == 1:
                renames[meant[0]] = renames[name]
                self.warnings.append(f"columnNamesRemapping names '{name}', which is taken for '{meant[0]}'.")
            else:
                self.warnings.append(f"columnNamesRemapping names '{name}', which is not a column of the output.")
        kept = []
        for column in columns:
            new = renames.get(column.name, column.name)
            if new is not None:
                kept.append(replace(column, name=new))
        twice = repeated([column.name for column in kept])
        if twice:
            raise InvalidRequest(
                f"Setting up the output columns failed: columnNamesRemapping gives several columns the name "
                f"{listed(twice)}; choose different names.",
                "columnNamesRemapping",
            )
        if not kept:
            raise InvalidRequest(
                "Setting up the output columns failed: columnNamesRemapping drops every column; keep at least one.",
                "columnNamesRemapping",
            )
        return tuple(kept)


def _camel(found: re.Match[str]) -> str:
    return found[1].upper()


def check_header(names: Sequence[str]) -> None:
    """Raise SourceError when two source columns have the same name."""
    twice = repeated(names)
    if twice:
        raise SourceError(
            f"Reading the intake failed: the header has the column {listed(twice)} more than once; "
            "give every column its own name."
        )


def repeated(names: Sequence[str]) -> list[str]:
    """Return the names that occur more than once, in order."""
    return [name for name, count in Counter(names).items() if count > 1]


def status_text(message: str) -> str:
    """Return what `prediction_status` says of a failed row: one line of at most 500 characters."""
    return one_line(_ERROR + message, _STATUS_LENGTH)


def _carried(plan: ScoringPlan, source: Sequence[str]) -> list[str]:
    wanted = list(source) if plan.passthrough == "all" else list(dict.fromkeys(plan.passthrough))
    present = set(source)
    absent = [name for name in wanted if name not in present]
    if absent:
        raise SourceError(
            f"Reading the intake failed: the header lacks the passthrough column{'s' * (len(absent) > 1)} "
            f"{listed(absent)}; "
            "correct passthroughColumns or the file."
        )
    absent = [name for name in plan.association_id if name not in present]
    if absent and plan.association_required:
        raise SourceError(
            f"Reading the intake failed: the header lacks the association id {listed(absent)}, which the deployment "
            "requires; add it to the file, or change the deployment's setting."
        )
    return [name for name in plan.association_id if name in present and name not in wanted] + wanted


def _divided(partition: Sequence[str], source: Sequence[str]) -> tuple[str, ...]:
    absent = [name for name in partition if name not in source]
    if absent:
        raise SourceError(
            f"Reading the intake failed: the header lacks the partition column{'s' * (len(absent) > 1)} "
            f"{listed(absent)}; correct partitionColumns or the file."
        )
    return tuple(partition)


def _placed(scores: Scores, errors: Mapping[int, str], n: int) -> tuple[Scores, pa.Array | None]:
    """Return the scores of the rows scored, and for each of `n` rows its place among them (None: one to one)."""
    index = scores.row_index
    if index is None:
        if len(scores.values) == n and not errors:
            return scores, None
        index = np.arange(n)
        scored = np.ones(n, np.bool_)
        scored[list(errors)] = False
        if len(scores.values) == n:
            scores = chosen(scores, scored)
        index = index[scored]
    if len(scores.values) != len(index):
        raise WrongAnswer(f"Scoring failed: {len(scores.values)} predictions came back for {len(index)} rows.")
    place = np.full(n, -1, np.int64)
    place[index] = np.arange(len(index))
    if errors:
        place[list(errors)] = -1
    return scores, arrow.numbers(place, place < 0)


def _status(errors: Mapping[int, str], n: int) -> pa.Array:
    if not errors:
        return pa.repeat(arrow.text(OK), n)
    messages = list(dict.fromkeys(errors.values()))
    number = {message: i + 1 for i, message in enumerate(messages)}
    codes = np.zeros(n, np.int64)
    codes[list(errors)] = [number[message] for message in errors.values()]
    return arrow.texts([OK, *map(status_text, messages)]).take(arrow.numbers(codes))
