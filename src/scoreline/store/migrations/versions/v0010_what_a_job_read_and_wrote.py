"""What a job read and wrote, to the byte."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("source_identity", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("jobs", sa.Column("result_sha256", sa.String(64), nullable=True))
