import pytest

from scoreline.spool import open_spool
from tests.unit.jobs import world as worlds


@pytest.fixture
def world(store):
    """A small installation on SQLite, and the same on PostgreSQL."""
    return worlds.build(store)


@pytest.fixture
def sqlite_world(sqlite_store):
    """The same on SQLite only."""
    return worlds.build(sqlite_store)


@pytest.fixture
def spool(tmp_path):
    return open_spool(tmp_path / "spool")
