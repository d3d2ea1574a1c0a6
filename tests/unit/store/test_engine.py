import os
import re
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoreline.errors import InvalidRequest, SetupError, StoreAway, StoreBusy, StoreError, StoreFull
from scoreline.store import Store, engine, new_id, now
from scoreline.store.tables import Json, UtcDateTime, access

organisations = access.organisations
LOST = {"name": "lost", "created_at": now()}


def add(connection, name, **values):
    row = {"id": new_id(), "name": name, "created_at": now()} | values
    connection.execute(organisations.insert().values(row))
    return row


def names(store):
    with store.read() as connection:
        return list(connection.scalars(sa.select(organisations.c.name).order_by(organisations.c.name)))


def test_ids_are_24_hexadecimal_digits_and_grow():
    first = new_id()
    assert re.fullmatch("[0-9a-f]{24}", first)
    assert len({new_id() for _ in range(1000)}) == 1000
    assert int(first[:8], 16) == pytest.approx(time.time(), abs=5)


def test_a_write_is_kept_and_a_failed_one_is_not(store):
    with store.begin() as connection:
        add(connection, "kept")
    with pytest.raises(sa.exc.IntegrityError), store.begin() as connection:
        connection.execute(organisations.insert(), [row | {"id": new_id()} for row in [LOST] * 2])
    assert names(store) == ["kept"]


def test_a_read_sees_one_moment(store):
    with store.read() as reading:
        count = sa.select(sa.func.count()).select_from(organisations)
        assert reading.scalar(count) == 0
        with store.begin() as connection:
            add(connection, "later")
        assert reading.scalar(count) == 0
    assert names(store) == ["later"]


def test_a_read_cannot_write(store):
    with pytest.raises((StoreError, sa.exc.DBAPIError)), store.read() as connection:
        add(connection, "sneaked in")
    assert names(store) == []
    with store.begin() as connection:
        add(connection, "the connection is still good")


def test_references_are_checked(store):
    with pytest.raises(sa.exc.IntegrityError), store.begin() as connection:
        connection.execute(
            access.users.insert().values(
                id=new_id(), org_id=new_id(), username="x", role="user", rights=[], created_at=now()
            )
        )


def test_writers_wait_for_each_other(store, store_url):
    """Read, then write, in many threads and two stores (as two processes have): no update is lost."""
    with store.begin() as connection:
        row = add(connection, "0")
    other = Store(store_url)

    def count(mine):
        for _ in range(10):
            with mine.exclusive("counting") as connection:
                value = connection.scalar(sa.select(organisations.c.name).where(organisations.c.id == row["id"]))
                connection.execute(organisations.update().values(name=str(int(value) + 1)))

    threads = [threading.Thread(target=count, args=(mine,)) for mine in (store, other) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.dispose()
    assert names(store) == ["60"]


def test_a_write_inside_a_write_is_a_programming_error(store):
    with store.begin(), pytest.raises(RuntimeError, match="inside another"), store.begin():
        pass
    with store.begin() as connection:
        add(connection, "afterwards it works")


def test_run_does_the_work_again_when_it_lost(store):
    calls = []

    def work(connection):
        calls.append(1)
        add(connection, f"try {len(calls)}")
        if len(calls) < 3:
            raise StoreBusy("lost")
        return "done"

    assert store.run(work) == "done"
    assert names(store) == ["try 3"]


def test_a_deadlock_ends_in_store_busy_and_run_recovers(postgres, migrated_postgres):
    store = Store(postgres.create("deadlock", migrated_postgres))
    with store.begin() as connection:
        one, two = add(connection, "one"), add(connection, "two")
    barrier = threading.Barrier(2)
    attempts = []

    def swap(first, second):
        def work(connection):
            attempts.append(1)
            connection.execute(organisations.update().where(organisations.c.id == first["id"]).values(created_at=now()))
            if len(attempts) <= 2:
                barrier.wait(10)
            connection.execute(
                organisations.update().where(organisations.c.id == second["id"]).values(created_at=now())
            )

        store.run(work)

    threads = [threading.Thread(target=swap, args=pair) for pair in ((one, two), (two, one))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    store.dispose()
    assert len(attempts) == 3


def test_a_locked_file_ends_in_store_busy(sqlite_store, monkeypatch):
    monkeypatch.setattr(engine, "_WAIT_SECONDS", 0.2)
    other = Store(str(sqlite_store.url))
    with sqlite_store.begin() as connection:
        add(connection, "first")
        with pytest.raises(StoreBusy, match="busy with other changes"), other.begin():
            pass
    other.dispose()


def test_a_commit_is_on_the_disk_before_it_is_answered(sqlite_store):
    with sqlite_store.begin() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]  # 2 = FULL


def test_the_database_file_is_for_its_owner_only(tmp_path):
    Store(f"sqlite:///{tmp_path / 'deep' / 'down' / 'state.db'}")
    assert (tmp_path / "deep" / "down" / "state.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://host/db", "'mysql' is not supported"),
        ("not a url", "cannot be read"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite:////dev/null/x/state.db", "cannot be opened"),
    ],
)
def test_urls_that_cannot_work_are_refused_in_words(url, words):
    with pytest.raises(SetupError, match=words):
        Store(url)


