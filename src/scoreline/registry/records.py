"""The records of this package, and how rows become records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from scoreline.registry.settings import DeploymentSettings
from scoreline.types import Boundaries, ExtraOutput, Feature, FeatureType, JsonObject, ModelInfo, TargetType

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list, and how long the whole list is."""

    items: tuple[T, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an object is."""

    id: str
    username: str
    full_name: str | None
    org_id: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """Stored model files.

    sha256: hash of their content. size: their bytes. info: None until a prediction server has looked at them.
    """

    id: str
    sha256: str
    filename: str
    size: int
    format: str
    runs_code: bool
    trusted: bool
    info: ModelInfo | None
    created_at: datetime
    owner: Owner


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A name under which versions of a model are kept."""

    id: str
    name: str
    description: str | None
    target_name: str
    target_type: TargetType
    tags: tuple[JsonObject, ...]
    last_version: int
    created_at: datetime
    modified_at: datetime
    archived_at: datetime | None
    owner: Owner


@dataclass(frozen=True, slots=True)
class Baseline:
    """The quartiles of a regression model's predictions of `rows` rows that are usual for it.

    lower, upper: one and a half times the distance of the quartiles beyond them; predictions farther out are outliers.
    """

    rows: int
    lower_quartile: float
    upper_quartile: float

    @property
    def lower(self) -> float:
        """The boundary below."""
        return self.lower_quartile - 1.5 * (self.upper_quartile - self.lower_quartile)

    @property
    def upper(self) -> float:
        """The boundary above."""
        return self.upper_quartile + 1.5 * (self.upper_quartile - self.lower_quartile)


@dataclass(frozen=True, slots=True)
class Package:
    """One immutable version of a registered model. Without `artifact` it describes a model that lives elsewhere.

    server: the foreign server that has the model, if that can be asked: `id`, `kind`, `url` and `options`.
    target_name may be empty. class_labels are in the order of the model's outputs; positive_class is set for binary
    targets only. label_thresholds: of a multilabel target whose labels differ, in the order of the labels. extra:
    columns beside the predictions. description: the client's `modelDescription`; model_id: what it calls the model;
    source: the client's `sourceMeta`.
    """

    id: str
    registered_model_id: str
    registered_model_name: str
    version: int
    name: str
    artifact: str | None
    format: str | None
    trusted: bool
    target_name: str
    target_type: TargetType
    class_labels: tuple[str, ...] | None
    positive_class: str | None
    threshold: float
    features: tuple[Feature, ...]
    model_id: str
    description: JsonObject
    tags: tuple[JsonObject, ...]
    created_at: datetime
    archived_at: datetime | None
    owner: Owner
    active_deployments: int = 0
    server: JsonObject | None = None
    source: JsonObject | None = None
    label_thresholds: tuple[float, ...] = ()
    extra: tuple[ExtraOutput, ...] = ()
    baseline: Baseline | None = None

    @property
    def usual(self) -> Boundaries | None:
        """Between which its predictions usually are; None without a baseline."""
        return None if self.baseline is None else Boundaries(self.baseline.lower, self.baseline.upper)


@dataclass(frozen=True, slots=True)
class CustomFile:
    """One file of a custom model version; `path` is relative, with `/`."""

    id: str
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class CustomVersion:
    """The files of a custom model at one time.

    sha256: hash of their content, None for no files. kept_in: the artefact that holds them in its place; then
    own_description is the file that the artefact has replaced, None where there was none. resources: what was asked for
    and is only noted. parameters: values of runtime parameters, by name. frozen: it was registered.
    """

    id: str
    model_id: str
    major: int
    minor: int
    description: str
    sha256: str | None
    size: int
    files: tuple[CustomFile, ...]
    resources: JsonObject
    parameters: JsonObject
    created_at: datetime
    owner: Owner
    frozen: bool
    kept_in: str | None = None
    own_description: str | None = None

    @property
    def label(self) -> str:
        """The version's number as people write it."""
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True)
class CustomModel:
    """A model that users bring as files. class_labels: of a binary target the negative and the positive one.

    deployments: how many there are of all its versions.
    """

    id: str
    name: str
    description: str
    language: str
    target_type: TargetType
    target_name: str | None
    class_labels: tuple[str, ...] | None
    threshold: float | None
    resources: JsonObject
    created_at: datetime
    updated_at: datetime
    owner: Owner
    latest: CustomVersion | None
    deployments: int


