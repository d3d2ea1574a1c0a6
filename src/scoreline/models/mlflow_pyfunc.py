"""MLflow models that only MLflow itself can load: custom Python models and the flavours of other libraries."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoreline.errors import DataRefused
from scoreline.models.base import (
    Values,
    as_values,
    broken,
    class_target,
    columns,
    frame,
    label,
    loading,
    numbers,
    predicting,
    refuse_nulls,
    require,
)
from scoreline.models.mlflow_signature import Column
from scoreline.models.samples import sample
from scoreline.types import Feature, FeatureType, ModelInfo, TargetType

_SUM_TOLERANCE = 1e-3
_NARROW = frozenset(("integer", "float"))


class PyfuncModel:
    """A model behind MLflow's `predict`, which checks each DataFrame against the signature."""

    def __init__(self, path: Path, declared: tuple[Column, ...] | None) -> None:
        if declared is None:
            raise broken(path.name, "it has no signature, so its columns are unknown: save it with `infer_signature`")
        with loading(path.name, "MLflow"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow warns of its own types while it is imported
            pyfunc = require("mlflow.pyfunc", "Loading an MLflow pyfunc model")
            self._model = pyfunc.load_model(str(path), suppress_warnings=True)
        self._columns = declared
        self._lock = threading.Lock()  # whose code this is may not have thought of threads
        whole = (FeatureType.INTEGER, FeatureType.BOOLEAN)
        features = tuple(Feature(c.name, c.type, not (c.type in whole and c.required)) for c in declared)
        self.info = ModelInfo("mlflow", None, features)
        target_type, labels, outputs = self._outputs(path)
        self.info = ModelInfo("mlflow", target_type, features, labels, outputs=outputs)

    def predict(self, batch: pa.RecordBatch) -> Values:
        """Return the predictions; see `Model.predict`."""
        arrays = columns(batch, self.info)
        refuse_nulls(arrays, self.info)
        values, _names = _table(self._ask(self._data(arrays)), batch.num_rows)
        return as_values(values, batch.num_rows)

    def _ask(self, data: Any) -> Any:
        with predicting("The MLflow model"), self._lock:
            return self._model.predict(data)

    def _data(self, arrays: list[pa.Array]) -> Any:
        names = [column.name for column in self._columns]
        array, _colon, kind = self._columns[0].kind.partition(":")
        if array == "tensor":
            vectors = [numbers(array, name) for array, name in zip(arrays, names, strict=True)]
            return np.column_stack(vectors).astype(kind)
        data = frame(arrays, names)
        for column in self._columns:
            if column.kind == "datetime":
                pandas = require("pandas", "Scoring with this model", "mlflow")
                with predicting("The MLflow model"):
                    data[column.name] = pandas.to_datetime(data[column.name])
            elif column.kind in _NARROW:
                data[column.name] = _narrow(data[column.name].to_numpy(), column.kind, column.name)
        return data

    def _outputs(self, path: Path) -> tuple[TargetType | None, tuple[str, ...] | None, int]:
        """Find what the model gives by asking it for one row. The signature's outputs say too little."""
        answer = self._first_answer(path)
        rows = _rows(answer)
        values, names = _table(answer, rows)
        kind = np.asarray(values).dtype
        if kind.kind in "OUSb":
            raise broken(
                path.name,
                "it gives labels only, no probabilities: let its `predict` return one probability for each class "
                "(with scikit-learn's flavour, they are read from the model inside)",
            )
        row = as_values(values, rows)[0]
        if len(row) == 1:
            # Whole numbers may be class numbers as well as counts: then the registration has to say.
            return (TargetType.REGRESSION if kind.kind == "f" else None), None, 1
        if not abs(float(row.sum()) - 1) <= _SUM_TOLERANCE:
            raise broken(
                path.name,
                f"it gives {len(row)} numbers for a row that are no probabilities (their sum is {row.sum():.6g}): let "
                "its `predict` return one number, or one probability for each class",
            )
        return class_target(len(row)), names, len(row)

    def _first_answer(self, path: Path) -> Any:
        """The answer for the example that is saved with the model, else for a made-up row."""
        example = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if self._model.metadata.saved_input_example_info:
                    example = self._model.metadata.load_input_example(str(path))
                if example is not None:
                    return self._ask(example)
            except Exception as exc:  # noqa: BLE001 -- an example that does not fit is no fault of the model
                del exc
        try:
            return self._ask(self._data([sample(feature) for feature in self.info.features]))
        except DataRefused as exc:
            raise broken(
                path.name,
                f"it does not score a made-up row ({exc.message}): save it with an `input_example` that it can score",
            ) from exc


def _table(answer: Any, rows: int) -> tuple[Any, tuple[str, ...] | None]:
    """Return a prediction's numbers and, for a DataFrame, the names of its columns."""
    names = None
    if hasattr(answer, "columns"):
        names = tuple(map(label, answer.columns))
        answer = answer.to_numpy()
    elif isinstance(answer, dict):
        names = tuple(map(label, answer))
        answer = np.column_stack([np.asarray(values).reshape(rows, -1) for values in answer.values()])
    return answer, names


def _rows(answer: Any) -> int:
    return len(next(iter(answer.values()))) if isinstance(answer, dict) else len(answer)


def _narrow(values: npt.NDArray[Any], kind: str, name: str) -> npt.NDArray[Any]:
    """Return the values in the 32-bit type that the signature demands; MLflow itself refuses a wider one."""
    if kind == "float":
        return values.astype(np.float32)
    if not np.issubdtype(values.dtype, np.integer):
        return values  # with gaps: MLflow decides
    narrow = values.astype(np.int32)
    lost = narrow != values
    if lost.any():
        row = int(lost.argmax())
        raise DataRefused(f"column '{name}': {values[row]} is beyond 32 bits, which the model's signature demands", row)
    return narrow
