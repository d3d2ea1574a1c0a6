"""Jobs: their states and counters, their logs, and the ledger of what is done."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from scoreline.store.tables import BigInt, Json, Text, id_column, metadata, moment, owned, reference

_LIVE = "state IN ('INITIALIZING', 'RUNNING')"
LIVE: sa.ColumnElement[Any] = sa.literal_column(f"jobs.{_LIVE}")
"""The clause that is true of jobs that are not over, in the words of the index of those."""


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, BigInt, nullable=False, default=0)


jobs = sa.Table(
    "jobs",
    metadata,
    id_column(),
    *owned(),
    # What is scored with, as it was when the job was created; `target` holds labels, threshold, features and the like.
    reference("deployment_id", "deployments.id", nullable=True),
    reference("package_id", "packages.id"),
    reference("server_id", "prediction_servers.id", index=False),
    sa.Column("package_hash", sa.String(64), nullable=False),
    # Which model the prediction server says it has, from the first answer on.
    sa.Column("server_model", Text(), nullable=True),
    sa.Column("target", Json, nullable=False),
    sa.Column("spec", Json, nullable=False),
    # What the variables of templates in the spec stand for; None where it has none.
    sa.Column("moments", Json, nullable=True),
    # The sealed keys of the spec's `predictionInstance`.
    reference("secret_id", "secrets.id", nullable=True),
    sa.Column("intake_type", sa.String(32), nullable=False),
    # The name that its dataset had when the job was made.
    sa.Column("intake_name", Text(), nullable=True),
    sa.Column("output_type", sa.String(32), nullable=False),
    sa.Column("source", Text(), nullable=True),
    # What it was made from, and the due time that it was made for; None for a run that somebody asked for.
    reference("definition_id", "job_definitions.id", nullable=True, index=False),
    moment("scheduled_for", nullable=True),
    sa.Column("state", sa.String(16), nullable=False),
    # Text of the final state; None before.
    sa.Column("reason", Text(), nullable=True),
    moment("created_at"),
    moment("queued_at", nullable=True),
    moment("started_at", nullable=True),
    moment("finished_at", nullable=True),
    moment("hidden_at", nullable=True),
    # Set while the job rests; then nobody may run it.
    moment("paused_at", nullable=True),
    # Set while the job rests until so many bytes can be staged.
    sa.Column("space_wanted", BigInt, nullable=True),
    # Larger comes first in the line.
    sa.Column("priority", sa.Integer(), nullable=False, default=0, server_default="0"),
    # The client's upload: none, waiting, running, interrupted, repeated, done, broken. `beat` grows while it is alive;
    # expected: bytes that the client announced; stream: where runs read it; sender: the request that sends now, as
    # API process and number; trouble: how it was interrupted.
    sa.Column("upload_state", sa.String(16), nullable=False),
    _count("upload_bytes"),
    sa.Column("upload_expected", BigInt, nullable=True),
    _count("upload_beat"),
    sa.Column("upload_stream", Text(), nullable=False, default="0", server_default="0"),
    sa.Column("upload_sender", Text(), nullable=True),
    sa.Column("upload_trouble", Text(), nullable=True),
    # Who runs it: `fence` numbers the runs, `lease_beat` grows while the owner lives, `silent_runs` counts runs that
    # ended without adding to the ledger.
    sa.Column("fence", sa.Integer(), nullable=False, default=0),
    sa.Column("lease_owner", Text(), nullable=True),
    _count("lease_beat"),
    sa.Column("silent_runs", sa.Integer(), nullable=False, default=0),
    # Seconds that all runs took, as their own clocks counted them.
    sa.Column("ran_seconds", sa.Float(53), nullable=False, default=0.0, server_default="0"),
    # Rows and bytes; they only grow.
    _count("rows_read"),
    _count("rows_scored"),
    _count("rows_failed"),
    _count("rows_skipped"),
    # Whether it was created without `numConcurrent`, and of the run that goes on: calls at once, and bytes of a chunk.
    sa.Column("adapts", sa.Boolean(), nullable=False, default=False, server_default=sa.false()),
    sa.Column("live_concurrency", sa.Integer(), nullable=True),
    sa.Column("live_chunk_bytes", BigInt, nullable=True),
    _count("bytes_in"),
    _count("bytes_out"),
    sa.Column("percentage", sa.Float(53), nullable=False, default=0.0),
    # What tells the source from any other, once it is known; the digest of the whole output.
    sa.Column("source_identity", Json, nullable=True),
    sa.Column("result_sha256", sa.String(64), nullable=True),
    # When staged bytes that nobody needs any more were deleted; when the result was.
    moment("cleaned_at", nullable=True),
    moment("results_deleted_at", nullable=True),
    # Since when its output is being put in place: then it can be neither aborted nor paused any more.
    moment("committing_at", nullable=True),
    # How many workers may score for it at once, itself included; None while it is not cut in partitions.
    sa.Column("most_runs", sa.Integer(), nullable=True),
    # In how many it is cut.
    sa.Column("partitions", sa.Integer(), nullable=False, default=1, server_default="1"),
    # Hours for which this job's result is kept; None: as the installation says.
    sa.Column("retention_hours", sa.Float(53), nullable=True),
    sa.Index("ix_jobs_state_queued_at", "state", "queued_at"),
    # All that tells a job's place in the line, so that counting those ahead reads nothing else.
    sa.Index(
        "ix_jobs_line",
        *("server_id", "state", "paused_at", "space_wanted", "upload_state", "priority", "queued_at", "id"),
    ),
    sa.Index("ix_jobs_org_id_created_at", "org_id", "created_at"),
    # A due run is made once.
    sa.Index("uq_jobs_definition_id_scheduled_for", "definition_id", "scheduled_for", unique=True),
    sa.Index("ix_jobs_definition_id_created_at", "definition_id", "created_at"),
    # Runs of a definition that are not over, however many there were.
    sa.Index(
        "ix_jobs_live_definition_id",
        "definition_id",
        sqlite_where=sa.text(_LIVE),
        postgresql_where=sa.text(_LIVE),
    ),
    # What the worker sweeps, a handful of rows however many jobs there were.
    sa.Index(
        "ix_jobs_uncleaned",
        "state",
        sqlite_where=sa.text("cleaned_at IS NULL"),
        postgresql_where=sa.text("cleaned_at IS NULL"),
    ),
)

job_logs = sa.Table(
    "job_logs",
    metadata,
    sa.Column("id", BigInt, primary_key=True, autoincrement=True),
    reference("job_id", "jobs.id"),
    moment("at"),
    sa.Column("message", Text(), nullable=False),
)

# Requests that made a job, so that one that comes again is known. answer: pending, sent or lost.
job_requests = sa.Table(
    "job_requests",
    metadata,
    sa.Column("job_id", sa.String(24), sa.ForeignKey("jobs.id"), primary_key=True),
    reference("user_id", "users.id", index=False),
    sa.Column("key_hash", sa.String(64), nullable=True),
    sa.Column("body_hash", sa.String(64), nullable=False),
    sa.Column("answer", sa.String(8), nullable=False),
    moment("asked_at"),
    sa.UniqueConstraint("user_id", "key_hash"),
    sa.Index("ix_job_requests_user_id_body_hash", "user_id", "body_hash"),
)

job_parts = sa.Table(
    "job_parts",
    metadata,
    sa.Column("job_id", sa.String(24), sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("part", sa.Integer(), primary_key=True, autoincrement=False),
    # The output's own state, stored before its first side effect.
    sa.Column("output_state", Json, nullable=True),
    # The first chunk that the ledger does not cover.
    sa.Column("next_chunk", BigInt, nullable=False),
)

# Parts of the source that other workers may score before their turn in the output comes; see `jobs.partitions`.
job_partitions = sa.Table(
    "job_partitions",
    metadata,
    sa.Column("job_id", sa.String(24), sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
    # Where it begins in the source, and where the next one does; None for the last.
    sa.Column("begins", BigInt, nullable=False),
    sa.Column("ends", BigInt, nullable=True),
    sa.Column("state", sa.String(8), nullable=False),
    # Who scores it ahead: `fence` numbers those who did, `beat` grows while the owner lives.
    sa.Column("owner", Text(), nullable=True),
    sa.Column("fence", sa.Integer(), nullable=False, default=0),
    _count("beat"),
    # What is staged of it.
    sa.Column("scored", Json, nullable=True),
)

ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("job_id", sa.String(24), sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("part", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("first_chunk", BigInt, primary_key=True, autoincrement=False),
    sa.Column("last_chunk", BigInt, nullable=False),
    # Where the source is taken up again after these chunks.
    sa.Column("end_offset", BigInt, nullable=False),
    sa.Column("end_chunk", BigInt, nullable=False),
    sa.Column("end_row", BigInt, nullable=False),
    _count("rows_read"),
    _count("rows_scored"),
    _count("rows_failed"),
    _count("rows_skipped"),
    sa.Column("receipt", Json, nullable=False),
    # The receipt of their failed rows in the job's list of these; None without any.
    sa.Column("errors", Json, nullable=True),
    sa.Column("bytes_out", BigInt, nullable=False),
    sa.Column("fence", sa.Integer(), nullable=False),
    # Checksum of all of the above; None in rows older than the column.
    sa.Column("proof", BigInt, nullable=True),
    moment("at"),
)

# Messages to webhooks, each written with the change that it tells of. hook: its number among the job's webhooks.
webhook_messages = sa.Table(
    "webhook_messages",
    metadata,
    id_column(),
    reference("job_id", "jobs.id"),
    sa.Column("hook", sa.Integer(), nullable=False),
    # `host:port` of the receiver.
    sa.Column("place", Text(), nullable=False),
    sa.Column("event", sa.String(16), nullable=False),
    sa.Column("about", Json, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("tries", sa.Integer(), nullable=False, default=0),
    moment("created_at"),
    # When it is sent (again); while it is sent, when another sender may take it.
    moment("due_at"),
    moment("settled_at", nullable=True),
    # The receiver's last answer, and what went wrong last.
    sa.Column("status", sa.Integer(), nullable=True),
    sa.Column("trouble", Text(), nullable=True),
    sa.Index(
        "ix_webhook_messages_due",
        "due_at",
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    ),
    sa.Index("ix_webhook_messages_settled_at", "settled_at"),
)
