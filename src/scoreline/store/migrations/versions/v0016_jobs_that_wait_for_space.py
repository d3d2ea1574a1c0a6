"""Jobs that wait for space."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import BigInt

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("space_wanted", BigInt, nullable=True))
    op.drop_index("ix_jobs_line", "jobs")
    line = ["server_id", "state", "paused_at", "space_wanted", "upload_state", "priority", "queued_at", "id"]
    op.create_index("ix_jobs_line", "jobs", line)
