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
from scoreline.models.answers import layout
from scoreline.models.base import (
    broken,
    columns,
    frame,
    loading,
    numbers,
    predicting,
    refuse_nulls,
    require,
)
from scoreline.models.mlflow_signature import Column
from scoreline.models.samples import sample
from scoreline.types import Feature, FeatureType, ModelInfo, Scores

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
        features = tuple(
            Feature(c.name, c.type, not (c.type in whole and c.required), not c.required) for c in declared
        )
        self.info = ModelInfo("mlflow", None, features)
        answer = self._first_answer(path)
        # The signature's outputs say too little: what the model gives is seen from its answer.
        self._layout = layout(answer, _rows(answer), path.name)
        found = self._layout
        self.info = ModelInfo(
            "mlflow", found.target_type, features, found.labels, outputs=found.outputs, extra=found.extra
        )

    def predict(self, batch: pa.RecordBatch) -> Scores:
        """Return the predictions; see `Model.predict`."""
        arrays = columns(batch, self.info)
        refuse_nulls(arrays, self.info)
        return self._layout.read(self._ask(self._data(arrays)), batch.num_rows)

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
