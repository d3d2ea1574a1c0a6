import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from scoreline.errors import SetupError, StoreError
from scoreline.store import Store, migrate
from scoreline.store.tables import load_all
from tests.support.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'sub folder %20' / 'new.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"empty_{time.monotonic_ns()}"
    yield server.create(name)
    server.drop(name)


def test_the_migrations_make_exactly_the_tables_that_the_code_declares(store):
    with store.read() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _: (kind, name) != ("table", migrate.VERSION_TABLE),
            },
        )
        assert compare_metadata(context, load_all()) == []


def test_the_migrations_are_one_line_and_numbered_as_their_files():
    scripts = ScriptDirectory.from_config(migrate.alembic_config())
    revisions = [script.revision for script in reversed(list(scripts.walk_revisions()))]
    assert revisions == migrate.known()
    assert scripts.get_heads() == [migrate.known()[-1]]


def test_migrate_is_quick_once_done_and_does_not_load_alembic(store_url):
    program = (
        "import sys, time; from scoreline.store import Store\n"
        "store = Store(sys.argv[1]); begun = time.perf_counter(); store.migrate()\n"
        "assert 'alembic' not in sys.modules, 'alembic was imported'; print(time.perf_counter() - begun)"
    )
    result = subprocess.run([sys.executable, "-c", program, store_url], capture_output=True, text=True, check=True)
    assert float(result.stdout) < 0.5  # 0.05 on a quiet machine


def test_several_processes_may_migrate_at_once(empty_url):
    program = "import sys; from scoreline.store import Store; Store(sys.argv[1]).migrate()"
    processes = [
        subprocess.Popen([sys.executable, "-c", program, empty_url], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    failures = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, failures
    store = Store(empty_url)
    with store.read() as connection:
        assert migrate.current(connection) == migrate.known()[-1]
    store.dispose()


def test_an_older_program_refuses_a_newer_database(store):
    with store.begin() as connection:
        connection.execute(sa.text(f"UPDATE {migrate.VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(SetupError, match=r"schema version 9999.*newer Scoreline"):
        store.migrate()


def test_a_failed_migration_changes_nothing(empty_url, monkeypatch):
    store = Store(empty_url)
    real = migrate._upgrade

    def fails(connection):
        real(connection)
        raise RuntimeError("power")

    monkeypatch.setattr(migrate, "_upgrade", fails)
    with pytest.raises(RuntimeError, match="power"):
        store.migrate()
    with store.read() as connection:
        assert sa.inspect(connection).get_table_names() == []
    store.dispose()


def test_a_database_that_is_not_there_is_named_without_its_password(postgres):
    url = f"postgresql://scoreline:topsecret@127.0.0.1:{postgres.port}/postgres"
    with pytest.raises(StoreError, match=r"\*\*\*@127.0.0.1") as caught:
        Store(url).migrate()
    assert "topsecret" not in str(caught.value)


def test_the_history_of_older_deployments_begins_with_the_model_they_have(empty_url):
    from alembic import command

    store = Store(empty_url)
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    owned = {"owner_id": "u", "org_id": "o", "created_at": moment}
    rows = {
        "organisations": {"id": "o", "name": "o", "created_at": moment},
        "users": {"id": "u", "org_id": "o", "username": "u", "role": "user", "rights": [], "created_at": moment},
        "registered_models": {
            **owned, "id": "m", "name": "m", "target_name": "y", "target_type": "Regression", "tags": [],
            "last_version": 1, "modified_at": moment,
        },
        "packages": {
            **owned, "id": "p", "registered_model_id": "m", "version": 1, "name": "p", "trusted": False,
            "target_name": "y", "target_type": "Regression", "threshold": 0.5, "features": [], "model_id": "x",
            "description": {}, "tags": [],
        },
        "deployments": {
            **owned, "id": "d", "package_id": "p", "label": "d", "status": "active", "additional_metadata": [],
            "settings": {}, "updated_at": moment, "model_deployed_at": moment,
        },
    }  # fmt: skip
    with store.connection_for_migration().begin() as connection:
        config = migrate.alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        tables = load_all().tables
        for name, values in rows.items():
            connection.execute(sa.insert(tables[name]).values(values))
    store.migrate()
    with store.read() as connection:
        found = connection.execute(sa.select(tables["deployment_models"])).one()
        assert tuple(found) == ("d", 1, "p", "u", moment, None)
        assert connection.scalar(sa.select(tables["deployments"].c.environment_id)) is None
    store.dispose()
