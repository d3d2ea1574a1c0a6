"""Prediction servers of other makers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import Text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    kind = sa.Column("kind", sa.String(32), nullable=False, server_default="scoreline")
    op.add_column("prediction_servers", kind)
    op.add_column("packages", sa.Column("server", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("jobs", sa.Column("server_model", Text(), nullable=True))
