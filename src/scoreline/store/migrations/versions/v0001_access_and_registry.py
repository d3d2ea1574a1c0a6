"""Organisations, users, tokens; artefacts, models, packages, prediction servers, deployments.

Written out in full, so that it stays what it was when the tables move on; names of constraints and indexes follow the
convention in `scoreline.store.tables`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from scoreline.store.tables import BigInt, Text, UtcDateTime

revision = "0001"
down_revision = None

_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    """Apply."""
    _access()
    _models()
    _deployments()


def _column(name: str, kind: Any, *, nullable: bool = False, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable, **options)


def _id() -> sa.Column[Any]:
    return sa.Column("id", sa.String(24), primary_key=True)


def _reference(name: str, target: str, *, nullable: bool = False, index: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.String(24), sa.ForeignKey(target), nullable=nullable, index=index)


def _owned() -> tuple[sa.Column[Any], sa.Column[Any]]:
    return _reference("owner_id", "users.id"), _reference("org_id", "organisations.id")


def _access() -> None:
    op.create_table(
        "organisations",
        _id(),
        _column("name", Text(), unique=True),
        _column("created_at", UtcDateTime()),
    )
    op.create_table(
        "users",
        _id(),
        _reference("org_id", "organisations.id"),
        _column("username", Text(), unique=True),
        _column("full_name", Text(), nullable=True),
        _column("role", sa.String(16)),
        _column("rights", _JSON),
        _column("created_at", UtcDateTime()),
        _column("disabled_at", UtcDateTime(), nullable=True),
    )
    op.create_table(
        "tokens",
        _id(),
        *_owned(),
        _column("name", Text()),
        _column("kind", sa.String(16)),
        _column("secret_hash", sa.String(64), unique=True),
        _column("rights", _JSON, nullable=True),
        _column("package_ids", _JSON, nullable=True),
        _column("created_at", UtcDateTime()),
        _column("expires_at", UtcDateTime(), nullable=True),
        _column("last_used_at", UtcDateTime(), nullable=True),
        _column("revoked_at", UtcDateTime(), nullable=True),
        sa.Index("ix_tokens_kind_expires_at", "kind", "expires_at"),
    )


def _models() -> None:
    op.create_table(
        "artifacts",
        _id(),
        *_owned(),
        _column("sha256", sa.String(64)),
        _column("filename", Text()),
        _column("size", BigInt),
        _column("format", sa.String(64)),
        _column("runs_code", sa.Boolean()),
        _column("trusted", sa.Boolean()),
        _column("info", _JSON, nullable=True),
        _column("created_at", UtcDateTime()),
        sa.UniqueConstraint("org_id", "sha256"),
    )
    op.create_table(
        "registered_models",
        _id(),
        *_owned(),
        _column("name", Text()),
        _column("description", Text(), nullable=True),
        _column("target_name", Text()),
        _column("target_type", sa.String(32)),
        _column("tags", _JSON),
        _column("last_version", sa.Integer()),
        _column("created_at", UtcDateTime()),
        _column("modified_at", UtcDateTime()),
        _column("archived_at", UtcDateTime(), nullable=True),
        sa.Index("ix_registered_models_org_id_name", "org_id", "name"),
    )
    op.create_table(
        "packages",
        _id(),
        *_owned(),
        _reference("registered_model_id", "registered_models.id", index=False),
        _column("version", sa.Integer()),
        _column("name", Text()),
        _column("artifact", sa.String(64), nullable=True, index=True),
        _column("format", sa.String(64), nullable=True),
        _column("trusted", sa.Boolean()),
        _column("target_name", Text()),
        _column("target_type", sa.String(32)),
        _column("class_labels", _JSON, nullable=True),
        _column("positive_class", Text(), nullable=True),
        _column("threshold", sa.Float(53)),
        _column("features", _JSON),
        _column("model_id", Text()),
        _column("description", _JSON),
        _column("tags", _JSON),
        _column("created_at", UtcDateTime()),
        _column("archived_at", UtcDateTime(), nullable=True),
        sa.UniqueConstraint("registered_model_id", "version"),
    )


def _deployments() -> None:
    op.create_table(
        "prediction_servers",
        _id(),
        *_owned(),
        _column("name", Text()),
        _column("url", Text()),
        _column("datarobot_key", Text()),
        _column("slots", sa.Integer()),
        _column("concurrency", sa.Integer()),
        _column("everyone", sa.Boolean()),
        _column("created_at", UtcDateTime()),
        _column("seen_at", UtcDateTime()),
        sa.UniqueConstraint("org_id", "name"),
    )
    op.create_table(
        "deployments",
        _id(),
        *_owned(),
        _reference("package_id", "packages.id"),
        _reference("server_id", "prediction_servers.id", nullable=True),
        _column("label", Text()),
        _column("description", Text(), nullable=True),
        _column("status", sa.String(16)),
        _column("importance", sa.String(16), nullable=True),
        _column("user_provided_id", Text(), nullable=True),
        _column("additional_metadata", _JSON),
        _column("settings", _JSON),
        _column("created_at", UtcDateTime()),
        _column("updated_at", UtcDateTime()),
        _column("model_deployed_at", UtcDateTime()),
        _column("deleted_at", UtcDateTime(), nullable=True),
    )
