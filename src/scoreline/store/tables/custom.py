"""Custom models: how the official client keeps the files of a model, version after version."""

from __future__ import annotations

import sqlalchemy as sa

from scoreline.store.tables import BigInt, Json, Text, id_column, metadata, moment, owned, reference

_SHARED = {"shared": True}

custom_models = sa.Table(
    "custom_models",
    metadata,
    id_column(),
    *owned(),
    sa.Column("name", Text(), nullable=False),
    sa.Column("description", Text(), nullable=False),
    sa.Column("language", Text(), nullable=False),
    sa.Column("target_type", sa.String(32), nullable=False),
    sa.Column("target_name", Text(), nullable=True),
    # Of a binary target: negative, positive. None: the model's own.
    sa.Column("class_labels", Json, nullable=True),
    sa.Column("threshold", sa.Float(53), nullable=True),
    # What was asked for and is only noted: memory, replicas, network.
    sa.Column("resources", Json, nullable=False),
    moment("created_at"),
    moment("updated_at"),
    info=_SHARED,
)

custom_model_versions = sa.Table(
    "custom_model_versions",
    metadata,
    id_column(),
    *owned(),
    reference("custom_model_id", "custom_models.id"),
    sa.Column("major", sa.Integer(), nullable=False),
    sa.Column("minor", sa.Integer(), nullable=False),
    sa.Column("description", Text(), nullable=False),
    # Content hash of the files, which are in the spool as an artefact's are; None: no files.
    sa.Column("sha256", sa.String(64), nullable=True),
    # Of a registered version with code: the artefact that was made of the files, and holds them, too; and what its
    # description was before registering wrote one.
    sa.Column("kept_in", sa.String(64), nullable=True),
    sa.Column("own_description", Text(), nullable=True),
    sa.Column("size", BigInt, nullable=False),
    # id, path and size of each file.
    sa.Column("files", Json, nullable=False),
    sa.Column("resources", Json, nullable=False),
    # Values set for the runtime parameters that the files define, by name.
    sa.Column("parameters", Json, nullable=False),
    moment("created_at"),
    sa.UniqueConstraint("custom_model_id", "major", "minor"),
    info=_SHARED,
)
