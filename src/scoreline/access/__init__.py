"""Who may do what: callers, roles, rights, and the one filter that every read goes through."""

from scoreline.access.callers import (
    RIGHTS,
    ROLES,
    Caller,
    require_admin,
    require_change,
    require_right,
    require_write,
    visible,
)
from scoreline.access.start import bootstrap, service_token

__all__ = [
    "RIGHTS",
    "ROLES",
    "Caller",
    "bootstrap",
    "require_admin",
    "require_change",
    "require_right",
    "require_write",
    "service_token",
    "visible",
]
