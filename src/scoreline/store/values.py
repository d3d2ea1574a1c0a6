"""Values that every table uses: object ids and the time."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime


def new_id() -> str:
    """Return a fresh object id: 24 hexadecimal digits, the first 8 of them the time, so that ids grow with age."""
    return f"{int(time.time()):08x}{secrets.token_hex(8)}"


def now() -> datetime:
    """Return the time as the tables keep it: aware, UTC, microseconds."""
    return datetime.now(UTC)
