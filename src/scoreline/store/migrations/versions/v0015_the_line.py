"""The line of waiting jobs is counted by an index alone; jobs whose output is being put in place."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import UtcDateTime

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("committing_at", UtcDateTime(), nullable=True))
    op.create_index(
        "ix_jobs_line", "jobs", ["server_id", "state", "paused_at", "upload_state", "priority", "queued_at", "id"]
    )
    op.drop_index("ix_jobs_server_id_state", "jobs")
