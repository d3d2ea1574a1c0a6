"""What is swept up behind datasets: deleted ones after their time, bytes without a version, makers that died."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from scoreline.catalog import datasets
from scoreline.catalog.records import PREFIX, State, object_name
from scoreline.errors import ScorelineError
from scoreline.spool import Spool
from scoreline.store import Store, now
from scoreline.store.tables.catalog import dataset_versions as versions
from scoreline.store.tables.catalog import datasets as table

_AT_ONCE = 500  # ids in one query
_ENDED = "Making the dataset failed: the API server that made it ended; send the data again."

_log = structlog.get_logger(__name__)


def settle(store: Store, gone: Callable[[str], bool]) -> list[str]:
    """End what is made by requests that are gone; return the makers that go on. Raises StoreError."""
    going = []
    for version_id, maker in datasets.unfinished(store):
        if gone(maker):
            _log.warning("a dataset was not made, because its API process ended", version_id=version_id)
            datasets.fail(store, version_id, _ENDED, maker=maker)
        else:
            going.append(maker)
    return going


def purge(store: Store, spool: Spool, hours: float, used: Callable[[Connection, str], bool]) -> int:
    """Delete datasets for good that were deleted so long ago; return how many. Raises StoreError.

    used: whether a job that is not over reads one, which then stays. Trouble with the spool is logged; `delete_orphans`
    does the rest.
    """
    late = sa.select(table.c.id).where(table.c.deleted_at <= now() - timedelta(hours=hours))
    with store.read() as connection:
        found = list(connection.scalars(late))
    done = 0
    for dataset_id in found:
        gone = store.run(lambda connection, one=dataset_id: _forget(store, connection, one, hours, used))  # type: ignore[misc]  # mypy cannot type a lambda with a default
        done += bool(gone)
        for version_id in gone:
            try:
                spool.delete_object(object_name(version_id))
            except ScorelineError as exc:
                _log.warning("a dataset could not be deleted", version_id=version_id, cause=exc.message)
    return done


def delete_orphans(store: Store, spool: Spool) -> int:
    """Delete staged bytes that are of no version; return of how many. Raises StoreError, SpoolError."""
    there = [key.split("/")[1] for key in spool.blobs.list(PREFIX)]
    gone = 0
    for start in range(0, len(there), _AT_ONCE):
        some = there[start : start + _AT_ONCE]
        wanted = sa.select(versions.c.id).where(versions.c.id.in_(some), versions.c.state != State.ERROR)
        with store.read() as connection:
            kept = set(connection.scalars(wanted))
        for version_id in some:
            if version_id not in kept:
                spool.delete_object(object_name(version_id))
                gone += 1
    return gone


def _forget(
    store: Store, connection: Connection, dataset_id: str, hours: float, used: Callable[[Connection, str], bool]
) -> list[str]:
    """Delete the records of a dataset that is still deleted; return its versions, none if there is nothing to do."""
    store.lock(connection, datasets.LOCK)
    late = sa.and_(table.c.id == dataset_id, table.c.deleted_at <= now() - timedelta(hours=hours))
    if connection.scalar(sa.select(table.c.id).where(late)) is None or used(connection, dataset_id):
        return []
    mine = versions.c.dataset_id == dataset_id
    gone = list(connection.scalars(sa.select(versions.c.id).where(mine)))
    connection.execute(versions.delete().where(mine))
    connection.execute(table.delete().where(table.c.id == dataset_id))
    return gone
