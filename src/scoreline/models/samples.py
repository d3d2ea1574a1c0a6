"""Made-up rows, for the checks of a model before it scores real ones."""

from __future__ import annotations

import pyarrow as pa

from scoreline.models.base import bools, floats, integers, texts
from scoreline.types import Feature, FeatureType, ModelInfo


def sample_batch(info: ModelInfo) -> pa.RecordBatch:
    """Return one made-up row of the model's columns, for the check when it is registered."""
    return pa.RecordBatch.from_arrays(
        [sample(feature) for feature in info.features], [feature.name for feature in info.features]
    )


def sample(feature: Feature) -> pa.Array:
    """Return one value of a feature: its example, or any."""
    example = feature.example
    if feature.type is FeatureType.TEXT:
        return texts(["a" if example is None else str(example)])
    number = 1.0 if example is None else float(example)
    if feature.type is FeatureType.INTEGER:
        return integers([int(number)])
    if feature.type is FeatureType.BOOLEAN:
        return bools([bool(number)])
    return floats([number])
