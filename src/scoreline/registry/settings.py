"""Settings of a deployment: what they are, how they are stored, which changes are possible."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.access import Caller
from scoreline.errors import Forbidden, InvalidRequest, NotFound
from scoreline.registry.request import LONGEST_NAME, check_known, object_of
from scoreline.store.tables.registry import deployments as table
from scoreline.types import Boundaries, JsonObject, TargetType

APPROVED = "APPROVED"
PENDING = "PENDING"
APPROVAL_STATUSES = (APPROVED, PENDING)


@dataclass(frozen=True, slots=True)
class DeploymentSettings:
    """All settings that have an effect, and the switches of those that will.

    association_id: columns that identify a row (at most one); association_required: data without it is refused.
    warning_*: predictions strictly above `upper` or below `lower` are outliers; both None while no boundary is set.
    approval_*: whether the deployment takes part in approval, and what it is; APPROVED while it does not.
    target_drift, feature_drift: whether drift is to be tracked; kept for when it is, nothing is tracked yet.
    predictions_data_collection: always off in this version.
    """

    association_id: tuple[str, ...] = ()
    association_required: bool = False
    warning_enabled: bool = False
    warning_upper: float | None = None
    warning_lower: float | None = None
    approval_enabled: bool = False
    approval_status: str = APPROVED
    target_drift: bool = False
    feature_drift: bool = False
    predictions_data_collection: bool = False


_FEATURES = {
    "predictionsDataCollection": "storing the rows of prediction requests",
    "predictionIntervals": "prediction intervals",
    "segmentAnalysis": "segment analysis",
    "challengerModels": "challenger models",
    "predictionsByForecastDate": "predictions by forecast date",
    "biasAndFairness": "bias and fairness",
    "humility": "humility rules",
}
"""Settings of features that are not built, by name, and what each is about."""

_KEPT = ("associationId", "predictionWarning", "approval", "targetDrift", "featureDrift")


def get_in(connection: Connection, deployment_id: str) -> DeploymentSettings:
    """Return the settings of a deployment, for those who have been given it. Raises NotFound."""
    query = sa.select(table.c.settings).where(table.c.id == deployment_id, table.c.deleted_at.is_(None))
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"There is no deployment {deployment_id!r}.")
    return from_stored(row.settings)


def from_stored(stored: Mapping[str, Any]) -> DeploymentSettings:
    """Return settings from what the table has of them: what differs from the defaults, spelt as in `document`."""
    association = stored.get("associationId") or {}
    warning = stored.get("predictionWarning") or {}
    approval = stored.get("approval") or {}
    boundaries = warning.get("customBoundaries") or {}
    return DeploymentSettings(
        association_id=tuple(association.get("columnNames", ())),
        association_required=association.get("requiredInPredictionRequests", False),
        warning_enabled=warning.get("enabled", False),
        warning_upper=boundaries.get("upper"),
        warning_lower=boundaries.get("lower"),
        approval_enabled=approval.get("enabled", False),
        approval_status=approval.get("status", APPROVED),
        target_drift=(stored.get("targetDrift") or {}).get("enabled", False),
        feature_drift=(stored.get("featureDrift") or {}).get("enabled", False),
    )


def to_stored(settings: DeploymentSettings) -> JsonObject:
    """Return what the table keeps of settings."""
    whole, plain = document(settings), document(DeploymentSettings())
    return {name: whole[name] for name in _KEPT if whole[name] != plain[name]}


def document(settings: DeploymentSettings) -> JsonObject:
    """Return every setting as the API shows them."""
    boundaries = {"upper": settings.warning_upper, "lower": settings.warning_lower}
    custom = any(value is not None for value in boundaries.values())
    return {
        "associationId": {
            "columnNames": list(settings.association_id),
            "requiredInPredictionRequests": settings.association_required,
        },
        "targetDrift": {"enabled": settings.target_drift},
        "featureDrift": {"enabled": settings.feature_drift},
        "predictionsDataCollection": {"enabled": settings.predictions_data_collection},
        "predictionIntervals": {"enabled": False, "percentiles": []},
        "predictionWarning": {
            "enabled": settings.warning_enabled,
            "customBoundaries": boundaries if custom else None,
        },
        "segmentAnalysis": {"enabled": False, "attributes": []},
        "challengerModels": {"enabled": False},
        "predictionsByForecastDate": {"enabled": False, "columnName": None, "datetimeFormat": None},
        "biasAndFairness": None,
        "humility": {"enabled": False},
        "approval": {"enabled": settings.approval_enabled, "status": settings.approval_status},
    }


def boundaries(settings: DeploymentSettings, usual: Boundaries | None) -> Boundaries | None:
    """Return beyond what a prediction is an outlier: as was said, else the model's own (`usual`), if it has such."""
    if settings.warning_lower is not None or settings.warning_upper is not None:
        return Boundaries(settings.warning_lower, settings.warning_upper)
    return usual


