"""Datasets and their versions."""

from __future__ import annotations

import sqlalchemy as sa

from scoreline.store.tables import Json, Text, id_column, metadata, moment, owned, reference

datasets = sa.Table(
    "datasets",
    metadata,
    id_column(),
    *owned(),
    sa.Column("name", Text(), nullable=False),
    sa.Column("categories", Json, nullable=False),
    # The version that is meant where none is named: the last one that was made, or else the first that was tried.
    sa.Column("latest_id", sa.String(24), nullable=False),
    moment("created_at"),
    moment("modified_at"),
    reference("modified_by", "users.id", index=False),
    # Set while it can still be brought back.
    moment("deleted_at", nullable=True),
)

dataset_versions = sa.Table(
    "dataset_versions",
    metadata,
    id_column(),
    reference("dataset_id", "datasets.id"),
    sa.Column("number", sa.Integer(), nullable=False),
    reference("made_by", "users.id", index=False),
    moment("created_at"),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    # The request that makes it, as `jobs.presence` names it; None once it is over.
    sa.Column("maker", sa.String(64), nullable=True),
    sa.Column("error", Text(), nullable=True),
    # "file" or "url", and what it is called there.
    sa.Column("source", sa.String(16), nullable=False),
    sa.Column("origin", Text(), nullable=False),
    # All None until it is made. size: of the rows as CSV, or of the Parquet file. stored: bytes in the spool.
    sa.Column("form", sa.String(16), nullable=True),
    sa.Column("packing", sa.String(16), nullable=True),
    sa.Column("delimiter", sa.String(1), nullable=True),
    sa.Column("size", sa.BigInteger(), nullable=True),
    sa.Column("stored", sa.BigInteger(), nullable=True),
    sa.Column("sha256", sa.String(64), nullable=True),
    sa.Column("rows", sa.BigInteger(), nullable=True),
    sa.Column("features", Json, nullable=True),
    # How many columns there are of each type.
    sa.Column("kinds", Json, nullable=True),
    sa.UniqueConstraint("dataset_id", "number"),
)
