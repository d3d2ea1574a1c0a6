"""Custom models, their versions and the execution environment as JSON, and what clients send of them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from scoreline.api.wire import custom_answers as answers
from scoreline.api.wire.base import Paging, Wire, timestamp
from scoreline.errors import InvalidRequest
from scoreline.registry import execution
from scoreline.registry.records import CustomModel, CustomVersion
from scoreline.types import JsonObject, TargetType

_OPEN = "PUBLIC"


class CustomModelQuery(Paging):
    """The filters of the list of custom models."""

    custom_model_type: Literal["inference", "training"] = "inference"
    is_deployed: bool | None = None
    search_for: str | None = None
    tag_keys: tuple[str, ...] = ()
    tag_values: tuple[str, ...] = ()
    order_by: Literal["created", "-created", "updated", "-updated"] = "-updated"


class CustomModelTestQuery(Paging):
    """The filter of the list of tests."""

    custom_model_id: str


class _Model(Wire):
    """What create and change share."""

    description: str | None = Field(None, max_length=10_000)
    language: str | None = Field(None, max_length=500)
    target_name: str | None = Field(None, min_length=1, max_length=500)
    positive_class_label: str | None = Field(None, min_length=1, max_length=500)
    negative_class_label: str | None = Field(None, min_length=1, max_length=500)
    class_labels: list[str] | None = Field(None, min_length=2, max_length=10_000)
    prediction_threshold: float | None = Field(None, ge=0, le=1)
    network_egress_policy: Literal["NONE", "PUBLIC"] | None = None
    maximum_memory: int | None = Field(None, ge=1, description="Bytes; noted, not enforced.")
    replicas: int | None = Field(None, ge=1, description="Noted; the prediction servers decide.")
    is_training_data_for_versions_permanently_enabled: bool | None = None

    @model_validator(mode="after")
    def _labels_together(self) -> _Model:
        pair = (self.negative_class_label, self.positive_class_label)
        if pair.count(None) == 1:
            raise ValueError("give the positive and the negative class label together")
        if pair[0] is not None and pair[0] == pair[1]:
            raise ValueError("the positive and the negative class label are the same")
        if pair[0] is not None and self.class_labels is not None:
            raise ValueError("class labels are for more than two classes: leave one of both out")
        return self

    def columns(self) -> JsonObject:
        """Return what is given by the names of the table's columns."""
        labels = self.class_labels
        if self.negative_class_label is not None:
            labels = [self.negative_class_label, str(self.positive_class_label)]
        given = {
            "description": self.description,
            "language": self.language,
            "target_name": self.target_name,
            "class_labels": labels,
            "threshold": self.prediction_threshold,
        }
        return {name: value for name, value in given.items() if value is not None}

    def resources(self) -> JsonObject:
        """Return what is asked for of machines."""
        return resources(self.network_egress_policy, self.maximum_memory, self.replicas)


class NewCustomModel(_Model):
    """What a custom model is made of."""

    custom_model_type: Literal["inference"] = "inference"
    name: str = Field(min_length=1, max_length=255)
    target_type: str | None = None
    supports_binary_classification: bool = False
    supports_regression: bool = False

    def kind(self) -> TargetType:
        """Return what it predicts. Raises InvalidRequest."""
        given = self.target_type
        if given is None and self.supports_binary_classification != self.supports_regression:
            given = TargetType.BINARY if self.supports_binary_classification else TargetType.REGRESSION
        if given is None:
            raise InvalidRequest("`targetType` is missing: say what the model predicts.", "targetType")
        for kind in TargetType:
            if kind.casefold() == given.casefold():
                return kind
        raise InvalidRequest(f"`targetType` is one of {', '.join(TargetType)}, not {given[:100]!r}.", "targetType")


class CustomModelChange(_Model):
    """What may be changed of a custom model."""

    name: str | None = Field(None, min_length=1, max_length=255)


class CustomModelCopy(Wire):
    """Which custom model to copy."""

    custom_model_id: str


class VersionChange(Wire):
    """What may be changed of a version."""

    description: str | None = Field(None, max_length=10_000)
    required_metadata_values: list[JsonObject] | None = None


class VersionPackage(Wire):
    """What a package is made of: a custom model version, and names."""

    custom_model_version_id: str
    name: str | None = Field(None, min_length=1)
    description: str | None = Field(None, max_length=10_000)
    registered_model_name: str | None = Field(None, min_length=1)
    registered_model_id: str | None = None
    registered_model_description: str | None = Field(None, max_length=10_000)
    registered_model_tags: list[JsonObject] | None = None
    tags: list[JsonObject] | None = None
    features: Any = Field(None, description="Ours: types of input columns, by name.")
    extra_outputs: Any = Field(None, description="Ours: types of columns beside the predictions, by name.")


