"""The baseline of a regression model: what it usually predicts, measured by scoring a file."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np

from scoreline.cli import remote
from scoreline.cli.client import Api
from scoreline.errors import InvalidRequest
from scoreline.types import JsonObject


def give(api: Api, package: JsonObject, source: Path, *, quiet: bool) -> JsonObject:
    """Score a file with a package and keep the quartiles of its predictions there; return the package.

    Raises what the job raises; InvalidRequest for another target type, and when no row could be scored.
    """
    if package["target"]["type"] != "Regression":
        raise InvalidRequest(
            f"A baseline is for regression models; this model's target type is {package['target']['type']}.", "baseline"
        )
    with tempfile.TemporaryDirectory(prefix="scoreline-") as folder:
        output = Path(folder) / "scored.csv"
        body = {"modelPackageId": package["id"], "abortOnError": False}
        remote.run(api, lambda: body, str(source), str(output), quiet=quiet)
        found = _predictions(output)
    if not len(found):
        raise InvalidRequest(f"The baseline cannot be measured: no row of {source} could be scored.", "baseline")
    lower, upper = (float(value) for value in np.quantile(found, (0.25, 0.75)))
    quartiles = {"rows": len(found), "lowerQuartile": lower, "upperQuartile": upper}
    return api.put(f"modelPackages/{package['id']}/baseline/", quartiles)


def _predictions(output: Path) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Read the first column; rows that failed have nothing there."""
    with output.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows, None)
        return np.fromiter((float(row[0]) for row in rows if row[0]), np.float64)