def serving_document(settings: DeploymentSettings, usual: Boundaries | None) -> JsonObject:
    """Return what prediction servers read of settings."""
    found = boundaries(settings, usual)
    return {
        "associationId": list(settings.association_id),
        "associationRequired": settings.association_required,
        "boundaries": None if found is None else asdict(found),
        "warn": settings.warning_enabled,
        "approval": settings.approval_status if settings.approval_enabled else None,
    }


def changed(
    current: DeploymentSettings,
    wanted: Mapping[str, Any],
    caller: Caller,
    target_type: TargetType,
    usual: Boundaries | None = None,
) -> DeploymentSettings:
    """Return the settings after a change: any of the sections of `document`; what is left out stays as it is.

    usual: the boundaries of the model's own predictions.

    Raises InvalidRequest, naming the setting: unknown, wrong, or on for a feature that is not built; Forbidden when
    somebody else than an admin approves.
    """
    check_known(wanted, document(current), what="setting")
    for name, value in wanted.items():
        if name in _FEATURES and value is not None:
            _refuse_unbuilt(name, document(current)[name], value)
    result = _association(current, object_of(wanted, "associationId"))
    result = _warning(result, object_of(wanted, "predictionWarning"), target_type, usual)
    result = _drift(result, wanted)
    return _approval(result, object_of(wanted, "approval"), caller)


def after_replacement(current: DeploymentSettings, caller: Caller) -> DeploymentSettings:
    """Return the settings once the caller has replaced the model: where approval is asked for, an admin's is needed."""
    if not current.approval_enabled or caller.role == "admin":
        return current
    return replace(current, approval_status=PENDING)


def _refuse_unbuilt(name: str, current: Any, wanted: Any) -> None:
    if isinstance(wanted, Mapping) and isinstance(current, Mapping):
        check_known(wanted, current, f"{name}.", "setting")
        if all(value is None or _same(value, current[key]) for key, value in wanted.items()):
            return
    raise InvalidRequest(
        f"The setting {name} cannot be turned on: this version of Scoreline does not have {_FEATURES[name]}.", name
    )


def _same(value: Any, current: Any) -> bool:
    return type(value) is type(current) and bool(value == current)


def _association(current: DeploymentSettings, wanted: Mapping[str, Any]) -> DeploymentSettings:
    check_known(wanted, ("columnNames", "requiredInPredictionRequests"), "associationId.", "setting")
    names, field = wanted.get("columnNames"), "associationId.columnNames"
    if names is not None:
        if not isinstance(names, list) or not all(_named(name) for name in names):
            raise InvalidRequest(f"`{field}` is a list of texts of 1 to {LONGEST_NAME} characters.", field)
        if len(names) > 1:
            raise InvalidRequest(f"`{field}` names {len(names)} columns: one can identify a row, or none.", field)
        current = replace(current, association_id=tuple(names))
    field = "associationId.requiredInPredictionRequests"
    required = _flag(wanted.get("requiredInPredictionRequests"), field)
    if required is not None:
        current = replace(current, association_required=required)
    if current.association_required and not current.association_id:
        raise InvalidRequest(f"`{field}` needs a column: name it in `associationId.columnNames`.", field)
    return current


