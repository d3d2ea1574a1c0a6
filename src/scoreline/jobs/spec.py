"""What a job is asked to do: every field of a job document, typed, with its default.

A spec is read from a document of the API (`from_document`), judged against the deployment (`jobs.checks`), stored with
the job and shown again (`to_document`). What the client gave in a form of its own (settings of adapters, the renaming
of columns, the word "tab") is kept and shown as it was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from scoreline import adapters
from scoreline.errors import InvalidRequest
from scoreline.jobs import encodings
from scoreline.jobs.fields import Fields
from scoreline.types import CsvDialect, JsonObject

LOCAL_FILE = "localFile"
FILESYSTEM = "filesystem"
FILE_INTAKE = {"multipart": False, "async": True}
"""The flags of a localFile intake, with their defaults."""

MOST_CONCURRENT = 256
MOST_CHUNK_BYTES = 40 << 20
MOST_PRIORITY = 100
MOST_HOURS = 10 * 366 * 24
ALGORITHMS = ("shap", "xemp")
"""How explanations are found."""

_CHUNK_RULES = ("auto", "fixed", "dynamic")
_TAB = "tab"


@dataclass(frozen=True, slots=True)
class CsvSettings:
    """`csvSettings` as given; `delimiter` may be the word "tab"."""

    delimiter: str = ","
    quotechar: str = '"'
    encoding: str = "utf-8"

    @property
    def dialect(self) -> CsvDialect:
        """What the settings mean."""
        delimiter = "\t" if self.delimiter == _TAB else self.delimiter
        return CsvDialect(delimiter, self.quotechar, encodings.canonical(self.encoding) or self.encoding)


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job document. None stands for null or absent; `num_concurrent` is filled in when the job is created.

    intake, output: the adapters' settings with their `type`. column_names_remapping: as given, see `remap`.
    """

    deployment_id: str | None = None
    model_id: str | None = None
    model_package_id: str | None = None
    pinned_model_id: str | None = None
    prediction_instance: JsonObject | None = None
    secondary_datasets_config_id: str | None = None
    resource_bundle_id: str | None = None
    intake: JsonObject = field(default_factory=lambda: {"type": LOCAL_FILE})
    output: JsonObject = field(default_factory=lambda: {"type": LOCAL_FILE})
    csv: CsvSettings = field(default_factory=CsvSettings)
    num_concurrent: int | None = None
    chunk_size: str | int = "auto"
    abort_on_error: bool = True
    disable_row_level_error_handling: bool = False
    skip_drift_tracking: bool = False
    passthrough_columns: tuple[str, ...] | None = None
    passthrough_columns_set: str | None = None
    include_prediction_status: bool = False
    include_probabilities: bool = True
    include_probabilities_classes: tuple[str, ...] = ()
    prediction_threshold: float | None = None
    prediction_warning_enabled: bool | None = None
    column_names_remapping: Any = None
    max_explanations: int = 0
    max_ngram_explanations: int | str | None = None
    explanation_algorithm: str | None = None
    threshold_high: float | None = None
    threshold_low: float | None = None
    explanation_num_top_classes: int | None = None
    explanation_class_names: tuple[str, ...] | None = None
    timeseries_settings: JsonObject | None = None
    batch_job_type: str = "prediction"
    monitoring_batch_prefix: str | None = None
    monitoring_columns: JsonObject | None = None
    monitoring_aggregation: JsonObject | None = None
    monitoring_output_settings: JsonObject | None = None
    priority: int | None = None
    retention_hours: float | None = None
    webhooks: tuple[JsonObject, ...] | None = None

    @property
    def intake_type(self) -> str:
        """Where rows come from."""
        return str(self.intake["type"])

    @property
    def output_type(self) -> str:
        """Where rows go."""
        return str(self.output["type"])

    @property
    def multipart(self) -> bool:
        """True when the client uploads in numbered parts."""
        return self.intake_type == LOCAL_FILE and self.intake.get("multipart") is True

    @property
    def waits_for_all_data(self) -> bool:
        """True when the job enters the queue only with its upload complete (`async` is false)."""
        return self.intake_type == LOCAL_FILE and self.intake.get("async") is False

    @property
    def passthrough(self) -> tuple[str, ...] | str:
        """Source columns to carry over: names, each once, or "all", which wins when both are given."""
        if self.passthrough_columns_set is not None:
            return self.passthrough_columns_set
        return tuple(dict.fromkeys(self.passthrough_columns or ()))

    @property
    def remap(self) -> tuple[tuple[str, str | None], ...]:
        """Pairs of an output column and its new name, None to drop it."""
        return _remap(self.column_names_remapping)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> JobSpec:
        """Read a job document of the API. Raises InvalidRequest naming the first field that is wrong or unknown."""
        fields = Fields(document)
        fields.only(NAMES)
        remapping = fields.raw("columnNamesRemapping")
        _remap(remapping)
        return cls(
            **_what_scores(fields),
            **_output_content(fields),
            **_explanations(fields),
            **_monitoring(fields),
            intake=_adapter(fields, "intakeSettings"),
            output=_adapter(fields, "outputSettings"),
            csv=_csv(fields),
            num_concurrent=fields.whole("numConcurrent", 1, MOST_CONCURRENT),
            chunk_size=_chunk_size(fields),
            abort_on_error=fields.flag("abortOnError", default=True),
            disable_row_level_error_handling=fields.flag("disableRowLevelErrorHandling", default=False),
            skip_drift_tracking=fields.flag("skipDriftTracking", default=False),
            column_names_remapping=remapping,
            timeseries_settings=fields.object("timeseriesSettings"),
            priority=fields.whole("priority", -MOST_PRIORITY, MOST_PRIORITY),
            retention_hours=fields.number("retentionHours", 0, MOST_HOURS),
            webhooks=fields.objects("webhooks"),
        )

    def to_document(self) -> JsonObject:
        """Return the document with defaults filled in; fields that are rarely used are there only when set."""
        document: JsonObject = {
            "abortOnError": self.abort_on_error,
            "batchJobType": self.batch_job_type,
            "chunkSize": self.chunk_size,
            "columnNamesRemapping": deepcopy(self.column_names_remapping),
            "csvSettings": {
                "delimiter": self.csv.delimiter,
                "encoding": self.csv.encoding,
                "quotechar": self.csv.quotechar,
            },
            "disableRowLevelErrorHandling": self.disable_row_level_error_handling,
            "explanationAlgorithm": self.explanation_algorithm,
            "includePredictionStatus": self.include_prediction_status,
            "includeProbabilities": self.include_probabilities,
            "includeProbabilitiesClasses": list(self.include_probabilities_classes),
            "intakeSettings": deepcopy(self.intake),
            "outputSettings": deepcopy(self.output),
            "maxExplanations": self.max_explanations,
            "numConcurrent": self.num_concurrent,
            "skipDriftTracking": self.skip_drift_tracking,
            "passthroughColumns": None if self.passthrough_columns is None else list(self.passthrough_columns),
            "passthroughColumnsSet": self.passthrough_columns_set,
            "thresholdHigh": self.threshold_high,
            "thresholdLow": self.threshold_low,
            "predictionThreshold": self.prediction_threshold,
            "predictionWarningEnabled": self.prediction_warning_enabled,
            "deploymentId": self.deployment_id,
        }
        for name, attribute in _ONLY_WHEN_SET.items():
            value = getattr(self, attribute)
            if value is not None:
                document[name] = deepcopy(list(value) if isinstance(value, tuple) else value)
        return document


