"""XGBoost's json and ubj model files, and XGBoost objects out of a pickle."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.errors import DataRefused, ModelBroken
from scoreline.models import ubjson
from scoreline.models.base import (
    Values,
    both_classes,
    broken,
    class_target,
    columns,
    label,
    loading,
    numbers,
    predicting,
    require,
    valid,
)
from scoreline.types import Feature, FeatureType, JsonObject, ModelInfo, TargetType

_PROBABILITY = frozenset(("binary:logistic", "multi:softprob"))
_LABELS_FROM_MARGIN = "multi:softmax"
_REGRESSION = ("reg:", "count:", "survival:aft")
_LINEAR = "gblinear"
_CUTS_TEXTS_RIGHT = (3, 3)
_VERSION = re.compile(rb'version(?:"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)|\[#L.{8}i(.)i(.))', re.DOTALL)


def load(path: Path, *, trusted: bool = False, threads: int = 1) -> XGBoostModel:
    """Load a model file; running no code, it needs no trust. Raises ModelBroken, SetupError."""
    del trusted
    library = require("xgboost", "Loading an XGBoost model")
    content = path.read_bytes()
    with loading(path.name, "XGBoost"), library.config_context(verbosity=0):
        if content.startswith(b"{") and not content[1:].lstrip().startswith(b'"'):
            ubjson.check(content)
        booster = library.Booster(params={"nthread": threads}, model_file=bytearray(content))
        return XGBoostModel(booster, path.name, threads, version=_written_by(content))


def from_object(model: Any, name: str, threads: int) -> XGBoostModel:
    """Take over a `Booster` or a fitted `XGBModel`, with its best iteration and its class labels."""
    with loading(name, "XGBoost"):
        if not hasattr(model, "get_booster"):
            return XGBoostModel(model, name, threads)
        labels = tuple(map(label, model.classes_)) if hasattr(model, "classes_") else None
        return XGBoostModel(model.get_booster(), name, threads, labels=labels, missing=model.missing, wrapped=True)


class XGBoostModel:
    """A booster with the columns and categories it was trained on. XGBoost computes in float32."""

    def __init__(
        self,
        booster: Any,
        name: str,
        threads: int,
        *,
        labels: tuple[str, ...] | None = None,
        missing: float = np.nan,
        wrapped: bool = False,
        version: tuple[int, int] = (0, 0),
    ) -> None:
        self._booster = booster
        self._threads = threads
        self._lock = threading.Lock()
        self._missing = np.nan if missing is None else missing
        booster.set_param({"nthread": threads, "device": "cpu"})
        learner = json.loads(booster.save_config())["learner"]
        self._objective = learner["objective"]["name"]
        self._linear = learner["gradient_booster"]["name"] == _LINEAR
        target_type, classes = _target(self._objective, learner["learner_model_param"], name)
        # A model of the scikit-learn interface predicts with its best iteration, a plain booster with all of them.
        attributes = booster.attributes()
        best = attributes.get("best_iteration") if wrapped or "scikit_learn" in attributes else None
        self._iterations = (0, 0) if best is None or self._linear else (0, int(best) + 1)
        self._categories = _categories(booster)
        _check_texts(self._categories, version, name)
        self.info = ModelInfo(
            format="xgboost",
            target_type=target_type,
            features=_features(booster, self._categories, name),
            class_labels=None if target_type is TargetType.MULTILABEL else labels,
            outputs=classes,
        )

    def predict(self, batch: pa.RecordBatch) -> Values:
        """Return the predictions; see `Model.predict`. A category that training did not have is refused."""
        arrays = columns(batch, self.info, by_position=not self._booster.feature_names)
        matrix = np.empty((batch.num_rows, len(arrays)))
        for index, (array, feature) in enumerate(zip(arrays, self.info.features, strict=True)):
            known = self._categories.get(feature.name)
            matrix[:, index] = numbers(array, feature.name) if known is None else _codes(array, known, feature.name)
        with predicting("XGBoost"):
            answer = self._answer(matrix)
        if self._objective == _LABELS_FROM_MARGIN:
            return _softmax(answer)
        if self.info.target_type is TargetType.BINARY and answer.ndim == 1:
            return both_classes(answer)
        return answer.reshape(batch.num_rows, -1).astype(np.float64)

    def _answer(self, matrix: Values) -> npt.NDArray[np.float32]:
        margin = self._objective == _LABELS_FROM_MARGIN
        answer: npt.NDArray[np.float32]
        if self._linear:
            library = require("xgboost", "Scoring with an XGBoost model")
            data = library.DMatrix(matrix, missing=self._missing, nthread=self._threads)
            with self._lock:  # unlike trees, linear boosters are not safe to ask from several threads
                answer = self._booster.predict(data, output_margin=margin, validate_features=False)
        else:
            answer = self._booster.inplace_predict(
                matrix,
                iteration_range=self._iterations,
                predict_type="margin" if margin else "value",
                missing=self._missing,
                validate_features=False,
            )
        return answer


def _target(objective: str, parameters: JsonObject, name: str) -> tuple[TargetType, int]:
    classes = int(parameters.get("num_class", 0))
    targets = int(parameters.get("num_target", 1))
    if targets > 1 and objective == "binary:logistic":
        return TargetType.MULTILABEL, targets
    if targets > 1:
        raise broken(name, "it predicts several targets at once, and one is scored at a time: train one model for each")
    if objective == "binary:logistic":
        return TargetType.BINARY, 2
    if objective in _PROBABILITY or objective == _LABELS_FROM_MARGIN:
        return class_target(classes), classes
    if objective.startswith(_REGRESSION):
        return TargetType.REGRESSION, 1
    if objective.startswith(("binary:", "multi:")):
        raise broken(
            name,
            f"the objective {objective!r} gives no class probabilities: train with 'binary:logistic' or "
            "'multi:softprob'",
        )
    raise broken(
        name,
        f"the objective {objective!r} is neither a regression nor a classification: train with one of those, such as "
        "'reg:squarederror' or 'binary:logistic'",
    )


def _categories(booster: Any) -> dict[str, pa.Array]:
    """Return the categories by column name, in the order of their codes, as far as the file has them (since 3.1)."""
    if not hasattr(booster, "get_categories") or "c" not in (booster.feature_types or ()):
        return {}
    stored = booster.get_categories(export_to_arrow=True).to_arrow()
    return {name: values for name, values in stored or () if values is not None and len(values)}


def _check_texts(categories: dict[str, pa.Array], version: tuple[int, int], name: str) -> None:
    """Refuse texts beyond ASCII from versions that cut them at the wrong places (XGBoost's pull request 12371)."""
    if version >= _CUTS_TEXTS_RIGHT:
        return
    for column, values in categories.items():
        if any(not str(value).isascii() for value in _decoded(values)):
            raise broken(
                name,
                f"XGBoost before 3.3 stores categories beyond ASCII wrongly, as those of the column {column!r}: train "
                "it with plain ASCII categories, or with whole numbers",
            )


def _decoded(values: pa.Array) -> list[Any]:
    # Text cut within a letter is not even UTF-8.
    if not pa.types.is_string(values.type):
        return []
    return [value.decode("utf-8", "replace") for value in values.cast(pa.binary()).to_pylist()]


def _written_by(content: bytes) -> tuple[int, int]:
    """Return the version of XGBoost that wrote a file, as its last entry says; (0, 0) if it does not."""
    found = _VERSION.search(content[-200:])
    if not found:
        return 0, 0
    return (int(found[1]), int(found[2])) if found[1] else (found[3][0], found[4][0])


def _features(booster: Any, categories: dict[str, pa.Array], name: str) -> tuple[Feature, ...]:
    names = booster.feature_names or [f"f{index}" for index in range(booster.num_features())]
    kinds = booster.feature_types or ["float"] * len(names)
    if len(kinds) != len(names):
        raise broken(name, "its list of features is damaged: save the model again")
    return tuple(_feature(text, kind, categories.get(text)) for text, kind in zip(names, kinds, strict=True))


def _feature(name: str, kind: str, categories: pa.Array | None) -> Feature:
    if categories is not None:
        first = categories[0].as_py()
        text = isinstance(first, str)
        return Feature(name, FeatureType.TEXT if text else FeatureType.NUMERIC, example=first)
    # "int" says only that the training data had whole numbers: the trees take any number there.
    return Feature(name, FeatureType.BOOLEAN if kind == "i" else FeatureType.NUMERIC)


def _codes(column: pa.Array, categories: pa.Array, name: str) -> npt.NDArray[Any]:
    """Return the categories' codes, NaN for what is missing. Raises DataRefused for one that training did not have."""
    text = pa.types.is_string(categories.type) or pa.types.is_large_string(categories.type)
    if text != (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise ModelBroken(
            f"The model's categories in the column {name!r} are {categories.type}, but it is registered as "
            f"{column.type}; register it again."
        )
    common = pa.large_string() if text else pa.float64()
    found = pc.index_in(column.cast(common), categories.cast(common))
    unknown = valid(column) & ~valid(found)
    if unknown.any():
        row = int(unknown.argmax())
        raise DataRefused(
            f"column '{name}': {column[row].as_py()!r} is a category that the model was not trained on", row
        )
    return numbers(found, name)


def _softmax(margins: npt.NDArray[np.float32]) -> Values:
    shifted = margins.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    np.exp(shifted, out=shifted)
    values: Values = shifted / shifted.sum(axis=1, keepdims=True)
    return values
