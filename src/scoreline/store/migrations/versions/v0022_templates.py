"""Times in the settings of jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import Json

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("moments", Json, nullable=True))
