"""Bringing a database's schema to this program's version."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.errors import SetupError
from scoreline.store.failures import in_words

if TYPE_CHECKING:
    from alembic.config import Config

    from scoreline.store.engine import Store

VERSION_TABLE = "scoreline_schema"
FOLDER = Path(__file__).parent / "migrations"


def known() -> list[str]:
    """Return the schema versions that this program knows, oldest first: the numbers of its migration files."""
    names = (re.match(r"v(\d{4})_", file.name) for file in (FOLDER / "versions").glob("v*.py"))
    return sorted(match[1] for match in names if match)


def current(connection: Connection) -> str | None:
    """Return the database's schema version, None when it has no tables of ours yet."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 -- a constant


def to_head(store: Store) -> None:
    """See `Store.migrate`. The whole way is one transaction: it is done, or nothing has changed."""
    versions = known()
    with store.read() as connection:
        if _checked(current(connection), versions) == versions[-1]:
            return
    engine = store.connection_for_migration()
    with in_words(store.where), engine.begin() as connection:
        store.lock(connection, "scoreline migrations")
        if _checked(current(connection), versions) == versions[-1]:
            return  # another process did it while this one waited
        _upgrade(connection)
        if store.sqlite and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()):
            raise SetupError(
                f"The schema cannot be brought up to date: {len(broken)} rows of {broken[0][0]} are orphans."
            )


def _checked(version: str | None, versions: list[str]) -> str | None:
    if version is not None and version not in versions:
        raise SetupError(
            f"The database has schema version {version}, but this program knows only up to {versions[-1]}: "
            "a newer Scoreline has used it; start that one."
        )
    return version


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 -- slow to import, needed once in a version's life

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def alembic_config() -> Config:
    """Return alembic's configuration; there is no ini file."""
    from alembic.config import Config  # noqa: PLC0415 -- as above

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
