"""What the API answers about deployments and where they are served, as types; see `answers`."""

from __future__ import annotations

from typing import NotRequired

# pydantic reads these and not the standard library's before Python 3.12.
from typing_extensions import TypedDict

from scoreline.api.wire.answers import Member, Moment
from scoreline.types import JsonObject

Load = TypedDict("Load", {"processing": int, "queued": int})  # noqa: UP013 -- as the next one
PredictionServer = TypedDict(
    "PredictionServer",
    {"id": str, "url": str, "datarobot-key": str | None, "name": str, "batchPredictions": Load},
)
DefaultServer = TypedDict("DefaultServer", {"id": str, "url": str, "datarobot-key": str | None})


class EnvironmentOrigin(TypedDict):
    """Who made a prediction environment, and when."""

    dateCreated: Moment | None
    creatorId: str
    creatorUsername: str


class Environment(TypedDict):
    """A prediction environment: a prediction server, or a place that somebody named."""

    id: str
    name: str
    platform: str
    description: str
    plugin: None
    supportedModelFormats: list[str]
    isManagedByManagementAgent: bool
    isDeleted: bool
    permissions: list[str]
    importMeta: NotRequired[EnvironmentOrigin]


class DeploymentFeature(TypedDict):
    """A column that a deployment's model reads."""

    name: str
    featureType: str
    importance: None
    dateFormat: None
    knownInAdvance: bool


class Capability(TypedDict):
    """Something that deployments can do beyond scoring, or not."""

    name: str
    supported: bool
    messages: list[str]


class Capabilities(TypedDict):
    """What a deployment can do beyond scoring."""

    data: list[Capability]


class DeployedModel(TypedDict):
    """The model that a deployment serves."""

    id: str
    type: str
    targetName: str | None
    targetType: str
    projectId: str
    projectName: str | None
    isDeprecated: bool
    unstructuredModelKind: bool
    deployedAt: Moment | None


class DeployedPackage(TypedDict):
    """The package that a deployment serves."""

    id: str
    name: str
    registeredModelId: str


class Usage(TypedDict):
    """How many predictions a deployment made."""

    dailyRates: list[int]
    lastTimestamp: Moment | None


class Health(TypedDict):
    """How a deployment is in one respect."""

    status: str
    message: str
    startDate: Moment | None
    endDate: Moment | None


class Owners(TypedDict):
    """Whose a deployment is."""

    count: int
    preview: list[Member]


class Tag(TypedDict):
    """A name with a value, to find deployments by."""

    id: str
    name: str
    value: str


class Deployment(TypedDict):
    """A place where a model is served."""

    id: str
    label: str
    description: str | None
    status: str
    importance: str | None
    createdAt: Moment | None
    defaultPredictionServer: DefaultServer | None
    model: DeployedModel
    modelPackage: DeployedPackage
    predictionEnvironment: Environment | None
    predictionUsage: Usage
    serviceHealth: Health
    modelHealth: Health
    accuracyHealth: Health
    fairnessHealth: Health
    permissions: list[str]
    owners: Owners
    governance: None
    creator: Member
    tags: list[Tag]
    approvalStatus: str
    userProvidedId: str | None
    additionalMetadata: list[JsonObject]
