"""CatBoost's cbm model file, and CatBoost objects out of a pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.models.base import (
    Values,
    as_values,
    broken,
    class_target,
    columns,
    label,
    loading,
    numbers,
    predicting,
    refuse_nulls,
    require,
)
from scoreline.types import Feature, FeatureType, ModelInfo, TargetType

_REGRESSION = frozenset(
    ("RMSE", "MAE", "MAPE", "Quantile", "Poisson", "Tweedie", "Huber", "Expectile", "LogLinQuantile", "Lq", "LogCosh")
)
_EXPONENT = frozenset(("Poisson", "Tweedie"))  # as CatBoostRegressor does, the inverse of the link is applied
_LABELS = frozenset(("MultiLogloss", "MultiCrossEntropy"))
_CLASSIFIED = (TargetType.BINARY, TargetType.MULTICLASS)
_CLASSES = frozenset(("Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll"))


def load(path: Path, *, trusted: bool = False, threads: int = 1) -> CatBoostModel:
    """Load a model file; running no code, it needs no trust. Raises ModelBroken, SetupError."""
    del trusted
    library = require("catboost", "Loading a CatBoost model")
    with loading(path.name, "CatBoost"):
        return CatBoostModel(library.CatBoost().load_model(str(path)), path.name, threads)


def from_object(model: Any, name: str, threads: int) -> CatBoostModel:
    """Take over a fitted CatBoost object."""
    with loading(name, "CatBoost"):
        return CatBoostModel(model, name, threads)


class CatBoostModel:
    """A CatBoost model; categories are texts, and none may be missing, as CatBoost's own package demands."""

    def __init__(self, model: Any, name: str, threads: int) -> None:
        self._model = model
        self._threads = threads
        if not model.is_fitted():
            raise broken(name, "it is not trained: train it and save it again")
        if model.get_text_feature_indices() or model.get_embedding_feature_indices():
            raise broken(name, "it has text or embedding features, which are not supported: train it without them")
        loss = str(model.get_all_params().get("loss_function", "")).partition(":")[0]
        classes = [] if model.classes_ is None else list(model.classes_)
        target_type = _target(loss, len(classes), name)
        self._kind = "Exponent" if loss in _EXPONENT else "RawFormulaVal"
        if target_type is not TargetType.REGRESSION:
            self._kind = "Probability"
        self._categorical = frozenset(model.get_cat_feature_indices())
        self.info = ModelInfo(
            format="catboost",
            target_type=target_type,
            features=tuple(
                Feature(str(column), FeatureType.TEXT, nullable=False)
                if index in self._categorical
                else Feature(str(column), FeatureType.NUMERIC)
                for index, column in enumerate(model.feature_names_)
            ),
            # CatBoost numbers labels, but does not name them.
            class_labels=tuple(map(label, classes)) if classes and target_type in _CLASSIFIED else None,
            outputs=1 if target_type is TargetType.REGRESSION else max(len(classes), 2),
        )

    def predict(self, batch: pa.RecordBatch) -> Values:
        """Return the predictions; see `Model.predict`."""
        arrays = columns(batch, self.info)
        refuse_nulls(arrays, self.info)
        with predicting("CatBoost"):
            values = self._model.predict(self._data(arrays), prediction_type=self._kind, thread_count=self._threads)
        return as_values(values, batch.num_rows)

    def _data(self, arrays: list[pa.Array]) -> Any:
        names = [feature.name for feature in self.info.features]
        if not self._categorical:
            matrix = np.empty((len(arrays[0]), len(arrays)), np.float64, order="F")
            for index, array in enumerate(arrays):
                matrix[:, index] = numbers(array, names[index])
            return matrix
        pandas = require("pandas", "Scoring with a CatBoost model that has categories", "sklearn")
        data = {
            index: _category_texts(array) if index in self._categorical else numbers(array, names[index])
            for index, array in enumerate(arrays)
        }
        return pandas.DataFrame(data, copy=False).set_axis(names, axis=1)


def _category_texts(column: pa.Array) -> npt.NDArray[Any]:
    """Return texts as objects; numbers and truth values as CatBoost itself spells them."""
    if pa.types.is_boolean(column.type):
        values = np.array(["False", "True"], object)
        return values[numbers(column, "").astype(np.int64)]
    if not pa.types.is_string(column.type):
        column = pc.cast(column, pa.string())
    texts: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return texts


def _target(loss: str, classes: int, name: str) -> TargetType:
    if loss in _REGRESSION:
        return TargetType.REGRESSION
    if loss in _CLASSES:
        return class_target(max(classes, 2))
    if loss in _LABELS:
        return TargetType.MULTILABEL
    if not loss:
        raise broken(name, "it does not say which loss it was trained with: save it again with a current CatBoost")
    raise broken(
        name,
        f"the loss {loss!r} is neither a regression nor a classification of one target: train with one of those, such "
        "as 'RMSE' or 'Logloss'",
    )
