"""Model artefacts, packages (registered model versions) and registered models as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from scoreline.access import Caller
from scoreline.api.wire import model_answers
from scoreline.api.wire.base import Paging, Time, Wire, timestamp
from scoreline.api.wire.people import may_change, member
from scoreline.registry.records import (
    Artifact,
    Baseline,
    Environment,
    Package,
    RegisteredModel,
    extra_to_json,
    features_to_json,
    info_to_json,
)
from scoreline.registry.uses import Use
from scoreline.registry.versions import VersionFilters
from scoreline.types import JsonObject, TargetType

_EXTERNAL = "external"
_THRESHOLDS = (TargetType.BINARY, TargetType.MULTILABEL)
_Direction = Literal["asc", "desc"]


class ArtifactQuery(Wire):
    """The parameters of an upload of a model."""

    filename: str | None = Field(None, max_length=1000, description="The file's own name; the format may show in it.")
    trusted: bool = Field(False, description="The model may run code when it is loaded; needs the right `code`.")


class PackageQuery(Paging):
    """The filters of the list of packages."""

    model_id: str | None = None
    registered_model_id: str | None = None
    search: str | None = None
    sort_key: Literal["version", "createdAt", "name"] = "version"
    sort_direction: _Direction = "desc"


class _ByVersion(Paging):
    """Filters of versions, also of the models that have one of them."""

    search: str | None = None
    target_name: str | None = None
    target_type: TargetType | None = None
    compatible_with_model_package_id: str | None = Field(
        None, description="Those that could replace this one: the same target, type and classes in the same order."
    )
    compatible_with_leaderboard_model_id: str | None = Field(None, description="There are no such models.")
    prediction_threshold: float | None = Field(None, ge=0, le=1, description="Of a binary target.")
    prediction_environment_id: str | None = Field(None, description="Those that may be deployed there.")
    imported: bool | None = Field(None, description="True: none, for nothing is imported from DataRobot.")
    build_status: str | None = Field(None, description="Nothing is built, so none has a status.")
    use_case_id: str | None = Field(None, description="There are no use cases.")
    model_kind: str | None = Field(None, description="Of time series and the like: there are none.")
    for_challenger: bool | None = Field(None, description="True: none, for there are no challengers.")
    sort_direction: _Direction = "desc"

    def filters(self, like: Package | None, environment: Environment | None, tags: tuple[str, ...]) -> VersionFilters:
        """Return what the query means, with the objects that it names."""
        absent = (self.compatible_with_leaderboard_model_id, self.build_status, self.use_case_id, self.model_kind)
        return VersionFilters(
            target_name=self.target_name,
            target_type=self.target_type,
            like=like,
            threshold=self.prediction_threshold,
            environment=environment,
            tags=tags,
            nothing=self.imported is True or self.for_challenger is True or any(value is not None for value in absent),
        )


class ModelQuery(_ByVersion):
    """The filters of the list of registered models."""

    created_by: str | None = Field(None, description="The name of the user who made it.")
    created_at_start_ts: Time | None = None
    created_at_end_ts: Time | None = Field(None, description="Only those made before.")
    modified_at_start_ts: Time | None = None
    modified_at_end_ts: Time | None = Field(None, description="Only those modified before.")
    sort_key: Literal["createdAt", "modifiedAt", "name"] = "createdAt"


class VersionQuery(_ByVersion):
    """The filters of the list of a registered model's versions."""

    tags: tuple[str, ...] = Field((), description="A name or value of a tag; repeated: any of them.")
    sort_key: Literal["version", "createdAt", "name", "modelType", "modifiedAt", "updatedAt"] = "version"

    def order(self) -> str:
        """Return the order; a version never changes after it was made."""
        return "createdAt" if self.sort_key in ("modifiedAt", "updatedAt") else self.sort_key


class UseQuery(Paging):
    """The filters of the list of a version's deployments."""

    search: str | None = Field(None, description="A part of the deployment's label.")
    sort_key: Literal["createdAt", "label"] = "createdAt"
    sort_direction: _Direction = "desc"


class NewBaseline(Wire):
    """Quartiles of a regression model's predictions of rows that are usual for it."""

    rows: int = Field(ge=1, description="How many rows were scored.")
    lower_quartile: float
    upper_quartile: float


class ModelChange(Wire):
    """What may be changed of a registered model."""

    name: str = Field(min_length=1)


def artifact_document(artifact: Artifact) -> model_answers.Artifact:
    """Return an uploaded model; `location` is what a package's `modelDescription.location` takes."""
    return {
        "id": artifact.id,
        "sha256": artifact.sha256,
        "location": f"artifact:{artifact.sha256}",
        "filename": artifact.filename,
        "size": artifact.size,
        "format": artifact.format,
        "runsCode": artifact.runs_code,
        "trusted": artifact.trusted,
        "info": None if artifact.info is None else info_to_json(artifact.info),
        "created": timestamp(artifact.created_at),
        "createdBy": member(artifact.owner),
    }


