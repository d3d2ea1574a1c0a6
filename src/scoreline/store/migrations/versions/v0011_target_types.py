"""What packages of further target types need: thresholds of labels, columns beside the predictions, a baseline."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Apply."""
    for name in ("label_thresholds", "extra", "baseline"):
        op.add_column("packages", sa.Column(name, sa.JSON(none_as_null=True), nullable=True))
