"""Model packages: immutable versions of registered models, tied to an artefact or describing a model elsewhere."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from scoreline.access import Caller, require_change, require_write, visible
from scoreline.access.outside import Outside
from scoreline.errors import InvalidRequest, NotFound
from scoreline.registry import agreement, artifacts, foreign, registered, settings, versions
from scoreline.registry.foreign import Remote
from scoreline.registry.inspect import inspect
from scoreline.registry.records import (
    Artifact,
    Baseline,
    Package,
    Page,
    extra_from_json,
    extra_to_json,
    features_from_json,
    features_to_json,
    fetch_page,
    owner_from,
    prefixed,
    unprefixed,
)
from scoreline.registry.request import PackageRequest, parse
from scoreline.registry.versions import VersionFilters
from scoreline.store import Store, new_id, now
from scoreline.store.tables.access import users
from scoreline.store.tables.registry import deployments, registered_models
from scoreline.store.tables.registry import packages as table
from scoreline.types import JsonObject, ModelInfo, TargetType

DEFAULT_THRESHOLD = 0.5
_MOST_ROWS = 2**53

_uses = deployments.alias("uses")
_ACTIVE = (
    sa.select(sa.func.count())
    .select_from(_uses)
    .where(_uses.c.package_id == table.c.id, _uses.c.deleted_at.is_(None), _uses.c.status == "active")
    .correlate(table)
    .scalar_subquery()
)
# All that a package's record needs, for queries here and in `deployments`.
COLUMNS = (*prefixed(table, "p_"), registered_models.c.name.label("p_model_name"), _ACTIVE.label("p_active"))
_QUERY = (
    sa.select(*COLUMNS, *prefixed(users, "u_"))
    .join(registered_models, registered_models.c.id == table.c.registered_model_id)
    .join(users, users.c.id == table.c.owner_id)
)
_ORDER = {
    "version": table.c.version,
    "createdAt": table.c.created_at,
    "name": table.c.name,
    "modelType": table.c.format,
}


def create_from_json(store: Store, caller: Caller, body: Mapping[str, Any], outside: Outside | None = None) -> Package:
    """Make a package from the body that the client sends to `modelPackages/fromJSON/`, with some fields of ours.

    `modelDescription.location` = `artifact:<sha256>` ties it to an uploaded artefact (which is inspected now if it has
    not been); `server` names a server of another maker that has the model, which is asked now and whose keys are
    sealed (that needs `outside`); `features` gives types of input columns; `positiveClass`. What the artefact says is
    read from it; what contradicts it is refused. Without registeredModelId or -Name, the package is the next version
    of the registered model that has its name. Raises InvalidRequest, Forbidden, NotFound, Conflict.
    """
    return create(store, caller, parse(body), outside=outside)


def create(
    store: Store,
    caller: Caller,
    request: PackageRequest,
    *,
    outside: Outside | None = None,
    source: JsonObject | None = None,
) -> Package:
    """Do what `create_from_json` does with a request at hand. source: where the model comes from."""
    require_write(caller)
    artifact = None if request.artifact is None else _inspected(store, caller, request.artifact)
    remote = None
    if request.server is not None:
        assert outside is not None
        remote = foreign.ask(store, caller, request, outside)
    values = _agreed(request, artifact) if remote is None else _agreed_remote(request, remote)
    with store.exclusive("registered models") as connection:
        model_id, version = registered.next_version(
            connection, caller, request, values["target_name"], TargetType(values["target_type"])
        )
        if remote is not None and outside is not None:
            values["server"] = foreign.register_in(connection, caller, remote, outside)
        package_id = new_id()
        connection.execute(
            table.insert().values(
                id=package_id,
                owner_id=caller.user_id,
                org_id=caller.org_id,
                registered_model_id=model_id,
                version=version,
                name=request.name,
                model_id=request.model_id or new_id(),
                description=request.description,
                tags=registered.with_ids(request.tags),
                source=source,
                created_at=now(),
                **values,
            )
        )
        return get_in(connection, caller, package_id)


def set_baseline(
    store: Store, caller: Caller, package_id: str, *, rows: int, lower_quartile: float, upper_quartile: float
) -> Package:
    """Keep the quartiles of a regression model's usual predictions; jobs created from now on know them.

    Raises NotFound, Forbidden; InvalidRequest for another target type and for numbers that are no quartiles.
    """
    if not 1 <= rows <= _MOST_ROWS:
        raise InvalidRequest(f"`rows` is a whole number from 1 to {_MOST_ROWS}.", "rows")
    for name, value in (("lowerQuartile", lower_quartile), ("upperQuartile", upper_quartile)):
        if not math.isfinite(value):
            raise InvalidRequest(f"`{name}` is a finite number.", name)
    if lower_quartile > upper_quartile:
        raise InvalidRequest("`lowerQuartile` is above `upperQuartile`.", "lowerQuartile")
    with store.begin() as connection:
        package = get_in(connection, caller, package_id)
        require_change(caller, package.owner.id, f"model package {package.name!r}")
        if package.target_type is not TargetType.REGRESSION:
            raise InvalidRequest(
                f"A baseline is for regression models; this model's target type is {package.target_type}."
            )
        baseline = Baseline(rows, lower_quartile, upper_quartile)
        connection.execute(table.update().where(table.c.id == package_id).values(baseline=asdict(baseline)))
        return get_in(connection, caller, package_id)


def get(store: Store, caller: Caller, package_id: str) -> Package:
    """Return a package; raises NotFound."""
    with store.read() as connection:
        return get_in(connection, caller, package_id)


def get_in(connection: Connection, caller: Caller, package_id: str) -> Package:
    """Do what `get` does, in a transaction of the caller's."""
    row = connection.execute(_QUERY.where(visible(caller, table), table.c.id == package_id)).mappings().first()
    if row is None:
        raise NotFound(f"There is no model package {package_id!r}.")
    return package_from(row)


