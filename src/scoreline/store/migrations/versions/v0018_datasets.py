"""Datasets and their versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import Json, Text, UtcDateTime

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("owner_id", sa.String(24), sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("org_id", sa.String(24), sa.ForeignKey("organisations.id"), nullable=False, index=True),
        sa.Column("name", Text(), nullable=False),
        sa.Column("categories", Json, nullable=False),
        sa.Column("latest_id", sa.String(24), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("modified_at", UtcDateTime(), nullable=False),
        sa.Column("modified_by", sa.String(24), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
    )
    op.create_table(
        "dataset_versions",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("dataset_id", sa.String(24), sa.ForeignKey("datasets.id"), nullable=False, index=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("made_by", sa.String(24), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("maker", sa.String(64), nullable=True),
        sa.Column("error", Text(), nullable=True),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("origin", Text(), nullable=False),
        sa.Column("form", sa.String(16), nullable=True),
        sa.Column("packing", sa.String(16), nullable=True),
        sa.Column("delimiter", sa.String(1), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("stored", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(64), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("features", Json, nullable=True),
        sa.Column("kinds", Json, nullable=True),
        sa.UniqueConstraint("dataset_id", "number", name="uq_dataset_versions_dataset_id_number"),
    )
    op.add_column("jobs", sa.Column("intake_name", Text(), nullable=True))
