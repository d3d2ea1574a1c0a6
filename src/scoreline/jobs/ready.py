"""Whether a job can be made of a spec now, and all that is known of it before its row is stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from sqlalchemy.engine import Connection

from scoreline.access import Caller
from scoreline.access.outside import Outside
from scoreline.errors import InvalidRequest
from scoreline.jobs import credentials, datasets, fitting, instances, keyring, subject
from scoreline.jobs.instances import Instance
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.subject import Subject
from scoreline.jobs.target import Target
from scoreline.registry import packages
from scoreline.registry.records import Package, Server
from scoreline.store import Store
from scoreline.types import JsonObject


@dataclass(frozen=True, slots=True)
class Ready:
    """A spec that fits what it names.

    spec: as it is stored, defaults filled in and keys masked. keys: those that it held. adapts: it came without
    `numConcurrent`. server: where it is scored. intake_name: its dataset's.
    """

    spec: JobSpec
    chosen: Subject
    target: Target
    server: Server | Instance
    package_hash: str
    adapts: bool
    intake_name: str | None
    keys: JsonObject = field(repr=False)

    def check_in(self, store: Store, connection: Connection, caller: Caller) -> None:
        """Raise for credentials and datasets that the caller may not use, or that were deleted since.

        Runs in the write transaction that stores what names them. Raises NotFound, InvalidRequest.
        """
        credentials.check_in(store, connection, caller, self.spec)
        datasets.check_in(store, connection, caller, self.spec)


def find(store: Store, caller: Caller, spec: JobSpec, outside: Outside | None) -> Ready:
    """Find what a spec names, for a caller who may use it; what can be built (`checks`) was asked before.

    Raises InvalidRequest for what does not fit (naming the field), NotFound for the deployment or model, Forbidden,
    Conflict when no prediction server is known.
    """
    chosen = subject.choose(store, caller, spec)
    target = chosen.target
    fitting.check_target(spec, target)
    instance = _instance(store, caller, spec, chosen, outside)
    server = instance or chosen.server
    adapts = spec.num_concurrent is None
    spec, intake_name = datasets.pinned(store, caller, spec)
    spec = replace(spec, num_concurrent=spec.num_concurrent or server.concurrency)
    keys = {} if instance is None else instance.keys
    return Ready(
        spec=keyring.masked(spec),
        chosen=chosen,
        target=target,
        server=server,
        package_hash=_what_scores(chosen.package, instance),
        adapts=adapts,
        intake_name=intake_name,
        keys={**keys, **keyring.keys_in(spec)},
    )


def _instance(store: Store, caller: Caller, spec: JobSpec, chosen: Subject, outside: Outside | None) -> Instance | None:
    """Return the prediction instance that the spec names."""
    if spec.prediction_instance is None:
        return None
    assert outside is not None
    found = instances.find(store, caller, spec.prediction_instance, outside)
    if found.own is not None and chosen.package.server is not None:
        raise InvalidRequest(
            f"predictionInstance names a prediction server of this installation, but the model is on "
            f"{chosen.package.server['url']}: leave predictionInstance out.",
            instances.FIELD,
        )
    if found.own is None and chosen.deployment is None:
        raise InvalidRequest(
            "predictionInstance names a server of another installation, which scores deployments only: give "
            "deploymentId.",
            instances.FIELD,
        )
    return found


def _what_scores(package: Package, instance: Instance | None) -> str:
    """Return a hash of what scores; another server may know a model that is only described here."""
    if instance is None or instance.own is not None or package.artifact or package.server:
        return packages.scorable(package)
    return hashlib.sha256(f"{instance.url} {package.id}".encode()).hexdigest()
