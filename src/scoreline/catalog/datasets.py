"""Datasets: making, finding, changing and deleting their records.

Everybody sees their own datasets; admins and observers see those of their organisation. What the caller may not see
does not exist: NotFound. Raises, beside what each says, StoreError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.access import Caller, require_change, require_write, visible
from scoreline.catalog.profile import Profile
from scoreline.catalog.records import Dataset, State, dataset_from, query
from scoreline.errors import InvalidRequest, NotFound
from scoreline.registry.records import Page, fetch_page
from scoreline.store import Store, new_id, now
from scoreline.store.tables.catalog import dataset_versions as versions
from scoreline.store.tables.catalog import datasets as table
from scoreline.types import JsonObject

LOCK = "datasets"
CATEGORIES = (
    "TRAINING",
    "PREDICTION",
    "SAMPLE",
    "BATCH_PREDICTIONS",
    "SINGLE_SERIES_CALENDAR",
    "MULTI_SERIES_CALENDAR",
)
ORDERS = ("created", "-created")
_LONGEST_NAME = 255
_LONGEST_ORIGIN = 2000


def begin(
    store: Store,
    caller: Caller,
    *,
    name: str,
    source: str,
    origin: str,
    maker: str,
    dataset_id: str | None = None,
    categories: Sequence[str] = (),
) -> Dataset:
    """Note that a version is made, of a new dataset or of one that the caller may change; return it.

    source: "file" or "url"; origin: its name or address. maker: the request that does it. Raises InvalidRequest,
    NotFound, Forbidden.
    """
    require_write(caller)
    version_id, moment = new_id(), now()
    checked = check_categories(categories)

    def work(connection: Connection) -> Dataset:
        store.lock(connection, LOCK)
        number, wanted = 1, dataset_id or new_id()
        if dataset_id is None:
            connection.execute(
                table.insert().values(
                    id=wanted,
                    owner_id=caller.user_id,
                    org_id=caller.org_id,
                    name=_checked_name(name),
                    categories=checked,
                    latest_id=version_id,
                    created_at=moment,
                    modified_at=moment,
                    modified_by=caller.user_id,
                )
            )
        else:
            _changeable(connection, caller, wanted)
            last = sa.select(sa.func.max(versions.c.number)).where(versions.c.dataset_id == wanted)
            number = (connection.scalar(last) or 0) + 1
            _touch(connection, caller, wanted, **({"categories": checked} if checked else {}))
        connection.execute(
            versions.insert().values(
                id=version_id,
                dataset_id=wanted,
                number=number,
                made_by=caller.user_id,
                created_at=moment,
                state=State.RUNNING,
                maker=maker,
                source=source,
                origin=origin[:_LONGEST_ORIGIN],
            )
        )
        return get_in(connection, caller, wanted, version_id)

    return store.run(work)


def finish(store: Store, version_id: str, found: Profile, stored: int, sha256: str) -> bool:
    """Note that a version is made: from now on it is its dataset's latest one, unless a later one is.

    found: what it holds; stored, sha256: of its bytes in the spool. False when nobody waits for it any more.
    """
    kinds: dict[str, int] = {}
    for feature in found.features:
        kinds[feature["featureType"]] = kinds.get(feature["featureType"], 0) + 1
    values: dict[str, Any] = {
        "state": State.COMPLETED,
        "maker": None,
        "form": found.form,
        "packing": found.packing,
        "delimiter": found.delimiter,
        "size": found.size,
        "stored": stored,
        "sha256": sha256,
        "rows": found.rows,
        "features": list(found.features),
        "kinds": kinds,
    }

    def work(connection: Connection) -> bool:
        store.lock(connection, LOCK)
        made = versions.update().where(versions.c.id == version_id, versions.c.state == State.RUNNING).values(values)
        if connection.execute(made).rowcount != 1:
            return False
        mine = sa.select(versions.c.dataset_id).where(versions.c.id == version_id).scalar_subquery()
        last = (
            sa.select(versions.c.id)
            .where(versions.c.dataset_id == mine, versions.c.state == State.COMPLETED)
            .order_by(versions.c.number.desc())
            .limit(1)
            .scalar_subquery()
        )
        connection.execute(table.update().where(table.c.id == mine).values(latest_id=last))
        return True

    return store.run(work)


def fail(store: Store, version_id: str, error: str, *, maker: str | None = None) -> bool:
    """Note that a version cannot be made, and why; maker: only while this one makes it. False when it is over."""
    being_made = [versions.c.id == version_id, versions.c.state == State.RUNNING]
    if maker is not None:
        being_made.append(versions.c.maker == maker)
    change = versions.update().where(*being_made).values(state=State.ERROR, error=error, maker=None)
    return store.run(lambda connection: connection.execute(change).rowcount == 1)


def unfinished(store: Store) -> list[tuple[str, str]]:
    """Return the versions that are being made, and by whom."""
    wanted = sa.select(versions.c.id, versions.c.maker).where(versions.c.state == State.RUNNING)
    with store.read() as connection:
        return [(row.id, row.maker) for row in connection.execute(wanted)]


def get(store: Store, caller: Caller, dataset_id: str, version_id: str | None = None) -> Dataset:
    """Return a dataset with its latest version, or another one. Raises NotFound."""
    with store.read() as connection:
        return get_in(connection, caller, dataset_id, version_id)


def get_in(connection: Connection, caller: Caller, dataset_id: str, version_id: str | None = None) -> Dataset:
    """Do what `get` does, in a transaction of the caller's."""
    one = versions.c.id == (table.c.latest_id if version_id is None else version_id)
    clauses = (table.c.id == dataset_id, table.c.deleted_at.is_(None), one, visible(caller, table))
    row = connection.execute(query().where(*clauses)).mappings().first()
    if row is None and version_id is not None:
        get_in(connection, caller, dataset_id)
        raise NotFound(f"There is no version {version_id[:100]!r} of dataset {dataset_id!r}.")
    if row is None:
        raise NotFound(f"There is no dataset {dataset_id[:100]!r}.")
    return dataset_from(row)


