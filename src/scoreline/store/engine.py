"""One database URL in, short read and write transactions out.

SQLite: one connection writes (BEGIN IMMEDIATE, so that two writers wait for each other instead of failing half way),
others read a snapshot and cannot write. synchronous=FULL: a commit that was answered survives a power cut; at a few
commits a second it costs nothing that anyone would notice. PostgreSQL: the same through psycopg.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url

from scoreline.errors import SetupError, StoreBusy
from scoreline.store.failures import in_words

T = TypeVar("T")

_WAIT_SECONDS = 30  # for a lock or a free connection, before StoreBusy or StoreError
_BUSY_ATTEMPTS = 6
_PG_SESSION = f"SET lock_timeout = '{_WAIT_SECONDS}s'; SET idle_in_transaction_session_timeout = '{2 * _WAIT_SECONDS}s'"
# A database that is gone without a word is noticed within 30 seconds (the last one counts milliseconds).
_PG_CONNECT: dict[str, int | str] = {
    "connect_timeout": 10,
    "application_name": "scoreline",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": _WAIT_SECONDS * 1000,
}
_to_json = functools.partial(json.dumps, allow_nan=False, separators=(",", ":"))


class Store:
    """An installation's state. Cheap to make: it connects when it is first used. Safe for threads, not for forks."""

    def __init__(self, url: str) -> None:
        """Take a SQLAlchemy URL: `sqlite:///file` or `postgresql://...`. Raises SetupError for any other."""
        self.url = _checked(url)
        self.where = self.url.render_as_string(hide_password=True)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._writing = threading.local()
        self._writer, self._reader = _sqlite_engines(self.url) if self.sqlite else _postgres_engines(self.url)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Give a write transaction: committed at the end of the block, rolled back on any exception.

        Keep it short: on SQLite nobody else writes meanwhile. Raises StoreBusy when another transaction held its locks
        for too long (nothing is changed then), StoreError when the database fails.
        """
        if getattr(self._writing, "now", False):
            raise RuntimeError("a write transaction inside another one of the same thread would wait for itself")
        self._writing.now = True
        try:
            with in_words(self.where), self._writer.begin() as connection:
                yield connection
        finally:
            self._writing.now = False

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a read-only transaction that sees one moment of the database. Raises StoreError when it fails."""
        with in_words(self.where), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def exclusive(self, name: str) -> Iterator[Connection]:
        """Give a write transaction that no other process has at the same time under this name."""
        with self.begin() as connection:
            self.lock(connection, name)
            yield connection

    def lock(self, connection: Connection, name: str) -> None:
        """Hold the lock `name` to the end of this write transaction (which on SQLite is a lock itself)."""
        if not self.sqlite:
            key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a write transaction, again from its start when it lost against another one (deadlock, lock).

        `work` must have no effects outside the transaction. Raises StoreBusy after 6 attempts.
        """
        for attempt in range(1, _BUSY_ATTEMPTS):
            try:
                with self.begin() as connection:
                    return work(connection)
            except StoreBusy:
                time.sleep(random.uniform(0.5, 1.0) * 0.02 * 2**attempt)  # noqa: S311 -- jitter, not a secret
        with self.begin() as connection:
            return work(connection)

    def migrate(self) -> None:
        """Bring the schema to this program's version; quick when it is there. Several processes may call it at once.

        Raises SetupError when the database belongs to a newer program, StoreError when it cannot be reached.
        """
        # Imported here: alembic is slow to import and rarely needed.
        from scoreline.store import migrate  # noqa: PLC0415

        migrate.to_head(self)

    def connection_for_migration(self) -> Engine:
        """Return an engine whose single connection may rebuild tables: on SQLite foreign keys are not enforced."""
        if not self.sqlite:
            return self._writer
        engine = _engine(self.url, poolclass=sa.pool.NullPool)
        _set_up_sqlite(engine, "BEGIN IMMEDIATE", "PRAGMA foreign_keys=OFF", "PRAGMA synchronous=FULL", wal=True)
        return engine

    def dispose(self) -> None:
        """Close all connections; the store opens new ones if it is used again."""
        self._writer.dispose()
        self._reader.dispose()


def _checked(url: str) -> URL:
    """Parse the URL and choose the driver; make a SQLite database's folder and its file, for its owner's eyes only."""
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError as exc:
        raise SetupError("The database URL cannot be read: give `postgresql://user:password@host/name`.") from exc
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        if find_spec("psycopg") is None:
            raise SetupError("PostgreSQL needs its driver: run `pip install 'scoreline[postgres]'`.")
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise SetupError(f"A database of type {parsed.drivername!r} is not supported: use SQLite or PostgreSQL.")
    if not parsed.database or parsed.database == ":memory:":
        raise SetupError("The SQLite database needs a file, because several processes share it.")
    file = Path(parsed.database)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _create(file)
    except OSError as exc:
        raise SetupError(f"The database file {file} cannot be opened ({exc.strerror}): choose another folder.") from exc
    return parsed


def _create(file: Path) -> None:
    """Make the file if it is missing.

    One that is there is not opened: closing any handle of a file drops all locks that this process has on it, also
    those of another Store's connections, and then the next process to come and go takes their journal away.
    """
    if not file.exists():
        with suppress(FileExistsError):  # another process was first
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    if not os.access(file, os.R_OK | os.W_OK) or not file.is_file():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _engine(url: URL, **options: Any) -> Engine:
    return sa.create_engine(url, json_serializer=_to_json, **options)


def _sqlite_engines(url: URL) -> tuple[Engine, Engine]:
    """Return the engine that writes, with a single connection that threads queue for, and the one that reads."""
    writer = _engine(url, pool_size=1, max_overflow=0, pool_timeout=_WAIT_SECONDS)
    reader = _engine(url, pool_size=8, max_overflow=56, pool_timeout=_WAIT_SECONDS)
    _set_up_sqlite(writer, "BEGIN IMMEDIATE", "PRAGMA foreign_keys=ON", "PRAGMA synchronous=FULL", wal=True)
    _set_up_sqlite(reader, "BEGIN", "PRAGMA query_only=ON", wal=False)
    return writer, reader


def _set_up_sqlite(engine: Engine, begin: str, *pragmas: str, wal: bool) -> None:
    """Let SQLAlchemy begin transactions itself (the driver would begin them late) and set each new connection up."""

    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={_WAIT_SECONDS * 1000}")
        connection.create_function("lower", 1, _lower, deterministic=True)
        if wal:
            _switch_to_wal(connection)
        for pragma in pragmas:
            connection.execute(pragma)

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))


def _lower(value: Any) -> str | None:
    """Return a text in small letters: SQLite's own function, by which names are searched, knows those of ASCII only."""
    return None if value is None else str(value).lower()


def _switch_to_wal(connection: Any) -> None:
    """Turn the write-ahead log on. It is a property of the file; the first to switch must be alone for a moment."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal":
                return
        except connection.OperationalError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            return  # a file system without shared memory: slower, still correct
        time.sleep(0.02)


def _postgres_engines(url: URL) -> tuple[Engine, Engine]:
    """Return the engine that writes and its read-only view with snapshots, over one pool; the URL's options win."""
    writer = _engine(
        url,
        pool_size=8,
        max_overflow=24,
        pool_timeout=_WAIT_SECONDS,
        pool_pre_ping=True,
        connect_args={name: value for name, value in _PG_CONNECT.items() if name not in url.query},
    )

    def connected(connection: Any, _record: Any) -> None:
        # A machine that dies inside a transaction must not keep its locks.
        connection.execute(_PG_SESSION)
        connection.commit()

    event.listen(writer, "connect", connected)
    return writer, writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
