"""DRUM custom models: folders with hooks in `custom.py`, run by DRUM in an environment and a process of their own.

DRUM pins versions that an installation of Scoreline may not have, and hooks bring libraries of their own: a small
program, `drum_bridge`, is run by the Python of the environment that SCORELINE_DRUM names. It hands tables to DRUM's own
predictor, so that hooks see what they see under `drum server`, without a port that others could reach and without
predictions cut to ten decimals.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from scoreline.errors import SetupError
from scoreline.models.base import broken, columns
from scoreline.models.drum_folder import DrumFolder, read
from scoreline.models.drum_process import Bridge
from scoreline.types import ModelInfo, Scores, TargetType

SETTING = "SCORELINE_DRUM"
_HOW = (
    "make an environment with `python3 -m venv drum-env && drum-env/bin/pip install datarobot-drum` and what the "
    f"models import, and start Scoreline with {SETTING}=/path/to/drum-env"
)
_IDLE_SECONDS = 900.0


def load(path: Path, *, trusted: bool, threads: int = 1) -> DrumModel:  # noqa: ARG001 -- one thread, trust is checked
    """Start a custom model and wait until it is ready. Raises ModelBroken, SetupError."""
    folder = read(path)
    runner = _Runner(folder, _python(os.environ.get(SETTING, "")))
    runner.start()
    return DrumModel(folder, runner)


class DrumModel:
    """A custom model in a process of its own, which ends with this object, and while nobody asks."""

    def __init__(self, folder: DrumFolder, runner: _Runner) -> None:
        labels = folder.class_labels
        self.info = ModelInfo(
            format="drum",
            target_type=folder.target_type,
            features=folder.features,
            class_labels=labels,
            target_name=folder.target_name,
            outputs=_outputs(folder),
            extra=folder.extra,
        )
        self._runner = runner
        weakref.finalize(self, runner.close)

    def predict(self, batch: pa.RecordBatch) -> Scores:
        """Return the predictions; see `Model.predict`. Raises ModelCrashed when the process ends over these rows."""
        if self.info.features:
            arrays = columns(batch, self.info)
            batch = pa.RecordBatch.from_arrays(arrays, [feature.name for feature in self.info.features])
        sink = pa.BufferOutputStream()
        csv.write_csv(batch, sink)
        return self._runner.ask(sink.getvalue(), batch.num_rows)


class _Runner:
    """Keeps the process: one question at a time, ended after a quarter of an hour without any, then started again."""

    def __init__(self, folder: DrumFolder, python: Path) -> None:
        self._folder = folder
        self._python = python
        self._lock = threading.Lock()
        self._bridge: Bridge | None = None
        self._used = 0.0
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Start the process now. Raises ModelBroken, SetupError."""
        with self._lock:
            self._running()

    def ask(self, table: pa.Buffer, rows: int) -> Scores:
        """Return the scores of a CSV table."""
        with self._lock:
            bridge = self._running()
            try:
                return bridge.ask(table, rows, self._folder.extra)
            finally:
                self._used = time.monotonic()
                if bridge.ended:
                    self._end()

    def close(self) -> None:
        """End the process; calling it again is harmless."""
        with self._lock:
            self._end()

    def _running(self) -> Bridge:
        if self._bridge is None:
            self._bridge = _started(self._folder, self._python)
            self._used = time.monotonic()
            self._look_later(_IDLE_SECONDS)
        return self._bridge

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._bridge is not None:
            self._bridge.close()
            self._bridge = None

    def _look_later(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        with self._lock:
            left = self._used + _IDLE_SECONDS - time.monotonic()
            if self._bridge is None:
                return
            if left > 0:
                self._look_later(left)
            else:
                self._end()


def _outputs(folder: DrumFolder) -> int:
    if folder.target_type is TargetType.TEXT_GENERATION:
        return 0
    return len(folder.class_labels) if folder.class_labels else 1


def _started(folder: DrumFolder, python: Path) -> Bridge:
    task = {
        "codeDir": str(folder.path.resolve()),
        "targetType": folder.target_type.casefold(),
        "targetName": folder.target_name or "target",
        "labels": list(folder.class_labels or ()),
        "text": folder.target_type is TargetType.TEXT_GENERATION,
        "extra": [each.name for each in folder.extra],
        "types": {each.name: each.type.value for each in folder.features} or None,
    }
    bridge = Bridge(python, folder.path, folder.environment)
    refusal = bridge.begin(task)
    if refusal is None:
        return bridge
    bridge.close()
    if refusal.missing:
        raise SetupError(f"The environment of {python} has no DRUM: run `{python} -m pip install datarobot-drum`.")
    raise broken(folder.path.name, f"DRUM cannot start it ({refusal.reason}): mend it and send it again")


def _python(setting: str) -> Path:
    """Return the Python of the environment that runs custom models. Raises SetupError."""
    if not setting:
        raise SetupError(f"Custom models run through DRUM in an environment of its own, and there is none: {_HOW}.")
    given = Path(setting).expanduser().absolute()
    python = given / "bin" / "python" if given.is_dir() else given
    if not python.is_file():
        raise SetupError(f"{SETTING} is {setting!r}, which is no Python environment: {_HOW}.")
    return python
