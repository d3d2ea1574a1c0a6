"""The folder of a DRUM custom model: what tells it, and what it says of itself in `model-metadata.yaml`.

DRUM's own file leaves things open that a registration knows (kind of target, labels, columns): a file `scoreline.json`
beside it says them, in the words of the API: `target`, `positiveClass`, `features`, `extraOutputs`,
`runtimeParameters`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scoreline.models.base import broken, cause
from scoreline.models.mlflow_folder import MLMODEL
from scoreline.types import ExtraOutput, Feature, FeatureType, JsonObject, TargetType

METADATA = "model-metadata.yaml"
DESCRIPTION = "scoreline.json"
HOOKS = "custom.py"
# What lies beside a model and is none.
COMPANIONS = frozenset({METADATA, DESCRIPTION, "requirements.txt", "readme.md", "readme.txt", "license", "license.txt"})
# Only DRUM loads these.
_ARTIFACTS = (".h5", ".keras", ".pth", ".pt")
_OTHER_LANGUAGES = {
    "custom.r": "R",
    ".rds": "R",
    "custom.jl": "Julia",
    ".jlso": "Julia",
    ".jar": "Java",
    ".mojo": "Java",
    ".pojo": "Java",
}
_KINDS = {kind.casefold(): kind for kind in TargetType}
_CLASSIFICATION = (TargetType.BINARY, TargetType.MULTICLASS, TargetType.MULTILABEL)


@dataclass(frozen=True, slots=True)
class DrumFolder:
    """A custom model's folder and all that is said about it.

    class_labels: in the order of the outputs; of a binary target the positive class is the last. features: none where
    the model takes the source's columns as they are. extra: columns beside the predictions. environment: variables that
    its code reads.
    """

    path: Path
    target_type: TargetType
    target_name: str | None
    class_labels: tuple[str, ...] | None
    features: tuple[Feature, ...]
    extra: tuple[ExtraOutput, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def is_custom(path: Path) -> bool:
    """Say whether a folder is to be run by DRUM: it has Python code, or one model that only DRUM loads.

    One of MLflow, which may bring code, too, is none. Raises ModelBroken for a custom model in another language.
    """
    if (path / MLMODEL).is_file():
        return False
    return has_code(path) or len(artifacts(path)) == 1


def has_code(path: Path) -> bool:
    """Say whether a folder has Python code. Raises ModelBroken for a custom model in another language."""
    names = [child.relative_to(path) for child in path.rglob("*") if child.is_file() and not _hidden(child, path)]
    if any(name.suffix == ".py" for name in names):
        return True
    for name in [name.name.lower() for name in names if len(name.parts) == 1]:
        language = _OTHER_LANGUAGES.get(name) or _OTHER_LANGUAGES.get(Path(name).suffix)
        if language is not None:
            raise broken(
                path.name,
                f"{name!r} is of a custom model in {language}, and only Python is run here: start it yourself with "
                "`drum server` and deploy that with `scoreline deploy --server drum URL`",
            )
    return False


def artifacts(path: Path) -> list[Path]:
    """Return the model files in a folder that only DRUM loads."""
    found = [child for child in sorted(path.iterdir()) if child.is_file() and not _hidden(child, path)]
    return [child for child in found if child.suffix.lower() in _ARTIFACTS]


def read(path: Path) -> DrumFolder:
    """Read what a folder says. Raises ModelBroken when it does not say enough, or contradicts itself."""
    hooks = sorted(path.rglob(HOOKS))
    if len(hooks) > 1:
        shown = ", ".join(str(each.relative_to(path)) for each in hooks[:5])
        raise broken(path.name, f"it holds several files {HOOKS} ({shown}): keep the one with the hooks")
    said = _Said(path, _description(path), _metadata(path))
    kind = said.target_type()
    if kind in (TargetType.UNSTRUCTURED, TargetType.AGENTIC_WORKFLOW):
        raise broken(path.name, f"models of type {kind} take no tables: batch scoring cannot run them")
    labels = said.class_labels(kind)
    return DrumFolder(path, kind, said.target_name(), labels, said.features(), said.extra(), said.environment())


class _Said:
    """The two files together; the description wins, since DRUM itself refuses what contradicts its own file."""

    def __init__(self, path: Path, description: JsonObject, metadata: JsonObject) -> None:
        self._path = path
        self._description = description
        self._target: JsonObject = _mapping(description.get("target"))
        self._metadata = metadata
        self._inference: JsonObject = _mapping(metadata.get("inferenceModel"))

    def target_type(self) -> TargetType:
        found = self._target.get("type") or self._metadata.get("targetType")
        if found is None:
            raise self._broken(
                f"it does not say what it predicts: give the target type, or a {METADATA} with `targetType`"
            )
        kind = _KINDS.get(str(found).casefold())
        if kind is None:
            raise self._broken(f"its target type {str(found)!r} is not one of {', '.join(TargetType)}")
        return kind

    def target_name(self) -> str | None:
        found = self._target.get("name") or self._inference.get("targetName")
        return None if found is None else str(found)

    def class_labels(self, kind: TargetType) -> tuple[str, ...] | None:
        if kind not in _CLASSIFICATION:
            return None
        given = self._target.get("classNames") or self._inference.get("classLabels")
        if kind is TargetType.BINARY and not self._target.get("classNames"):
            pair = [self._inference.get("negativeClassLabel"), self._inference.get("positiveClassLabel")]
            given = pair if None not in pair else given
        if not isinstance(given, list) or len(given) < (1 if kind is TargetType.MULTILABEL else 2):
            raise self._broken(
                f"it does not name its classes: give the class labels, or have them in `inferenceModel` of a {METADATA}"
            )
        labels = [_text(label) for label in given]
        positive = self._description.get("positiveClass")
        if kind is TargetType.BINARY and len(labels) == 2 and str(positive) == labels[0]:
            labels.reverse()
        if len(set(labels)) != len(labels) or (kind is TargetType.BINARY and len(labels) != 2):
            raise self._broken(f"its class labels {', '.join(map(repr, labels))} cannot be right: mend them")
        return tuple(labels)

    def features(self) -> tuple[Feature, ...]:
        return tuple(
            Feature(name, kind, bool(item.get("nullable", True))) for name, kind, item in self._columns("features")
        )

    def extra(self) -> tuple[ExtraOutput, ...]:
        return tuple(ExtraOutput(name, kind) for name, kind, _item in self._columns("extraOutputs"))

    def _columns(self, field: str) -> list[tuple[str, FeatureType, JsonObject]]:
        """Read columns and their types: an object of both, or a list of objects."""
        given = self._description.get(field) or []
        if isinstance(given, dict):
            given = [{"name": name, "type": kind} for name, kind in given.items()]
        try:
            return [(str(item["name"]), FeatureType(item["type"]), dict(item)) for item in given]
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise self._broken(f"`{field}` in {DESCRIPTION} cannot be read ({cause(exc)}): mend it") from exc

    def environment(self) -> dict[str, str]:
        """Return the variables in which DRUM looks for runtime parameters: set values over defaults."""
        values: JsonObject = _mapping(self._description.get("runtimeParameters"))
        found = {}
        for name, kind, default in runtime_parameters(self._metadata):
            value = values.get(name, _typed(kind, default))
            if value is not None:
                found[f"MLOPS_RUNTIME_PARAM_{name}"] = json.dumps({"type": kind, "payload": value})
        return found

    def _broken(self, why: str) -> Exception:
        return broken(self._path.name, why)


def runtime_parameters(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield name, type and default of each runtime parameter that a model's metadata define."""
    given = metadata.get("runtimeParameterDefinitions")
    for item in given if isinstance(given, list) else []:
        if isinstance(item, dict) and item.get("fieldName"):
            yield str(item["fieldName"]), str(item.get("type", "string")), item.get("defaultValue")


