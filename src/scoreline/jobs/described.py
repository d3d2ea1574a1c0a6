"""What each setting of a job is: its values as JSON Schema, its default, its meaning.

`jobs.spec` reads the settings and `jobs.checks` says which are not built; this is what both look like to a reader: the
OpenAPI document and the page of settings come from here, and tests hold it against what is accepted.
"""

from __future__ import annotations

from typing import Any

from scoreline.jobs import webhooks
from scoreline.jobs.checks import not_built
from scoreline.jobs.described_places import FLAG, INTAKES, OUTPUTS, TEXT, TEXTS, Setting
from scoreline.jobs.spec import (
    ALGORITHMS,
    LOCAL_FILE,
    MOST_CHUNK_BYTES,
    MOST_CONCURRENT,
    MOST_HOURS,
    MOST_PRIORITY,
    JobSpec,
)
from scoreline.types import JsonObject

_NUMBER: JsonObject = {"type": "number"}
_OBJECT: JsonObject = {"type": "object"}
_CHARACTER: JsonObject = {"type": "string", "pattern": "^[\\x01-\\x09\\x0b\\x0c\\x0e-\\x7f]$"}


def _whole(low: int, high: int | None = None) -> JsonObject:
    return {"type": "integer", "minimum": low} | ({} if high is None else {"maximum": high})


def _nullable(values: JsonObject) -> JsonObject:
    """Null is the same as absent."""
    if isinstance(values.get("type"), str):
        return values | {"type": [values["type"], "null"]}
    if "enum" in values:
        return values | {"enum": [*values["enum"], None]}
    return {"anyOf": [*values.get("anyOf", [values]), {"type": "null"}]}


def _by_type(types: dict[str, dict[str, Setting]]) -> JsonObject:
    return {"anyOf": [_type(name, fields) for name, fields in types.items()]}


def _type(name: str, fields: dict[str, Setting]) -> JsonObject:
    required = ([] if name == LOCAL_FILE else ["type"]) + [
        field for field, setting in fields.items() if setting.default == "required"
    ]
    return {
        "type": "object",
        "properties": {
            "type": {"const": name},
            **{field: _nullable(setting.values) for field, setting in fields.items()},
        },
        "required": required,
        "additionalProperties": False,
    }


