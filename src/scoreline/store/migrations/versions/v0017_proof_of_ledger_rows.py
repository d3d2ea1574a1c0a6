"""A checksum on each row of the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import BigInt

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Apply."""
    op.add_column("ledger", sa.Column("proof", BigInt, nullable=True))
