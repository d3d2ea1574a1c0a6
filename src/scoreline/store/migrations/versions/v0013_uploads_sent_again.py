"""Uploads that break off and are sent again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("upload_stream", sa.Text(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("upload_sender", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("upload_trouble", sa.Text(), nullable=True))
