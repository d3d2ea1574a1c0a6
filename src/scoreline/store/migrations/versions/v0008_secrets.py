"""Sealed secrets, which addresses servers may have, and how fast a run goes at the moment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import BigInt, UtcDateTime

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "secrets",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("owner_id", sa.String(24), sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("org_id", sa.String(24), sa.ForeignKey("organisations.id"), nullable=False, index=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False, index=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )
    op.add_column("prediction_servers", sa.Column("reach", sa.String(16), nullable=False, server_default="any"))
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("secret_id", sa.String(24), sa.ForeignKey("secrets.id"), nullable=True))
        jobs.add_column(sa.Column("adapts", sa.Boolean(), nullable=False, server_default=sa.false()))
        jobs.add_column(sa.Column("live_concurrency", sa.Integer(), nullable=True))
        jobs.add_column(sa.Column("live_chunk_bytes", BigInt, nullable=True))
        jobs.create_index("ix_jobs_secret_id", ["secret_id"])
