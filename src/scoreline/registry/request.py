"""The body of `POST modelPackages/fromJSON/`, read field by field."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from scoreline.errors import InvalidRequest
from scoreline.types import ExtraOutput, Feature, FeatureType, JsonObject, TargetType

T = TypeVar("T")

LONGEST_NAME = 512
_ARTIFACT = re.compile(r"artifact:([0-9a-f]{64})")
_MODEL_DESCRIPTION = (
    "description",
    "modelName",
    "location",
    "buildEnvironmentType",
    "modelCreatorId",
    "modelCreatorName",
    "modelCreatorEmail",
    "modelCreatedAt",
)
_TARGET = ("name", "type", "classNames", "classCount", "predictionThreshold", "predictionProbabilitiesColumn")
# Known to the client, but about features that are not built.
_NOT_BUILT = {
    "datasets": "training data for drift and accuracy",
    "timeseries": "time series",
    "geospatialMonitoring": "geospatial monitoring",
}
_FIELDS = (
    "name",
    "target",
    "modelDescription",
    "modelId",
    "registeredModelId",
    "registeredModelName",
    "registeredModelDescription",
    "registeredModelTags",
    "tags",
    "features",
    "positiveClass",
    "labelThresholds",
    "extraOutputs",
    "server",
    *_NOT_BUILT,
)


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """A server of another maker that has the model. key, datarobot_key: what it wants to see, never shown again."""

    kind: str
    url: str
    options: dict[str, str]
    key: str = field(default="", repr=False)
    datarobot_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class PackageRequest:
    """What was asked for; None where nothing was said. features, extra and label_thresholds are by name."""

    name: str
    artifact: str | None
    description: JsonObject
    target_name: str | None
    target_type: TargetType | None
    class_names: tuple[str, ...] | None
    positive_class: str | None
    threshold: float | None
    features: dict[str, Feature]
    model_id: str | None
    registered_model_id: str | None
    registered_model_name: str | None
    registered_model_description: str | None
    registered_model_tags: tuple[JsonObject, ...]
    tags: tuple[JsonObject, ...]
    server: ServerRequest | None = None
    extra: dict[str, ExtraOutput] = field(default_factory=dict)
    label_thresholds: dict[str, float] = field(default_factory=dict)


def parse(body: Mapping[str, Any]) -> PackageRequest:
    """Read the body; raises InvalidRequest naming the field and what is allowed."""
    check_known(body, _FIELDS)
    for name, feature in _NOT_BUILT.items():
        if body.get(name):
            raise InvalidRequest(f"`{name}` is not supported, because {feature} is not built yet: leave it out.", name)
    target = object_of(body, "target")
    check_known(target, _TARGET, "target.")
    description = object_of(body, "modelDescription")
    check_known(description, _MODEL_DESCRIPTION, "modelDescription.")
    model_id, model_name = (text(body, name) for name in ("registeredModelId", "registeredModelName"))
    if model_id is not None and model_name is not None:
        raise InvalidRequest("Give `registeredModelId` or `registeredModelName`, not both.", "registeredModelId")
    return PackageRequest(
        name=required(text(body, "name"), "name"),
        artifact=_artifact(description),
        description={name: value for name, value in description.items() if value is not None},
        target_name=text(target, "name", "target."),
        target_type=_target_type(target.get("type")),
        class_names=_class_names(target),
        positive_class=text(body, "positiveClass"),
        threshold=threshold(target.get("predictionThreshold"), "target.predictionThreshold"),
        features=_features(body.get("features")),
        model_id=text(body, "modelId"),
        registered_model_id=model_id,
        registered_model_name=model_name,
        registered_model_description=text(body, "registeredModelDescription", longest=10_000),
        registered_model_tags=tags(body.get("registeredModelTags"), "registeredModelTags"),
        tags=tags(body.get("tags"), "tags"),
        server=_server(body, description),
        extra=_extra(body.get("extraOutputs")),
        label_thresholds=_label_thresholds(object_of(body, "labelThresholds")),
    )


def text(values: Mapping[str, Any], name: str, prefix: str = "", *, longest: int = LONGEST_NAME) -> str | None:
    """Return a text that is not blank, None when it is not given; raises InvalidRequest."""
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        raise InvalidRequest(f"`{prefix}{name}` is a text of 1 to {longest} characters.", f"{prefix}{name}")
    return value


def required(value: T | None, field: str, advice: str = "give it") -> T:
    """Return the value; raises InvalidRequest when there is none."""
    if value is None:
        raise InvalidRequest(f"`{field}` is missing: {advice}.", field)
    return value


def threshold(value: Any, field: str) -> float | None:
    """Return a probability; raises InvalidRequest."""
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise InvalidRequest(f"`{field}` is a number from 0 to 1, not {value!r}.", field)
    return float(value)


def tags(value: Any, field: str) -> tuple[JsonObject, ...]:
    """Return tags, each a name and a value; raises InvalidRequest."""
    return _pairs(value, field, ("name", "value"))


def metadata(value: Any, field: str) -> tuple[JsonObject, ...]:
    """Return additional metadata, each a key and a value; raises InvalidRequest."""
    return _pairs(value, field, ("key", "value"))


def object_of(values: Mapping[str, Any], name: str, field: str | None = None) -> Mapping[str, Any]:
    """Return an object, an empty one when it is not given; raises InvalidRequest. `field`: its full name."""
    value = values.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"`{field or name}` is an object.", field or name)
    return value


def check_known(values: Mapping[str, Any], names: Iterable[str], prefix: str = "", what: str = "field") -> None:
    """Raise InvalidRequest for a name that does not exist, with the nearest one that does."""
    allowed = list(names)
    for name in values:
        if name not in allowed:
            close = difflib.get_close_matches(str(name), allowed, 1)
            advice = f"did you mean `{prefix}{close[0]}`?" if close else f"allowed are {', '.join(allowed)}."
            shown = f"{prefix}{name}"[:200]
            raise InvalidRequest(f"There is no {what} `{shown}`: {advice}", shown)


def _pairs(value: Any, field: str, names: tuple[str, str]) -> tuple[JsonObject, ...]:
    def good(item: Any) -> bool:
        return isinstance(item, dict) and set(item) == set(names) and all(isinstance(v, str) for v in item.values())

    return tuple(_list(value or [], field, good, f"objects with texts `{names[0]}` and `{names[1]}`"))


def _list(value: Any, field: str, good: Callable[[Any], bool], what: str) -> list[Any]:
    if not isinstance(value, list) or not all(good(item) for item in value):
        raise InvalidRequest(f"`{field}` is a list of {what}.", field)
    return value


def _server(body: Mapping[str, Any], description: Mapping[str, Any]) -> ServerRequest | None:
    server = object_of(body, "server")
    if not server:
        return None
    check_known(server, ("kind", "url", "options", "key", "datarobotKey"), "server.")
    if _artifact(description) is not None:
        raise InvalidRequest("A model is in an artefact or on a server: give one of them.", "server")
    options = object_of(server, "options", "server.options")
    if not all(isinstance(value, str) for value in options.values()):
        raise InvalidRequest("`server.options` holds texts.", "server.options")
    kind, url = (required(text(server, name, "server."), f"server.{name}") for name in ("kind", "url"))
    key, datarobot_key = (text(server, name, "server.", longest=10_000) or "" for name in ("key", "datarobotKey"))
    return ServerRequest(kind, url, dict(options), _sendable(key, "key"), _sendable(datarobot_key, "datarobotKey"))


def _sendable(key: str, name: str) -> str:
    """Return a key that can be a header; raises InvalidRequest, which does not show it."""
    if not key.isascii() or not key.isprintable() or key != key.strip():
        raise InvalidRequest(
            f"`server.{name}` is a text of printable ASCII without blanks around it.", f"server.{name}"
        )
    return key


def _artifact(description: Mapping[str, Any]) -> str | None:
    for name in _MODEL_DESCRIPTION:
        text(description, name, "modelDescription.", longest=10_000)
    location = description.get("location")
    if location is None or not location.startswith("artifact:"):
        return None
    match = _ARTIFACT.fullmatch(location)
    if match is None:
        raise InvalidRequest(
            "`modelDescription.location` of an uploaded model is `artifact:` and its SHA-256 in 64 lower-case digits.",
            "modelDescription.location",
        )
    return match[1]


def _target_type(value: Any) -> TargetType | None:
    if value is None:
        return None
    for kind in TargetType:
        if isinstance(value, str) and value.casefold() == kind.casefold():
            return kind
    raise InvalidRequest(f"`target.type` is one of {', '.join(TargetType)}, not {value!r}.", "target.type")


def _class_names(target: Mapping[str, Any]) -> tuple[str, ...] | None:
    value, field = target.get("classNames"), "target.classNames"
    count = target.get("classCount")
    if value is None and count is None:
        return None
    names = _list(value, field, lambda item: isinstance(item, str), "texts, one for each class")
    if len(set(names)) != len(names):
        raise InvalidRequest(f"`{field}` names a class twice.", field)
    if count is not None and count != len(names):
        raise InvalidRequest(
            f"`target.classCount` is {count!r}, but there are {len(names)} class names.", "target.classCount"
        )
    return tuple(names)


def _features(value: Any) -> dict[str, Feature]:
    """Read features: an object of name and type, or a list of objects with `name`, `type` and perhaps `nullable`."""
    found = _typed(value, "features", ("nullable",))
    for name, (_kind, item) in found.items():
        if not isinstance(item.get("nullable", True), bool):
            raise InvalidRequest(f"`nullable` is true or false: that of the feature {name!r} is wrong.", "features")
    return {name: Feature(name, kind, item.get("nullable", True)) for name, (kind, item) in found.items()}


def _extra(value: Any) -> dict[str, ExtraOutput]:
    """Read columns beside the predictions, in the same two forms."""
    return {name: ExtraOutput(name, kind) for name, (kind, _item) in _typed(value, "extraOutputs", ()).items()}


def _typed(value: Any, field: str, further: tuple[str, ...]) -> dict[str, tuple[FeatureType, JsonObject]]:
    """Return the type of each named column, and all that was said of it."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        value = [{"name": name, "type": kind} for name, kind in value.items()]

    def good(item: Any) -> bool:
        return isinstance(item, dict) and {"name", "type"} <= set(item) <= {"name", "type", *further}

    words = " and perhaps ".join(("`name`, `type`", *(f"`{name}`" for name in further)))
    found: dict[str, tuple[FeatureType, JsonObject]] = {}
    for item in _list(value, field, good, f"objects with {words}"):
        name, kind = item["name"], item["type"]
        if not isinstance(name, str) or not name or name in found:
            raise InvalidRequest(f"`{field}` names each column once, as a text: {name!r} is wrong.", field)
        if kind not in list(FeatureType):
            raise InvalidRequest(
                f"The type of {name!r} in `{field}` is one of {', '.join(FeatureType)}, not {kind!r}.", field
            )
        found[name] = (FeatureType(kind), item)
    return found


def _label_thresholds(values: Mapping[str, Any]) -> dict[str, float]:
    found = {label: threshold(value, "labelThresholds") for label, value in values.items()}
    return {label: value for label, value in found.items() if value is not None}
