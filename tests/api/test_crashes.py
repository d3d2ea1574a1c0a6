"""Rows that end the process of their model, in whole jobs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import cloudpickle
import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from tests.support.boosters import as_csv, read_csv, sample
from tests.support.served import scoreline

pytestmark = pytest.mark.slow

CRASH = 666.0


class Fragile(RegressorMixin, BaseEstimator):
    """Doubles `x`; rows from `bad` on end the process."""

    def __init__(self, bad: float = 0.0) -> None:
        self.bad = bad

    def fit(self, frame, target):
        self.feature_names_in_ = np.array(["x"], dtype=object)
        self.n_features_in_ = 1
        return self

    def predict(self, frame):
        x = np.asarray(frame, dtype=float)[:, 0]
        if (x >= self.bad).any():
            os.kill(os.getpid(), signal.SIGSEGV)
        return 2 * x


@pytest.fixture(scope="module")
def fragile(server, tmp_path_factory):
    """Deployments of a model that ends over rows from the number on, and of one that ends over every row."""
    folder = tmp_path_factory.mktemp("fragile")
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        made = []
        for name, bad in (("some", CRASH), ("every", 1e6)):
            file = folder / f"{name}.pkl"
            file.write_bytes(cloudpickle.dumps(Fragile(bad).fit(None, None)))
            words = ["--name", f"fragile {name}", "--target", "y", "--target-type", "Regression", "--trust"]
            env = {"SCORELINE_URL": server.url, "SCORELINE_TOKEN": server.token}
            done = scoreline("deploy", str(file), *words, env=env)
            assert done.returncode == 0, done.stderr
            made.append(done.stdout.strip())
        return made
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_only_the_row_at_fault_fails_and_other_jobs_go_on(server, dr, models, fragile, tmp_path):
    source = tmp_path / "in.csv"
    values = np.arange(16.0)
    values[11] = CRASH
    source.write_text("x\n" + "\n".join(map(str, values)) + "\n")

    def score(deployment: str, file, out) -> None:
        dr.BatchPredictionJob.score(
            deployment,
            intake_settings={"type": "localFile", "file": str(file)},
            output_settings={"type": "localFile", "path": str(out)},
            include_prediction_status=True,
        )

    (tmp_path / "other.csv").write_bytes(as_csv(sample(2000)))
    began = time.monotonic()
    other = threading.Thread(target=score, args=(models.binary.deployment_id, tmp_path / "other.csv", tmp_path / "o"))
    other.start()
    score(fragile[0], source, tmp_path / "out.csv")
    other.join(90)
    assert time.monotonic() - began < 90
    found = read_csv((tmp_path / "out.csv").read_bytes())
    assert [row for row, status in enumerate(found["prediction_status"]) if status != "OK"] == [11]
    assert "SIGSEGV" in found["prediction_status"][11]
    assert [float(cell) for row, cell in enumerate(found["y_PREDICTION"]) if row != 11] == [
        2 * value for row, value in enumerate(values.tolist()) if row != 11
    ]
    scored = read_csv((tmp_path / "o").read_bytes())
    assert [float(cell) for cell in scored["late_yes_PREDICTION"]] == models.binary.predict(sample(2000)).tolist()


def test_a_model_that_ends_over_every_row_ends_its_job_soon(dr, fragile, tmp_path):
    source = tmp_path / "in.csv"
    source.write_text("x\n" + "2000000\n" * 50_000)
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=r"SIGSEGV.*single rows, too.* given up"):
        dr.BatchPredictionJob.score(
            fragile[1],
            intake_settings={"type": "localFile", "file": str(source)},
            output_settings={"type": "localFile", "path": str(tmp_path / "out.csv")},
            abort_on_error=False,
        )
    assert time.monotonic() - began < 90
