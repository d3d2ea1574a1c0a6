"""Requests that made a job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import moment, reference

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "job_requests",
        sa.Column("job_id", sa.String(24), sa.ForeignKey("jobs.id"), primary_key=True),
        reference("user_id", "users.id", index=False),
        sa.Column("key_hash", sa.String(64), nullable=True),
        sa.Column("body_hash", sa.String(64), nullable=False),
        sa.Column("answer", sa.String(8), nullable=False),
        moment("asked_at"),
        sa.UniqueConstraint("user_id", "key_hash"),
    )
    op.create_index("ix_job_requests_user_id_body_hash", "job_requests", ["user_id", "body_hash"])
