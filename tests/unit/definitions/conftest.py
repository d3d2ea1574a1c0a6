from __future__ import annotations

import pytest

from scoreline.definitions import records
from scoreline.store import new_id, now
from tests.unit.jobs import world as worlds


@pytest.fixture
def world(store):
    """A small installation on SQLite, and the same on PostgreSQL."""
    return worlds.build(store)


@pytest.fixture
def define(world):
    """Store a definition's row with these values; return its id."""
    return defining(world)


def defining(world):
    def store(**values) -> str:
        definition_id, moment = new_id(), now()
        row = {
            "id": definition_id,
            "owner_id": world.user_id,
            "org_id": world.org_id,
            "name": f"nightly {definition_id}",
            "enabled": True,
            "body": {"deploymentId": world.deployment_id},
            "deployment_id": world.deployment_id,
            "concurrency": 4,
            "schedule": None,
            "time_zone": "UTC",
            "overlap": "queue",
            "catch_up": "once",
            "created_at": moment,
            "updated_at": moment,
            "updated_by": world.user_id,
        }
        with world.store.begin() as connection:
            records.insert(connection, row | values)
        return definition_id

    return store
