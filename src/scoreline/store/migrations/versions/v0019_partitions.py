"""The parts of jobs that several workers share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import BigInt

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("most_runs", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("partitions", sa.Integer(), nullable=False, server_default="1"))
    op.create_table(
        "job_partitions",
        sa.Column("job_id", sa.String(24), sa.ForeignKey("jobs.id", name="fk_job_partitions_job_id"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("begins", BigInt, nullable=False),
        sa.Column("ends", BigInt, nullable=True),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("beat", BigInt, nullable=False),
        sa.Column("scored", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_job_partitions"),
    )
