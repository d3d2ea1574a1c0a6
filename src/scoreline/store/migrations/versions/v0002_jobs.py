"""Jobs, their logs, their parts, the ledger."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import BigInt, Text, UtcDateTime

revision = "0002"
down_revision = "0001"

_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    """Apply."""
    _jobs()
    op.create_table(
        "job_logs",
        _column("id", BigInt, primary_key=True, autoincrement=True),
        _reference("job_id", "jobs.id"),
        _column("at", UtcDateTime()),
        _column("message", Text()),
    )
    op.create_table(
        "job_parts",
        _column("job_id", sa.String(24), sa.ForeignKey("jobs.id"), primary_key=True),
        _column("part", sa.Integer(), primary_key=True, autoincrement=False),
        _column("output_state", _JSON, nullable=True),
        _column("next_chunk", BigInt),
    )
    op.create_table(
        "ledger",
        _column("job_id", sa.String(24), sa.ForeignKey("jobs.id"), primary_key=True),
        _column("part", sa.Integer(), primary_key=True, autoincrement=False),
        _column("first_chunk", BigInt, primary_key=True, autoincrement=False),
        _column("last_chunk", BigInt),
        *(_column(name, BigInt) for name in ("end_offset", "end_chunk", "end_row")),
        *(_column(name, BigInt) for name in ("rows_read", "rows_scored", "rows_failed", "rows_skipped")),
        _column("receipt", _JSON),
        _column("bytes_out", BigInt),
        _column("fence", sa.Integer()),
        _column("at", UtcDateTime()),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        _column("id", sa.String(24), primary_key=True),
        _reference("owner_id", "users.id"),
        _reference("org_id", "organisations.id"),
        _reference("deployment_id", "deployments.id", nullable=True),
        _reference("package_id", "packages.id"),
        _reference("server_id", "prediction_servers.id", index=False),
        _column("package_hash", sa.String(64)),
        _column("target", _JSON),
        _column("spec", _JSON),
        _column("intake_type", sa.String(32)),
        _column("output_type", sa.String(32)),
        _column("source", Text(), nullable=True),
        _column("state", sa.String(16)),
        _column("reason", Text(), nullable=True),
        _column("created_at", UtcDateTime()),
        *(
            _column(name, UtcDateTime(), nullable=True)
            for name in ("queued_at", "started_at", "finished_at", "hidden_at")
        ),
        _column("upload_state", sa.String(16)),
        _column("upload_bytes", BigInt),
        _column("upload_expected", BigInt, nullable=True),
        _column("upload_beat", BigInt),
        _column("fence", sa.Integer()),
        _column("lease_owner", Text(), nullable=True),
        _column("lease_beat", BigInt),
        _column("silent_runs", sa.Integer()),
        *(_column(name, BigInt) for name in ("rows_read", "rows_scored", "rows_failed", "rows_skipped")),
        _column("bytes_in", BigInt),
        _column("bytes_out", BigInt),
        _column("percentage", sa.Float(53)),
        _column("cleaned_at", UtcDateTime(), nullable=True),
        _column("results_deleted_at", UtcDateTime(), nullable=True),
        sa.Index("ix_jobs_state_queued_at", "state", "queued_at"),
        sa.Index("ix_jobs_server_id_state", "server_id", "state"),
        sa.Index("ix_jobs_org_id_created_at", "org_id", "created_at"),
        sa.Index(
            "ix_jobs_uncleaned",
            "state",
            sqlite_where=sa.text("cleaned_at IS NULL"),
            postgresql_where=sa.text("cleaned_at IS NULL"),
        ),
    )


def _column(name: str, kind: Any, *more: Any, nullable: bool = False, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *more, nullable=nullable, **options)


def _reference(name: str, target: str, *, nullable: bool = False, index: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.String(24), sa.ForeignKey(target), nullable=nullable, index=index)
