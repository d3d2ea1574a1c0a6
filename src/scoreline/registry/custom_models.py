"""Custom models as the official client makes them: what they predict, and their versions; registered as packages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from scoreline.access import Caller, require_change, require_write, visible
from scoreline.errors import Conflict, InvalidRequest, ModelBroken, NotFound
from scoreline.models import drum_folder
from scoreline.registry import artifacts, custom_versions, packages
from scoreline.registry import tree as trees
from scoreline.registry.records import (
    CustomModel,
    CustomVersion,
    Package,
    Page,
    extra_to_json,
    features_to_json,
    fetch_page,
    owner_from,
    prefixed,
    unprefixed,
)
from scoreline.registry.request import PackageRequest, parse
from scoreline.spool import Spool
from scoreline.store import Store, new_id, now
from scoreline.store.tables.access import users
from scoreline.store.tables.custom import custom_model_versions
from scoreline.store.tables.custom import custom_models as table
from scoreline.store.tables.registry import deployments
from scoreline.store.tables.registry import packages as package_table
from scoreline.types import JsonObject, TargetType

_uses = (
    sa.select(sa.func.count())
    .select_from(deployments)
    .join(package_table, package_table.c.id == deployments.c.package_id)
    .join(custom_model_versions, custom_model_versions.c.id == package_table.c.model_id)
    .where(custom_model_versions.c.custom_model_id == table.c.id, deployments.c.deleted_at.is_(None))
    .correlate(table)
    .scalar_subquery()
)
_QUERY = sa.select(*prefixed(table, "m_"), _uses.label("uses"), *prefixed(users, "u_")).join(
    users, users.c.id == table.c.owner_id
)
_ORDER = {"created": table.c.created_at, "updated": table.c.updated_at}
_CLASSES = (TargetType.BINARY, TargetType.MULTICLASS, TargetType.MULTILABEL)


def create(store: Store, caller: Caller, values: Mapping[str, Any]) -> CustomModel:
    """Make a custom model without files of the columns of its table. Raises Forbidden, InvalidRequest."""
    require_write(caller)
    _check(values)
    model_id, moment = new_id(), now()
    with store.begin() as connection:
        connection.execute(
            table.insert().values(
                id=model_id,
                owner_id=caller.user_id,
                org_id=caller.org_id,
                created_at=moment,
                updated_at=moment,
                **values,
            )
        )
        return get_in(connection, caller, model_id)


def copy(store: Store, caller: Caller, model_id: str) -> CustomModel:
    """Make another model with the same properties and the files of the latest version. Raises NotFound, Forbidden."""
    require_write(caller)
    with store.begin() as connection:
        old = (
            connection.execute(table.select().where(visible(caller, table), table.c.id == model_id)).mappings().first()
        )
        if old is None:
            raise NotFound(f"There is no custom model {model_id!r}.")
        mine = {"owner_id": caller.user_id, "org_id": caller.org_id}
        made, moment = new_id(), now()
        copied = {**old, **mine, "id": made, "created_at": moment, "updated_at": moment}
        connection.execute(table.insert().values({**copied, "name": f"{old['name']} (copy)"}))
        latest = custom_versions.latest_in(connection, caller, model_id)
        if latest is not None:
            versions = custom_model_versions
            row = connection.execute(versions.select().where(versions.c.id == latest.id)).mappings().one()
            numbers = {"major": 1, "minor": 0, "custom_model_id": made, "id": new_id(), "created_at": moment}
            connection.execute(versions.insert().values({**row, **mine, **numbers}))
        return get_in(connection, caller, made)


def get(store: Store, caller: Caller, model_id: str) -> CustomModel:
    """Return a custom model; raises NotFound."""
    with store.read() as connection:
        return get_in(connection, caller, model_id)


def get_in(connection: Connection, caller: Caller, model_id: str) -> CustomModel:
    """Do what `get` does, in a transaction of the caller's."""
    row = connection.execute(_QUERY.where(visible(caller, table), table.c.id == model_id)).mappings().first()
    if row is None:
        raise NotFound(f"There is no custom model {model_id!r}.")
    return _model(row, custom_versions.latest_in(connection, caller, model_id))


