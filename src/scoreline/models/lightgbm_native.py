"""LightGBM's documented C API through ctypes.

LightGBM's Python package imports pandas and scikit-learn whenever they are installed: about three seconds and 140 MB
in each process that scores. Its shared library alone takes some milliseconds, and `ctypes` releases the GIL in calls.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import threading
from functools import cache
from pathlib import Path

import numpy as np

from scoreline.errors import SetupError
from scoreline.models.base import Values

_FLOAT64, _COLUMN_MAJOR, _NORMAL_PREDICTION = 1, 0, 0
_NAMES = {"win32": "lib_lightgbm.dll", "darwin": "lib_lightgbm.dylib"}
_HINT = "run `pip install 'scoreline[lightgbm]'`"


class NativeError(Exception):
    """LightGBM's own message."""


class Booster:
    """A model in LightGBM's library. Predicting from several threads at once is safe."""

    def __init__(self, text: bytes) -> None:
        self._library = _library()
        self._handle = ctypes.c_void_p()
        iterations = ctypes.c_int()
        self._check(
            self._library.LGBM_BoosterLoadModelFromString(
                ctypes.c_char_p(text), ctypes.byref(iterations), ctypes.byref(self._handle)
            )
        )
        classes, features = ctypes.c_int(), ctypes.c_int()
        self._check(self._library.LGBM_BoosterGetNumClasses(self._handle, ctypes.byref(classes)))
        self._check(self._library.LGBM_BoosterGetNumFeature(self._handle, ctypes.byref(features)))
        self.iterations = iterations.value
        self.outputs = classes.value
        self.features = features.value

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.LGBM_BoosterFree(self._handle)

    def predict(self, matrix: Values, threads: int) -> Values:
        """Return [rows, outputs] for a C-contiguous float64 matrix [features, rows]. Raises NativeError."""
        width, rows = matrix.shape
        values = np.empty((rows, self.outputs))
        written = ctypes.c_int64()
        self._check(
            self._library.LGBM_BoosterPredictForMat(
                self._handle,
                matrix.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_int(_FLOAT64),
                ctypes.c_int32(rows),
                ctypes.c_int32(width),
                ctypes.c_int(_COLUMN_MAJOR),
                ctypes.c_int(_NORMAL_PREDICTION),
                ctypes.c_int(0),
                ctypes.c_int(-1),
                f"num_threads={threads} verbosity=-1".encode(),
                ctypes.byref(written),
                values.ctypes.data_as(ctypes.c_void_p),
            )
        )
        if written.value != values.size:
            raise NativeError(f"{written.value} values for {rows} rows")
        return values

    def _check(self, code: int) -> None:
        if code != 0:
            raise NativeError(self._library.LGBM_GetLastError().decode("utf-8", "replace"))


_lock = threading.Lock()


def _library() -> ctypes.CDLL:
    with _lock:
        return _load()


@cache
def _load() -> ctypes.CDLL:
    path = _find()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as exc:
        raise SetupError(
            f"Loading a LightGBM model failed because its library does not start ({exc}): install what it names, "
            "on Debian and Ubuntu usually `apt-get install libgomp1`."
        ) from exc
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library


def _find() -> Path:
    """Look where the package of LightGBM keeps its library, without importing the package."""
    spec = importlib.util.find_spec("lightgbm")
    if spec is None or not spec.submodule_search_locations:
        raise SetupError(
            f"Loading a LightGBM model needs the Python package 'lightgbm', which is not installed: {_HINT}."
        )
    package = Path(spec.submodule_search_locations[0])
    name = _NAMES.get(sys.platform, "lib_lightgbm.so")
    places = (package / "lib", package / "bin", package.parent, Path(sys.prefix) / "lib", Path(sys.prefix) / "bin")
    for place in places:
        if (place / name).is_file():
            return place / name
    raise SetupError(f"The Python package 'lightgbm' in {package} lacks its library {name}: install it again, {_HINT}.")
