"""Fixtures for every test that needs a database.

`store`        a fresh, migrated Store; the test runs twice, on SQLite and on PostgreSQL. Closed after the test.
`sqlite_store` the same on SQLite only: for tests that are not about the database.
`store_url`    the URL behind `store`, to open more stores or start processes on the same database.
`postgres`     the session's PostgreSQL server (tests.support.postgres.PostgresServer); started when first asked for.
`one_database` marks tests of what is settled before the database is asked: they run once, on SQLite.
Making a database costs some ten milliseconds: each is a copy of one that is migrated once a session.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoreline.store import Store
from tests.support.postgres import PostgresServer

_numbers = itertools.count(1)
one_database = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def migrated_postgres(postgres: PostgresServer) -> str:
    """Name of the migrated database that the tests' databases are copies of."""
    store = Store(postgres.create("migrated"))
    store.migrate()
    store.dispose()
    return "migrated"


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated database file that the tests' files are copies of."""
    file = tmp_path_factory.mktemp("migrated") / "scoreline.db"
    store = Store(f"sqlite:///{file}")
    store.migrate()
    store.dispose()
    return file


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield _sqlite_copy(request)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"test_{next(_numbers)}"
    yield server.create(name, template=request.getfixturevalue("migrated_postgres"))
    server.drop(name)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    store = Store(store_url)
    yield store
    store.dispose()


@pytest.fixture
def sqlite_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    store = Store(_sqlite_copy(request))
    yield store
    store.dispose()


def _sqlite_copy(request: pytest.FixtureRequest) -> str:
    folder: Path = request.getfixturevalue("tmp_path")
    file = folder / "scoreline.db"
    shutil.copyfile(request.getfixturevalue("migrated_sqlite"), file)
    return f"sqlite:///{file}"