def list_models(
    store: Store,
    caller: Caller,
    *,
    search: str | None = None,
    deployed: bool | None = None,
    order_by: str = "-updated",
    offset: int = 0,
    limit: int | None = 100,
) -> Page[CustomModel]:
    """Return custom models. order_by: created or updated, with `-` in front for the newest first (InvalidRequest)."""
    key = order_by.removeprefix("-")
    if key not in _ORDER:
        raise InvalidRequest("`orderBy` is `created` or `updated`, perhaps with `-` in front.", "orderBy")
    query = _QUERY.where(visible(caller, table))
    if search:
        query = query.where(
            sa.or_(
                table.c.name.icontains(search, autoescape=True), table.c.description.icontains(search, autoescape=True)
            )
        )
    if deployed is not None:
        query = query.where((_uses > 0) if deployed else (_uses == 0))
    down = order_by.startswith("-")
    order = [column.desc() if down else column.asc() for column in (_ORDER[key], table.c.id)]
    with store.read() as connection:
        rows, total = fetch_page(connection, query, order, offset=offset, limit=limit)
        items = [_model(row, custom_versions.latest_in(connection, caller, row["m_id"])) for row in rows]
    return Page(tuple(items), total)


def update(store: Store, caller: Caller, model_id: str, values: Mapping[str, Any]) -> CustomModel:
    """Change columns of a custom model; packages made of it stay as they are. Raises as `create`, and NotFound."""
    with store.begin() as connection:
        model = get_in(connection, caller, model_id)
        require_change(caller, model.owner.id, f"custom model {model.name!r}")
        known = {"target_type": model.target_type, "target_name": model.target_name, "class_labels": model.class_labels}
        _check({**known, **values})
        connection.execute(table.update().where(table.c.id == model_id).values(updated_at=now(), **values))
        return get_in(connection, caller, model_id)


def delete(store: Store, caller: Caller, model_id: str) -> None:
    """Remove a model and its versions; packages made of them stay. Raises NotFound, Forbidden; Conflict if deployed."""
    with store.exclusive("custom models") as connection:
        model = get_in(connection, caller, model_id)
        require_change(caller, model.owner.id, f"custom model {model.name!r}")
        if model.deployments:
            raise Conflict(
                f"Custom model {model.name!r} is deployed {model.deployments} times: delete these deployments first."
            )
        versions = custom_model_versions
        connection.execute(versions.delete().where(versions.c.custom_model_id == model_id))
        connection.execute(table.delete().where(table.c.id == model_id))


def register(
    store: Store,
    spool: Spool,
    caller: Caller,
    version_id: str,
    body: Mapping[str, Any],
    *,
    scratch: Path,
) -> Package:
    """Make a model package of a custom model version. `body` has names, tags and `features` as `packages` takes them.

    A folder with code is kept with a file that says what it predicts, so that whoever has the artefact can run it.
    Raises NotFound; Forbidden for code from a caller without the right `code`; InvalidRequest for files that are no
    model, or one that does not load; Conflict when no prediction server can be asked.
    """
    require_write(caller)
    with store.read() as connection:
        version = custom_versions.find_in(connection, caller, version_id)
        if version is None:
            raise NotFound(f"There is no custom model version {version_id!r}.")
        model = get_in(connection, caller, version.model_id)
    asked = parse({**body, "name": body.get("name") or model.name})
    with _told_of(model, version), artifacts.scratch_folder(scratch) as folder:
        root = Path(folder) / "model"
        root.mkdir()
        custom_versions.unpack(spool, version, root)
        code = artifacts.detect(root).format == "drum"
        own_description = _describe(root, model, version, asked) if code else None
        artifact = artifacts.register_tree(
            store, spool, caller, trees.scan(root), model.name, trusted="code" in caller.rights, scratch=Path(folder)
        )
        request = replace(
            asked,
            artifact=artifact.sha256,
            description=asked.description | {"modelName": model.name},
            target_name=model.target_name,
            target_type=model.target_type,
            class_names=model.class_labels,
            positive_class=_positive(model),
            threshold=model.threshold,
            features={} if code else asked.features,
            extra={} if code else asked.extra,
            model_id=version.id,
        )
        made = packages.create(store, caller, request, source=_source(model, version))
        custom_versions.keep_in(store, spool, version, artifact.sha256, own_description)
        return made


