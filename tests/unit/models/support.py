"""Small tables, and the Arrow batch that the pipeline would make of a DataFrame."""

import numpy as np
import pandas as pd
import pyarrow as pa

from scoreline import models
from scoreline.types import FeatureType, ModelInfo

ARROW = {
    FeatureType.NUMERIC: pa.float64(),
    FeatureType.INTEGER: pa.int64(),
    FeatureType.BOOLEAN: pa.bool_(),
    FeatureType.TEXT: pa.string(),
}


def table(rows=240, seed=0):
    """Numbers with gaps, categories of every kind, two-class and three-class targets and a number to predict."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, rows).round(3),
            "city": rng.choice(["Bern", "Oslo", "Lima", "Köln"], rows),
            "rooms": rng.integers(1, 6, rows),
            "member": rng.random(rows) > 0.5,
        }
    )
    frame.loc[rng.random(rows) < 0.1, "age"] = np.nan
    score = np.nan_to_num(frame.age, nan=40.0) / 10 + (frame.city == "Oslo") * 2 - frame.rooms + frame.member
    score += rng.normal(0, 0.5, rows)
    yes_no = np.where(score > score.median(), "yes", "no")
    three = pd.cut(score, 3, labels=["low", "mid", "top"]).astype(str)
    return frame, yes_no, np.asarray(three), np.asarray(score, float)


def batch(frame: pd.DataFrame, info: ModelInfo) -> pa.RecordBatch:
    """The frame's columns with the types that the model asks for."""
    arrays = []
    for feature in info.features:
        column = frame[feature.name]
        values = [None if pd.isna(value) else value for value in column.astype(object)]
        if feature.type is FeatureType.TEXT:
            values = [None if value is None else str(value) for value in values]
        arrays.append(pa.array(values, ARROW[feature.type]))
    return pa.RecordBatch.from_arrays(arrays, [feature.name for feature in info.features])


def values(model, given: pa.RecordBatch) -> np.ndarray:
    """The numbers that a model gives, whatever else it gives."""
    return models.scores(model, given).values  # noqa: PD011 -- no DataFrame


def kinds(info: ModelInfo) -> dict[str, str]:
    return {feature.name: feature.type.value for feature in info.features}
