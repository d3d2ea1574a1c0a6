"""What the routes of custom models answer, as types; see `answers`."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

# pydantic reads these and not the standard library's before Python 3.12.
from typing_extensions import TypedDict

from scoreline.api.wire.answers import Moment


class File(TypedDict):
    """A file of a custom model version."""

    id: str
    fileName: str
    filePath: str
    fileSource: str
    size: int
    created: Moment | None


class Resources(TypedDict):
    """What was asked for of machines, as far as it was."""

    networkEgressPolicy: NotRequired[str]
    maximumMemory: NotRequired[int]
    replicas: NotRequired[int]


class CustomModelVersion(Resources):
    """A version of a custom model: its files, and what was set with them. `sha256` and `size` are Scoreline's own."""

    id: str
    customModelId: str
    label: str
    versionMajor: int
    versionMinor: int
    description: str
    isFrozen: bool
    baseEnvironmentId: str
    baseEnvironmentVersionId: str
    items: list[File]
    created: Moment | None
    dependencies: list[Any]
    requiredMetadata: dict[str, Any]
    requiredMetadataValues: list[Any]
    runtimeParameters: list[dict[str, Any]]
    trainingData: None
    holdoutData: None
    sha256: str | None
    size: int


class CustomModel(Resources):
    """A custom model: what it predicts, and its latest version."""

    id: str
    customModelType: Literal["inference"]
    name: str
    description: str
    language: str
    targetType: str
    targetName: str | None
    supportsBinaryClassification: bool
    supportsRegression: bool
    positiveClassLabel: str | None
    negativeClassLabel: str | None
    classLabels: list[str] | None
    predictionThreshold: float | None
    latestVersion: CustomModelVersion | None
    deploymentsCount: int
    createdBy: str
    created: Moment | None
    updated: Moment | None
    trainingDataAssignmentInProgress: bool
    isTrainingDataForVersionsPermanentlyEnabled: bool
    tags: list[Any]


class ExecutionEnvironmentVersion(TypedDict):
    """The only version of the execution environment."""

    id: str
    environmentId: str
    buildStatus: str
    imageId: str
    label: str
    description: str
    created: Moment | None
    dockerContextSize: None
    dockerImageSize: None


class ExecutionEnvironment(TypedDict):
    """What custom models run in."""

    id: str
    name: str
    description: str
    programmingLanguage: str
    isPublic: bool
    created: Moment | None
    latestVersion: ExecutionEnvironmentVersion
    latestSuccessfulVersion: ExecutionEnvironmentVersion
    requiredMetadataKeys: list[Any]
    useCases: list[str]
    deploymentsCount: int
