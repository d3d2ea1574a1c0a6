"""The process of one custom model: start it in DRUM's environment, ask it, notice its end."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from scoreline.errors import DataRefused, ModelCrashed, one_line
from scoreline.models import drum_bridge
from scoreline.models.answers import texts
from scoreline.models.base import bools, floats, integers
from scoreline.models.environment import child_environment
from scoreline.types import ExtraOutput, FeatureType, JsonObject, Scores

_LENGTH = struct.Struct(">Q")
_END_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a custom model did not start. missing: because DRUM itself is not installed."""

    reason: str
    missing: bool


class Bridge:
    """A running `drum_bridge`. Not for several threads at once."""

    def __init__(self, python: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self.ended = False
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 -- the operator's interpreter, our program
                [str(python), "-I", str(Path(drum_bridge.__file__)), str(theirs.fileno())],
                env=_environment(python, environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def begin(self, task: JsonObject) -> Refusal | None:
        """Have it load the model; None when it is ready."""
        try:
            self._send(json.dumps(task).encode())
            header, _ = self._receive()
        except (OSError, EOFError):
            return Refusal(f"its process {self._end_text()}", missing=False)
        if header.get("ready"):
            return None
        return Refusal(one_line(str(header.get("error")), 400).rstrip(". "), bool(header.get("missing")))

    def ask(self, table: pa.Buffer, rows: int, extra: Sequence[ExtraOutput] = ()) -> Scores:
        """Return the scores of a CSV table, with the columns `extra` beside them.

        Raises DataRefused with a hook's words, ModelCrashed.
        """
        try:
            self._send(table)
            header, body = self._receive()
        except (OSError, EOFError) as exc:
            raise ModelCrashed(f"The custom model's process {self._end_text()}.") from exc
        if "error" in header:
            raise DataRefused(one_line(str(header["error"]), 400))
        if header["rows"] != rows:
            raise DataRefused(f"the custom model answered {header['rows']} predictions for {rows} rows")
        text = None if "text" not in header else _column(header["text"], FeatureType.TEXT)
        values = np.frombuffer(body, np.float64).reshape(rows, header.get("columns", 0))
        beside = zip(extra, header["extra"], strict=True)
        return Scores(values, text, tuple(_column(cells, each.type, each.name) for each, cells in beside))

    def close(self) -> None:
        """End the process."""
        self.ended = True
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _end_text(self) -> str:
        """Wait for the process, which has hung up, and say how it ended."""
        self.close()
        code = self._process.returncode
        if code >= 0:
            return f"ended with exit code {code}"
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
        return f"was ended by signal {-code}"

    def _send(self, body: bytes | pa.Buffer) -> None:
        view = memoryview(body)
        self._socket.sendall(_LENGTH.pack(view.nbytes))
        self._socket.sendall(view)

    def _receive(self) -> tuple[dict[str, Any], bytearray]:
        header = json.loads(self._frame())
        return header, self._frame()

    def _frame(self) -> bytearray:
        return self._exactly(_LENGTH.unpack(self._exactly(_LENGTH.size))[0])

    def _exactly(self, size: int) -> bytearray:
        body = bytearray(size)
        view, done = memoryview(body), 0
        while done < size:
            taken = self._socket.recv_into(view[done:])
            if not taken:
                raise EOFError
            done += taken
        return body


def _column(cells: list[Any], kind: FeatureType, name: str = "") -> pa.Array:
    """Return a column of the type that the registration gives it. Raises DataRefused for what is not of it."""
    if kind is FeatureType.TEXT:
        return texts(np.array(cells, dtype=object))
    try:
        if kind is FeatureType.NUMERIC or None in cells:
            return floats([math.nan if cell is None else float(cell) for cell in cells])
        return bools([bool(cell) for cell in cells]) if kind is FeatureType.BOOLEAN else integers(list(map(int, cells)))
    except (TypeError, ValueError, OverflowError) as exc:
        raise DataRefused(f"the custom model's column {name!r} is not {kind}") from exc


def _environment(python: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return what the process may know: as any process that runs models, and its own environment's programs."""
    kept = child_environment(os.environ, Path(os.environ.get("HOME", "/")))
    for name in [name for name in kept if name.startswith(("PYTHON", "SCORELINE_"))]:
        del kept[name]
    kept["PATH"] = f"{python.parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    kept["VIRTUAL_ENV"] = str(python.parent.parent)
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", **more}
