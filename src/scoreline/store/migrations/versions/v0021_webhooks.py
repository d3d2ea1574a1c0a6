"""Messages to webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import Json, Text, UtcDateTime

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "webhook_messages",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("job_id", sa.String(24), sa.ForeignKey("jobs.id"), nullable=False, index=True),
        sa.Column("hook", sa.Integer(), nullable=False),
        sa.Column("place", Text(), nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("about", Json, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("trouble", Text(), nullable=True),
    )
    op.create_index(
        "ix_webhook_messages_due",
        "webhook_messages",
        ["due_at"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index("ix_webhook_messages_settled_at", "webhook_messages", ["settled_at"])