_ONLY_WHEN_SET = {
    "modelId": "model_id",
    "modelPackageId": "model_package_id",
    "pinnedModelId": "pinned_model_id",
    "predictionInstance": "prediction_instance",
    "secondaryDatasetsConfigId": "secondary_datasets_config_id",
    "resourceBundleId": "resource_bundle_id",
    "maxNgramExplanations": "max_ngram_explanations",
    "explanationNumTopClasses": "explanation_num_top_classes",
    "explanationClassNames": "explanation_class_names",
    "timeseriesSettings": "timeseries_settings",
    "monitoringBatchPrefix": "monitoring_batch_prefix",
    "monitoringColumns": "monitoring_columns",
    "monitoringAggregation": "monitoring_aggregation",
    "monitoringOutputSettings": "monitoring_output_settings",
    "priority": "priority",
    "retentionHours": "retention_hours",
    "webhooks": "webhooks",
}
NAMES = (*JobSpec().to_document(), *_ONLY_WHEN_SET, "maxNGramExplanations")


def _what_scores(fields: Fields) -> dict[str, Any]:
    return {
        "deployment_id": fields.text("deploymentId"),
        "model_id": fields.text("modelId"),
        "model_package_id": fields.text("modelPackageId"),
        "pinned_model_id": fields.text("pinnedModelId"),
        "prediction_instance": fields.object("predictionInstance"),
        "secondary_datasets_config_id": fields.text("secondaryDatasetsConfigId"),
        "resource_bundle_id": fields.text("resourceBundleId"),
    }


def _output_content(fields: Fields) -> dict[str, Any]:
    return {
        "passthrough_columns": fields.texts("passthroughColumns"),
        "passthrough_columns_set": fields.text("passthroughColumnsSet", one_of=("all",)),
        "include_prediction_status": fields.flag("includePredictionStatus", default=False),
        "include_probabilities": fields.flag("includeProbabilities", default=True),
        "include_probabilities_classes": fields.texts("includeProbabilitiesClasses") or (),
        "prediction_threshold": fields.number("predictionThreshold", 0, 1),
        "prediction_warning_enabled": (
            fields.flag("predictionWarningEnabled", default=False) if fields.has("predictionWarningEnabled") else None
        ),
    }


