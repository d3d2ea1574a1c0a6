"""What a deployment has served, the environments that people make, tags of deployments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import Text, UtcDateTime

revision = "0004"
down_revision = "0003"

_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    """Apply; every deployment's history begins with the model that it has now."""
    op.create_table(
        "deployment_models",
        sa.Column("deployment_id", sa.String(24), sa.ForeignKey("deployments.id"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("package_id", sa.String(24), sa.ForeignKey("packages.id"), nullable=False, index=True),
        sa.Column("user_id", sa.String(24), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("reason", sa.String(32), nullable=True),
    )
    op.execute(
        "INSERT INTO deployment_models (deployment_id, number, package_id, user_id, at) "
        "SELECT id, 1, package_id, owner_id, model_deployed_at FROM deployments"
    )
    op.create_table(
        "prediction_environments",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("owner_id", sa.String(24), sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("org_id", sa.String(24), sa.ForeignKey("organisations.id"), nullable=False, index=True),
        sa.Column("name", Text(), nullable=False),
        sa.Column("description", Text(), nullable=True),
        sa.Column("platform", sa.String(32), nullable=False),
        sa.Column("formats", _JSON, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
    )
    op.create_table(
        "deployment_tags",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("deployment_id", sa.String(24), sa.ForeignKey("deployments.id"), nullable=False, index=True),
        sa.Column("name", Text(), nullable=False),
        sa.Column("value", Text(), nullable=False),
    )
    with op.batch_alter_table("deployments") as deployments:
        deployments.add_column(sa.Column("environment_id", sa.String(24), nullable=True))
        deployments.create_foreign_key(
            "fk_deployments_environment_id", "prediction_environments", ["environment_id"], ["id"]
        )
        deployments.create_index("ix_deployments_environment_id", ["environment_id"])