WHAT_SCORES = {
    "deploymentId": Setting(
        TEXT,
        "The deployment whose model scores the rows: the one that it has when the job is created.",
        "one of `deploymentId`, `modelPackageId` and `modelId` is required",
        "Together with one of the others; an inactive deployment.",
    ),
    "pinnedModelId": Setting(
        TEXT,
        "Beside `deploymentId`: score with this model (a model id or a package id) of those that the deployment has or "
        "had, whatever it serves by now.",
        refused="A model that the deployment never had.",
    ),
    "modelPackageId": Setting(
        TEXT,
        "Score with this model package (a registered model version), without a deployment.",
        refused="Together with one of the others; an archived package.",
    ),
    "modelId": Setting(
        TEXT,
        "Score with the newest model package of this model, without a deployment.",
        refused="Together with one of the others.",
    ),
    "predictionInstance": Setting(
        {
            "type": "object",
            "properties": {
                "hostName": TEXT,
                "sslEnabled": {"type": "boolean", "default": True},
                "apiKey": TEXT,
                "datarobotKey": TEXT,
            },
            "required": ["hostName"],
            "additionalProperties": False,
        },
        "Another prediction server than the deployment's, by `hostName` (with a port if need be), `sslEnabled`, "
        "`apiKey` and `datarobotKey`. The keys are stored sealed and shown as `[redacted]`.",
        refused="A server that is not this installation's, without `apiKey`; addresses that the caller may not name.",
    ),
    "secondaryDatasetsConfigId": Setting(TEXT, "Secondary data for feature discovery."),
    "resourceBundleId": Setting(TEXT, "The machine to score on."),
}
DATA = {
    "intakeSettings": Setting(
        _by_type(INTAKES),
        "Where rows come from: a `type` and its fields.",
        '`{"type": "localFile"}`',
        "A type that is not built; a field that the type does not have.",
    ),
    "outputSettings": Setting(
        _by_type(OUTPUTS),
        "Where predictions go: a `type` and its fields. Those of `localFile` are downloaded.",
        '`{"type": "localFile"}`',
        "As `intakeSettings`.",
    ),
    "csvSettings": Setting(
        {
            "type": "object",
            "properties": {
                "delimiter": {"anyOf": [_CHARACTER, {"const": "tab"}], "default": ","},
                "quotechar": {**_CHARACTER, "default": '"'},
                "encoding": {**TEXT, "default": "utf-8"},
            },
            "additionalProperties": False,
        },
        "How CSV is read and written: `delimiter` (one ASCII character or `tab`), `quotechar`, `encoding` (a text "
        "encoding that Python knows).",
        'comma, `"`, `utf-8`',
        "Delimiter and quote the same; a character that the encoding lacks; codecs that are no text encoding.",
    ),
}
PACE = {
    "numConcurrent": Setting(
        _whole(1, MOST_CONCURRENT),
        "Calls at the prediction server at once, exactly so many.",
        "what the prediction server takes at once to begin with, then what it likes best",
    ),
    "chunkSize": Setting(
        {"anyOf": [{"enum": ["auto", "fixed", "dynamic"]}, _whole(1, MOST_CHUNK_BYTES)]},
        "Bytes of input in a chunk, or the rule that chooses it.",
        "`auto`",
    ),
    "abortOnError": Setting(FLAG, "End the job when too many rows fail; false scores to the end.", "`true`"),
    "disableRowLevelErrorHandling": Setting(
        FLAG, "A chunk that the model refuses is not divided to find its bad rows.", "`false`"
    ),
    "skipDriftTracking": Setting(FLAG, "Do not count the rows in the deployment's drift.", "`false`"),
}
CONTENT = {
    "passthroughColumns": Setting(
        TEXTS, "Source columns to copy to the output, untouched.", refused="A column that the data does not have."
    ),
    "passthroughColumnsSet": Setting({"const": "all"}, "Copy all source columns; wins over `passthroughColumns`."),
    "includePredictionStatus": Setting(FLAG, "Add a column with each row's status.", "`false`"),
    "includeProbabilities": Setting(
        FLAG, "Write the probability of every class; without effect for models without classes.", "`true`"
    ),
    "includeProbabilitiesClasses": Setting(
        TEXTS,
        "Write the probabilities of these classes only; without effect for models without classes.",
        "all",
        "A class that the model does not have.",
    ),
    "predictionThreshold": Setting(
        {"type": "number", "minimum": 0, "maximum": 1},
        "Probability above which the positive class is predicted; without effect for models that are not binary.",
        "the deployment's",
    ),
    "predictionWarningEnabled": Setting(
        FLAG,
        "Mark predictions outside the boundaries of the deployment.",
        "`null`",
        "`true` for a model that is no regression, or without boundaries.",
    ),
    "columnNamesRemapping": Setting(
        {
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": ["string", "null"], "minLength": 1}},
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "inputName": {"type": "string"},
                            "outputName": {"type": ["string", "null"], "minLength": 1},
                        },
                        "required": ["inputName"],
                        "additionalProperties": False,
                    },
                },
            ]
        },
        "New names of output columns, null to drop one: an object of old and new names, or a list of `inputName` and "
        "`outputName`.",
        refused="A column named twice.",
    ),
}
EXPLANATIONS = {
    "maxExplanations": Setting(_whole(0, 100), "Explanations of each prediction.", "`0`"),
    "maxNgramExplanations": Setting(
        {"anyOf": [_whole(0, 2**31 - 1), {"const": "all"}]},
        "Explanations of words in text; also spelt `maxNGramExplanations`.",
    ),
    "explanationAlgorithm": Setting(
        {"enum": list(ALGORITHMS)},
        "How explanations are found: `shap` or `xemp`. Without effect as long as none are asked for, so that programs "
        "may always send it.",
        "`null`",
    ),
    "thresholdHigh": Setting(_NUMBER, "Explain only predictions above this value."),
    "thresholdLow": Setting(_NUMBER, "Explain only predictions below this value."),
    "explanationNumTopClasses": Setting(_whole(1, 10), "Explain this many classes, the most probable first."),
    "explanationClassNames": Setting(TEXTS, "Explain these classes."),
}
FURTHER = {
    "priority": Setting(
        _whole(-MOST_PRIORITY, MOST_PRIORITY),
        "Jobs with a larger number come first in the line of their prediction server, whenever they came.",
        "`0`",
    ),
    "retentionHours": Setting(
        {"type": "number", "minimum": 0, "maximum": MOST_HOURS},
        "Hours after the job's end for which its result is kept.",
        "`SCORELINE_RETENTION_HOURS`",
    ),
    "webhooks": Setting(
        {
            "type": "array",
            "maxItems": webhooks.MOST,
            "items": {
                "type": "object",
                "properties": {
                    "url": {"type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://"},
                    "events": {
                        "type": ["array", "null"],
                        "items": {"enum": list(webhooks.EVENTS)},
                        "minItems": 1,
                        "uniqueItems": True,
                    },
                    "secret": {"type": ["string", "null"], "minLength": 1},
                },
                "required": ["url"],
                "additionalProperties": False,
            },
        },
        "Addresses that are told about the job: a `url`, the `events` (`started`, `completed`, `aborted`; without them "
        "the last two) and the `secret` that messages are signed with; see [Webhooks](webhooks.md). The secret and the "
        "query of the url are stored sealed and shown as `[redacted]`.",
        refused="An address that users may not name (`SCORELINE_ALLOWED_NETWORKS`), or with a user in it.",
    ),
    "timeseriesSettings": Setting(_OBJECT, "Forecasts: `type`, `forecastPoint` and so on."),
    "batchJobType": Setting({"enum": ["prediction", "monitoring"]}, "What the job is for.", "`prediction`"),
    "monitoringBatchPrefix": Setting(TEXT, "Name of the batch that the job's rows are monitored in."),
    "monitoringColumns": Setting(_OBJECT, "Columns of a monitoring job."),
    "monitoringAggregation": Setting(_OBJECT, "What a monitoring job keeps."),
    "monitoringOutputSettings": Setting(_OBJECT, "What a monitoring job writes."),
}
GROUPS: dict[str, dict[str, Setting]] = {
    "What scores": WHAT_SCORES,
    "Data": DATA,
    "Pace and errors": PACE,
    "Output": CONTENT,
    "Explanations": EXPLANATIONS,
    "Further": FURTHER,
}
ALL: dict[str, Setting] = {name: setting for group in GROUPS.values() for name, setting in group.items()}
_EMPTY: dict[str, tuple[Any, ...]] = {"boolean": (False,), "integer": (0,), "array": ([],)}
OTHER_SPELLINGS = {"maxNGramExplanations": "maxNgramExplanations"}


