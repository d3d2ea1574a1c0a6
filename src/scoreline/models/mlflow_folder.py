"""The folder of an MLflow model: what its `MLmodel` file says, and which of its flavours we load ourselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scoreline.models.base import broken, cause
from scoreline.types import JsonObject

MLMODEL = "MLmodel"

_FILE_KEYS = {"sklearn": "pickled_model", "lightgbm": "data", "xgboost": "data", "catboost": "data", "onnx": "data"}


@dataclass(frozen=True, slots=True)
class Folder:
    """What an `MLmodel` file says. flavour: the one that our own loaders know, with its file; else a pyfunc model."""

    path: Path
    document: JsonObject
    flavour: str | None
    file: Path | None
    code: Path | None


def read(path: Path) -> Folder:
    """Read a model folder's description. Raises ModelBroken."""
    import yaml  # noqa: PLC0415 -- start-up time: most models are no folders

    try:
        document = yaml.safe_load((path / MLMODEL).read_text(encoding="utf-8"))
        flavours = dict(document["flavors"])
    except (yaml.YAMLError, OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise broken(path.name, f"its file 'MLmodel' cannot be read ({cause(exc)}): save the model again") from exc
    for flavour, key in _FILE_KEYS.items():
        settings = flavours.get(flavour)
        if isinstance(settings, dict):
            file = _inside(path, settings.get(key) or _old_default(flavour))
            if not file.is_file():
                raise broken(path.name, f"{file.name!r}, which its 'MLmodel' names, is no file: save the model again")
            code = settings.get("code")
            return Folder(path, document, flavour, file, None if code is None else _inside(path, code))
    if "python_function" not in flavours:
        known = ", ".join(sorted(map(str, flavours)))
        raise broken(path.name, f"none of its flavours can be scored ({known}): save it with the pyfunc flavour")
    return Folder(path, document, None, None, None)


def _inside(folder: Path, name: Any) -> Path:
    """Return a path in the folder; what leads out of it is refused."""
    path = (folder / str(name)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise broken(folder.name, f"its file 'MLmodel' names {str(name)!r}, which is outside the folder: save it again")
    if not path.exists():
        raise broken(folder.name, f"the file {str(name)!r} that its 'MLmodel' names is missing: copy the whole folder")
    return path


def _old_default(flavour: str) -> str:
    return {"sklearn": "model.pkl", "lightgbm": "model.lgb", "xgboost": "model.xgb", "catboost": "model.cb"}.get(
        flavour, "model.onnx"
    )