def of_version(store: Store, caller: Caller, version_id: str) -> Dataset:
    """Return the dataset that a version is of, with this version, by its id alone. Raises NotFound."""
    clauses = (versions.c.id == version_id, table.c.deleted_at.is_(None), visible(caller, table))
    with store.read() as connection:
        row = connection.execute(query().where(*clauses)).mappings().first()
    if row is None:
        raise NotFound(f"There is no version {version_id[:100]!r} of a dataset.")
    return dataset_from(row)


def for_run(store: Store, version_id: str) -> Dataset | None:
    """Return a dataset with this version, for a run of a job that was allowed to use it; None when it is gone."""
    with store.read() as connection:
        row = connection.execute(query().where(versions.c.id == version_id)).mappings().first()
    return None if row is None else dataset_from(row)


def page(
    store: Store,
    caller: Caller,
    *,
    category: str | None = None,
    order: str = "-created",
    without_failed: bool = False,
    offset: int = 0,
    limit: int = 100,
) -> Page[Dataset]:
    """Return one page of the caller's datasets, each with its latest version. `order` is one of ORDERS."""
    wanted = query().where(versions.c.id == table.c.latest_id, table.c.deleted_at.is_(None), visible(caller, table))
    if category is not None:
        wanted = wanted.where(sa.cast(table.c.categories, sa.Text).contains(f'"{category}"', autoescape=True))
    if without_failed:
        wanted = wanted.where(versions.c.state != State.ERROR)
    by = [table.c.created_at, table.c.id]
    with store.read() as connection:
        rows, total = fetch_page(
            connection,
            wanted,
            [each.desc() for each in by] if order.startswith("-") else by,
            offset=offset,
            limit=limit,
        )
    return Page(tuple(dataset_from(row) for row in rows), total)