def of_model(store: Store, caller: Caller, model_id: str) -> Package:
    """Return the newest package that has this model id and is not archived; raises NotFound."""
    with store.read() as connection:
        return of_model_in(connection, caller, model_id)


def of_model_in(connection: Connection, caller: Caller, model_id: str) -> Package:
    """Do what `of_model` does, in a transaction of the caller's."""
    mine = sa.and_(visible(caller, table), table.c.model_id == model_id, table.c.archived_at.is_(None))
    newest = _QUERY.where(mine).order_by(table.c.created_at.desc(), table.c.id.desc()).limit(1)
    row = connection.execute(newest).mappings().first()
    if row is None:
        raise NotFound(f"There is no model package of a model {model_id!r}.")
    return package_from(row)


def list_packages(
    store: Store,
    caller: Caller,
    *,
    registered_model_id: str | None = None,
    model_id: str | None = None,
    search: str | None = None,
    filters: VersionFilters | None = None,
    sort_key: str = "version",
    descending: bool = True,
    offset: int = 0,
    limit: int | None = 100,
) -> Page[Package]:
    """Return packages, archived ones left out. sort_key: version, createdAt, name or modelType (InvalidRequest)."""
    if sort_key not in _ORDER:
        raise InvalidRequest(f"`sortKey` is one of {', '.join(_ORDER)}, not {sort_key!r}.", "sortKey")
    query = _QUERY.where(visible(caller, table), table.c.archived_at.is_(None))
    query = query.where(*versions.clauses(filters or VersionFilters()))
    if registered_model_id is not None:
        query = query.where(table.c.registered_model_id == registered_model_id)
    if model_id is not None:
        query = query.where(table.c.model_id == model_id)
    if search:
        query = query.where(table.c.name.icontains(search, autoescape=True))
    order = [column.desc() if descending else column.asc() for column in (_ORDER[sort_key], table.c.id)]
    with store.read() as connection:
        rows, total = fetch_page(connection, query, order, offset=offset, limit=limit)
    return Page(tuple(package_from(row) for row in rows), total)


def serving_document(package: Package) -> JsonObject:
    """Return the package as prediction servers read it. Raises InvalidRequest for one without an artefact."""
    return {
        "deploymentId": None,
        "label": package.name,
        "status": "active",
        "packageId": package.id,
        "artifact": _own(package),
        "format": package.format,
        "trusted": package.trusted,
        "targetName": package.target_name,
        "targetType": package.target_type.value,
        "classLabels": None if package.class_labels is None else list(package.class_labels),
        "positiveClass": package.positive_class,
        "threshold": package.threshold,
        "labelThresholds": list(package.label_thresholds),
        "extra": extra_to_json(package.extra),
        "features": features_to_json(package.features),
        **settings.serving_document(settings.DeploymentSettings(), package.usual),
    }


