"""What all tables share: the MetaData, column types that mean the same on both databases, and common columns.

One file a group: `access`, `registry`, `jobs`. A table whose rows belong to somebody has `owner_id` and `org_id` and is
read only through `scoreline.access.visible`. `info={"shared": True}` marks rows that a whole organisation sees.
"""

from __future__ import annotations

import importlib
import pkgutil
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from scoreline.errors import InvalidRequest

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Json = sa.JSON(none_as_null=True)
"""Plain JSON values; None is SQL NULL. Key order is kept, NaN is refused."""

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""64-bit integer that SQLite can number by itself when it is the primary key."""


class Text(sa.types.TypeDecorator[str]):
    """Text of any length. What one of the databases cannot store (NUL, half a surrogate pair) is refused on both."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 -- the base's signature
        """Raise InvalidRequest for text that cannot be stored."""
        if value is None or (value.isascii() and "\0" not in value):
            return value
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise InvalidRequest("A text holds half of a surrogate pair, which cannot be stored: mend it.") from exc
        if "\0" in value:
            raise InvalidRequest("A text holds a NUL character, which cannot be stored: remove it.")
        return value


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment: aware datetimes in, aware datetimes in UTC out, to the microsecond, in an order that sorts."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """Use the database's own time zone type where there is one."""
        return dialect.type_descriptor(sa.DateTime(timezone=dialect.name == "postgresql"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Raise ValueError for a datetime without time zone: it would mean another moment on each machine."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without time zone cannot be stored")
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 -- as above
        """Give the moment back in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def id_column(name: str = "id") -> sa.Column[str]:
    """Return the primary key of an object: 24 hexadecimal digits from `store.new_id`."""
    return sa.Column(name, sa.String(24), primary_key=True)


def reference(name: str, target: str, *, nullable: bool = False, index: bool = True) -> sa.Column[str]:
    """Return a column that points at another object's id, for instance `reference("package_id", "packages.id")`."""
    return sa.Column(name, sa.String(24), sa.ForeignKey(target), nullable=nullable, index=index)


def moment(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    """Return a column that holds a moment."""
    return sa.Column(name, UtcDateTime(), nullable=nullable)


def owned() -> tuple[sa.Column[str], sa.Column[str]]:
    """Return the columns that say whose a row is: `owner_id` and `org_id`."""
    return reference("owner_id", "users.id"), reference("org_id", "organisations.id")


def load_all() -> sa.MetaData:
    """Import every table group and return the complete MetaData (for migrations and their tests)."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return metadata
