"""What a new job scores with: chosen once, when the job is created, and kept to its end."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import Connection

from scoreline.access import Caller
from scoreline.errors import Conflict, InvalidRequest, NotFound
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.target import Target
from scoreline.registry import deployments, history, packages, servers
from scoreline.registry.records import Deployment, Package, Server
from scoreline.registry.settings import DeploymentSettings, boundaries
from scoreline.store import Store


@dataclass(frozen=True, slots=True)
class Subject:
    """deployment: None for a job with a model alone. server: where the package is scored."""

    deployment: Deployment | None
    package: Package
    server: Server

    @property
    def target(self) -> Target:
        """What the job's rows look like, with the deployment's settings as they are now."""
        package = self.package
        settings = DeploymentSettings() if self.deployment is None else self.deployment.settings
        return Target(
            name=package.target_name,
            type=package.target_type,
            features=package.features,
            class_labels=package.class_labels or (),
            positive_class=package.positive_class,
            threshold=package.threshold,
            label_thresholds=package.label_thresholds,
            extra=package.extra,
            association_id=settings.association_id,
            association_required=settings.association_required,
            boundaries=boundaries(settings, package.usual),
            warn=settings.warning_enabled,
            approval=settings.approval_status if settings.approval_enabled else None,
        )


def choose(store: Store, caller: Caller, spec: JobSpec) -> Subject:
    """Find the model that a spec names, as of this moment.

    `deploymentId`: the model that the deployment has, or with `pinnedModelId` one that it has or had. `modelId`: the
    newest package of that model; `modelPackageId`: that package; both without a deployment.
    Raises NotFound; InvalidRequest, naming the field; Conflict when no prediction server is known.
    """
    _check_one(spec)
    with store.read() as connection:
        if spec.deployment_id is not None:
            return _deployed(connection, caller, spec, spec.deployment_id)
        if spec.model_package_id is not None:
            package, field = packages.get_in(connection, caller, spec.model_package_id), "modelPackageId"
        else:
            package, field = packages.of_model_in(connection, caller, str(spec.model_id)), "modelId"
        if package.archived_at is not None:
            raise InvalidRequest(f"Model package {package.name!r} is archived: score with another version.", field)
        return Subject(None, package, _server(connection, caller, package, None))


def _check_one(spec: JobSpec) -> None:
    given = {"deploymentId": spec.deployment_id, "modelId": spec.model_id, "modelPackageId": spec.model_package_id}
    named = [name for name, value in given.items() if value is not None]
    if not named:
        raise InvalidRequest(
            "deploymentId is required: it says which deployment scores the rows; modelPackageId or modelId score with "
            "a model alone.",
            "deploymentId",
        )
    if len(named) > 1:
        raise InvalidRequest(
            f"{' and '.join(named)} are given: one says what to score with; pinnedModelId, beside deploymentId, "
            "chooses one of the models that the deployment has had.",
            named[1],
        )
    if spec.pinned_model_id is not None and spec.deployment_id is None:
        raise InvalidRequest("pinnedModelId goes with deploymentId, whose models it chooses from.", "pinnedModelId")


def _deployed(connection: Connection, caller: Caller, spec: JobSpec, deployment_id: str) -> Subject:
    deployment = deployments.get_in(connection, caller, deployment_id)
    if deployment.status != "active":
        raise InvalidRequest(
            f"Deployment {deployment.label!r} is {deployment.status}: activate it before scoring.", "deploymentId"
        )
    package = deployment.package
    if spec.pinned_model_id is not None:
        package = _pinned(connection, caller, deployment, spec.pinned_model_id)
    return Subject(deployment, package, _server(connection, caller, package, deployment))


def _pinned(connection: Connection, caller: Caller, deployment: Deployment, wanted: str) -> Package:
    found = history.find_in(connection, deployment.id, wanted)
    if found is None:
        raise InvalidRequest(
            f"pinnedModelId names no model that deployment {deployment.label!r} has or had: {wanted[:100]!r} "
            f"(`scoreline deployments history {deployment.id}` lists them).",
            "pinnedModelId",
        )
    try:
        return packages.get_in(connection, caller, found)
    except NotFound as exc:
        raise InvalidRequest(
            f"pinnedModelId names a model that you cannot see: {wanted[:100]!r}.", "pinnedModelId"
        ) from exc


def _server(connection: Connection, caller: Caller, package: Package, deployment: Deployment | None) -> Server:
    """Return where the package is scored; a pinned one may be elsewhere than the deployment's."""
    if package.server is not None:
        return servers.resolve_in(connection, package.server["id"])
    server = None if deployment is None else deployment.server
    if server is None or server.kind != servers.OWN:
        server = servers.default_in(connection, caller)
    if server is None:
        raise Conflict("No prediction server has made itself known yet: start one with `scoreline predictor`.")
    return server
