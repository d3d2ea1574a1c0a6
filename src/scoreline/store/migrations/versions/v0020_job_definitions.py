"""Job definitions, and which jobs were made from them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import Json, Text, UtcDateTime

revision = "0020"
down_revision = "0019"

_THERE: dict[str, Any] = {
    "sqlite_where": sa.text("deleted_at IS NULL"),
    "postgresql_where": sa.text("deleted_at IS NULL"),
}


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "job_definitions",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("owner_id", sa.String(24), sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("org_id", sa.String(24), sa.ForeignKey("organisations.id"), nullable=False, index=True),
        sa.Column("name", Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("secret_id", sa.String(24), sa.ForeignKey("secrets.id"), nullable=True, index=True),
        sa.Column("deployment_id", sa.String(24), sa.ForeignKey("deployments.id"), nullable=True, index=True),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("schedule", Json, nullable=True),
        sa.Column("time_zone", Text(), nullable=False),
        sa.Column("overlap", sa.String(8), nullable=False),
        sa.Column("catch_up", sa.String(8), nullable=False),
        sa.Column("disable_after", sa.Integer(), nullable=True),
        sa.Column("next_run_at", UtcDateTime(), nullable=True, index=True),
        sa.Column("waiting_for", UtcDateTime(), nullable=True, index=True),
        sa.Column("last_scheduled_at", UtcDateTime(), nullable=True),
        sa.Column("last_started_at", UtcDateTime(), nullable=True),
        sa.Column("last_succeeded_at", UtcDateTime(), nullable=True),
        sa.Column("last_failed_at", UtcDateTime(), nullable=True),
        sa.Column("last_skipped_at", UtcDateTime(), nullable=True),
        sa.Column("last_job_id", sa.String(24), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("trouble", Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.String(24), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
    )
    op.create_index("uq_job_definitions_org_id_name", "job_definitions", ["org_id", "name"], unique=True, **_THERE)
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("definition_id", sa.String(24), sa.ForeignKey("job_definitions.id"), nullable=True))
        jobs.add_column(sa.Column("scheduled_for", UtcDateTime(), nullable=True))
        jobs.create_index("uq_jobs_definition_id_scheduled_for", ["definition_id", "scheduled_for"], unique=True)
        jobs.create_index("ix_jobs_definition_id_created_at", ["definition_id", "created_at"])
