"""Whether what a job asks fits the model that will score, judged before the first row, with a server or without."""

from __future__ import annotations

from scoreline.errors import InvalidRequest
from scoreline.jobs import plans
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.target import Target
from scoreline.rows.shapes import generated_columns
from scoreline.types import TargetType


def check_target(spec: JobSpec, target: Target) -> None:
    """Raise InvalidRequest, naming the field, when the spec does not fit the model that will score."""
    for label in spec.include_probabilities_classes:
        if target.type in plans.CLASSES and label not in target.class_labels:
            known = ", ".join(repr(known) for known in target.class_labels[:20])
            raise InvalidRequest(
                f"includeProbabilitiesClasses names the class {label[:100]!r}, which the model does not have: "
                f"its classes are {known}.",
                "includeProbabilitiesClasses",
            )
    if spec.prediction_warning_enabled:
        _check_warning(target)
    generated_columns(plans.scoring(spec, target))


def _check_warning(target: Target) -> None:
    if target.type is not TargetType.REGRESSION:
        raise InvalidRequest(
            f"predictionWarningEnabled is for regression models; this model's target type is {target.type}.",
            "predictionWarningEnabled",
        )
    if target.boundaries is None:
        raise InvalidRequest(
            "predictionWarningEnabled needs boundaries: set customBoundaries in the deployment's predictionWarning "
            "setting, or give its model package a baseline (`scoreline deploy --baseline FILE.csv`).",
            "predictionWarningEnabled",
        )