def read_description(path: Path) -> JsonObject:
    """Return the content of `scoreline.json`, an empty object where there is none. Raises ModelBroken."""
    return _description(path)


def read_metadata(path: Path) -> JsonObject:
    """Return the content of `model-metadata.yaml`, an empty object where there is none. Raises ModelBroken."""
    return _metadata(path)


def _metadata(path: Path) -> JsonObject:
    file = path / METADATA
    if not file.is_file():
        return {}
    import yaml  # noqa: PLC0415 -- start-up time: most models are no folders

    try:
        # As DRUM reads it: a label `yes` is that word.
        document = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 -- texts only
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as exc:
        raise broken(path.name, f"its file {METADATA!r} cannot be read ({cause(exc)}): mend it") from exc
    return _mapping(document)


def _description(path: Path) -> JsonObject:
    file = path / DESCRIPTION
    if not file.is_file():
        return {}
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise broken(path.name, f"its file {DESCRIPTION!r} cannot be read ({cause(exc)}): mend it") from exc
    return _mapping(document)


def _mapping(value: Any) -> JsonObject:
    return dict(value) if isinstance(value, Mapping) else {}


def _typed(kind: str, default: Any) -> Any:
    """Return a default, read as text, as what its type means; no secret has one."""
    if not isinstance(default, str) or kind == "credential":
        return None
    try:
        return json.loads(default.lower()) if kind in ("numeric", "boolean") else default
    except ValueError:
        return default


def _text(label: Any) -> str:
    return label if isinstance(label, str) else json.dumps(label)


def _hidden(child: Path, root: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in child.relative_to(root).parts)