def test_a_missing_driver_names_the_extra(monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda _: None)
    with pytest.raises(SetupError, match=re.escape("pip install 'scoreline[postgres]'")):
        Store("postgresql://host/db")


def test_the_password_is_never_shown():
    assert "topsecret" not in Store("postgres://me:topsecret@host/db").where


def test_a_database_that_takes_no_changes_is_told_from_one_that_is_broken(store):
    with pytest.raises(StoreFull, match="is read-only"), store.read() as connection:
        connection.execute(organisations.delete())


def test_a_full_disk_is_a_store_error(sqlite_store):
    with sqlite_store.begin() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1")
    with pytest.raises(StoreError, match="full"), sqlite_store.begin() as connection:
        add(connection, "long" * 500_000)


@pytest.mark.parametrize("damage", ["no database", "torn"])
def test_a_damaged_file_is_a_store_error(tmp_path, damage):
    file = tmp_path / "damaged.db"
    store = Store(f"sqlite:///{file}")
    if damage == "torn":
        store.migrate()
        store.dispose()
        body = file.read_bytes()
        file.write_bytes(body[:4096] + b"\xff" * (len(body) - 4096))
    else:
        file.write_bytes(b"This is no database, but long enough to look like one." * 100)
    try:
        with pytest.raises(StoreError, match="damaged"):
            store.migrate()
    finally:
        store.dispose()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    moment=st.datetimes(
        min_value=datetime(1900, 1, 1),  # noqa: DTZ001 -- hypothesis adds the zone
        max_value=datetime(2200, 1, 1),  # noqa: DTZ001 -- as above
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=9, minutes=30)), timezone(timedelta(hours=-11))]),
    ),
    text=st.text(),
)
def test_moments_and_texts_come_back_as_they_were(store, moment, text):
    storable = "\0" not in text and not any(0xD800 <= ord(letter) < 0xE000 for letter in text)
    try:
        with store.begin() as connection:
            connection.execute(organisations.delete())
            row = add(connection, text, created_at=moment)
            got = connection.execute(sa.select(organisations).where(organisations.c.id == row["id"])).one()
    except InvalidRequest:
        assert not storable
    else:
        assert storable
        assert (got.name, got.created_at, got.created_at.tzinfo) == (text, moment, UTC)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_one_database_cannot_store_is_refused_on_both(store, text):
    with pytest.raises(InvalidRequest), store.begin() as connection:
        add(connection, text)


def test_a_moment_without_zone_is_a_programming_error(store):
    with pytest.raises(sa.exc.StatementError, match="without time zone"), store.begin() as connection:
        add(connection, "x", created_at=datetime(2024, 1, 1))  # noqa: DTZ001 -- that is the point


def test_json_keeps_key_order_and_refuses_nan(store):
    table = sa.table("j", sa.column("id", sa.Integer), sa.column("value", Json))
    with store.begin() as connection:
        connection.execute(
            sa.schema.CreateTable(sa.Table("j", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("value", Json)))
        )
        connection.execute(table.insert().values(id=1, value={"b": 1, "a": [1.5, None, "ü\0"]}))
        connection.execute(table.insert().values(id=2, value=None))
        first = connection.scalar(sa.select(table.c.value).where(table.c.id == 1))
        empty = connection.scalar(sa.select(sa.func.count()).where(table.c.value.is_(None)))
    assert list(first.items()) == [("b", 1), ("a", [1.5, None, "ü\0"])]
    assert empty == 1
    with pytest.raises((sa.exc.StatementError, ValueError)), store.begin() as connection:
        connection.execute(table.insert().values(id=3, value=float("nan")))