def resources(policy: str | None, memory: int | None, replicas: int | None) -> JsonObject:
    """Return what is asked for of machines. Raises InvalidRequest for a network that nobody here can close."""
    if policy not in (None, _OPEN):
        raise InvalidRequest(
            f"`networkEgressPolicy` is {policy}, but a model's network is not closed here: leave it out, and close it "
            "for the prediction servers as a whole.",
            "networkEgressPolicy",
        )
    given = {"networkEgressPolicy": policy, "maximumMemory": memory, "replicas": replicas}
    return {name: value for name, value in given.items() if value is not None}


def custom_model_document(model: CustomModel) -> answers.CustomModel:
    """Return a custom model; the client takes no null and no empty text for most of these."""
    labels, binary = model.class_labels, model.target_type is TargetType.BINARY
    return {
        "id": model.id,
        "customModelType": "inference",
        "name": model.name,
        "description": model.description,
        "language": model.language,
        "targetType": model.target_type.value,
        "targetName": model.target_name,
        "supportsBinaryClassification": binary,
        "supportsRegression": model.target_type is TargetType.REGRESSION,
        "positiveClassLabel": labels[1] if labels and binary else None,
        "negativeClassLabel": labels[0] if labels and binary else None,
        "classLabels": list(labels) if labels and not binary else None,
        "predictionThreshold": model.threshold,
        "latestVersion": None if model.latest is None else version_document(model.latest),
        "deploymentsCount": model.deployments,
        "createdBy": model.owner.username,
        "created": timestamp(model.created_at),
        "updated": timestamp(model.updated_at),
        "trainingDataAssignmentInProgress": False,
        "isTrainingDataForVersionsPermanentlyEnabled": False,
        "tags": [],
        **_resources(model.resources),
    }


def version_document(version: CustomVersion) -> answers.CustomModelVersion:
    """Return a version of a custom model with its files."""
    return {
        "id": version.id,
        "customModelId": version.model_id,
        "label": version.label,
        "versionMajor": version.major,
        "versionMinor": version.minor,
        "description": version.description,
        "isFrozen": version.frozen,
        "baseEnvironmentId": execution.ID,
        "baseEnvironmentVersionId": execution.VERSION_ID,
        "items": [
            {
                "id": file.id,
                "fileName": file.path.rpartition("/")[2],
                "filePath": file.path,
                "fileSource": "local",
                "size": file.size,
                "created": timestamp(version.created_at),
            }
            for file in version.files
        ],
        "created": timestamp(version.created_at),
        "dependencies": [],
        "requiredMetadata": {},
        "requiredMetadataValues": [],
        "runtimeParameters": _parameters(version),
        "trainingData": None,
        "holdoutData": None,
        "sha256": version.sha256,
        "size": version.size,
        **_resources(version.resources),
    }


def _parameters(version: CustomVersion) -> list[JsonObject]:
    """Return the values that are set; the definitions are in the model's own files."""
    return [
        {"fieldName": name, "type": _kind(value), "overrideValue": value, "currentValue": value}
        for name, value in version.parameters.items()
    ]


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "numeric"


def _resources(noted: JsonObject) -> answers.Resources:
    found: answers.Resources = {}
    if "networkEgressPolicy" in noted:
        found["networkEgressPolicy"] = noted["networkEgressPolicy"]
    if "maximumMemory" in noted:
        found["maximumMemory"] = noted["maximumMemory"]
    if "replicas" in noted:
        found["replicas"] = noted["replicas"]
    return found


def environment_document() -> answers.ExecutionEnvironment:
    """Return the execution environment."""
    return {
        "id": execution.ID,
        "name": execution.NAME,
        "description": execution.DESCRIPTION,
        "programmingLanguage": "python",
        "isPublic": True,
        "created": timestamp(execution.CREATED_AT),
        "latestVersion": environment_version_document(),
        "latestSuccessfulVersion": environment_version_document(),
        "requiredMetadataKeys": [],
        "useCases": ["customModel"],
        "deploymentsCount": 0,
    }


def environment_version_document() -> answers.ExecutionEnvironmentVersion:
    """Return the environment's only version."""
    return {
        "id": execution.VERSION_ID,
        "environmentId": execution.ID,
        "buildStatus": "success",
        "imageId": execution.VERSION_ID,
        "label": "1",
        "description": "",
        "created": timestamp(execution.CREATED_AT),
        "dockerContextSize": None,
        "dockerImageSize": None,
    }