@dataclass(frozen=True, slots=True)
class Server:
    """A prediction server. slots: jobs that run on it at once; concurrency: requests that it takes at once.

    kind: its protocol, "scoreline" for our own. reach: "any" when an admin named the address, else "allowed".
    """

    id: str
    name: str
    url: str
    datarobot_key: str
    slots: int
    concurrency: int
    everyone: bool
    created_at: datetime
    seen_at: datetime
    kind: str
    reach: str


@dataclass(frozen=True, slots=True)
class Environment:
    """A place that models are deployed to. formats: kinds of models that it takes, none named for all.

    owner: who made it, None for a prediction server, which is an environment by itself.
    """

    id: str
    name: str
    description: str | None
    platform: str
    formats: tuple[str, ...]
    created_at: datetime
    owner: Owner | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A place where a package is served.

    server: the one it was made for, else the installation's default; None while there is none. environment: the one
    that somebody made and it was deployed to; None when the server is its environment. tags: each an id, a name and a
    value.
    """

    id: str
    label: str
    description: str | None
    status: str
    importance: str | None
    user_provided_id: str | None
    additional_metadata: tuple[JsonObject, ...]
    settings: DeploymentSettings
    created_at: datetime
    updated_at: datetime
    model_deployed_at: datetime
    package: Package
    server: Server | None
    owner: Owner
    environment: Environment | None = None
    tags: tuple[JsonObject, ...] = ()


def prefixed(table: sa.FromClause, prefix: str) -> list[sa.Label[Any]]:
    """Return a table's columns under names with a prefix, so that several tables fit in one row."""
    return [column.label(f"{prefix}{column.name}") for column in table.c]


def unprefixed(row: RowMapping, prefix: str) -> dict[str, Any]:
    """Return the values of one table of such a row under their own names."""
    return {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}


def fetch_page(
    connection: Connection,
    query: sa.Select[Any],
    order: Sequence[sa.ColumnElement[Any]],
    *,
    offset: int,
    limit: int | None,
) -> tuple[list[RowMapping], int]:
    """Return the rows of one page and the number of all rows."""
    total = connection.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0
    rows = connection.execute(query.order_by(*order).offset(offset).limit(limit)).mappings().all()
    return list(rows), total


def owner_from(values: Mapping[str, Any]) -> Owner:
    """Build an Owner from the prefixed columns of `users`."""
    return Owner(values["id"], values["username"], values["full_name"], values["org_id"])


def info_to_json(info: ModelInfo) -> JsonObject:
    """Return a ModelInfo as JSON, spelt as on the wire."""
    return {
        "format": info.format,
        "targetType": info.target_type,
        "features": features_to_json(info.features),
        "classLabels": None if info.class_labels is None else list(info.class_labels),
        "targetName": info.target_name,
        "outputs": info.outputs,
        "extra": extra_to_json(info.extra),
    }


def info_from_json(document: Mapping[str, Any]) -> ModelInfo:
    """Read such JSON; raises KeyError, TypeError or ValueError when it is not one."""
    labels = document.get("classLabels")
    target_type = document.get("targetType")
    return ModelInfo(
        format=str(document["format"]),
        target_type=None if target_type is None else TargetType(target_type),
        features=features_from_json(document["features"]),
        class_labels=None if labels is None else tuple(str(label) for label in labels),
        target_name=document.get("targetName"),
        outputs=int(document.get("outputs", 1)),
        extra=extra_from_json(document.get("extra") or ()),
    )


def extra_to_json(extra: tuple[ExtraOutput, ...]) -> list[JsonObject]:
    """Return a model's columns beside its predictions as JSON."""
    return [{"name": each.name, "type": each.type.value} for each in extra]


def extra_from_json(items: Iterable[Mapping[str, Any]]) -> tuple[ExtraOutput, ...]:
    """Read such columns from JSON; raises KeyError, TypeError or ValueError."""
    return tuple(ExtraOutput(str(item["name"]), FeatureType(item["type"])) for item in items)


def features_to_json(features: tuple[Feature, ...]) -> list[JsonObject]:
    """Return features as JSON."""
    return [{"name": f.name, "type": f.type.value, "nullable": f.nullable, "optional": f.optional} for f in features]


def features_from_json(items: list[Mapping[str, Any]]) -> tuple[Feature, ...]:
    """Read features from JSON; raises KeyError, TypeError or ValueError."""
    return tuple(
        Feature(
            str(item["name"]),
            FeatureType(item["type"]),
            nullable=bool(item.get("nullable", True)),
            optional=bool(item.get("optional", False)),
        )
        for item in items
    )
