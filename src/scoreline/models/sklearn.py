"""scikit-learn estimators and pipelines, saved by skops, joblib or pickle; also boosters saved in one of these ways."""

from __future__ import annotations

import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from scoreline.errors import DataRefused, ModelBroken
from scoreline.models.base import (
    Model,
    Values,
    as_values,
    broken,
    columns,
    frame,
    loading,
    numbers,
    predicting,
    refuse_nulls,
    require,
)
from scoreline.models.detection import TRUSTED_TYPES
from scoreline.models.samples import sample
from scoreline.models.sklearn_answers import answers
from scoreline.models.sklearn_columns import features
from scoreline.types import Feature, ModelInfo

_MOST_PROBED = 200  # columns that are tried one by one for whether they may be empty


def load(path: Path, *, trusted: bool, threads: int = 1, text_columns: frozenset[str] | None = None) -> Model:
    """Load what skops, joblib or pickle has saved.

    A pickle runs code, and so may types in a skops file that skops does not know: both need `trusted`.
    Raises ModelBroken, SetupError.
    """
    with path.open("rb") as file:
        skops = file.read(4) == b"PK\x03\x04"
    found = _read_skops(path, trusted) if skops else _read_pickle(path, trusted)
    return replace_format(from_object(found, path.name, threads, text_columns), "sklearn")


def from_object(model: Any, name: str, threads: int, text_columns: frozenset[str] | None = None) -> Model:
    """Take over a fitted object, by the library it comes from."""
    from scoreline.models import catboost, lightgbm, xgboost  # noqa: PLC0415 -- only what a pickle may hold

    library = type(model).__module__.partition(".")[0]
    if library == "lightgbm":
        return lightgbm.from_object(model, name, threads, text_columns)
    if library == "xgboost":
        return xgboost.from_object(model, name, threads)
    if library == "catboost":
        return catboost.from_object(model, name, threads)
    return SklearnModel(model, name, threads)


def replace_format(model: Any, name: str) -> Model:
    """Name the format of the artefact, which may be another than that of the model inside."""
    model.info = replace(model.info, format=name)
    return model  # type: ignore[no-any-return] # every model class here has a plain `info` attribute


class SklearnModel:
    """A fitted estimator. It gets the DataFrame that `pandas.read_csv` would give, or numbers if fitted on an array."""

    def __init__(self, estimator: Any, name: str, threads: int) -> None:
        self._threads = threads
        self._limits = _ThreadLimits(threads)
        found = answers(estimator, name)
        self._ask = found.ask
        _use_threads(estimator, threads)
        # `feature_names_in_` is missing where an array was fitted: then other names are taken in their order.
        names = getattr(estimator, "feature_names_in_", None)
        self._named = names is not None
        names = list(map(str, names)) if names is not None else [f"x{i}" for i in range(_width(estimator, name))]
        self.info = ModelInfo(
            format="sklearn",
            target_type=found.target_type,
            features=features(estimator, names),
            class_labels=found.labels,
            outputs=found.outputs,
        )
        self.info = replace(self.info, features=self._with_nullability(name))

    def predict(self, batch: pa.RecordBatch) -> Values:
        """Return the predictions; see `Model.predict`."""
        arrays = columns(batch, self.info, by_position=not self._named)
        refuse_nulls(arrays, self.info)
        return self._predict(arrays)

    def _predict(self, arrays: list[pa.Array]) -> Values:
        names = [feature.name for feature in self.info.features]
        data = frame(arrays, names) if self._named else self._matrix(arrays, names)
        self._limits.apply()
        with predicting("scikit-learn"):
            answer = self._ask(data)
        return as_values(answer, len(arrays[0]))

    def _matrix(self, arrays: list[pa.Array], names: list[str]) -> Any:
        """An array as `DataFrame.to_numpy` gives it: objects where there is text."""
        if any(pa.types.is_string(array.type) for array in arrays):
            return frame(arrays, names).to_numpy(dtype=object)
        numpy = require("numpy", "Scoring", "sklearn")
        return numpy.column_stack([numbers(array, name) for array, name in zip(arrays, names, strict=True)])

    def _with_nullability(self, name: str) -> tuple[Feature, ...]:
        """Find which columns may be empty by trying: whether an estimator takes gaps is not written down in it."""
        plain = self.info.features
        width = self._width(plain, frozenset())
        if width not in (None, self.info.outputs):
            raise broken(
                name, f"it gives {width} numbers for a row instead of {self.info.outputs}: train it for one target"
            )
        if width is None or self._width(plain, frozenset(range(len(plain)))) or len(plain) > _MOST_PROBED:
            return plain
        return tuple(
            feature if self._width(plain, frozenset((index,))) else replace(feature, nullable=False)
            for index, feature in enumerate(plain)
        )

    def _width(self, plain: tuple[Feature, ...], empty: frozenset[int]) -> int | None:
        """How many numbers a made-up row gets, with gaps in the columns `empty`; None when it is refused."""
        arrays = [pa.nulls(1, sample(f).type) if i in empty else sample(f) for i, f in enumerate(plain)]
        try:
            return int(self._predict(arrays).shape[1])
        except DataRefused:
            return None


class _ThreadLimits:
    """Holds BLAS and OpenMP inside scikit-learn to the threads allowed.

    OpenMP counts per calling thread, so each thread that predicts is limited once; nothing is restored, for another
    thread may be at work meanwhile.
    """

    def __init__(self, threads: int) -> None:
        self._controller = require("threadpoolctl", "Scoring with scikit-learn", "sklearn").ThreadpoolController()
        self._threads = threads
        self._done = threading.local()

    def apply(self) -> None:
        """Limit the calling thread."""
        if not hasattr(self._done, "limiter"):
            self._done.limiter = self._controller.limit(limits=self._threads)


def _read_skops(path: Path, trusted: bool) -> Any:
    io = require("skops.io", "Loading a skops file")
    with loading(path.name, "skops"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        unknown = sorted(set(io.get_untrusted_types(file=path)) - set(TRUSTED_TYPES))
        if unknown and not trusted:
            shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
            raise ModelBroken(
                f"The model {path.name!r} (skops) holds types that skops does not know to be harmless ({shown}): if "
                "you trust where it comes from, register it with `--trust`."
            )
        return io.load(path, trusted=[*unknown, *TRUSTED_TYPES])


def _read_pickle(path: Path, trusted: bool) -> Any:
    if not trusted:
        raise ModelBroken(
            f"The model {path.name!r} (pickle) runs code when it is loaded: if you trust where it comes from, register "
            "it with `--trust`."
        )
    joblib = require("joblib", "Loading a joblib or pickle file")
    with loading(path.name, "joblib"), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            return joblib.load(path)
        except Exception as exc:
            versions = [str(w.message) for w in seen if "InconsistentVersion" in w.category.__name__]
            if versions:
                raise RuntimeError(f"{type(exc).__name__}: {exc}. {versions[0]}") from exc
            raise


def _width(estimator: Any, name: str) -> int:
    width = getattr(estimator, "n_features_in_", None)
    if width is None:
        raise broken(
            name, f"{type(estimator).__name__!r} does not say how many columns it takes: fit it and save it again"
        )
    return int(width)


def _use_threads(estimator: Any, threads: int) -> None:
    """Set every `n_jobs` inside, those of fitted copies too; what was trained on many cores may be served on one."""
    seen: set[int] = set()
    waiting = [estimator]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value[:1000])
        elif hasattr(value, "get_params") and not isinstance(value, type):
            for option in ("n_jobs", "thread_count", "nthread"):
                if option in vars(value):
                    setattr(value, option, threads)
            waiting.extend(vars(value).values())
