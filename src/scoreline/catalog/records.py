"""The records of the catalogue, and how rows become records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping

from scoreline.registry.records import Owner, owner_from, prefixed, unprefixed
from scoreline.store.tables.access import users
from scoreline.store.tables.catalog import dataset_versions, datasets


class State(StrEnum):
    """How far the making of a version is."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a dataset, which never changes once it is made.

    source: "file" or "url"; origin: its name or address. From `form` on: None until it is made. size: bytes of the rows
    as CSV, or of the Parquet file; stored: bytes as they came. kinds: how many columns there are of each type.
    """

    id: str
    dataset_id: str
    number: int
    state: State
    error: str | None
    source: str
    origin: str
    created_at: datetime
    form: str | None
    packing: str | None
    delimiter: str | None
    size: int | None
    stored: int | None
    sha256: str | None
    rows: int | None
    kinds: Mapping[str, int] | None

    @property
    def object_name(self) -> str:
        """Where its bytes are in the spool."""
        return object_name(self.id)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset with one of its versions. latest: whether that is the one that is meant where none is named."""

    id: str
    name: str
    categories: tuple[str, ...]
    owner: Owner
    created_at: datetime
    modified_at: datetime
    modified_by: Owner
    deleted_at: datetime | None
    version: Version
    latest: bool


PREFIX = "datasets"
"""Where the bytes of versions are in the spool."""

_editors = users.alias("editors")
_COLUMNS = [column for column in dataset_versions.c if column.name not in ("features", "maker", "made_by")]


def object_name(version_id: str) -> str:
    """Return where a version's bytes are in the spool."""
    return f"{PREFIX}/{version_id}"


def query() -> sa.Select[Any]:
    """Return the query for datasets with all their versions."""
    return (
        sa.select(
            *prefixed(datasets, "d_"),
            *(column.label(f"v_{column.name}") for column in _COLUMNS),
            *prefixed(users, "u_"),
            *prefixed(_editors, "e_"),
        )
        .join(dataset_versions, dataset_versions.c.dataset_id == datasets.c.id)
        .join(users, users.c.id == datasets.c.owner_id)
        .join(_editors, _editors.c.id == datasets.c.modified_by)
    )


def dataset_from(row: RowMapping) -> Dataset:
    """Build a Dataset from a row of `query`."""
    values, version = unprefixed(row, "d_"), unprefixed(row, "v_")
    version["state"] = State(version["state"])
    return Dataset(
        values["id"],
        values["name"],
        tuple(values["categories"]),
        owner_from(unprefixed(row, "u_")),
        values["created_at"],
        values["modified_at"],
        owner_from(unprefixed(row, "e_")),
        values["deleted_at"],
        Version(**version),
        latest=values["latest_id"] == version["id"],
    )
