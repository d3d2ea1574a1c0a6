"""What the API answers, as types: builders of documents are checked against them, and OpenAPI describes them.

Keys are named as they travel. A key that is not `NotRequired` is always there; clients fail on absent ones.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar

from pydantic import WithJsonSchema

# pydantic reads these and not the standard library's before Python 3.12.
from typing_extensions import TypedDict

from scoreline.jobs.described import shown_schema
from scoreline.types import JsonObject

T = TypeVar("T")

Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""ISO 8601 in UTC, with a Z."""

Link = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]
"""An absolute URL with the host that the client asked."""

ShownSpec = Annotated[JsonObject, WithJsonSchema(shown_schema())]
"""The settings of a job with defaults filled in."""


class Problem(TypedDict):
    """Why a request was refused."""

    message: str
    errors: NotRequired[dict[str, str]]


class Page(TypedDict, Generic[T]):
    """A page of a list. `next` and `previous` repeat the request's filters."""

    count: int
    totalCount: int
    next: Link | None
    previous: Link | None
    data: list[T]


class Made(TypedDict):
    """The id of what an asynchronous request made or changed."""

    id: str


class Progress(TypedDict):
    """How far an asynchronous request is."""

    status: str


class Version(TypedDict):
    """What the API is compatible with, and the version of Scoreline."""

    major: int
    minor: int
    versionString: str
    scoreline: str


class Pong(TypedDict):
    """The API answers."""

    response: Literal["pong"]


class Person(TypedDict):
    """Who made a job."""

    userId: str
    username: str
    fullName: str | None


class Member(TypedDict):
    """Who made a model or a deployment."""

    id: str
    name: str
    email: str


class JobLinks(TypedDict):
    """Where a job's data goes and comes from (for localFile intake and output), and the list of its failed rows."""

    self: Link
    errors: Link
    csvUpload: NotRequired[Link]
    download: NotRequired[Link]


class Job(TypedDict):
    """A batch prediction job. `status` ends as COMPLETED or ABORTED; `statusDetails` says why."""

    id: str
    status: Literal["INITIALIZING", "RUNNING", "COMPLETED", "ABORTED"]
    statusDetails: Annotated[str, WithJsonSchema({"type": "string", "minLength": 1})]
    percentageCompleted: Annotated[float, WithJsonSchema({"type": "number", "minimum": 0, "maximum": 100})]
    elapsedTimeSec: int
    created: Moment | None
    createdBy: Person
    scoredRows: int
    failedRows: int
    skippedRows: int
    jobIntakeSize: int
    jobOutputSize: int
    liveConcurrency: int | None
    liveChunkSize: int | None
    queued: bool
    queuePosition: int | None
    resultsDeleted: bool
    source: str | None
    logs: list[str]
    links: JobLinks
    jobSpec: ShownSpec
    hidden: Moment | None
    paused: Moment | None
    intakeDatasetDisplayName: None
    monitoringBatchId: None
    batchPredictionJobDefinition: None


class ManifestRows(TypedDict):
    """Rows of a job, each counted once: read = scored + failed + skipped, written = scored + failed."""

    read: int
    scored: int
    failed: int
    skipped: int
    written: int


class ManifestIntake(TypedDict):
    """What a job read. `identity` tells the source from any other, once it is known."""

    type: str
    bytes: int
    identity: dict[str, Any] | None


class ManifestOutput(TypedDict):
    """What a job wrote; the digest is there once the job is COMPLETED, where it can be had."""

    type: str
    bytes: int
    sha256: str | None


class ManifestModel(TypedDict):
    """What a job scored with: the package, the digest of its artefact, and what a foreign server called its model."""

    modelPackageId: str
    sha256: str
    servedAs: str | None


class Manifest(TypedDict):
    """What a job did, to the byte."""

    jobId: str
    status: Literal["INITIALIZING", "RUNNING", "COMPLETED", "ABORTED"]
    statusDetails: str
    rows: ManifestRows
    intake: ManifestIntake
    output: ManifestOutput
    model: ManifestModel
    runs: int
    ranSeconds: float
    created: Moment | None
    started: Moment | None
    finished: Moment | None
    jobSpec: ShownSpec


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


class DeployedModel(TypedDict):
    """The model that a deployment serves."""

    id: str
    type: str
    targetName: str | None
    targetType: str
    projectId: str | None
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


class Holder(TypedDict):
    """Whose a token is, for prediction servers. Only `active` is there for one that is not good."""

    active: bool
    userId: NotRequired[str]
    username: NotRequired[str]
    kind: NotRequired[str]
    packageIds: NotRequired[list[str] | None]
    rights: NotRequired[list[str]]
    expiresIn: NotRequired[float | None]


class Known(TypedDict):
    """A prediction server that is registered now."""

    id: str
    name: str
    url: str
