"""An index of the runs of job definitions that are not over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"

_LIVE = sa.text("state IN ('INITIALIZING', 'RUNNING')")


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_jobs_live_definition_id", "jobs", ["definition_id"], sqlite_where=_LIVE, postgresql_where=_LIVE)
