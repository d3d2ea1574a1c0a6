"""Stored credentials of users."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import Text, UtcDateTime

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "credentials",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("owner_id", sa.String(24), sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("org_id", sa.String(24), sa.ForeignKey("organisations.id"), nullable=False, index=True),
        sa.Column("name", Text(), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("description", Text(), nullable=False),
        sa.Column("secret_id", sa.String(24), sa.ForeignKey("secrets.id"), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.UniqueConstraint("owner_id", "name", name="uq_credentials_owner_id_name"),
    )
