"""Giving a deployment another model: whether it fits, and doing it. Jobs that exist keep the model they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from scoreline.access import Caller, require_change
from scoreline.errors import InvalidRequest, UserError
from scoreline.registry import deployments, history, packages, settings
from scoreline.registry.history import REASONS, Served
from scoreline.registry.records import Deployment, Package
from scoreline.store import Store, now
from scoreline.store.tables.registry import deployments as table
from scoreline.types import Feature, TargetType

PASSING, WARNING, FAILING = "passing", "warning", "failing"
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Check:
    """One point of a validation; status: passing, warning or failing."""

    status: str
    message: str


@dataclass(frozen=True, slots=True)
class Validation:
    """Whether a package may replace a deployment's. A warning does not forbid it."""

    status: str
    message: str
    checks: dict[str, Check]


def validate(
    store: Store, caller: Caller, deployment_id: str, *, package_id: str | None = None, model_id: str | None = None
) -> Validation:
    """Say whether a package may replace a deployment's, named by its own id or, the newest one, by its model's.

    Raises NotFound; InvalidRequest unless exactly one of both is given.
    """
    with store.read() as connection:
        deployment = deployments.get_in(connection, caller, deployment_id)
        return _validation(deployment, _wanted(connection, caller, package_id, model_id), caller)


def replace(
    store: Store,
    caller: Caller,
    deployment_id: str,
    *,
    reason: str,
    package_id: str | None = None,
    model_id: str | None = None,
) -> tuple[Deployment, Validation]:
    """Let a deployment serve another package from now on; `reason` is one of history.REASONS.

    Raises NotFound, Forbidden; InvalidRequest for another reason and for a package that does not fit.
    """
    if reason not in REASONS:
        raise InvalidRequest(f"`reason` is one of {', '.join(REASONS)}, not {reason!r}.", "reason")
    with store.exclusive("deployments") as connection:
        old = deployments.get_in(connection, caller, deployment_id)
        require_change(caller, old.owner.id, f"deployment {old.label!r}")
        package = _wanted(connection, caller, package_id, model_id)
        report = _validation(old, package, caller)
        if report.status == FAILING:
            raise InvalidRequest(report.message, "modelId" if package_id is None else "modelPackageId")
        moment = now()
        values = {
            "package_id": package.id,
            "settings": settings.to_stored(settings.after_replacement(old.settings, caller)),
            "model_deployed_at": moment,
            "updated_at": moment,
        }
        if package.server is not None or old.package.server is not None:
            values["server_id"] = None if package.server is None else package.server["id"]
        change = table.update().where(table.c.id == deployment_id, table.c.deleted_at.is_(None))
        connection.execute(change.values(values))
        history.add_in(connection, caller, deployment_id, package.id, moment=moment, reason=reason)
        return deployments.get_in(connection, caller, deployment_id), report


def list_models(store: Store, caller: Caller, deployment_id: str) -> list[Served]:
    """Return all models that a deployment has had, the present one first. Raises NotFound."""
    with store.read() as connection:
        deployments.get_in(connection, caller, deployment_id)
        return history.list_in(connection, deployment_id)


def _wanted(connection: Connection, caller: Caller, package_id: str | None, model_id: str | None) -> Package:
    if (package_id is None) == (model_id is None):
        raise InvalidRequest("Give `modelPackageId` or `modelId`, one of them.", "modelPackageId")
    if package_id is not None:
        return packages.get_in(connection, caller, package_id)
    return packages.of_model_in(connection, caller, str(model_id))


def _validation(deployment: Deployment, package: Package, caller: Caller) -> Validation:
    checks = {
        "permission": _permission(deployment, caller),
        "notCurrentModel": _not_current(deployment.package, package),
        "modelStatus": _status(package),
        "modelCanBeDeployed": _deployable(deployment, package),
        "supported": Check(PASSING, "Models of this kind can be replaced."),
        "targetType": _target_type(deployment.package, package),
        "target": _target(deployment.package, package),
        "targetClasses": _classes(deployment.package, package),
        "extraOutputs": _extra(deployment.package, package),
        "predictionThreshold": _threshold(deployment.package, package),
        "features": _features(deployment.package, package),
        "featureDataTypes": _feature_types(deployment.package, package),
        "seriesType": Check(PASSING, "Neither model is a time series model."),
    }
    found = {status: [each.message for each in checks.values() if each.status == status] for status in _SENTENCES}
    status = next((status for status in _SENTENCES if found[status]), PASSING)
    return Validation(status, " ".join([_SENTENCES[status], *(found[status] if status != PASSING else ())]), checks)


