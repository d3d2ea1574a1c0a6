"""Whether this version can do what a job asks, judged at its creation, so that nothing is accepted and then ignored."""

from __future__ import annotations

from collections.abc import Iterator

from scoreline import adapters
from scoreline.adapters import rooted
from scoreline.errors import InvalidRequest
from scoreline.jobs import datasets, formats, instances, rendering, storage, web, webhooks
from scoreline.jobs.fields import Fields
from scoreline.jobs.spec import FILE_INTAKE, FILESYSTEM, JobSpec
from scoreline.jobs.templates import Moments
from scoreline.store import now
from scoreline.types import JsonObject
from scoreline.urls import HTTP


def check_built(spec: JobSpec, *, files_open: bool = False, moments: Moments | None = None) -> None:
    """Raise InvalidRequest, naming the field, when the spec asks for something that this version cannot do.

    files_open: whether the operator opened a folder to jobs of type filesystem. moments: what its templates are judged
    with; without them, the present time and none before.
    """
    rendering.check(spec)
    spec = rendering.rendered(spec, moments or Moments(now()))
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
        given = getattr(spec, side)
        if kind == FILESYSTEM:
            _check_file(given, field, side, files_open=files_open)
        elif kind == datasets.DATASET:
            datasets.check(given, field)
        elif kind in storage.PLACES:
            storage.check(given, field, side)
        elif kind == HTTP:
            web.check(given, field, side)
        else:
            _check_local(given, field, side)
    if spec.prediction_instance is not None:
        instances.check(spec.prediction_instance)
    webhooks.check(spec.webhooks or ())


def _check_local(given: JsonObject, field: str, side: str) -> None:
    flags = FILE_INTAKE if side == "intake" else {}
    settings = Fields(given, f"{field}.")
    settings.only(("type", *flags))
    for name, default in flags.items():
        settings.flag(name, default=default)


def _check_file(given: JsonObject, field: str, side: str, *, files_open: bool) -> None:
    if not files_open:
        raise InvalidRequest(
            "Type filesystem is not open here: the operator opens a folder to jobs by the setting SCORELINE_FILES_DIR; "
            "use localFile.",
            f"{field}.type",
        )
    settings = Fields(given, f"{field}.")
    settings.only(("type", "path", *formats.fields(FILESYSTEM, side)))
    path = settings.text("path")
    if path is None:
        raise InvalidRequest(f"{field}.path is required: it names a file in the folder that is open.", f"{field}.path")
    formats.check(settings, FILESYSTEM, field, side)
    try:
        rooted.check(path, folder=formats.many(given, side))
    except InvalidRequest as exc:
        raise InvalidRequest(f"{field}.{exc.message}", f"{field}.path") from exc
    if side == "output":
        formats.check_partition(settings, field, path, "path")


def not_built() -> frozenset[str]:
    """Return the fields that this version refuses unless they ask for nothing."""
    return frozenset(field for field, _ in _not_built(JobSpec()))


def _not_built(spec: JobSpec) -> Iterator[tuple[str, bool]]:
    yield "secondaryDatasetsConfigId", spec.secondary_datasets_config_id is not None
    yield "resourceBundleId", spec.resource_bundle_id is not None
    yield "maxExplanations", spec.max_explanations > 0
    yield "maxNgramExplanations", spec.max_ngram_explanations is not None
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
