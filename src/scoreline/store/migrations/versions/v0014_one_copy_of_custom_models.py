"""Where the files of a registered custom model version are, when its package has them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Apply."""
    op.add_column("custom_model_versions", sa.Column("kept_in", sa.String(64), nullable=True))
    op.add_column("custom_model_versions", sa.Column("own_description", sa.Text(), nullable=True))