def asked_schema() -> JsonObject:
    """Return the JSON Schema of a job's body: a setting that is not built takes only what asks for nothing."""
    refused = not_built()
    properties = {name: _asked(setting, name in refused) for name, setting in ALL.items()}
    properties |= {spelling: properties[name] for spelling, name in OTHER_SPELLINGS.items()}
    return {
        "type": "object",
        "title": "JobSettings",
        "properties": properties,
        "additionalProperties": False,
    }


def shown_schema() -> JsonObject:
    """Return the JSON Schema of the settings as a job shows them, defaults filled in and secrets hidden."""
    always = JobSpec().to_document()
    properties = {name: _nullable(setting.values) for name, setting in ALL.items()}
    properties["numConcurrent"] = PACE["numConcurrent"].values
    properties["redactedFields"] = TEXTS | {"description": "Settings that are not shown, because they are secret."}
    return {
        "type": "object",
        "title": "JobSpec",
        "properties": properties,
        "required": [*always, "redactedFields"],
        "additionalProperties": False,
    }


def _asked(setting: Setting, refused: bool) -> JsonObject:
    if not refused:
        return _nullable(setting.values) | {"description": setting.meaning}
    return {
        "enum": _nothing(setting.values),
        "description": f"{setting.meaning} Not built yet: any other value is 422.",
    }


def _nothing(values: JsonObject) -> list[Any]:
    """Return the values that ask for nothing."""
    if "enum" in values:
        return [None, values["enum"][0]]
    return [None, *_EMPTY.get(str(values.get("type")), ())] if values.get("minimum", 0) == 0 else [None]
