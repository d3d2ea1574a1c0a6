"""Custom models and their versions."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import BigInt, Text, UtcDateTime

revision = "0009"
down_revision = "0008"

_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "custom_models",
        sa.Column("id", sa.String(24), primary_key=True),
        _reference("owner_id", "users.id"),
        _reference("org_id", "organisations.id"),
        sa.Column("name", Text(), nullable=False),
        sa.Column("description", Text(), nullable=False),
        sa.Column("language", Text(), nullable=False),
        sa.Column("target_type", sa.String(32), nullable=False),
        sa.Column("target_name", Text(), nullable=True),
        sa.Column("class_labels", _JSON, nullable=True),
        sa.Column("threshold", sa.Float(53), nullable=True),
        sa.Column("resources", _JSON, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "custom_model_versions",
        sa.Column("id", sa.String(24), primary_key=True),
        _reference("owner_id", "users.id"),
        _reference("org_id", "organisations.id"),
        _reference("custom_model_id", "custom_models.id"),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("minor", sa.Integer(), nullable=False),
        sa.Column("description", Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=True),
        sa.Column("size", BigInt, nullable=False),
        sa.Column("files", _JSON, nullable=False),
        sa.Column("resources", _JSON, nullable=False),
        sa.Column("parameters", _JSON, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.UniqueConstraint("custom_model_id", "major", "minor"),
    )
    op.add_column("packages", sa.Column("source", _JSON, nullable=True))


def _reference(name: str, target: str) -> sa.Column[Any]:
    return sa.Column(name, sa.String(24), sa.ForeignKey(target), nullable=False, index=True)
