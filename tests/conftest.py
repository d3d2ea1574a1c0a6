"""Fixtures for all tests; they are written and described in `tests.support`."""

from tests.support.fixtures import (
    migrated_postgres,
    migrated_sqlite,
    postgres,
    sqlite_store,
    store,
    store_url,
)

__all__ = ["migrated_postgres", "migrated_sqlite", "postgres", "sqlite_store", "store", "store_url"]
