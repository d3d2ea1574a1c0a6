"""Database failures in Scoreline's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc as sa_exc

from scoreline.errors import ScorelineError, StoreAway, StoreBusy, StoreError, StoreFull, one_line

_BUSY_SQLSTATES = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock not available
_AWAY = ("08", "57P")  # no connection; the server goes down or comes up
_SQLITE_BUSY, _SQLITE_LOCKED = 5, 6
_FULL, _READ_ONLY = "has no space left ({}); make some on its disk", "is read-only ({}); look after its disk"
_NO_CHANGES: dict[str | int | None, str] = {"53100": _FULL, 13: _FULL, "25006": _READ_ONLY, 8: _READ_ONLY}
_SQLITE_DAMAGED = (11, 26)  # CORRUPT, NOTADB


@contextmanager
def in_words(where: str) -> Iterator[None]:
    """Turn what the database cannot do now into StoreBusy or StoreError; everything else passes as it is.

    `where` is the database's address without password.
    """
    try:
        yield
    except sa_exc.StatementError as exc:
        if isinstance(exc.orig, ScorelineError):
            raise exc.orig from None
        translated = _translate(exc, where)
        if translated is None:
            raise
        raise translated from exc
    except sa_exc.TimeoutError as exc:
        raise StoreError(f"No free connection to the database {where}: too many requests at once; try again.") from exc


def _translate(exc: sa_exc.StatementError, where: str) -> StoreError | None:
    """Return the typed error for trouble of the database itself, None for a program's error."""
    cause = exc.orig
    if not isinstance(exc, sa_exc.DBAPIError) or cause is None:
        return None
    reason = one_line(str(cause), 200)
    code = getattr(cause, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    sqlstate = getattr(cause, "sqlstate", None)
    if sqlstate in _BUSY_SQLSTATES or primary in (_SQLITE_BUSY, _SQLITE_LOCKED):
        return StoreBusy(f"The database {where} is busy with other changes ({reason}); try again.")
    if (advice := _NO_CHANGES.get(sqlstate) or _NO_CHANGES.get(primary)) is not None:
        return StoreFull(f"The database {where} {advice.format(reason)}.")
    if primary in _SQLITE_DAMAGED:
        return StoreError(f"The database {where} is damaged ({reason}); check the disk, and take a backup.")
    unreachable = primary is None and (sqlstate is None or sqlstate.startswith(_AWAY))
    if exc.connection_invalidated or isinstance(exc, sa_exc.OperationalError | sa_exc.InterfaceError):
        return (StoreAway if unreachable else StoreError)(
            f"The database {where} does not do its work ({reason}); check that it runs, can be reached and has space."
        )
    return None
