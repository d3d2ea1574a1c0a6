"""What the API answers about datasets, as types."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from scoreline.api.wire.answers import Moment


class DatasetMade(TypedDict):
    """The ids of a version that is being made, and of its status."""

    catalogId: str
    catalogVersionId: str
    statusId: str


class KindCount(TypedDict):
    """How many columns are of a type."""

    featureType: str
    count: int


class Dataset(TypedDict):
    """A dataset with one of its versions. `rowCount` and `datasetSize` are there once the version is made."""

    datasetId: str
    versionId: str
    name: str
    categories: list[str]
    creationDate: Moment | None
    createdBy: str
    dataPersisted: bool
    isDataEngineEligible: bool
    isLatestVersion: bool
    isSnapshot: bool
    processingState: str
    datasetSize: NotRequired[int]
    rowCount: NotRequired[int]
    sampleSize: None


class DatasetDetails(Dataset):
    """What there is to know of a dataset. `error` is empty unless the making of the version failed."""

    dataSourceType: str
    uri: str
    error: str
    versionNumber: int
    lastModificationDate: Moment | None
    lastModifierFullName: str
    featureCount: NotRequired[int]
    featureCountByType: NotRequired[list[KindCount]]
    format: NotRequired[str | None]
    compression: NotRequired[str | None]
    delimiter: NotRequired[str | None]
    storedSize: NotRequired[int | None]
    sha256: NotRequired[str | None]
    tags: list[str]


class DatasetFeature(TypedDict):
    """One column. Figures are there where its type has them."""

    id: int
    datasetId: str
    datasetVersionId: str
    name: str
    featureType: str
    lowInformation: bool
    naCount: int
    uniqueCount: NotRequired[int]
    dateFormat: NotRequired[str]
    min: NotRequired[float | str]
    max: NotRequired[float | str]
    mean: NotRequired[float]
    median: NotRequired[float]
    stdDev: NotRequired[float]
    timeSeriesEligible: bool
    timeSeriesEligibilityReason: str
    targetLeakage: str


class RawSample(TypedDict):
    """The first rows of a dataset, as texts. `next` leads to more of them."""

    columns: list[str]
    data: list[list[Any]]
    next: str | None
