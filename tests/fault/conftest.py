"""An installation on SQLite and one on PostgreSQL for all tests of the folder; a job whose clean bytes are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support import tiny
from tests.support.cluster import Cluster, cluster

ROWS = 6_000
REACHABLE = {"SCORELINE_ALLOWED_NETWORKS": "127.0.0.1/32"}  # servers of tests


@dataclass(frozen=True)
class Case:
    """Data to score and the output of an undisturbed run."""

    data: bytes
    clean: bytes


@pytest.fixture(scope="package")
def sqlite_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("sqlite")
    with cluster(folder, workers=2, **REACHABLE) as made:
        yield made


@pytest.fixture(scope="package")
def postgres_cluster(tmp_path_factory: pytest.TempPathFactory, postgres, migrated_postgres) -> Iterator[Cluster]:
    url = postgres.create("faults", template=migrated_postgres)
    postgres.keep("faults")
    folder, more = tmp_path_factory.mktemp("postgres"), {"SCORELINE_ANSWER_SECONDS": "4", **REACHABLE}
    with cluster(folder, url, workers=2, wired=True, **more) as made:
        yield made
    postgres.drop("faults")


@pytest.fixture
def here(sqlite_cluster: Cluster) -> Iterator[Cluster]:
    """The installation on SQLite, with everything running before the test and after it."""
    yield sqlite_cluster
    sqlite_cluster.mend()


@pytest.fixture
def there(postgres_cluster: Cluster) -> Iterator[Cluster]:
    """The installation on PostgreSQL, its connections through proxies.

    Tests that freeze a worker use it: one that stands still in a transaction keeps SQLite's database from all others.
    """
    yield postgres_cluster
    postgres_cluster.mend()


@pytest.fixture(scope="session")
def case() -> Case:
    """Rows with a running number, and what scoring them gives: computed by LightGBM and written here."""
    return Case(*tiny.scored(ROWS))
