"""Job definitions: stored bodies of jobs, and when they are due."""

from __future__ import annotations

import sqlalchemy as sa

from scoreline.store.tables import Json, Text, id_column, metadata, moment, owned, reference

job_definitions = sa.Table(
    "job_definitions",
    metadata,
    id_column(),
    *owned(),
    sa.Column("name", Text(), nullable=False),
    sa.Column("enabled", sa.Boolean(), nullable=False),
    # The fields of a job as they were given, templates and all; keys among them are masked, and sealed in the secret.
    sa.Column("body", Json, nullable=False),
    reference("secret_id", "secrets.id", nullable=True),
    # Of the body, to find definitions by; None where a model scores without a deployment.
    reference("deployment_id", "deployments.id", nullable=True),
    # What is shown where the body has no `numConcurrent`: what the prediction server took at once when it was saved.
    sa.Column("concurrency", sa.Integer(), nullable=False),
    # The five lists as they were given, and where its clock hangs.
    sa.Column("schedule", Json, nullable=True),
    sa.Column("time_zone", Text(), nullable=False),
    # What becomes of a run that is due while the one before goes on, and of runs that nobody was there to make.
    sa.Column("overlap", sa.String(8), nullable=False),
    sa.Column("catch_up", sa.String(8), nullable=False),
    # So many failed runs in a row disable it; None: they do not.
    sa.Column("disable_after", sa.Integer(), nullable=True),
    # The next time that it is due; None unless it is enabled.
    moment("next_run_at", nullable=True),
    # The time of the one due run that waits for the end of another.
    moment("waiting_for", nullable=True),
    # Of runs: the last time that one was due (whatever became of it), was made, went well, failed, was left out.
    moment("last_scheduled_at", nullable=True),
    moment("last_started_at", nullable=True),
    moment("last_succeeded_at", nullable=True),
    moment("last_failed_at", nullable=True),
    moment("last_skipped_at", nullable=True),
    # The last job that was made; no foreign key, for jobs refer to definitions.
    sa.Column("last_job_id", sa.String(24), nullable=True),
    # Failed runs since the last one that went well, or since it was enabled; why the last one failed, was left out, or
    # why it was disabled.
    sa.Column("failures", sa.Integer(), nullable=False, default=0, server_default="0"),
    sa.Column("trouble", Text(), nullable=True),
    # Grows with every change by a user, and when it is disabled.
    sa.Column("version", sa.Integer(), nullable=False, default=1, server_default="1"),
    moment("created_at"),
    moment("updated_at"),
    reference("updated_by", "users.id", index=False),
    moment("deleted_at", nullable=True),
    sa.Index(
        "uq_job_definitions_org_id_name",
        *("org_id", "name"),
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    ),
    sa.Index("ix_job_definitions_next_run_at", "next_run_at"),
    sa.Index("ix_job_definitions_waiting_for", "waiting_for"),
)
