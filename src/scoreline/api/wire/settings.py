"""The settings of a deployment as the API shows them."""

from __future__ import annotations

# pydantic reads it and not the standard library's before Python 3.12.
from typing_extensions import TypedDict


class Switch(TypedDict):
    """A setting that is on or off."""

    enabled: bool


class Intervals(Switch):
    """Percentiles to give with predictions."""

    percentiles: list[int]


class Segments(Switch):
    """Columns that predictions are grouped by."""

    attributes: list[str]


class ForecastDate(Switch):
    """Where the date of a forecast is found."""

    columnName: str | None
    datetimeFormat: str | None


class Approval(Switch):
    """Whether changes of the model wait for an admin, and what it is: APPROVED or PENDING."""

    status: str


class AssociationId(TypedDict):
    """The columns that identify a row."""

    columnNames: list[str]
    requiredInPredictionRequests: bool


class Boundaries(TypedDict):
    """Where predictions become outliers."""

    upper: float | None
    lower: float | None


class PredictionWarning(TypedDict):
    """Whether predictions outside boundaries are marked."""

    enabled: bool
    customBoundaries: Boundaries | None


class SettingsAnswer(TypedDict):
    """All settings of a deployment, those of features that are not built yet too."""

    associationId: AssociationId
    targetDrift: Switch
    featureDrift: Switch
    predictionsDataCollection: Switch
    predictionIntervals: Intervals
    predictionWarning: PredictionWarning
    segmentAnalysis: Segments
    challengerModels: Switch
    predictionsByForecastDate: ForecastDate
    biasAndFairness: None
    humility: Switch
    approval: Approval