def _server(package: Package) -> JsonObject | None:
    """Return a package's foreign server; of its keys only that there are some."""
    if package.server is None:
        return None
    shown = {name: value for name, value in package.server.items() if name != "secret"}
    return {**shown, "hasKey": "secret" in package.server}


def package_document(package: Package, caller: Caller) -> model_answers.Package:
    """Return a package; the client needs every one of these objects, empty or not."""
    target: model_answers.Target = {
        "name": package.target_name or None,
        "type": package.target_type.value,
        "classNames": None if package.class_labels is None else list(package.class_labels),
        "classCount": None if package.class_labels is None else len(package.class_labels),
        "predictionThreshold": package.threshold if package.target_type in _THRESHOLDS else None,
        "predictionProbabilitiesColumn": None,
    }
    return {
        "id": package.id,
        "registeredModelId": package.registered_model_id,
        "registeredModelVersion": package.version,
        "registeredModelName": package.registered_model_name,
        "name": package.name,
        "modelId": package.model_id,
        "modelExecutionType": _execution(package),
        "isArchived": package.archived_at is not None,
        "isDeprecated": False,
        "importMeta": {
            "creatorId": package.owner.id,
            "creatorUsername": package.owner.username,
            "creatorFullName": package.owner.full_name,
            "dateCreated": timestamp(package.created_at),
            "containsFearPipeline": None,
            "containsFeaturelists": None,
            "containsLeaderboardMeta": None,
            "containsProjectMeta": None,
            "originalFileName": None,
        },
        "sourceMeta": package.source or {},
        "modelKind": {
            "isTimeSeries": False,
            "isMultiseries": False,
            "isUnsupervisedLearning": _unsupervised(package),
            "isAnomalyDetectionModel": package.target_type is TargetType.ANOMALY,
            "isFeatureDiscovery": False,
            "isCombinedModel": False,
            "isUnstructured": package.target_type is TargetType.UNSTRUCTURED,
        },
        "target": target,
        "modelDescription": package.description,
        "datasets": {},
        "timeseries": {},
        "permissions": ["CAN_VIEW", "CAN_USE", *(["CAN_EDIT"] if may_change(caller, package.owner) else [])],
        "activeDeploymentCount": package.active_deployments,
        "buildStatus": None,
        "tags": list(package.tags),
        "format": package.format,
        "artifact": package.artifact,
        "trusted": package.trusted,
        "server": _server(package),
        "positiveClass": package.positive_class,
        "labelThresholds": _label_thresholds(package),
        "extraOutputs": extra_to_json(package.extra),
        "baseline": None if package.baseline is None else _baseline(package.baseline),
        "features": features_to_json(package.features),
    }


def _execution(package: Package) -> str:
    if package.artifact is None:
        return _EXTERNAL
    return "dedicated" if package.source is None else "custom_inference_model"


def _unsupervised(package: Package) -> bool:
    clusters = package.target_type is TargetType.MULTICLASS and not package.target_name
    return clusters or package.target_type is TargetType.ANOMALY


def _label_thresholds(package: Package) -> dict[str, float] | None:
    if not package.label_thresholds:
        return None
    return dict(zip(package.class_labels or (), package.label_thresholds, strict=True))


def _baseline(baseline: Baseline) -> model_answers.Baseline:
    return {
        "rows": baseline.rows,
        "lowerQuartile": baseline.lower_quartile,
        "upperQuartile": baseline.upper_quartile,
        "lower": baseline.lower,
        "upper": baseline.upper,
    }


def model_document(model: RegisteredModel) -> model_answers.RegisteredModel:
    """Return a registered model."""
    return {
        "id": model.id,
        "name": model.name,
        "description": model.description or "",  # the client fails on null
        "createdAt": timestamp(model.created_at),
        "createdBy": member(model.owner),
        "modifiedAt": timestamp(model.modified_at),
        "modifiedBy": None,
        "target": {"name": model.target_name or None, "type": model.target_type.value},
        "lastVersionNum": model.last_version,
        "isArchived": model.archived_at is not None,
        "tags": list(model.tags),
    }


def use_document(use: Use) -> model_answers.VersionUse:
    """Return a deployment that has or had a version."""
    return {
        "id": use.deployment_id,
        "label": use.label,
        "status": use.status,
        "registeredModelVersion": use.version,
        "currentlyDeployed": use.current,
        "isChallenger": False,
        "firstDeployedAt": timestamp(use.first_at),
        "firstDeployedBy": member(use.first_by),
        "createdBy": member(use.owner),
    }
