"""LightGBM's text model file (`Booster.save_model`), and LightGBM objects out of a pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.errors import ModelBroken
from scoreline.models import lightgbm_trees
from scoreline.models.base import (
    Values,
    both_classes,
    broken,
    cause,
    columns,
    floats,
    integers,
    label,
    loading,
    numbers,
    predicting,
    texts,
)
from scoreline.models.lightgbm_file import Category, Column, Description, describe, for_reading
from scoreline.models.lightgbm_native import Booster, NativeError
from scoreline.models.takeover import Takeover
from scoreline.types import Feature, FeatureType, ModelInfo, TargetType

_EXACT = 2**53  # beyond, whole numbers need their own type


def load(
    path: Path, *, trusted: bool = False, threads: int = 1, text_columns: frozenset[str] | None = None
) -> LightGBMModel:
    """Load a model file; running no code, it needs no trust. `text_columns`: what a signature declares as text.

    Raises ModelBroken, SetupError.
    """
    del trusted
    with loading(path.name, "LightGBM"):
        return LightGBMModel(path.read_bytes(), path.name, threads, text_columns=text_columns)


def from_object(model: Any, name: str, threads: int, text_columns: frozenset[str] | None = None) -> LightGBMModel:
    """Take over a `Booster` or a fitted `LGBMModel`, with its best iteration and its class labels."""
    with loading(name, "LightGBM"):
        booster = getattr(model, "booster_", model)
        labels = tuple(map(label, model.classes_)) if hasattr(model, "classes_") else None
        text = booster.model_to_string().encode()
        return LightGBMModel(text, name, threads, labels=labels, text_columns=text_columns)


class LightGBMModel:
    """A booster with the columns and categories it was trained on."""

    def __init__(
        self,
        text: bytes,
        name: str,
        threads: int,
        *,
        labels: tuple[str, ...] | None = None,
        text_columns: frozenset[str] | None = None,
    ) -> None:
        described = describe(_plain(text), name, text_columns)
        try:
            booster = Booster(for_reading(text))
        except NativeError as exc:
            raise broken(name, f"LightGBM cannot read it ({cause(exc)}): copy or save it again") from exc
        whole = booster.iterations == (described.iterations or booster.iterations) > 0
        if not whole or booster.features != len(described.columns):
            raise broken(name, "trees or features are missing: copy or save it again")
        self._scorer = Takeover(
            name,
            lambda matrix: booster.predict(matrix, threads),
            lambda: lightgbm_trees.read(_plain(text)),
            len(text),
        )
        self._coders = [None if c.categories is None else _Coder(c.name, c.categories) for c in described.columns]
        self.info = _info(described, labels)

    def predict(self, batch: pa.RecordBatch) -> Values:
        """Return the predictions; see `Model.predict`."""
        arrays = columns(batch, self.info)
        matrix = np.empty((len(arrays), batch.num_rows))
        for index, (array, coder) in enumerate(zip(arrays, self._coders, strict=True)):
            matrix[index] = numbers(array, self.info.features[index].name) if coder is None else coder.codes(array)
        with predicting("LightGBM"):
            values = self._scorer.predict(matrix)
        if self.info.target_type is TargetType.BINARY and values.shape[1] == 1:
            return both_classes(values[:, 0])
        return values


def _plain(text: bytes) -> str:
    return text.decode().replace("\r\n", "\n")


class _Coder:
    """Categories to codes, as pandas' `set_categories` does it: a value that is not among them is missing."""

    def __init__(self, name: str, categories: tuple[Category, ...]) -> None:
        self._name = name
        self._numeric = all(not isinstance(value, str) for value in categories)
        self._texts = texts([label(value) for value in categories])
        if self._numeric:
            self._floats = floats([float(value) for value in categories])
            whole = all(float(value).is_integer() and abs(float(value)) < 2**63 for value in categories)
            self._integers = integers([int(value) for value in categories]) if whole else None

    def codes(self, column: pa.Array) -> npt.NDArray[Any]:
        """Return the code of each value, NaN for none."""
        kind = column.type
        if pa.types.is_dictionary(kind):
            codes = np.append(self.codes(column.dictionary).astype(np.float64), np.nan)
            places = numbers(column.indices, self._name)
            return codes[np.where(np.isnan(places), -1, places).astype(np.int64)]
        return numbers(pc.index_in(*self._lookup(column)), self._name)

    def _lookup(self, column: pa.Array) -> tuple[pa.Array, pa.Array]:
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return column, self._texts.cast(kind)
        if not self._numeric:
            raise ModelBroken(
                f"The model takes text in the column {self._name!r}, but it is registered as {kind}; register it again."
            )
        if pa.types.is_integer(kind) and self._integers is not None:
            return column.cast(pa.int64()), self._integers
        return column.cast(pa.float64()), self._floats


def _info(described: Description, labels: tuple[str, ...] | None) -> ModelInfo:
    return ModelInfo(
        format="lightgbm",
        target_type=described.target_type,
        features=tuple(map(_feature, described.columns)),
        class_labels=labels,
        outputs=described.classes,
    )


def _feature(column: Column) -> Feature:
    values = column.categories
    if values is None:
        return Feature(column.name, FeatureType.NUMERIC)
    if any(isinstance(value, str) for value in values) or not values:
        return Feature(column.name, FeatureType.TEXT, example=label(values[0]) if values else None)
    first = values[0]
    assert not isinstance(first, str)
    if all(isinstance(value, bool) for value in values):
        return Feature(column.name, FeatureType.BOOLEAN, example=first)
    large = all(isinstance(value, int) for value in values) and any(abs(float(value)) > _EXACT for value in values)
    return Feature(column.name, FeatureType.INTEGER if large else FeatureType.NUMERIC, example=first)
