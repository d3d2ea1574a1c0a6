"""Scores with a booster's own library until a forest kernel is ready and has proved that it gives the same bits."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

import numpy as np

from scoreline.models.base import Values, cause
from scoreline.models.forest import Forest, NoForest
from scoreline.models.forest_kernel import Kernel, NoKernel

_log = logging.getLogger(__name__)

# About what it costs to load the compiler and compile, and to make tables of a model text, in CPU seconds.
_COMPILING = 0.2
_READING = 1e-7  # a byte


class Takeover:
    """Scores matrices [features, rows]; several threads may at once.

    The kernel is prepared once the library has spent as much time as that costs: a small job never pays for it, a
    large one hardly notices. Then it has to give the library's values on the rows just scored, bit for bit, and in less
    time; otherwise, and where there can be no kernel, the library goes on.
    """

    def __init__(self, name: str, library: Callable[[Values], Values], read: Callable[[], Forest], size: int) -> None:
        """`read` makes the tables, from `size` bytes; name: of the model, for the log."""
        self._name = name
        self._library = library
        self._read: Callable[[], Forest] | None = read
        self._left = _COMPILING + _READING * size
        self._lock = threading.Lock()
        self._kernel: Kernel | None = None

    def predict(self, columns: Values) -> Values:
        """Return [rows, outputs]. Raises what the library raises."""
        if self._kernel is not None:
            return self._kernel.predict(columns)
        begun = time.thread_time()
        values = self._library(columns)
        seconds = time.thread_time() - begun
        read = self._due(seconds)
        if read is not None:
            arguments = (read, columns, values, seconds)
            with contextlib.suppress(RuntimeError):  # no thread to be had, or the interpreter is ending
                # No daemon: the interpreter's end waits for it, for LLVM does not bear being torn down while it works.
                threading.Thread(target=self._prepare, args=arguments, name="scoreline-kernel").start()
        return values

    def _due(self, seconds: float) -> Callable[[], Forest] | None:
        """Count the library's time; at its end return `read`, once."""
        with self._lock:
            self._left -= seconds
            if self._left > 0:
                return None
            read, self._read = self._read, None
            return read

    def _prepare(self, read: Callable[[], Forest], columns: Values, expected: Values, seconds: float) -> None:
        try:
            kernel = Kernel(read())
            begun = time.thread_time()
            values = kernel.predict(columns)
            faster = time.thread_time() - begun < seconds
        except (NoForest, NoKernel) as exc:
            _log.debug("The model %r is scored by its library: %s.", self._name, exc)
        except Exception as exc:  # noqa: BLE001 -- whatever it is, the library goes on
            _log.warning("The model %r is scored by its library: the fast way failed (%s).", self._name, cause(exc))
        else:
            if not np.array_equal(values.view(np.uint64), expected.view(np.uint64)):
                _log.warning("The model %r is scored by its library: the fast way gave other numbers.", self._name)
            elif faster:
                self._kernel = kernel