def versions_of(store: Store, caller: Caller, dataset_id: str, *, offset: int, limit: int) -> Page[Dataset]:
    """Return one page of a dataset's versions, the newest first. Raises NotFound."""
    get(store, caller, dataset_id)
    wanted = query().where(table.c.id == dataset_id, table.c.deleted_at.is_(None), visible(caller, table))
    with store.read() as connection:
        rows, total = fetch_page(connection, wanted, [versions.c.number.desc()], offset=offset, limit=limit)
    return Page(tuple(dataset_from(row) for row in rows), total)


def features(store: Store, version_id: str) -> list[JsonObject]:
    """Return what is known of a version's columns, in their order; for callers who have been given the version."""
    with store.read() as connection:
        return list(connection.scalar(sa.select(versions.c.features).where(versions.c.id == version_id)) or ())


def modify(
    store: Store, caller: Caller, dataset_id: str, *, name: str | None = None, categories: Sequence[str] | None = None
) -> Dataset:
    """Give a dataset another name or other categories; what is None stays. Raises InvalidRequest, Forbidden."""
    values: dict[str, Any] = {}
    if name is not None:
        values["name"] = _checked_name(name)
    if categories is not None:
        values["categories"] = check_categories(categories)

    def work(connection: Connection) -> Dataset:
        store.lock(connection, LOCK)
        _changeable(connection, caller, dataset_id)
        _touch(connection, caller, dataset_id, **values)
        return get_in(connection, caller, dataset_id)

    return store.run(work)


def delete_in(connection: Connection, caller: Caller, dataset_id: str) -> None:
    """Hide a dataset; its bytes go later. In a write transaction that holds the lock. Raises NotFound, Forbidden."""
    _changeable(connection, caller, dataset_id)
    connection.execute(table.update().where(table.c.id == dataset_id).values(deleted_at=now()))


def undelete(store: Store, caller: Caller, dataset_id: str) -> None:
    """Bring a deleted dataset back; one that is not deleted stays as it is. Raises NotFound once its bytes are gone."""

    def work(connection: Connection) -> None:
        store.lock(connection, LOCK)
        mine = sa.and_(table.c.id == dataset_id, visible(caller, table))
        row = connection.execute(sa.select(table.c.owner_id, table.c.name).where(mine)).first()
        if row is None:
            raise NotFound(f"There is no dataset {dataset_id[:100]!r}, or it was deleted for good.")
        require_change(caller, row.owner_id, f"dataset {row.name!r}")
        connection.execute(table.update().where(table.c.id == dataset_id).values(deleted_at=None))

    store.run(work)


def check_categories(given: Sequence[str]) -> list[str]:
    """Return the categories, each once. Raises InvalidRequest for one that does not exist."""
    for each in given:
        if each not in CATEGORIES:
            raise InvalidRequest(f"categories: {each[:50]!r} is none of {', '.join(CATEGORIES)}.", "categories")
    return list(dict.fromkeys(given))


def check_changeable(store: Store, caller: Caller, dataset_id: str) -> None:
    """Raise NotFound, Forbidden for a dataset that the caller may not change."""
    with store.read() as connection:
        _changeable(connection, caller, dataset_id)


def _changeable(connection: Connection, caller: Caller, dataset_id: str) -> None:
    found = get_in(connection, caller, dataset_id)
    require_change(caller, found.owner.id, f"dataset {found.name!r}")


def _touch(connection: Connection, caller: Caller, dataset_id: str, **values: Any) -> None:
    changed = {"modified_at": now(), "modified_by": caller.user_id, **values}
    connection.execute(table.update().where(table.c.id == dataset_id).values(changed))


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(f"name is a text of 1 to {_LONGEST_NAME} characters that can be printed.", "name")
    return name
