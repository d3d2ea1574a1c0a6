"""Jobs that rest, priorities, the time that runs took, how long results are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import UtcDateTime

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("paused_at", UtcDateTime(), nullable=True))
    op.add_column("jobs", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("ran_seconds", sa.Float(53), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("retention_hours", sa.Float(53), nullable=True))
