"""The list of a job's failed rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply."""
    op.add_column("ledger", sa.Column("errors", sa.JSON(none_as_null=True), nullable=True))
