"""Whether two scored files say the same: ids and labels equal, probabilities by their greatest difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from bench.data import TARGET

_PROBABILITIES = (f"{TARGET}_1_PREDICTION", f"{TARGET}_0_PREDICTION")


def difference(one: Path, other: Path, limit: float) -> float:
    """Return the greatest difference of a probability; ends the bench when it is above `limit` or texts differ."""
    left, right = _table(one), _table(other)
    if sorted(left.column_names) != sorted(right.column_names) or left.num_rows != right.num_rows:
        raise SystemExit(f"bench: {one.name} and {other.name} have other columns or rows: {left.shape}, {right.shape}")
    for name in ("id", f"{TARGET}_PREDICTION"):
        if not left[name].equals(right[name]):
            raise SystemExit(f"bench: column {name} of {one.name} and {other.name} differs")
    worst = max(float(np.max(np.abs(pc.subtract(left[name], right[name]).to_numpy()))) for name in _PROBABILITIES)
    if not worst <= limit:
        raise SystemExit(f"bench: probabilities of {one.name} and {other.name} differ by {worst}")
    return worst


def _table(path: Path) -> pa.Table:
    types = {"id": pa.string(), f"{TARGET}_PREDICTION": pa.string(), **dict.fromkeys(_PROBABILITIES, pa.float64())}
    return pyarrow.csv.read_csv(path, convert_options=pyarrow.csv.ConvertOptions(column_types=types))