_SENTENCES = {
    FAILING: "The model cannot replace the deployment's model.",
    WARNING: "The model can replace the deployment's model, but look at this first.",
    PASSING: "The model can replace the deployment's model.",
}


def _verdict(good: bool, yes: str, no: str, *, otherwise: str = FAILING) -> Check:
    return Check(PASSING, yes) if good else Check(otherwise, no)


def _refusals(work: Callable[[], object], yes: str) -> Check:
    """Turn the refusal of something into a check."""
    try:
        work()
    except UserError as error:
        return Check(FAILING, error.message)
    return Check(PASSING, yes)


def _permission(deployment: Deployment, caller: Caller) -> Check:
    what = f"deployment {deployment.label!r}"
    return _refusals(lambda: require_change(caller, deployment.owner.id, what), f"{caller.username} may change {what}.")


def _not_current(old: Package, new: Package) -> Check:
    return _verdict(new.id != old.id, "It is another model.", f"{new.name!r} is the deployment's model already.")


def _status(new: Package) -> Check:
    return _verdict(
        new.archived_at is None, "It is not archived.", f"Model package {new.name!r} is archived: take another version."
    )


def _deployable(deployment: Deployment, new: Package) -> Check:
    return _refusals(lambda: deployments.check_place(new, deployment.environment), "It can be scored with.")


def _target_type(old: Package, new: Package) -> Check:
    return _verdict(
        old.target_type is new.target_type,
        f"Both models are of type {old.target_type}.",
        f"The target type is {new.target_type}, not {old.target_type}.",
    )


def _target(old: Package, new: Package) -> Check:
    return _verdict(
        old.target_name == new.target_name,
        f"Both models predict {old.target_name!r}.",
        f"The model predicts {new.target_name!r}, not {old.target_name!r}.",
    )


def _classes(old: Package, new: Package) -> Check:
    if set(old.class_labels or ()) != set(new.class_labels or ()):
        return Check(
            FAILING, f"The classes are {_names(new.class_labels or ())}, not {_names(old.class_labels or ())}."
        )
    if old.positive_class != new.positive_class:
        return Check(FAILING, f"The positive class is {new.positive_class!r}, not {old.positive_class!r}.")
    if old.class_labels != new.class_labels:
        shown = _names(new.class_labels or ())
        return Check(WARNING, f"The classes come in another order, so output columns do: {shown}.")
    return Check(PASSING, "Both models have the same classes.")


def _extra(old: Package, new: Package) -> Check:
    return _verdict(
        old.extra == new.extra,
        "Both models give the same columns beside their predictions.",
        f"The columns beside the predictions become {_names([each.name for each in new.extra]) or 'none'}; they were "
        f"{_names([each.name for each in old.extra]) or 'none'}.",
        otherwise=WARNING,
    )


def _threshold(old: Package, new: Package) -> Check:
    return _verdict(
        old.target_type is not TargetType.BINARY or old.threshold == new.threshold,
        "The prediction threshold stays.",
        f"The prediction threshold becomes {new.threshold!r}; it was {old.threshold!r}.",
        otherwise=WARNING,
    )


def _features(old: Package, new: Package) -> Check:
    if not old.features or not new.features:
        return Check(PASSING, "One of the models does not name the columns it needs.")
    known = {feature.name for feature in old.features}
    added = [feature.name for feature in new.features if feature.name not in known]
    return _verdict(
        not added,
        "The model needs no column that the present model does not need.",
        f"The model needs columns that the present model does not need: {_names(added)}.",
        otherwise=WARNING,
    )


def _feature_types(old: Package, new: Package) -> Check:
    before = {feature.name: feature for feature in old.features}
    pairs = [(before[feature.name], feature) for feature in new.features if feature.name in before]
    changes = [text for text in (_change(*pair) for pair in pairs) if text]
    more = "; ..." if len(changes) > _SHOWN else ""
    return _verdict(
        not changes,
        "Columns keep their types.",
        f"Columns are read in another way: {'; '.join(changes[:_SHOWN])}{more}.",
        otherwise=WARNING,
    )


def _change(old: Feature, new: Feature) -> str:
    if old.type is not new.type:
        return f"{old.name!r} is {new.type}, not {old.type}"
    return f"{old.name!r} may not be empty" if old.nullable and not new.nullable else ""


def _names(names: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown + (", ..." if len(names) > _SHOWN else "") if names else "none"
