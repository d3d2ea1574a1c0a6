"""Deployments as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from scoreline.access import Caller
from scoreline.api.wire import deployment_answers
from scoreline.api.wire.base import Paging, Wire, timestamp
from scoreline.api.wire.people import may_change, member
from scoreline.api.wire.servers import environment_document
from scoreline.errors import InvalidRequest
from scoreline.registry import environments
from scoreline.registry.records import Deployment
from scoreline.registry.selection import Filters
from scoreline.types import FeatureType, JsonObject, TargetType

COLLECTION = "deployments"
_HEALTH = "unknown"  # no model's health is watched in this version
_EXECUTION = ("datarobot", "external")
_CONSTANT_ORDERS = ("serviceHealth", "modelHealth", "accuracyHealth", "fairnessHealth")
_FEATURE_TYPES = {
    FeatureType.NUMERIC: "Numeric",
    FeatureType.INTEGER: "Numeric",
    FeatureType.BOOLEAN: "Boolean",
    FeatureType.TEXT: "Text",
}
_CAPABILITIES = {
    "supports_target_drift_tracking": "drift tracking",
    "supports_feature_drift_tracking": "drift tracking",
    "supports_actuals_submission": "actuals",
    "supports_prediction_explanations": "prediction explanations",
    "supports_prediction_intervals": "prediction intervals",
    "supports_humility_rules": "humility rules",
    "supports_segment_analysis": "segment analysis",
    "supports_challenger_models": "challenger models",
    "supports_retraining": "retraining",
}


class DeploymentQuery(Paging):
    """The filters of the list of deployments."""

    limit: int = Field(20, ge=1, le=1000, description="Items on a page.")
    order_by: str = Field("label", description="An attribute, with `-` in front for the other direction.")
    search: str | None = None
    role: Literal["OWNER", "USER"] | None = Field(None, description="OWNER: only those that the caller made.")
    status: Literal["active", "inactive"] | None = None
    importance: tuple[str, ...] = ()
    default_prediction_server_id: str | None = None
    created_by_me: bool = False
    service_health: tuple[str, ...] = ()
    model_health: tuple[str, ...] = ()
    accuracy_health: tuple[str, ...] = ()
    execution_environment_type: tuple[str, ...] = ()
    prediction_environment_platform: tuple[str, ...] = ()
    tag_keys: tuple[str, ...] = ()
    tag_values: tuple[str, ...] = ()
    is_a2a_agent: bool | None = Field(None, alias="isA2AAgent")

    @field_validator(
        "importance",
        "service_health",
        "model_health",
        "accuracy_health",
        "execution_environment_type",
        "prediction_environment_platform",
        "tag_keys",
        "tag_values",
    )
    @classmethod
    def _separated(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        """Take repeated values and those joined by commas, as different clients send them."""
        return tuple(part for value in given for part in value.split(",") if part)

    @field_validator("execution_environment_type")
    @classmethod
    def _known(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(given) - set(_EXECUTION):
            raise ValueError(f"it is one of {', '.join(_EXECUTION)}, not {unknown.pop()!r}")
        return given

    def matches_nothing(self) -> bool:
        """Say whether a filter asks for what no deployment of this version has, such as a known health."""
        healths = (self.service_health, self.model_health, self.accuracy_health)
        return any(wanted and _HEALTH not in wanted for wanted in healths) or bool(self.is_a2a_agent)

    def filters(self) -> Filters:
        """Return what the query means."""
        return Filters(
            search=self.search,
            status=self.status,
            importance=self.importance,
            server_id=self.default_prediction_server_id,
            created_by_me=self.created_by_me or self.role == "OWNER",
            external=_one_of(self.execution_environment_type),
            platforms=self.prediction_environment_platform,
            tag_names=self.tag_keys,
            tag_values=self.tag_values,
        )

    def order(self) -> str:
        """Return the order; by something that is the same for all deployments, it is that of the labels."""
        return "label" if self.order_by.removeprefix("-") in _CONSTANT_ORDERS else self.order_by


def _one_of(wanted: tuple[str, ...]) -> bool | None:
    """Return whether models elsewhere are wanted, None when both or none of the kinds is named."""
    named = set(wanted)
    return None if len(named) != 1 else named == {_EXECUTION[1]}


class NewDeployment(Wire):
    """Deploy a package."""

    model_package_id: str = Field(min_length=1)
    label: str
    description: str | None = None
    default_prediction_server_id: str | None = None
    prediction_environment_id: str | None = Field(None, description="A server, or an environment somebody made.")
    importance: str | None = None
    user_provided_id: str | None = None
    additional_metadata: list[JsonObject] | None = None

    def check_place(self) -> None:
        """Raise InvalidRequest when two places are named."""
        server, environment = self.default_prediction_server_id, self.prediction_environment_id
        if server and environment and server != environment:
            raise InvalidRequest(
                "Give `defaultPredictionServerId` or `predictionEnvironmentId`, not both.", "predictionEnvironmentId"
            )


class NewModelDeployment(Wire):
    """Deploy the newest package of a model."""

    model_id: str = Field(min_length=1)
    label: str
    description: str | None = None
    default_prediction_server_id: str | None = None
    importance: str | None = None
    prediction_threshold: float | None = Field(None, ge=0, le=1, description="That of the package, if given.")
    status: Literal["active", "inactive"] = "active"


class DeploymentChange(Wire):
    """What may be changed of a deployment."""

    label: str | None = None
    description: str | None = None
    importance: str | None = None


class StatusChange(Wire):
    """Switch a deployment on or off."""

    status: Literal["active", "inactive"]


def deployment_document(deployment: Deployment, caller: Caller) -> deployment_answers.Deployment:
    """Return a deployment."""
    server, package = deployment.server, deployment.package
    place = deployment.environment or (None if server is None else environments.of_server(server))
    return {
        "id": deployment.id,
        "label": deployment.label,
        "description": deployment.description,
        "status": deployment.status,
        "importance": deployment.importance,
        "createdAt": timestamp(deployment.created_at),
        "defaultPredictionServer": (
            None if server is None else {"id": server.id, "url": server.url, "datarobot-key": server.datarobot_key}
        ),
        "model": {
            "id": package.model_id,
            "type": package.format or "External model",
            "targetName": package.target_name or None,
            "targetType": package.target_type.value,
            # Without it the client fails before it asks for what belongs to projects, and is told nothing.
            "projectId": "",
            "projectName": None,
            "isDeprecated": False,
            "unstructuredModelKind": package.target_type is TargetType.UNSTRUCTURED,
            "deployedAt": timestamp(deployment.model_deployed_at),
        },
        "modelPackage": {
            "id": package.id,
            "name": package.name,
            "registeredModelId": package.registered_model_id,
        },
        "predictionEnvironment": None if place is None else environment_document(place, caller),
        "predictionUsage": {"dailyRates": [], "lastTimestamp": None},
        "serviceHealth": _no_health(),
        "modelHealth": _no_health(),
        "accuracyHealth": _no_health(),
        "fairnessHealth": _no_health(),
        "permissions": _permissions(deployment, caller),
        "owners": {"count": 1, "preview": [member(deployment.owner)]},
        "governance": None,
        "creator": member(deployment.owner),
        "tags": [{"id": tag["id"], "name": tag["name"], "value": tag["value"]} for tag in deployment.tags],
        "approvalStatus": deployment.settings.approval_status,
        "userProvidedId": deployment.user_provided_id,
        "additionalMetadata": list(deployment.additional_metadata),
    }


def _no_health() -> deployment_answers.Health:
    return {"status": _HEALTH, "message": "", "startDate": None, "endDate": None}


def features_document(deployment: Deployment) -> list[deployment_answers.DeploymentFeature]:
    """Return the columns that the deployment's model reads."""
    return [
        {
            "name": feature.name,
            "featureType": _FEATURE_TYPES[feature.type],
            "importance": None,
            "dateFormat": None,
            "knownInAdvance": False,
        }
        for feature in deployment.package.features
    ]


def capabilities_document(deployment: Deployment) -> deployment_answers.Capabilities:
    """Return what the deployment can do beyond scoring."""
    regression = deployment.package.target_type is TargetType.REGRESSION
    why = [] if regression else ["Prediction warnings are for regression models."]
    found: list[deployment_answers.Capability] = [
        {"name": "supports_model_replacement", "supported": True, "messages": []},
        {"name": "supports_prediction_warning", "supported": regression, "messages": why},
    ]
    for name, what in _CAPABILITIES.items():
        found.append({"name": name, "supported": False, "messages": [f"Not built yet: {what}."]})
    return {"data": found}


def _permissions(deployment: Deployment, caller: Caller) -> list[str]:
    found = ["CAN_VIEW_DEPLOYMENT"]
    if caller.role in ("admin", "user"):
        found.append("CAN_MAKE_PREDICTIONS")
    if may_change(caller, deployment.owner):
        found += ["CAN_EDIT_DEPLOYMENT", "CAN_DELETE_DEPLOYMENT"]
    return found
