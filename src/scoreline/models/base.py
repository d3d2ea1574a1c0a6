"""What all model formats share: the interface, and the ways from an Arrow batch to what a library takes."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoreline.errors import DataRefused, ModelBroken, ScorelineError, SetupError, one_line
from scoreline.types import ModelInfo, Scores, TargetType

if TYPE_CHECKING:
    import pandas as pd

Values = npt.NDArray[np.float64]

_NATIVE_PLACE = re.compile(r"(?:\[\d\d:\d\d:\d\d\] )?[\w/.+-]+\.(?:cc|cpp|cu|h|hpp):\d+: ")
_EXTRAS = {
    "lightgbm": "lightgbm",
    "xgboost": "xgboost",
    "catboost": "catboost",
    "sklearn": "sklearn",
    "skops": "sklearn",
    "joblib": "sklearn",
    "pandas": "sklearn",
    "onnxruntime": "onnx",
    "mlflow": "mlflow",
}


class Model(Protocol):
    """A loaded model. Several threads may call `predict` at once."""

    @property
    def info(self) -> ModelInfo:
        """What the artefact says about itself."""
        ...

    def predict(self, batch: pa.RecordBatch) -> Values | Scores:
        """Return float64 [rows, info.outputs]: the prediction, or one probability per class in the model's order.

        A model that gives text, or columns beside its predictions (`info.extra`), returns Scores.
        `batch` has the columns of `info.features` by name, with at least one row; their Arrow types are those of the
        feature types, or of other types that the registration chose. Raises DataRefused for the rows' fault,
        ModelBroken when the batch's columns are not the model's.
        """
        ...


def require(module: str, purpose: str, extra: str | None = None) -> Any:
    """Import an optional library. Raises SetupError that names the extra to install."""
    extra = extra or _EXTRAS[module.partition(".")[0]]
    other = " (or 'scoreline[xgboost-cpu]', which is smaller)" if extra == "xgboost" else ""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        raise SetupError(
            f"{purpose} needs the Python package {exc.name or module!r}, which is not installed: "
            f"run `pip install 'scoreline[{extra}]'`{other}."
        ) from exc
    except (ImportError, OSError) as exc:
        raise SetupError(
            f"{purpose} needs the Python package {module!r}, which is installed but does not start ({cause(exc)}): "
            f"install it again with `pip install 'scoreline[{extra}]'`{other}."
        ) from exc


def cause(error: BaseException, limit: int = 300) -> str:
    """Return an exception's own words on one line, without the source lines and stack traces of native libraries."""
    text = _NATIVE_PLACE.sub("", str(error).partition("Stack trace:")[0])
    folded = one_line(text, limit).rstrip(". ")
    return folded or type(error).__name__


def broken(name: str, why: str) -> ModelBroken:
    """The error for an artefact that cannot be used; `why` ends with what to do next, without a full stop."""
    return ModelBroken(f"The model {name!r} cannot be used: {why}.")


@contextmanager
def loading(name: str, library: str) -> Iterator[None]:
    """Turn whatever a library raises while it reads the artefact `name` into ModelBroken with its cause."""
    try:
        yield
    except ScorelineError:
        raise
    except ModuleNotFoundError as exc:
        raise broken(name, f"it needs the Python module {exc.name!r}, which is not installed here") from exc
    except MemoryError:
        raise
    except Exception as exc:
        raise broken(
            name,
            f"{library} cannot read it ({cause(exc)}); the file may be damaged or made by another version: save and "
            "send it again",
        ) from exc


@contextmanager
def predicting(library: str) -> Iterator[None]:
    """Turn whatever a library raises while it scores into DataRefused with its cause."""
    try:
        yield
    except ScorelineError:
        raise
    except MemoryError:
        raise
    except Exception as exc:
        raise DataRefused(f"{library} refused the rows: {cause(exc, 400)}") from exc


def columns(batch: pa.RecordBatch, info: ModelInfo, *, by_position: bool = False) -> list[pa.Array]:
    """Return the batch's columns in the model's order.

    by_position: the artefact has no names of its own, so other names are taken in their order. Raises ModelBroken when
    the columns are not the model's.
    """
    names = [feature.name for feature in info.features]
    if batch.schema.names == names:
        return list(batch.columns)
    present = set(batch.schema.names)
    missing = [name for name in names if name not in present]
    if not missing:
        return [batch.column(name) for name in names]
    if by_position and batch.num_columns == len(names):
        return list(batch.columns)
    shown = ", ".join(map(repr, missing[:5]))
    raise ModelBroken(f"The model needs the columns {shown}, which its registration does not name; register it again.")


def numbers(column: pa.Array, name: str) -> npt.NDArray[Any]:
    """Return a column as float64, int64 or bool vector; nulls make it float64 with NaN. Raises ModelBroken for text."""
    kind = column.type
    if pa.types.is_boolean(kind):
        vector = bits(column)
    elif pa.types.is_integer(kind):
        vector = _items(column.cast(pa.int64()), np.int64)
    elif pa.types.is_floating(kind):
        vector = _items(column.cast(pa.float64()), np.float64)
    else:
        raise ModelBroken(
            f"The model takes numbers in the column {name!r}, but it is registered as text; register it again."
        )
    return np.where(valid(column), vector, np.nan) if column.null_count else vector


