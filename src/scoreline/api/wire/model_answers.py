"""What the API answers about models, their versions and artefacts, as types; see `answers`."""

from __future__ import annotations

from typing import Any

# pydantic reads these and not the standard library's before Python 3.12.
from typing_extensions import TypedDict

from scoreline.api.wire.answers import Member, Moment
from scoreline.types import JsonObject


class Feature(TypedDict):
    """A column that a model reads."""

    name: str
    type: str
    nullable: bool
    optional: bool


class Artifact(TypedDict):
    """An uploaded model; `location` is what `modelDescription.location` of a package takes."""

    id: str
    sha256: str
    location: str
    filename: str
    size: int
    format: str | None
    runsCode: bool | None
    trusted: bool
    info: JsonObject | None
    created: Moment | None
    createdBy: Member


class RegisteredModel(TypedDict):
    """A registered model: the versions of one model."""

    id: str
    name: str
    description: str
    createdAt: Moment | None
    createdBy: Member
    modifiedAt: Moment | None
    modifiedBy: None
    target: dict[str, Any]
    lastVersionNum: int
    isArchived: bool
    tags: list[Any]


class VersionUse(TypedDict):
    """A deployment as one that uses a registered model."""

    id: str
    label: str
    status: str
    registeredModelVersion: int
    currentlyDeployed: bool
    isChallenger: bool
    firstDeployedAt: Moment | None
    firstDeployedBy: Member
    createdBy: Member


class Target(TypedDict):
    """What a model predicts. Clusters are a Multiclass target without a name."""

    name: str | None
    type: str
    classNames: list[str] | None
    classCount: int | None
    predictionThreshold: float | None
    predictionProbabilitiesColumn: str | None


class Baseline(TypedDict):
    """Quartiles of a regression model's predictions of rows that are usual for it, and the boundaries that follow."""

    rows: int
    lowerQuartile: float
    upperQuartile: float
    lower: float
    upper: float


class Package(TypedDict):
    """A model package: one version of a registered model. From `format` on, fields are Scoreline's own."""

    id: str
    registeredModelId: str
    registeredModelVersion: int
    registeredModelName: str
    name: str
    modelId: str
    modelExecutionType: str
    isArchived: bool
    isDeprecated: bool
    importMeta: JsonObject
    sourceMeta: JsonObject
    modelKind: dict[str, bool]
    target: Target
    modelDescription: JsonObject
    datasets: JsonObject
    timeseries: JsonObject
    permissions: list[str]
    activeDeploymentCount: int
    buildStatus: str | None
    tags: list[JsonObject]
    format: str | None
    artifact: str | None
    trusted: bool
    server: JsonObject | None
    positiveClass: str | None
    labelThresholds: dict[str, float] | None
    extraOutputs: list[JsonObject]
    baseline: Baseline | None
    features: list[JsonObject]
