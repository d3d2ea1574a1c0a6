import itertools

import pytest
import sqlalchemy as sa

from scoreline import access
from scoreline.access import Caller
from scoreline.errors import Forbidden
from scoreline.store.tables import load_all

scratch = sa.MetaData()
plain = sa.Table(
    "plain", scratch, sa.Column("id", sa.Integer), sa.Column("owner_id", sa.String), sa.Column("org_id", sa.String)
)
shared = sa.Table(
    "shared",
    scratch,
    sa.Column("id", sa.Integer),
    sa.Column("owner_id", sa.String),
    sa.Column("org_id", sa.String),
    info={"shared": True},
)
servers = sa.Table(
    "servers",
    scratch,
    sa.Column("id", sa.Integer),
    sa.Column("owner_id", sa.String),
    sa.Column("org_id", sa.String),
    sa.Column("everyone", sa.Boolean),
    info={"shared": True},
)

ANN, BOB, EVE = "ann", "bob", "eve"  # Eve is of another organisation
ROWS = {ANN: "ours", BOB: "ours", EVE: "theirs"}


def caller(name, role="user", **values):
    return Caller(name, name, ROWS[name], role, **values)


def seen(who, table):
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        scratch.create_all(connection)
        for owner, org in ROWS.items():
            values = {"id": 1, "owner_id": owner, "org_id": org}
            if table is servers:
                values["everyone"] = owner == EVE
            connection.execute(table.insert().values(values))
        found = set(connection.scalars(sa.select(table.c.owner_id).where(access.visible(who, table))))
    engine.dispose()
    return found


@pytest.mark.parametrize(
    ("who", "table", "expected"),
    [
        (caller(ANN), plain, {ANN}),
        (caller(ANN, "admin"), plain, {ANN, BOB}),
        (caller(ANN, "observer"), plain, {ANN, BOB}),
        (caller(ANN), shared, {ANN, BOB}),
        (caller(EVE, "admin"), shared, {EVE}),
        (caller(EVE, "admin"), plain, {EVE}),
        (caller(ANN), servers, {ANN, BOB, EVE}),
        (caller(ANN, kind="run"), servers, set()),
        (caller(ANN, "admin", kind="run"), plain, set()),
        (caller(ANN, "admin", kind="service", rights=frozenset({"inspect"})), shared, set()),
        (caller(ANN, "admin", kind="service", rights=frozenset({"predictor"})), plain, {ANN, BOB, EVE}),
        (caller(ANN, rights=frozenset({"predictor"})), plain, {ANN}),  # the right alone does not make a predictor
    ],
)
def test_who_sees_what(who, table, expected):
    assert seen(who, table) == expected


@pytest.mark.parametrize(("role", "kind"), list(itertools.product(access.ROLES, ["user", "run", "service"])))
def test_only_users_and_admins_with_their_own_tokens_create(role, kind):
    who = caller(ANN, role, kind=kind, rights=frozenset(access.RIGHTS))
    if kind == "user" and role != "observer":
        access.require_write(who)
    else:
        with pytest.raises(Forbidden):
            access.require_write(who)


def test_owners_and_admins_change():
    access.require_change(caller(ANN), ANN, "job 1")
    access.require_change(caller(ANN, "admin"), BOB, "job 1")
    with pytest.raises(Forbidden, match="'ann' does not own job 1"):
        access.require_change(caller(ANN), BOB, "job 1")
    with pytest.raises(Forbidden, match="observer"):
        access.require_change(caller(ANN, "observer"), ANN, "job 1")


def test_a_missing_right_says_what_it_is_for_and_who_gives_it():
    access.require_right(caller(ANN, rights=frozenset({"code"})), "code")
    with pytest.raises(
        Forbidden, match=r"lacks the right 'code', needed to register .*`scoreline user update ann --right code`"
    ):
        access.require_right(caller(ANN, "admin"), "code")
    with pytest.raises(Forbidden, match="not an admin"):
        access.require_admin(caller(ANN))


def test_every_owned_table_can_be_filtered():
    for table in load_all().tables.values():
        if "owner_id" in table.c:
            access.visible(caller(ANN), table)