def _explanations(fields: Fields) -> dict[str, Any]:
    ngrams = "maxNgramExplanations" if fields.has("maxNgramExplanations") else "maxNGramExplanations"
    return {
        "max_explanations": fields.whole("maxExplanations", 0, 100) or 0,
        "max_ngram_explanations": ("all" if fields.raw(ngrams) == "all" else fields.whole(ngrams, 0, 2**31 - 1)),
        "explanation_algorithm": fields.text("explanationAlgorithm", one_of=ALGORITHMS),
        "threshold_high": fields.number("thresholdHigh"),
        "threshold_low": fields.number("thresholdLow"),
        "explanation_num_top_classes": fields.whole("explanationNumTopClasses", 1, 10),
        "explanation_class_names": fields.texts("explanationClassNames"),
    }


def _monitoring(fields: Fields) -> dict[str, Any]:
    return {
        "batch_job_type": fields.text("batchJobType", "prediction", one_of=("prediction", "monitoring")),
        "monitoring_batch_prefix": fields.text("monitoringBatchPrefix"),
        "monitoring_columns": fields.object("monitoringColumns"),
        "monitoring_aggregation": fields.object("monitoringAggregation"),
        "monitoring_output_settings": fields.object("monitoringOutputSettings"),
    }


def _adapter(fields: Fields, name: str) -> JsonObject:
    settings = fields.object(name)
    if settings is None:
        return {"type": LOCAL_FILE}
    kind = Fields(settings, f"{name}.").text("type", LOCAL_FILE) or LOCAL_FILE
    try:
        return {**settings, "type": adapters.canonical(kind)}
    except InvalidRequest as exc:
        raise InvalidRequest(exc.message, f"{name}.type") from exc


def _chunk_size(fields: Fields) -> str | int:
    value = fields.raw("chunkSize")
    if value is None:
        return _CHUNK_RULES[0]
    if isinstance(value, str) and value in _CHUNK_RULES:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_CHUNK_BYTES:
        return value
    raise InvalidRequest(
        f"chunkSize must be 'auto', 'fixed', 'dynamic' or a number of bytes from 1 to {MOST_CHUNK_BYTES}.", "chunkSize"
    )


def _csv(fields: Fields) -> CsvSettings:
    given = Fields(fields.object("csvSettings") or {}, "csvSettings.")
    given.only(("delimiter", "quotechar", "encoding"))
    default = CsvSettings()
    settings = CsvSettings(
        given.text("delimiter", default.delimiter) or default.delimiter,
        given.text("quotechar", default.quotechar) or default.quotechar,
        given.text("encoding", default.encoding) or default.encoding,
    )
    encoding = encodings.canonical(settings.encoding)
    if encoding is None:
        raise InvalidRequest(
            f"csvSettings.encoding {settings.encoding[:40]!r} is not a text encoding that Python knows, such as "
            "'utf-8', 'latin_1' or 'shift_jis'.",
            "csvSettings.encoding",
        )
    dialect = settings.dialect
    for name, value in (("delimiter", dialect.delimiter), ("quotechar", dialect.quotechar)):
        if len(value) != 1 or not value.isascii() or value in "\0\r\n":
            word = ", or the word 'tab'" if name == "delimiter" else ""
            raise InvalidRequest(f"csvSettings.{name} must be a single ASCII character{word}.", f"csvSettings.{name}")
        if not encodings.keeps(encoding, value):
            raise InvalidRequest(
                f"csvSettings.{name} {value!r} does not exist in the encoding {settings.encoding!r}.",
                f"csvSettings.{name}",
            )
    if dialect.delimiter == dialect.quotechar:
        raise InvalidRequest("csvSettings.quotechar must differ from the delimiter.", "csvSettings.quotechar")
    return settings


def _remap(given: Any) -> tuple[tuple[str, str | None], ...]:
    """Return the pairs of either form. Raises InvalidRequest for anything else, and for a column named twice."""
    if given is None:
        return ()
    if isinstance(given, Mapping):
        pairs = list(given.items())
    elif isinstance(given, list | tuple):
        pairs = [_pair(item) for item in given]
    else:
        raise _bad_remap("must be an object of names, or a list of inputName and outputName")
    for old, new in pairs:
        if not isinstance(old, str) or not (new is None or (isinstance(new, str) and new)):
            raise _bad_remap("gives each column a new name, or null to drop it")
    for names in ([old for old, _ in pairs], [new for _, new in pairs if new is not None]):
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise _bad_remap(f"names the column {twice!r} twice")
    return tuple(pairs)


def _pair(item: Any) -> tuple[Any, Any]:
    if not isinstance(item, Mapping) or "inputName" not in item or set(item) - {"inputName", "outputName"}:
        raise _bad_remap("as a list holds objects with inputName and outputName only")
    return item["inputName"], item.get("outputName")


def _bad_remap(what: str) -> InvalidRequest:
    return InvalidRequest(f"columnNamesRemapping {what}.", "columnNamesRemapping")
