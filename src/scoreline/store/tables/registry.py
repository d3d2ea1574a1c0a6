"""What can score: model artefacts, registered models, model packages, prediction servers, deployments."""

from __future__ import annotations

import sqlalchemy as sa

from scoreline.store.tables import BigInt, Json, Text, id_column, metadata, moment, owned, reference

_SHARED = {"shared": True}

artifacts = sa.Table(
    "artifacts",
    metadata,
    id_column(),
    *owned(),
    # Content hash of the tree; the bytes are in the spool under this name, once for all organisations.
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("filename", Text(), nullable=False),
    sa.Column("size", BigInt, nullable=False),
    sa.Column("format", sa.String(64), nullable=False),
    sa.Column("runs_code", sa.Boolean(), nullable=False),
    sa.Column("trusted", sa.Boolean(), nullable=False),
    # ModelInfo as JSON; None until a prediction server has looked at the artefact.
    sa.Column("info", Json, nullable=True),
    moment("created_at"),
    sa.UniqueConstraint("org_id", "sha256"),
    info=_SHARED,
)

registered_models = sa.Table(
    "registered_models",
    metadata,
    id_column(),
    *owned(),
    sa.Column("name", Text(), nullable=False),
    sa.Column("description", Text(), nullable=True),
    sa.Column("target_name", Text(), nullable=False),
    sa.Column("target_type", sa.String(32), nullable=False),
    sa.Column("tags", Json, nullable=False),
    sa.Column("last_version", sa.Integer(), nullable=False),
    moment("created_at"),
    moment("modified_at"),
    moment("archived_at", nullable=True),
    sa.Index("ix_registered_models_org_id_name", "org_id", "name"),
    info=_SHARED,
)

packages = sa.Table(
    "packages",
    metadata,
    id_column(),
    *owned(),
    reference("registered_model_id", "registered_models.id", index=False),
    sa.Column("version", sa.Integer(), nullable=False),
    sa.Column("name", Text(), nullable=False),
    # None: an external model that is only described here.
    sa.Column("artifact", sa.String(64), nullable=True, index=True),
    sa.Column("format", sa.String(64), nullable=True),
    # Instead of an artefact: the foreign server that has the model, as JSON: id, kind, url, options.
    sa.Column("server", Json, nullable=True),
    sa.Column("trusted", sa.Boolean(), nullable=False),
    sa.Column("target_name", Text(), nullable=False),
    sa.Column("target_type", sa.String(32), nullable=False),
    sa.Column("class_labels", Json, nullable=True),
    sa.Column("positive_class", Text(), nullable=True),
    sa.Column("threshold", sa.Float(53), nullable=False),
    # Of a multilabel target whose labels have different ones, in the order of the labels.
    sa.Column("label_thresholds", Json, nullable=True),
    sa.Column("features", Json, nullable=False),
    # What the model gives beside its predictions: names and types.
    sa.Column("extra", Json, nullable=True),
    # Quartiles of usual predictions.
    sa.Column("baseline", Json, nullable=True),
    sa.Column("model_id", Text(), nullable=False),
    sa.Column("description", Json, nullable=False),
    sa.Column("tags", Json, nullable=False),
    # The client's sourceMeta: the custom model version that the package was made of.
    sa.Column("source", Json, nullable=True),
    moment("created_at"),
    moment("archived_at", nullable=True),
    sa.UniqueConstraint("registered_model_id", "version"),
    info=_SHARED,
)

prediction_servers = sa.Table(
    "prediction_servers",
    metadata,
    id_column(),
    *owned(),
    sa.Column("name", Text(), nullable=False),
    # The protocol: "scoreline", or a kind of foreign server.
    sa.Column("kind", sa.String(32), nullable=False, server_default="scoreline"),
    sa.Column("url", Text(), nullable=False),
    # Where the address may lead: "any" for one that an admin named, "allowed" for one that the network rules apply to.
    sa.Column("reach", sa.String(16), nullable=False, server_default="any"),
    sa.Column("datarobot_key", Text(), nullable=False),
    # Jobs that run at once, and requests that the server takes at once.
    sa.Column("slots", sa.Integer(), nullable=False),
    sa.Column("concurrency", sa.Integer(), nullable=False),
    # The installation's own servers are for all organisations.
    sa.Column("everyone", sa.Boolean(), nullable=False),
    moment("created_at"),
    moment("seen_at"),
    sa.UniqueConstraint("org_id", "name"),
    info=_SHARED,
)

# Places that people name, beside the prediction servers, each of which is one by itself.
prediction_environments = sa.Table(
    "prediction_environments",
    metadata,
    id_column(),
    *owned(),
    sa.Column("name", Text(), nullable=False),
    sa.Column("description", Text(), nullable=True),
    sa.Column("platform", sa.String(32), nullable=False),
    # Kinds of models that may be deployed there; none named: all.
    sa.Column("formats", Json, nullable=False),
    moment("created_at"),
    moment("deleted_at", nullable=True),
    info=_SHARED,
)

deployments = sa.Table(
    "deployments",
    metadata,
    id_column(),
    *owned(),
    reference("package_id", "packages.id"),
    # None: the installation's default server, whichever that is when it is needed.
    reference("server_id", "prediction_servers.id", nullable=True),
    # None: the server is the environment.
    reference("environment_id", "prediction_environments.id", nullable=True),
    sa.Column("label", Text(), nullable=False),
    sa.Column("description", Text(), nullable=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("importance", sa.String(16), nullable=True),
    sa.Column("user_provided_id", Text(), nullable=True),
    sa.Column("additional_metadata", Json, nullable=False),
    # What differs from the default settings.
    sa.Column("settings", Json, nullable=False),
    moment("created_at"),
    moment("updated_at"),
    moment("model_deployed_at"),
    # Jobs keep pointing at a deployment that is gone.
    moment("deleted_at", nullable=True),
    info=_SHARED,
)

# Which package a deployment has had since when; the last one is the package that it has.
deployment_models = sa.Table(
    "deployment_models",
    metadata,
    sa.Column("deployment_id", sa.String(24), sa.ForeignKey("deployments.id"), primary_key=True),
    sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
    reference("package_id", "packages.id"),
    # Who deployed it, and why; nobody gives a reason for the first one.
    reference("user_id", "users.id", index=False),
    moment("at"),
    sa.Column("reason", sa.String(32), nullable=True),
)

deployment_tags = sa.Table(
    "deployment_tags",
    metadata,
    id_column(),
    reference("deployment_id", "deployments.id"),
    sa.Column("name", Text(), nullable=False),
    sa.Column("value", Text(), nullable=False),
)
