"""What each setting of a job is: its values as JSON Schema, its default, its meaning.

`jobs.spec` reads the settings and `jobs.checks` says which are not built; this is what both look like to a reader: the
OpenAPI document and the page of settings come from here, and tests hold it against what is accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scoreline.jobs.checks import not_built
from scoreline.jobs.spec import (
    FILE_INTAKE,
    FILESYSTEM,
    LOCAL_FILE,
    MOST_CHUNK_BYTES,
    MOST_CONCURRENT,
    MOST_HOURS,
    MOST_PRIORITY,
    JobSpec,
)
from scoreline.types import JsonObject

_FLAG: JsonObject = {"type": "boolean"}
_TEXT: JsonObject = {"type": "string", "minLength": 1}
_TEXTS: JsonObject = {"type": "array", "items": {"type": "string"}}
_NUMBER: JsonObject = {"type": "number"}
_OBJECT: JsonObject = {"type": "object"}
_CHARACTER: JsonObject = {"type": "string", "pattern": "^[\\x01-\\x09\\x0b\\x0c\\x0e-\\x7f]$"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One field. `default`: in words where the value alone says too little; `refused`: what else is, and why."""

    values: JsonObject
    meaning: str
    default: str = ""
    refused: str = ""


def _flag(value: bool) -> str:
    return f"`{str(value).lower()}`"


def _whole(low: int, high: int | None = None) -> JsonObject:
    return {"type": "integer", "minimum": low} | ({} if high is None else {"maximum": high})


_PATH = {
    "path": Setting(
        {"type": "string", "minLength": 1},
        "The file, below the folder that the operator opened (`SCORELINE_FILES_DIR`).",
        "required",
        "A path that leads out of the folder; any, while no folder is open.",
    )
}
INTAKES: dict[str, dict[str, Setting]] = {
    LOCAL_FILE: {
        "multipart": Setting(_FLAG, "The client sends the data in numbered parts.", _flag(FILE_INTAKE["multipart"])),
        "async": Setting(
            _FLAG, "Score while the data arrives; false waits for all of it.", _flag(FILE_INTAKE["async"])
        ),
    },
    FILESYSTEM: _PATH,
}
"""The fields of `intakeSettings` beside `type`, by type."""

OUTPUTS: dict[str, dict[str, Setting]] = {LOCAL_FILE: {}, FILESYSTEM: _PATH}
"""The fields of `outputSettings` beside `type`, by type."""


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
        _TEXT,
        "The deployment whose model scores the rows: the one that it has when the job is created.",
        "one of `deploymentId`, `modelPackageId` and `modelId` is required",
        "Together with one of the others; an inactive deployment.",
    ),
    "pinnedModelId": Setting(
        _TEXT,
        "Beside `deploymentId`: score with this model (a model id or a package id) of those that the deployment has or "
        "had, whatever it serves by now.",
        refused="A model that the deployment never had.",
    ),
    "modelPackageId": Setting(
        _TEXT,
        "Score with this model package (a registered model version), without a deployment.",
        refused="Together with one of the others; an archived package.",
    ),
    "modelId": Setting(
        _TEXT,
        "Score with the newest model package of this model, without a deployment.",
        refused="Together with one of the others.",
    ),
    "predictionInstance": Setting(
        {
            "type": "object",
            "properties": {
                "hostName": _TEXT,
                "sslEnabled": {"type": "boolean", "default": True},
                "apiKey": _TEXT,
                "datarobotKey": _TEXT,
            },
            "required": ["hostName"],
            "additionalProperties": False,
        },
        "Another prediction server than the deployment's, by `hostName` (with a port if need be), `sslEnabled`, "
        "`apiKey` and `datarobotKey`. The keys are stored sealed and shown as `[redacted]`.",
        refused="A server that is not this installation's, without `apiKey`; addresses that the caller may not name.",
    ),
    "secondaryDatasetsConfigId": Setting(_TEXT, "Secondary data for feature discovery."),
    "resourceBundleId": Setting(_TEXT, "The machine to score on."),
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
                "encoding": {**_TEXT, "default": "utf-8"},
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
    "abortOnError": Setting(_FLAG, "End the job when too many rows fail; false scores to the end.", "`true`"),
    "disableRowLevelErrorHandling": Setting(
        _FLAG, "A chunk that the model refuses is not divided to find its bad rows.", "`false`"
    ),
    "skipDriftTracking": Setting(_FLAG, "Do not count the rows in the deployment's drift.", "`false`"),
}
CONTENT = {
    "passthroughColumns": Setting(
        _TEXTS, "Source columns to copy to the output, untouched.", refused="A column that the data does not have."
    ),
    "passthroughColumnsSet": Setting({"const": "all"}, "Copy all source columns; wins over `passthroughColumns`."),
    "includePredictionStatus": Setting(_FLAG, "Add a column with each row's status.", "`false`"),
    "includeProbabilities": Setting(_FLAG, "Write the probability of every class.", "`true`"),
    "includeProbabilitiesClasses": Setting(
        _TEXTS,
        "Write the probabilities of these classes only.",
        "all",
        "A model without classes; a class that the model does not have.",
    ),
    "predictionThreshold": Setting(
        {"type": "number", "minimum": 0, "maximum": 1},
        "Probability from which the positive class is predicted.",
        "the deployment's",
        "A model that is not binary.",
    ),
    "predictionWarningEnabled": Setting(
        _FLAG, "Mark predictions outside the boundaries of the deployment.", "`null`", "A model that is no regression."
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
    "explanationAlgorithm": Setting(_TEXT, "`shap` or `xemp`."),
    "thresholdHigh": Setting(_NUMBER, "Explain only predictions above this value."),
    "thresholdLow": Setting(_NUMBER, "Explain only predictions below this value."),
    "explanationNumTopClasses": Setting(_whole(1, 10), "Explain this many classes, the most probable first."),
    "explanationClassNames": Setting(_TEXTS, "Explain these classes."),
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
    "timeseriesSettings": Setting(_OBJECT, "Forecasts: `type`, `forecastPoint` and so on."),
    "batchJobType": Setting({"enum": ["prediction", "monitoring"]}, "What the job is for.", "`prediction`"),
    "monitoringBatchPrefix": Setting(_TEXT, "Name of the batch that the job's rows are monitored in."),
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
    properties["redactedFields"] = _TEXTS | {"description": "Settings that are not shown, because they are secret."}
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