@contextmanager
def _told_of(model: CustomModel, version: CustomVersion) -> Iterator[None]:
    """Say of refusals which version it is that cannot be registered."""
    try:
        yield
    except InvalidRequest as exc:
        why = exc.message.replace("The ", "the ", 1) if exc.message.startswith("The ") else exc.message
        raise InvalidRequest(
            f"Version {version.label} of custom model {model.name!r} cannot be registered: {why}", exc.field
        ) from exc


def _describe(root: Path, model: CustomModel, version: CustomVersion, asked: PackageRequest) -> str | None:
    """Write what a folder with code predicts beside it; what it says of its columns itself stays.

    Returns the file that it had itself, None for none.
    """
    file = root / drum_folder.DESCRIPTION
    own = file.read_bytes() if file.is_file() else None
    try:
        said = drum_folder.read_description(root)
    except ModelBroken as exc:
        raise InvalidRequest(exc.message, "file") from exc
    target = {"name": model.target_name, "type": model.target_type.value, "classNames": _list(model.class_labels)}
    said["target"] = {name: value for name, value in target.items() if value is not None}
    said["positiveClass"] = _positive(model)
    if asked.features:
        said["features"] = features_to_json(tuple(asked.features.values()))
    if asked.extra:
        said["extraOutputs"] = extra_to_json(tuple(asked.extra.values()))
    if version.parameters:
        said["runtimeParameters"] = version.parameters
    file.write_text(json.dumps({name: said[name] for name in sorted(said) if said[name] is not None}, indent=1) + "\n")
    return None if own is None else own.decode()


def _positive(model: CustomModel) -> str | None:
    return model.class_labels[-1] if model.class_labels and model.target_type is TargetType.BINARY else None


def _list(labels: tuple[str, ...] | None) -> list[str] | None:
    return None if labels is None else list(labels)


def _source(model: CustomModel, version: CustomVersion) -> JsonObject:
    owner = version.owner
    return {
        "customModelDetails": {
            "id": model.id,
            "versionLabel": version.label,
            "creatorId": owner.id,
            "creatorName": owner.full_name or owner.username,
            "createdAt": version.created_at.isoformat(),
        }
    }


def _check(values: Mapping[str, Any]) -> None:
    """Check what belongs together: labels go with classes, and a binary target has two."""
    kind, labels = TargetType(values["target_type"]), values.get("class_labels")
    if kind is TargetType.UNSTRUCTURED:
        raise InvalidRequest("Unstructured models take no tables, so they cannot be scored in batches.", "targetType")
    if labels is None:
        return
    if kind not in _CLASSES:
        raise InvalidRequest(f"Class labels are given, but a target of type {kind} has no classes.", "classLabels")
    if len(set(labels)) != len(labels):
        raise InvalidRequest("The class labels name a class twice.", "classLabels")
    if kind is TargetType.BINARY and len(labels) != 2:
        raise InvalidRequest(
            "A binary target has two classes: give its positive and its negative label.", "classLabels"
        )


def _model(row: RowMapping, latest: CustomVersion | None) -> CustomModel:
    values = unprefixed(row, "m_")
    labels = values["class_labels"]
    return CustomModel(
        id=values["id"],
        name=values["name"],
        description=values["description"],
        language=values["language"],
        target_type=TargetType(values["target_type"]),
        target_name=values["target_name"],
        class_labels=None if labels is None else tuple(labels),
        threshold=values["threshold"],
        resources=values["resources"],
        created_at=values["created_at"],
        updated_at=values["updated_at"],
        owner=owner_from(unprefixed(row, "u_")),
        latest=latest,
        deployments=row["uses"],
    )
