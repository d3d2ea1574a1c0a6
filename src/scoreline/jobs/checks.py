"""Whether this version can do what a job asks, judged at its creation, so that nothing is accepted and then ignored."""

from __future__ import annotations

from collections.abc import Iterator

from scoreline import adapters
from scoreline.adapters import rooted
from scoreline.errors import InvalidRequest
from scoreline.jobs import instances
from scoreline.jobs.fields import Fields
from scoreline.jobs.spec import FILE_INTAKE, FILESYSTEM, LOCAL_FILE, JobSpec
from scoreline.types import JsonObject


def check_built(spec: JobSpec, *, files_open: bool = False) -> None:
    """Raise InvalidRequest, naming the field, when the spec asks for something that this version cannot do.

    files_open: whether the operator opened a folder to jobs of type filesystem.
    """
    for field, asked in _not_built(spec):
        if asked:
            raise InvalidRequest(
                f"{field} is not supported yet by this version of Scoreline: leave it out to score without it.", field
            )
    for field, kind, side in (
        ("intakeSettings", spec.intake_type, "intake"),
        ("outputSettings", spec.output_type, "output"),
    ):
        if sentence := adapters.not_built(kind, side):
            raise InvalidRequest(sentence, f"{field}.type")
        if kind == FILESYSTEM:
            _check_file(getattr(spec, side), field, files_open=files_open)
    if spec.prediction_instance is not None:
        instances.check(spec.prediction_instance)
    if spec.intake_type == LOCAL_FILE:
        settings = Fields(spec.intake, "intakeSettings.")
        settings.only(("type", *FILE_INTAKE))
        for name, default in FILE_INTAKE.items():
            settings.flag(name, default=default)
    if spec.output_type == LOCAL_FILE:
        Fields(spec.output, "outputSettings.").only(("type",))


def _check_file(given: JsonObject, field: str, *, files_open: bool) -> None:
    if not files_open:
        raise InvalidRequest(
            "Type filesystem is not open here: the operator opens a folder to jobs by the setting SCORELINE_FILES_DIR; "
            "use localFile.",
            f"{field}.type",
        )
    settings = Fields(given, f"{field}.")
    settings.only(("type", "path"))
    path = settings.text("path")
    if path is None:
        raise InvalidRequest(f"{field}.path is required: it names a file in the folder that is open.", f"{field}.path")
    try:
        rooted.check(path)
    except InvalidRequest as exc:
        raise InvalidRequest(f"{field}.{exc.message}", f"{field}.path") from exc


def not_built() -> frozenset[str]:
    """Return the fields that this version refuses unless they ask for nothing."""
    return frozenset(field for field, _ in _not_built(JobSpec()))


def _not_built(spec: JobSpec) -> Iterator[tuple[str, bool]]:
    yield "secondaryDatasetsConfigId", spec.secondary_datasets_config_id is not None
    yield "resourceBundleId", spec.resource_bundle_id is not None
    yield "maxExplanations", spec.max_explanations > 0
    yield "maxNgramExplanations", spec.max_ngram_explanations is not None
    yield "explanationAlgorithm", spec.explanation_algorithm is not None
    yield "thresholdHigh", spec.threshold_high is not None
    yield "thresholdLow", spec.threshold_low is not None
    yield "explanationNumTopClasses", spec.explanation_num_top_classes is not None
    yield "explanationClassNames", bool(spec.explanation_class_names)
    yield "timeseriesSettings", spec.timeseries_settings is not None
    yield "batchJobType", spec.batch_job_type != "prediction"
    yield "monitoringBatchPrefix", spec.monitoring_batch_prefix is not None
    yield "monitoringColumns", spec.monitoring_columns is not None
    yield "monitoringAggregation", spec.monitoring_aggregation is not None
    yield "monitoringOutputSettings", spec.monitoring_output_settings is not None
