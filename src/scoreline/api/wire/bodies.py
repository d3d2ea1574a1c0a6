"""JSON Schemas of bodies that the registry reads by hand; tests hold them against what it accepts."""

from __future__ import annotations

from scoreline.scorers import FOREIGN
from scoreline.types import FeatureType, JsonObject, TargetType

_NAME: JsonObject = {"type": ["string", "null"], "minLength": 1, "maxLength": 512, "pattern": "\\S"}
_LONG: JsonObject = {**_NAME, "maxLength": 10_000}
_FLAG: JsonObject = {"type": ["boolean", "null"]}
_NUMBER: JsonObject = {"type": ["number", "null"]}
_NOTHING: JsonObject = {"enum": [None, {}], "description": "Not built yet: any other value is 422."}


def _object(properties: JsonObject, *required: str) -> JsonObject:
    closed: JsonObject = {"type": ["object", "null"], "properties": properties, "additionalProperties": False}
    return closed | ({"required": list(required)} if required else {})


def _pairs(name: str, value: str) -> JsonObject:
    one = _object({name: {"type": "string"}, value: {"type": "string"}}, name, value) | {"type": "object"}
    return {"type": ["array", "null"], "items": one}


_FEATURE = _object(
    {
        "name": {"type": "string", "minLength": 1},
        "type": {"enum": [kind.value for kind in FeatureType]},
        "nullable": {"type": "boolean", "default": True},
    },
    "name",
    "type",
)

_EXTRA = _object(
    {"name": {"type": "string", "minLength": 1}, "type": {"enum": [kind.value for kind in FeatureType]}}, "name", "type"
)

PACKAGE: JsonObject = {
    "type": "object",
    "title": "NewPackage",
    "properties": {
        "name": {**_NAME, "type": "string"},
        "target": _object(
            {
                "name": _NAME,
                "type": {"enum": [*(kind.value for kind in TargetType), None]},
                "classNames": {"type": ["array", "null"], "items": {"type": "string"}},
                "classCount": {"type": ["integer", "null"], "description": "The number of `classNames`."},
                "predictionThreshold": {**_NUMBER, "minimum": 0, "maximum": 1},
                "predictionProbabilitiesColumn": {"type": ["string", "null"]},
            }
        ),
        "modelDescription": _object(
            {
                "location": {
                    **_LONG,
                    "description": "`artifact:` and the SHA-256 of an uploaded model; other texts are only kept.",
                },
                "description": _LONG,
                "modelName": _LONG,
                "buildEnvironmentType": _LONG,
                "modelCreatorId": _LONG,
                "modelCreatorName": _LONG,
                "modelCreatorEmail": _LONG,
                "modelCreatedAt": _LONG,
            }
        ),
        "modelId": _NAME,
        "registeredModelId": {**_NAME, "description": "Add a version to this registered model."},
        "registeredModelName": {**_NAME, "description": "Name of a new registered model."},
        "registeredModelDescription": _LONG,
        "registeredModelTags": _pairs("name", "value"),
        "tags": _pairs("name", "value"),
        "features": {
            "description": "Columns that the model reads, where the model does not say it: a list, or an object of "
            "names and types.",
            "anyOf": [
                {"type": "array", "items": _FEATURE | {"type": "object"}},
                {"type": "object", "additionalProperties": {"enum": [kind.value for kind in FeatureType]}},
                {"type": "null"},
            ],
        },
        "positiveClass": _NAME,
        "labelThresholds": {
            "type": ["object", "null"],
            "additionalProperties": {**_NUMBER, "minimum": 0, "maximum": 1},
            "description": "Thresholds of a multilabel target's labels, where they differ from `predictionThreshold`.",
        },
        "extraOutputs": {
            "description": "Columns that the model gives beside its predictions, in the forms of `features`; only a "
            "model on another server has to be asked for them.",
            "anyOf": [
                {"type": "array", "items": _EXTRA | {"type": "object"}},
                {"type": "object", "additionalProperties": {"enum": [kind.value for kind in FeatureType]}},
                {"type": "null"},
            ],
        },
        "server": _object(
            {
                "kind": {"enum": list(FOREIGN)},
                "url": {**_NAME, "type": "string"},
                "options": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
            },
            "kind",
            "url",
        )
        | {"description": "A server of another maker that has the model."},
        "datasets": _NOTHING,
        "timeseries": _NOTHING,
        "geospatialMonitoring": _NOTHING,
    },
    "required": ["name"],
    "additionalProperties": False,
}


def _off(*further: str) -> JsonObject:
    values = {"enabled": {"enum": [False, None]}} | {name: {"type": "null"} for name in further}
    return _object(values) | {"description": "Not built yet: it cannot be turned on."}


SETTINGS: JsonObject = {
    "type": "object",
    "title": "SettingsChange",
    "properties": {
        "associationId": _object(
            {
                "columnNames": {
                    "type": ["array", "null"],
                    "items": {**_NAME, "type": "string"},
                    "maxItems": 1,
                },
                "requiredInPredictionRequests": _FLAG,
            }
        ),
        "predictionWarning": _object(
            {"enabled": _FLAG, "customBoundaries": _object({"upper": _NUMBER, "lower": _NUMBER})}
        ),
        "approval": _object({"enabled": _FLAG, "status": {"enum": ["APPROVED", "PENDING", None]}}),
        "targetDrift": _object({"enabled": _FLAG}),
        "featureDrift": _object({"enabled": _FLAG}),
        "predictionsDataCollection": _off(),
        "predictionIntervals": _off("percentiles"),
        "segmentAnalysis": _off("attributes"),
        "challengerModels": _off(),
        "predictionsByForecastDate": _off("columnName", "datetimeFormat"),
        "biasAndFairness": {"type": "null", "description": "Not built yet."},
        "humility": _off(),
    },
    "additionalProperties": False,
}