def _named(name: Any) -> bool:
    return isinstance(name, str) and bool(name.strip()) and len(name) <= LONGEST_NAME


def _warning(
    current: DeploymentSettings, wanted: Mapping[str, Any], target_type: TargetType, usual: Boundaries | None
) -> DeploymentSettings:
    check_known(wanted, ("enabled", "customBoundaries"), "predictionWarning.", "setting")
    field = "predictionWarning.customBoundaries"
    if "customBoundaries" in wanted:  # null, too, says something: the boundaries of the model
        custom = object_of(wanted, "customBoundaries", field)
        check_known(custom, ("upper", "lower"), f"{field}.", "setting")
        upper, lower = (_number(custom.get(name), f"{field}.{name}") for name in ("upper", "lower"))
        if upper is not None and lower is not None and lower > upper:
            raise InvalidRequest(f"`{field}` is empty: lower is {lower!r}, above upper, {upper!r}.", field)
        current = replace(current, warning_upper=upper, warning_lower=lower)
    enabled = _flag(wanted.get("enabled"), "predictionWarning.enabled")
    if enabled is not None:
        current = replace(current, warning_enabled=enabled)
    if wanted and current.warning_enabled:
        _check_warning(boundaries(current, usual), target_type, field)
    return current


def _check_warning(found: Boundaries | None, target_type: TargetType, field: str) -> None:
    if target_type is not TargetType.REGRESSION:
        raise InvalidRequest(
            f"predictionWarning is for regression models; this deployment's target type is {target_type}.",
            "predictionWarning",
        )
    if found is None:
        raise InvalidRequest(
            f"predictionWarning needs `{field}`: nothing is known of the model's usual predictions, so it has no "
            "boundaries of its own; `scoreline deploy --baseline FILE.csv` gives a model such.",
            field,
        )


def _drift(current: DeploymentSettings, wanted: Mapping[str, Any]) -> DeploymentSettings:
    switches = {"target_drift": "targetDrift", "feature_drift": "featureDrift"}
    changes: dict[str, Any] = {}
    for field, name in switches.items():
        section = object_of(wanted, name)
        check_known(section, ("enabled",), f"{name}.", "setting")
        enabled = _flag(section.get("enabled"), f"{name}.enabled")
        if enabled is not None:
            changes[field] = enabled
    return replace(current, **changes)


def _approval(current: DeploymentSettings, wanted: Mapping[str, Any], caller: Caller) -> DeploymentSettings:
    check_known(wanted, ("enabled", "status"), "approval.", "setting")
    enabled, status = _flag(wanted.get("enabled"), "approval.enabled"), wanted.get("status")
    if status is not None and status not in APPROVAL_STATUSES:
        raise InvalidRequest(f"`approval.status` is one of {', '.join(APPROVAL_STATUSES)}.", "approval.status")
    result = current if enabled is None else replace(current, approval_enabled=enabled)
    admin = caller.role == "admin"
    if not result.approval_enabled:
        if current.approval_enabled and not admin:
            raise Forbidden("A deployment that needs approval is freed from it by an admin: ask one.")
        if status not in (None, APPROVED):
            raise InvalidRequest("`approval.status` is for deployments with `approval.enabled`.", "approval.status")
        return replace(result, approval_status=APPROVED)
    approved = current.approval_enabled and current.approval_status == APPROVED
    if status is None:
        status = APPROVED if approved or (admin and not current.approval_enabled) else PENDING
    if status == APPROVED and not (admin or approved):
        raise Forbidden("Deployments are approved by admins: ask one.")
    return replace(result, approval_status=status)


def _flag(value: Any, field: str) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"`{field}` is true or false, not {value!r}.", field)
    return value


def _number(value: Any, field: str) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise InvalidRequest(f"`{field}` is a number, not {value!r}.", field)
    return float(value)
