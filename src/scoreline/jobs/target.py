"""What a job scores with, as its run and its documents need to know it."""

from __future__ import annotations

from dataclasses import dataclass

from scoreline.types import Boundaries, ExtraOutput, Feature, TargetType


@dataclass(frozen=True, slots=True)
class Target:
    """What a job scores with, as it was when the job was created.

    class_labels are in the order of the outputs. boundaries: beyond them a prediction is an outlier, None where nothing
    is known; warn: mark outliers unless the job says otherwise. approval: see `ScoringPlan`.
    """

    name: str
    type: TargetType
    features: tuple[Feature, ...]
    class_labels: tuple[str, ...] = ()
    positive_class: str | None = None
    threshold: float = 0.5
    label_thresholds: tuple[float, ...] = ()
    extra: tuple[ExtraOutput, ...] = ()
    association_id: tuple[str, ...] = ()
    association_required: bool = False
    boundaries: Boundaries | None = None
    warn: bool = False
    approval: str | None = None
