"""Datasets as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from scoreline.api.wire import dataset_answers as answers
from scoreline.api.wire.base import Paging, Wire, timestamp
from scoreline.catalog.records import Dataset, State
from scoreline.errors import InvalidRequest
from scoreline.types import JsonObject

Category = Literal[
    "TRAINING", "PREDICTION", "SAMPLE", "BATCH_PREDICTIONS", "SINGLE_SERIES_CALENDAR", "MULTI_SERIES_CALENDAR"
]
_KEYS = {"name": "name", "featureType": "featureType", "id": "id", "unique": "uniqueCount", "missing": "naCount"} | {
    each.lower(): each for each in ("min", "max", "mean", "median", "stdDev")
}


class DatasetQuery(Paging):
    """The filters of the list of datasets."""

    category: Category | None = Field(None, description="Only those of this category.")
    order_by: Literal["created", "-created"] = "-created"
    filter_failed: bool = Field(False, description="Leave out those that could not be made.")


class FeatureQuery(Paging):
    """The order of the list of a dataset's columns."""

    order_by: str = Field("name", pattern=f"^-?({'|'.join(_KEYS)})$", description="With `-`: the other way round.")

    def sort(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the columns in this order; those without the figure come last."""
        name = _KEYS[self.order_by.removeprefix("-")]
        have = [each for each in found if name in each]
        having = sorted(
            have,
            key=lambda each: _rank(each[name]),
            reverse=self.order_by.startswith("-"),
        )
        return having + [each for each in found if name not in each]


class DatasetUrl(Wire):
    """Where a dataset comes from."""

    url: str = Field(min_length=1, max_length=8192, description="A file of CSV or Parquet, by http or https.")
    do_snapshot: Literal[True] = Field(True, description="Every dataset is a snapshot.")
    persist_data_after_ingestion: Literal[True] = Field(True, description="The data is always kept.")
    categories: list[Category] = Field(default_factory=list)


class DatasetChange(Wire):
    """What may be changed of a dataset."""

    name: str | None = Field(None, min_length=1)
    categories: list[Category] | None = None


def dataset_document(found: Dataset) -> answers.Dataset:
    """Return what lists show of a dataset. The client fails on null figures: they are left out."""
    version = found.version
    document: answers.Dataset = {
        "datasetId": found.id,
        "versionId": version.id,
        "name": found.name,
        "categories": list(found.categories),
        "creationDate": timestamp(found.created_at if version.number == 1 else version.created_at),
        "createdBy": found.owner.username,
        "dataPersisted": version.state is State.COMPLETED,
        "isDataEngineEligible": False,
        "isLatestVersion": found.latest,
        "isSnapshot": True,
        "processingState": version.state.value,
        "sampleSize": None,
    }
    if version.size is not None and version.rows is not None:
        document["datasetSize"] = version.size
        document["rowCount"] = version.rows
    return document


def details_document(found: Dataset) -> JsonObject:
    """Return all that is known of a dataset with one of its versions."""
    version = found.version
    more: JsonObject = {
        "dataSourceType": version.source,
        "uri": version.origin,
        "error": version.error or "",
        "versionNumber": version.number,
        "lastModificationDate": timestamp(found.modified_at),
        "lastModifierFullName": found.modified_by.full_name or found.modified_by.username,
        "tags": [],
    }
    if version.kinds is not None:
        more |= {
            "featureCount": sum(version.kinds.values()),
            "featureCountByType": [
                {"featureType": kind, "count": count} for kind, count in sorted(version.kinds.items())
            ],
            "format": version.form,
            "compression": version.packing,
            "delimiter": version.delimiter,
            "storedSize": version.stored,
            "sha256": version.sha256,
        }
    return {**dataset_document(found), **more}


def feature_document(found: Dataset, number: int, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a column; `number` counts from 0."""
    return {
        "id": number,
        "datasetId": found.id,
        "datasetVersionId": found.version.id,
        **known,
        "timeSeriesEligible": False,
        "timeSeriesEligibilityReason": "notChecked" if known["featureType"] == "Date" else "notADate",
        "targetLeakage": "SKIPPED_DETECTION",
    }


def _rank(value: Any) -> tuple[str, float]:
    return (value, 0.0) if isinstance(value, str) else ("", float(value))


REFUSED = {
    "fromDataSource": "data sources, that is tables of databases",
    "fromHDFS": "files in HDFS",
    "fromStage": "data stages",
    "fromProject": "projects",
    "fromRecipe": "recipes",
    "fromDataEngineWorkspaceState": "queries of the data engine",
    "sharedRoles": "shared datasets: a dataset is its owner's, and admins and observers of the organisation see it",
    "accessControl": "shared datasets: a dataset is its owner's, and admins and observers of the organisation see it",
    "permissions": "shared datasets: a dataset is its owner's, and admins and observers of the organisation see it",
    "featurelists": "lists of features of a dataset",
    "featureTransforms": "transformed features",
    "featureHistograms": "histograms of a dataset's columns",
    "relationships": "relationships between datasets",
    "refreshJobs": "datasets that are read anew by a schedule",
}
"""What the official client can ask for and the catalogue does not have."""


def refusal(name: str) -> InvalidRequest | None:
    """Return the sentence that refuses something by name, None for what nobody knows."""
    if name not in REFUSED:
        return None
    instead = "send the file, or a URL of it" if name.startswith("from") else "leave it out"
    return InvalidRequest(f"The catalogue of this version of Scoreline has no {REFUSED[name]}; {instead}.")