def test_moments_sort_as_text_does(store):
    moments = [
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        datetime(2024, 1, 2, tzinfo=UTC),
    ]
    with store.begin() as connection:
        for index, moment in enumerate(reversed(moments)):
            add(connection, str(index), created_at=moment)
        ordered = list(connection.scalars(sa.select(organisations.c.created_at).order_by(organisations.c.created_at)))
        newer = connection.scalar(sa.select(sa.func.count()).where(organisations.c.created_at > moments[0]))
    assert (ordered, newer) == (moments, 2)
    assert isinstance(organisations.c.created_at.type, UtcDateTime)


def test_a_small_read_is_quick(store):
    with store.begin() as connection:
        row = add(connection, "one")
    query = sa.select(organisations).where(organisations.c.id == row["id"])
    times = []
    for _ in range(200):
        begun = time.perf_counter()
        with store.read() as connection:
            connection.execute(query).one()
        times.append(time.perf_counter() - begun)
    assert sorted(times)[100] < 0.01  # about 0.0003 on a quiet machine


def test_spelling_of_postgres_urls():
    for spelling in ("postgres", "postgresql", "postgresql+psycopg"):
        assert Store(f"{spelling}://host/db").url.drivername == "postgresql+psycopg"


def test_store_needs_no_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Store("sqlite:///relative.db").migrate()
    assert Path("relative.db").exists()


def test_a_connection_that_is_cut_is_a_store_error_and_the_next_one_works(postgres, migrated_postgres):
    store, other = Store(postgres.create("cut", migrated_postgres)), Store(postgres.url())
    pids = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cut'")
    with pytest.raises(StoreError, match="does not do its work"), store.begin() as connection:
        add_after_cut(connection, other, pids)
    assert names(store) == []
    with other.begin() as cutting:
        cutting.execute(pids)
    with store.begin() as connection:  # the pool noticed that its connection is gone
        add(connection, "again")
    assert names(store) == ["again"]
    store.dispose()
    other.dispose()


def add_after_cut(connection, other, pids):
    add(connection, "lost")
    # Another thread, because this one is inside a write transaction.
    thread = threading.Thread(target=lambda: cut(other, pids))
    thread.start()
    thread.join()
    add(connection, "more")


def cut(other, pids):
    with other.begin() as cutting:
        cutting.execute(pids)


def test_a_server_that_is_away_is_told_from_one_that_fails(postgres, migrated_postgres):
    store = Store(postgres.create("away", migrated_postgres))
    with pytest.raises(StoreError) as failed, store.begin() as connection:
        connection.exec_driver_sql("SELECT pg_read_file('/nowhere')")
    assert not isinstance(failed.value, StoreAway)
    store.dispose()
    url = store.url.set(port=1).render_as_string(hide_password=False)
    with pytest.raises(StoreAway), Store(url).read():
        pass


@pytest.mark.parametrize("query", ["", "?tcp_user_timeout=5000"])
def test_a_silent_connection_does_not_stay_for_ever(postgres, migrated_postgres, query):
    store = Store(postgres.url(migrated_postgres) + query)
    with store.read() as connection:
        descriptor = connection.connection.dbapi_connection.fileno()
        with socket.socket(fileno=os.dup(descriptor)) as seen:
            limit = seen.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert limit == (5_000 if query else 30_000)
            assert seen.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
    store.dispose()


def test_a_second_store_of_a_process_leaves_the_locks_of_the_first_alone(sqlite_store):
    """Closing any handle of a file drops all locks that the process has on it, those of SQLite, too."""
    url = sqlite_store.url.render_as_string()
    assert names(sqlite_store) == []  # its connection stays open
    Store(url)
    other = (
        "import os, sys; from scoreline.store import Store; from tests.unit.store.test_engine import add\n"
        "Store(sys.argv[1]).run(lambda connection: add(connection, sys.argv[2]))\n"
        "sys.argv[2] == 'a' or os._exit(0)"  # as if it were killed, with its change in the journal alone
    )
    for name in "ab":
        subprocess.run([sys.executable, "-c", other, url, name], check=True)
    assert names(sqlite_store) == ["a", "b"]