# `Array.to_numpy`, `pa.array` and `pa.scalar` import pandas where it is installed: most of a second and 45 MB in each
# process that scores. The buffers themselves are as fast, and they are Arrow's documented layout.


def _items(column: pa.Array, kind: type[np.generic]) -> npt.NDArray[Any]:
    if not len(column):
        return np.empty(0, kind)
    return np.frombuffer(column.buffers()[1], kind)[column.offset : column.offset + len(column)]


def bits(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Return a boolean column as a numpy vector; what stands for nulls is undefined."""
    if not len(column):
        return np.empty(0, np.bool_)
    packed = np.frombuffer(column.buffers()[1], np.uint8)
    vector = np.unpackbits(packed, count=column.offset + len(column), bitorder="little")
    return vector[column.offset :].view(np.bool_)


def valid(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Return where a column has values."""
    return bits(column.is_valid())


def floats(values: Sequence[float]) -> pa.Array:
    """Return an Arrow float64 array."""
    data = np.asarray(values, np.float64)
    return pa.Array.from_buffers(pa.float64(), len(data), [None, pa.py_buffer(data)])


def integers(values: Sequence[int]) -> pa.Array:
    """Return an Arrow int64 array."""
    data = np.asarray(values, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(data), [None, pa.py_buffer(data)])


def bools(values: Sequence[bool]) -> pa.Array:
    """Return an Arrow boolean array."""
    packed = np.packbits(np.asarray(values, np.bool_), bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(packed)])


def texts(values: Sequence[str]) -> pa.Array:
    """Return an Arrow string array."""
    encoded = [value.encode() for value in values]
    offsets = np.concatenate(([0], np.cumsum([len(value) for value in encoded]))).astype(np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(encoded), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def frame(arrays: list[pa.Array], names: list[str]) -> pd.DataFrame:
    """Return the columns as the pandas DataFrame that `pandas.read_csv` would give: NaN for what is missing."""
    pandas = require("pandas", "Scoring with this model")
    return pandas.DataFrame(  # type: ignore[no-any-return] # imported by name, so untyped
        {index: _series(pandas, array, names[index]) for index, array in enumerate(arrays)}, copy=False
    ).set_axis(names, axis=1)


def _series(pandas: Any, array: pa.Array, name: str) -> Any:
    kind = array.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or (pa.types.is_boolean(kind) and not array.null_count):
        return numbers(array, name)
    objects = array.to_numpy(zero_copy_only=False)  # with None in the gaps
    series = pandas.Series(objects, dtype=object)
    if array.null_count:
        series = series.where(valid(array), np.nan)
    # pandas 3 reads text as `str`, earlier versions as plain objects.
    text = not pa.types.is_boolean(kind)
    return series.astype("str") if text and int(pandas.__version__.partition(".")[0]) >= 3 else series


def refuse_nulls(arrays: list[pa.Array], info: ModelInfo) -> None:
    """Raise DataRefused that names the first row without a value in a column where the model needs one."""
    for array, feature in zip(arrays, info.features, strict=True):
        if feature.nullable:
            continue
        empty = bits(array.is_null(nan_is_null=pa.types.is_floating(array.type)))
        if empty.any():
            raise DataRefused(
                f"column '{feature.name}' is empty, and the model needs a value there", int(empty.argmax())
            )


def scores(model: Model, batch: pa.RecordBatch) -> Scores:
    """Have a model predict, and return what it gives in one shape. Raises what `predict` raises, ModelBroken."""
    info, rows = model.info, batch.num_rows
    if rows == 0:
        text = texts([]) if info.outputs == 0 else None
        return Scores(np.empty((0, info.outputs)), text, tuple(texts([]) for _ in info.extra))
    answer = model.predict(batch)
    if not isinstance(answer, Scores):
        answer = Scores(np.asarray(answer, dtype=np.float64))
    found, wanted = np.shape(answer.values), (rows, info.outputs)
    if found != wanted:
        raise ModelBroken(
            f"The model answered {_shape(found)} instead of {_shape(wanted)} (rows x outputs); register it again."
        )
    beside = [*([] if answer.text is None else [answer.text]), *answer.extra]
    if [len(column) for column in beside] != [rows] * ((info.outputs == 0) + len(info.extra)):
        raise ModelBroken("The model answered other columns than when it was registered; register it again.")
    return answer


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single value"


def class_target(classes: int) -> TargetType:
    """Return the target type of a classifier."""
    return TargetType.BINARY if classes == 2 else TargetType.MULTICLASS


def both_classes(positive: npt.NDArray[Any]) -> Values:
    """Return the two columns (1 - p, p) for the probabilities of the second class."""
    values = np.empty((len(positive), 2))
    values[:, 1] = positive
    np.subtract(1.0, values[:, 1], out=values[:, 0])
    return values


def as_values(predictions: Any, rows: int) -> Values:
    """Return predictions as float64 [rows, k]. Raises ModelBroken when they are not numbers, one line per row."""
    try:
        values = np.asarray(predictions, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise ModelBroken("The model's predictions are not numbers; register one that gives numbers.") from exc
    if values.ndim == 1:
        values = values.reshape(-1, 1)
    if values.ndim != 2 or len(values) != rows:
        raise ModelBroken(f"The model answered an array of shape {values.shape} for {rows} rows; register another one.")
    return values


def label(value: Any) -> str:
    """Return a class label verbatim as text: `1.0` stays `1.0`, numpy's scalars show no type."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
