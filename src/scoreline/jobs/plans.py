"""What a job's spec and its target mean for the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

from scoreline.jobs.spec import JobSpec
from scoreline.jobs.target import Target
from scoreline.settings import Settings
from scoreline.types import Boundaries, ErrorPlan, PacePlan, RunLimits, ScoringPlan, TargetType

CLASSES = (TargetType.BINARY, TargetType.MULTICLASS)


def scoring(spec: JobSpec, target: Target) -> ScoringPlan:
    """Return what decides the look of the output's rows."""
    threshold = target.threshold if spec.prediction_threshold is None else spec.prediction_threshold
    return ScoringPlan(
        target_type=target.type,
        target_name=target.name,
        features=target.features,
        class_labels=target.class_labels,
        positive_class=target.positive_class,
        threshold=threshold,
        passthrough=spec.passthrough,
        include_status=spec.include_prediction_status,
        include_probabilities=spec.include_probabilities,
        include_classes=tuple(dict.fromkeys(spec.include_probabilities_classes)),
        remap=spec.remap,
        association_id=target.association_id,
        association_required=target.association_required,
        label_thresholds=target.label_thresholds,
        extra=target.extra,
        outliers=_outliers(spec, target),
        approval=target.approval,
        notes=tuple(_notes(spec, target)),
    )


def _outliers(spec: JobSpec, target: Target) -> Boundaries | None:
    wanted = target.warn if spec.prediction_warning_enabled is None else spec.prediction_warning_enabled
    return target.boundaries if wanted and target.type is TargetType.REGRESSION else None


def _notes(spec: JobSpec, target: Target) -> Iterator[str]:
    """Yield what the job log says of options that have no effect on this kind of target."""
    if spec.prediction_threshold is not None and target.type is not TargetType.BINARY:
        yield f"predictionThreshold is ignored: it is for binary models, and this one is {target.type}."
    if target.type not in CLASSES:
        for field, asked in (
            ("includeProbabilities", not spec.include_probabilities),
            ("includeProbabilitiesClasses", bool(spec.include_probabilities_classes)),
        ):
            if asked:
                yield f"{field} is ignored: it is for binary and multiclass models, and this one is {target.type}."
    if target.warn and spec.prediction_warning_enabled is None and target.boundaries is None:
        yield "Outliers are not marked: the deployment has no boundaries for them, neither its own nor its model's."


def pace(spec: JobSpec, most: int | None = None) -> PacePlan:
    """Return how much is in flight. most: how far the number of calls at once may grow, None to hold it."""
    return PacePlan(spec.chunk_size, spec.num_concurrent or 1, most)


def errors(spec: JobSpec, settings: Settings) -> ErrorPlan:
    """Return when bad rows end the job."""
    return ErrorPlan(
        abort_on_error=spec.abort_on_error,
        row_level=not spec.disable_row_level_error_handling,
        max_failed_rows=settings.abort_failed_rows,
        max_failed_share=settings.abort_failed_share,
        all_failed_rows=settings.abort_first_rows,
    )


def limits(settings: Settings, *, kept: bool) -> RunLimits:
    """Return what the installation lets a run take; `kept`: its output stays here until it is downloaded."""
    found = RunLimits(**{field.name: getattr(settings, field.name) for field in fields(RunLimits)})
    return found if kept else replace(found, max_result_bytes=None)
