"""ONNX models by ONNX Runtime, on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoreline.errors import DataRefused
from scoreline.models.base import (
    Values,
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
from scoreline.models.onnx_file import class_labels
from scoreline.models.samples import sample
from scoreline.types import Feature, FeatureType, ModelInfo, TargetType

_FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
_INTEGERS = {f"tensor({sign}int{size})": f"{sign}int{size}" for sign in ("", "u") for size in (8, 16, 32, 64)}
_STRING, _BOOL = "tensor(string)", "tensor(bool)"
_ERRORS_ONLY = 3
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class _Input:
    """One graph input that takes `width` columns of one type; flat: without a second axis."""

    name: str
    kind: str
    width: int
    flat: bool

    def type(self) -> FeatureType:
        if self.kind == _STRING:
            return FeatureType.TEXT
        if self.kind == _BOOL:
            return FeatureType.BOOLEAN
        return FeatureType.NUMERIC if self.kind in _FLOATS else FeatureType.INTEGER


def load(path: Path, *, trusted: bool = False, threads: int = 1) -> OnnxModel:
    """Load a model file; running no code, it needs no trust. Raises ModelBroken, SetupError."""
    del trusted
    runtime = require("onnxruntime", "Loading an ONNX model")
    with loading(path.name, "ONNX Runtime"):
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # Waiting threads would otherwise burn the cores that parse and write.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return OnnxModel(session, path.name, class_labels(path))


class OnnxModel:
    """A session, which several threads may use at once."""

    def __init__(self, session: Any, name: str, labels: tuple[str, ...] | None) -> None:
        self._session = session
        self._inputs = [_input(item, name) for item in session.get_inputs()]
        self._named = all(item.width == 1 for item in self._inputs)
        listed = _features(self._inputs)
        self.info = ModelInfo("onnx", None, listed)
        self._output, mapped = _choose_output(session.get_outputs(), name)
        self._keys: list[Any] | None = None
        answer = self._try(name)
        if mapped:
            self._keys = list(answer[0])
            labels = tuple(map(label, self._keys))
        elif len(answer) != 1 or not np.size(answer):
            raise broken(name, f"it answers one row with the shape {np.shape(answer)}: export it with one line a row")
        target_type, classes = _target(self._shaped(answer)[0], mapped or len(session.get_outputs()) > 1, name)
        self.info = ModelInfo(
            format="onnx",
            target_type=target_type,
            features=listed,
            class_labels=labels if labels and len(labels) == classes > 1 else None,
            outputs=classes,
        )

    def predict(self, batch: pa.RecordBatch) -> Values:
        """Return the predictions; see `Model.predict`."""
        arrays = columns(batch, self.info, by_position=not self._named)
        refuse_nulls(arrays, self.info)
        return self._shaped(self._run(arrays))

    def _try(self, name: str) -> Any:
        try:
            return self._run([sample(feature) for feature in self.info.features])
        except DataRefused as exc:
            raise broken(name, f"it does not score a made-up row ({exc.message}): export it so that it does") from exc

    def _run(self, arrays: list[pa.Array]) -> Any:
        feeds: dict[str, Any] = {}
        taken = 0
        for item in self._inputs:
            names = [feature.name for feature in self.info.features[taken : taken + item.width]]
            feeds[item.name] = _tensor(item, arrays[taken : taken + item.width], names)
            taken += item.width
        with predicting("ONNX Runtime"):
            return self._session.run([self._output], feeds)[0]

    def _shaped(self, answer: Any) -> Values:
        if self._keys is not None:  # one dict for each row, as ZipMap gives them
            return np.array([[row[key] for key in self._keys] for row in answer], np.float64)
        values = np.asarray(answer, np.float64)
        return values.reshape(len(values), -1)


def _input(item: Any, name: str) -> _Input:
    shape = item.shape
    if item.type not in (*_FLOATS, *_INTEGERS, _STRING, _BOOL):
        raise broken(name, f"its input {item.name!r} is of the type {item.type}, and only tables are scored")
    if len(shape) not in (1, 2) or (len(shape) == 2 and not isinstance(shape[1], int)):
        raise broken(
            name,
            f"its input {item.name!r} has the shape {shape}, which is no table with a known number of columns: export "
            "it with the shape [None, columns]",
        )
    if isinstance(shape[0], int):
        raise broken(
            name,
            f"its input {item.name!r} takes exactly {shape[0]} rows at a time: export it with a free first axis "
            "(dynamic batch size)",
        )
    return _Input(item.name, item.type, 1 if len(shape) == 1 else shape[1], flat=len(shape) == 1)


def _features(inputs: list[_Input]) -> tuple[Feature, ...]:
    """Name the columns: by inputs of one column each; those of a wide input have no names, so x0, x1, ..."""
    found = []
    for item in inputs:
        prefix = "x" if len(inputs) == 1 else f"{item.name}_"
        names = [item.name] if item.width == 1 else [f"{prefix}{index}" for index in range(item.width)]
        # Gaps become NaN, which only tensors of floats have.
        found += [Feature(name, item.type(), nullable=item.kind in _FLOATS) for name in names]
    return tuple(found)


def _tensor(item: _Input, arrays: list[pa.Array], names: list[str]) -> npt.NDArray[Any]:
    vectors = [_vector(item, array, name) for array, name in zip(arrays, names, strict=True)]
    return vectors[0] if item.flat else np.column_stack(vectors)


def _vector(item: _Input, array: pa.Array, name: str) -> npt.NDArray[Any]:
    if item.kind == _STRING:
        text = array if pa.types.is_string(array.type) else array.cast(pa.string())
        objects: npt.NDArray[Any] = text.to_numpy(zero_copy_only=False)
        return objects
    vector = numbers(array, name)
    if item.kind in _FLOATS:
        return vector.astype(_FLOATS[item.kind])
    wanted = np.dtype(np.bool_ if item.kind == _BOOL else _INTEGERS[item.kind])
    with np.errstate(invalid="ignore"):
        whole = vector.astype(wanted)
    lost = whole != vector
    if lost.any():
        row = int(lost.argmax())
        raise DataRefused(f"column '{name}': {vector[row]} is no {wanted.name} value, which the model takes there", row)
    return whole


def _choose_output(outputs: list[Any], name: str) -> tuple[str, bool]:
    """Return the output with the predictions, and whether it has a dict for each row."""
    mapped = [item for item in outputs if item.type.startswith("seq(map(")]
    floats = [item for item in outputs if item.type in _FLOATS]
    if len(mapped) == 1:
        return mapped[0].name, True
    if len(outputs) == 1 and not floats:
        raise broken(name, "it gives labels only: export it with class probabilities")
    if len(floats) == 1 and len(outputs) <= 2:
        return floats[0].name, False
    shown = ", ".join(f"{item.name} ({item.type})" for item in outputs[:5])
    raise broken(name, f"which of its outputs holds the predictions cannot be told ({shown}): export it with one")


def _target(row: npt.NDArray[np.float64], labelled: bool, name: str) -> tuple[TargetType | None, int]:
    """Tell from the answer for one row what the outputs are: several numbers are probabilities if their sum is 1.

    Others from 0 to 1 may be those of labels: the registration has to say it.
    """
    if len(row) == 1:
        if labelled:
            raise broken(
                name,
                "it gives a label and a single score, as anomaly detectors do, and does not say which end is unusual: "
                "export it with one output, or save the detector itself with skops",
            )
        return TargetType.REGRESSION, 1
    total = float(row.sum())
    if not abs(total - 1) <= _SUM_TOLERANCE:
        if ((row >= 0) & (row <= 1)).all():
            return None, len(row)
        raise broken(
            name,
            f"it gives {len(row)} numbers for a row that are no probabilities (their sum is {total:.6g}): export it "
            "with one output, or with a softmax",
        )
    return class_target(len(row)), len(row)
