"""Organisations, users, tokens, sealed secrets and the credentials made of them."""

from __future__ import annotations

import sqlalchemy as sa

from scoreline.store.tables import Json, Text, id_column, metadata, moment, owned, reference

organisations = sa.Table(
    "organisations",
    metadata,
    id_column(),
    sa.Column("name", Text(), nullable=False, unique=True),
    moment("created_at"),
)

users = sa.Table(
    "users",
    metadata,
    id_column(),
    reference("org_id", "organisations.id"),
    sa.Column("username", Text(), nullable=False, unique=True),
    sa.Column("full_name", Text(), nullable=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("rights", Json, nullable=False),
    moment("created_at"),
    moment("disabled_at", nullable=True),
)

tokens = sa.Table(
    "tokens",
    metadata,
    id_column(),
    reference("owner_id", "users.id"),
    reference("org_id", "organisations.id"),
    sa.Column("name", Text(), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    # SHA-256 of the secret, hexadecimal; the secret itself is never stored.
    sa.Column("secret_hash", sa.String(64), nullable=False, unique=True),
    # None: all the owner's rights (kind "user"), or none at all (kinds "run" and "service").
    sa.Column("rights", Json, nullable=True),
    # None: not bound to packages.
    sa.Column("package_ids", Json, nullable=True),
    moment("created_at"),
    moment("expires_at", nullable=True),
    moment("last_used_at", nullable=True),
    moment("revoked_at", nullable=True),
    sa.Index("ix_tokens_kind_expires_at", "kind", "expires_at"),
)

secrets = sa.Table(
    "secrets",
    metadata,
    id_column(),
    *owned(),
    # What it is; part of what the record is bound to.
    sa.Column("kind", sa.String(32), nullable=False),
    # Which master key it was sealed with.
    sa.Column("key_id", sa.String(16), nullable=False, index=True),
    # Nonce, ciphertext, tag.
    sa.Column("sealed", sa.LargeBinary(), nullable=False),
    moment("created_at"),
)

credentials = sa.Table(
    "credentials",
    metadata,
    id_column(),
    *owned(),
    sa.Column("name", Text(), nullable=False),
    sa.Column("type", sa.String(64), nullable=False),
    sa.Column("description", Text(), nullable=False),
    reference("secret_id", "secrets.id", index=False),
    moment("created_at"),
    sa.UniqueConstraint("owner_id", "name"),
)
