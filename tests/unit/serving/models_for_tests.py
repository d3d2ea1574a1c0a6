"""Real models, small, and one that misbehaves on demand."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import stat
import sys
import time
from pathlib import Path

import cloudpickle
import lightgbm
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

FEATURES = [
    {"name": "x", "type": "numeric", "nullable": True, "optional": False},
    {"name": "z", "type": "numeric", "nullable": True, "optional": False},
]
CRASH, HANG, RAISE, SLOW, EXIT = 666.0, 667.0, 668.0, 669.0, 670.0
FORK, FORK_AND_END, JUNK, CLOSE = 671.0, 672.0, 673.0, 674.0


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
        for sign, act in ((FORK, fork), (FORK_AND_END, fork_and_end), (JUNK, junk), (CLOSE, close)):
            if (x == sign).any():
                act()
        return 2 * x


def fork():
    """Leave a process behind that has all that this one has open."""
    if os.fork() == 0:
        time.sleep(1000)


def fork_and_end():
    fork()
    os._exit(5)


def junk():
    """Write what is no message into every socket."""
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.write(descriptor, b"\xff" * 5000)


def close():
    os.closerange(3, 64)


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
