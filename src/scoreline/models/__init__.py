"""Models: one file a format. Telling formats apart is cheap; a format's library is imported when a model is loaded."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import cast

from scoreline.errors import ModelBroken
from scoreline.models.base import Model, scores
from scoreline.models.detection import Detected, detect, locate
from scoreline.models.samples import sample_batch

__all__ = ["ANY_COLUMNS", "FORMATS", "Detected", "Model", "detect", "load", "sample_batch", "scores"]

FORMATS = {
    "lightgbm": "scoreline.models.lightgbm",
    "xgboost": "scoreline.models.xgboost",
    "catboost": "scoreline.models.catboost",
    "sklearn": "scoreline.models.sklearn",
    "onnx": "scoreline.models.onnx",
    "mlflow": "scoreline.models.mlflow",
    "drum": "scoreline.models.drum",
}
# Their code takes the table as it is and need not say which columns it looks at.
ANY_COLUMNS = frozenset({"drum"})


def load(path: Path, *, trusted: bool, threads: int = 1) -> Model:
    """Load a model from its file or folder, to predict with at most `threads` threads a call.

    trusted: it may run code while it is loaded. Raises ModelBroken when it cannot be read, says that it needs trust
    that it has not, or is no model that can score; SetupError when its library is not installed.
    """
    detected = detect(path)
    if detected.runs_code and not trusted:
        raise ModelBroken(
            f"The model {path.name!r} ({detected.format}) runs code when it is loaded: if you trust where it comes "
            "from, register it with `--trust`."
        )
    module = importlib.import_module(FORMATS[detected.format])
    model = cast("Model", module.load(locate(path), trusted=trusted, threads=threads))
    if not model.info.features and detected.format not in ANY_COLUMNS:
        raise ModelBroken(
            f"The model {path.name!r} does not say which columns it takes: save it with its feature names."
        )
    names = [feature.name for feature in model.info.features]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ModelBroken(f"The model {path.name!r} names the column {twice[0]!r} twice: train it with unique names.")
    return model