def scorable(package: Package) -> str:
    """Return a hash of what scores: the package's artefact, or the foreign server that has the model.

    Raises InvalidRequest when there is no way to score with it.
    """
    if package.server is not None:
        return hashlib.sha256(json.dumps(package.server, sort_keys=True).encode()).hexdigest()
    if package.artifact is None:
        raise InvalidRequest(
            f"Model package {package.name!r} only describes a model that lives elsewhere: upload the model and set "
            "`modelDescription.location` to its `artifact:<sha256>`, or name the server that has it in `server` "
            "(`scoreline deploy` does both).",
            "modelPackageId",
        )
    return package.artifact


def server_of(store: Store, package_id: str) -> tuple[JsonObject | None, str]:
    """Return the foreign server of a package, None for one of ours, and the package's owner.

    For the installation's own work (a run that was accepted before). Raises NotFound.
    """
    with store.read() as connection:
        row = connection.execute(sa.select(table.c.server, table.c.owner_id).where(table.c.id == package_id)).first()
    if row is None:
        raise NotFound(f"There is no model package {package_id!r}.")
    return row.server, row.owner_id


def package_from(row: RowMapping, owner_prefix: str = "u_") -> Package:
    """Build a Package from a row that has COLUMNS and its owner's."""
    values = unprefixed(row, "p_")
    labels = values["class_labels"]
    return Package(
        id=values["id"],
        registered_model_id=values["registered_model_id"],
        registered_model_name=values["model_name"],
        version=values["version"],
        name=values["name"],
        artifact=values["artifact"],
        format=values["format"],
        trusted=values["trusted"],
        target_name=values["target_name"],
        target_type=TargetType(values["target_type"]),
        class_labels=None if labels is None else tuple(labels),
        positive_class=values["positive_class"],
        threshold=values["threshold"],
        features=features_from_json(values["features"]),
        model_id=values["model_id"],
        description=values["description"],
        tags=tuple(values["tags"]),
        created_at=values["created_at"],
        archived_at=values["archived_at"],
        owner=owner_from(unprefixed(row, owner_prefix)),
        active_deployments=values["active"],
        server=values["server"],
        source=values["source"],
        label_thresholds=tuple(values["label_thresholds"] or ()),
        extra=extra_from_json(values["extra"] or ()),
        baseline=None if values["baseline"] is None else Baseline(**values["baseline"]),
    )


def _inspected(store: Store, caller: Caller, sha256: str) -> Artifact:
    artifact = artifacts.get(store, caller, sha256)
    return artifact if artifact.info is not None else inspect(store, caller, sha256)


def _agreed(request: PackageRequest, artifact: Artifact | None) -> dict[str, Any]:
    """Return the columns that both the request and the artefact have a say in."""
    info = None if artifact is None else artifact.info
    return _columns(request, info, info) | {
        "artifact": None if artifact is None else artifact.sha256,
        "format": None if artifact is None else artifact.format,
        "trusted": artifact is not None and artifact.trusted,
    }


def _columns(request: PackageRequest, info: ModelInfo | None, naming: ModelInfo | None) -> dict[str, Any]:
    """`naming`: what is said about the input columns."""
    kind = agreement.target_type(request, info)
    labels = agreement.class_labels(request, info, kind)
    threshold = DEFAULT_THRESHOLD if request.threshold is None else request.threshold
    return {
        "target_name": agreement.target_name(request, info, kind),
        "target_type": agreement.stored_type(kind),
        "class_labels": None if labels is None else list(labels),
        "positive_class": agreement.positive_class(request, labels, kind),
        "threshold": threshold,
        "label_thresholds": agreement.label_thresholds(request, labels, kind, threshold),
        "extra": extra_to_json(agreement.extra_outputs(request, info)) or None,
        "features": features_to_json(agreement.features(request, naming)),
    }


def _agreed_remote(request: PackageRequest, remote: Remote) -> dict[str, Any]:
    """Return the same columns for a model on a foreign server, which may leave its input columns unnamed."""
    request = replace(request, features=remote.features)
    values = _columns(request, remote.info, remote.info if remote.info.features else None)
    return values | {"artifact": None, "format": remote.kind, "trusted": False}


def _own(package: Package) -> str:
    if package.server is not None:
        raise InvalidRequest(
            f"Model package {package.name!r} is served by {package.server['url']}: this prediction server cannot score "
            "with it, batch jobs can.",
            "modelPackageId",
        )
    return scorable(package)
