"""MLflow model folders.

Models of the scikit-learn, LightGBM, XGBoost, CatBoost and ONNX flavours are loaded by our own loaders: through MLflow
classifiers would give labels instead of probabilities. What else MLflow can load goes through its pyfunc interface.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from scoreline.errors import ModelBroken
from scoreline.models import detection
from scoreline.models.base import Model, Values, broken, columns, refuse_nulls
from scoreline.models.mlflow_folder import Folder, read
from scoreline.models.mlflow_signature import Column, signature
from scoreline.types import Feature, FeatureType, ModelInfo, Scores


def load(path: Path, *, trusted: bool, threads: int = 1) -> Model:
    """Load a model folder. Raises ModelBroken, SetupError."""
    folder = read(path)
    declared = signature(folder.document, path.name)
    if folder.flavour is None or folder.file is None:
        if not trusted:
            raise ModelBroken(
                f"The model {path.name!r} (MLflow pyfunc) runs code when it is loaded: if you trust where it comes "
                "from, register it with `--trust`."
            )
        from scoreline.models.mlflow_pyfunc import PyfuncModel  # noqa: PLC0415 -- only here

        return PyfuncModel(path, declared)
    inner = _load_inner(folder, declared, trusted, threads)
    return FlavourModel(inner, declared, path.name)


def _load_inner(folder: Folder, declared: tuple[Column, ...] | None, trusted: bool, threads: int) -> Model:
    from scoreline.models import catboost, lightgbm, onnx, sklearn, xgboost  # noqa: PLC0415 -- one of them is used

    assert folder.file is not None
    text = None
    if declared is not None:
        text = frozenset(column.name for column in declared if column.type is FeatureType.TEXT)
    kind = detection.detect(folder.file).format
    if kind == "sklearn":
        if folder.code is not None and trusted and str(folder.code) not in sys.path:
            sys.path.append(str(folder.code))
        return sklearn.load(folder.file, trusted=trusted, threads=threads, text_columns=text)
    if kind == "lightgbm":
        return lightgbm.load(folder.file, threads=threads, text_columns=text)
    loaders: dict[str, Callable[..., Model]] = {"xgboost": xgboost.load, "catboost": catboost.load, "onnx": onnx.load}
    return loaders[kind](folder.file, threads=threads)


class FlavourModel:
    """A model inside a folder, with the column names, types and gaps that the folder's signature declares."""

    def __init__(self, inner: Model, declared: tuple[Column, ...] | None, name: str) -> None:
        self._inner = inner
        self._names = [feature.name for feature in inner.info.features]
        features = inner.info.features
        if declared is not None:
            features = tuple(map(_declared, features, _match(features, declared, name)))
        self.info: ModelInfo = replace(inner.info, format="mlflow", features=features)

    def predict(self, batch: pa.RecordBatch) -> Values | Scores:
        """Return the predictions; see `Model.predict`."""
        arrays = columns(batch, self.info)
        refuse_nulls(arrays, self.info)
        return self._inner.predict(pa.RecordBatch.from_arrays(arrays, self._names))


def _declared(feature: Feature, column: Column) -> Feature:
    whole = column.type in (FeatureType.INTEGER, FeatureType.BOOLEAN)
    # In MLflow a column of whole numbers cannot hold gaps, required or not; a required one of others may.
    nullable = feature.nullable and not (whole and column.required)
    return Feature(column.name, column.type, nullable, not column.required, feature.example)


def _match(features: tuple[Feature, ...], columns: tuple[Column, ...], name: str) -> list[Column]:
    """Return the signature's column for each of the model's; by name, or by place where the model has no names."""
    by_name = {column.name: column for column in columns}
    if all(feature.name in by_name for feature in features):
        return [by_name[feature.name] for feature in features]
    if len(features) == len(columns) and (_invented(features) or _alike(features, columns)):
        return list(columns)
    missing = next(feature.name for feature in features if feature.name not in by_name)
    raise broken(
        name,
        f"the model takes a column {missing!r}, which its signature does not have: save it again with the right one",
    )


def _invented(features: tuple[Feature, ...]) -> bool:
    """Whether these are the names a library makes up for a model trained on an array."""
    return any(
        all(feature.name == f"{prefix}{index}" for index, feature in enumerate(features))
        for prefix in ("x", "f", "Column_", "")
    )


def _alike(features: tuple[Feature, ...], columns: tuple[Column, ...]) -> bool:
    """Whether the names differ by what LightGBM replaces in them only."""
    return all(
        feature.name == "_".join(column.name.split(" ")) for feature, column in zip(features, columns, strict=True)
    )
