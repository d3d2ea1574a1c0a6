"""Real models, small, and one that misbehaves on demand."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

import cloudpickle
import lightgbm
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

FEATURES = [
    {"name": "x", "type": "numeric", "nullable": True},
    {"name": "z", "type": "numeric", "nullable": True},
]
CRASH, HANG, RAISE, SLOW, EXIT = 666.0, 667.0, 668.0, 669.0, 670.0


def sha256(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def booster(path: Path, objective: str = "regression", classes: int = 1) -> lightgbm.Booster:
    """Train on `x` and `z`, save as text."""
    random = np.random.default_rng(7)
    values = random.normal(size=(400, 2))
    target = values[:, 0] + 0.3 * values[:, 1]
    if classes > 1:
        target = np.digitize(target, np.quantile(target, np.linspace(0, 1, classes + 1)[1:-1]))
    parameters = {"objective": objective, "verbose": -1, "num_threads": 1, "num_leaves": 7}
    if classes > 2:
        parameters["num_class"] = classes
    model = lightgbm.train(parameters, lightgbm.Dataset(values, target, feature_name=["x", "z"]), 12)
    model.save_model(path)
    return model


class Moody(RegressorMixin, BaseEstimator):
    """Doubles `x`; does what the constants of this module say when `x` is one of them."""

    def fit(self, frame, target):
        self.feature_names_in_ = np.array(["x", "z"], dtype=object)
        self.n_features_in_ = 2
        return self

    def predict(self, frame):
        x = np.asarray(frame, dtype=float)[:, 0]
        if (x == CRASH).any():
            os.kill(os.getpid(), signal.SIGSEGV)
        if (x == HANG).any():
            time.sleep(1000)
        if (x == SLOW).any():
            time.sleep(1.0)
        if (x == EXIT).any():
            sys.exit(3)
        if (x == RAISE).any():
            raise ValueError("this row is no good")
        return 2 * x


def moody(path: Path) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        path.write_bytes(cloudpickle.dumps(Moody().fit(None, None)))
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


class Landmine:
    """Loading it kills the process."""

    def __reduce__(self):
        return os.abort, ()
