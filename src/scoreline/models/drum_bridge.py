"""Runs a custom model in the environment of DRUM, for `scoreline.models.drum`; knows nothing of Scoreline.

Started by that environment's own Python (3.8 or later) as `drum_bridge.py DESCRIPTOR`. Messages on the socket are a
length in eight bytes, big end first, and so many bytes. First comes a JSON object with what to run; the answer is
`{"ready": true}` or `{"error": text}`. Then comes CSV after CSV. The answer to each is a JSON object, with texts and
the columns beside the predictions in it, and float64 values row by row.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import json
import math
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
from typing import Any

_LENGTH = struct.Struct(">Q")
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_DRUM = "datarobot_drum"


def main() -> int:
    """Serve the socket until the other side closes it."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    _end_with_parent(sock)
    task = json.loads(_receive(sock) or b"{}")
    os.dup2(2, 1)  # what hooks print is for the log
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            predictor, _context = _start(task)
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- the model's code; DRUM leaves by exit after saying why
        _send(sock, {"error": _reason(error, said.getvalue()), "missing": _is_missing(error)})
        return 1
    finally:
        sys.stderr.write(said.getvalue())
    _send(sock, {"ready": True})
    while True:
        body = _receive(sock)
        if body is None:
            return 0
        try:
            header, values = _predict(predictor, task, body)
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- the model's code may raise anything
            header, values = {"error": _reason(error)}, b""
        _send(sock, header, values)


def _start(task: dict[str, Any]) -> tuple[Any, Any]:
    """DRUM's predictor, and the context that keeps it."""
    inline = importlib.import_module(f"{_DRUM}.drum.root_predictors.drum_inline_utils")
    words = ["--logging-level", "critical"]  # else it prints a stack trace for each row that a hook refuses
    labels = task["labels"]
    if task["targetType"] == "binary":
        words += ["--negative-class-label", labels[0], "--positive-class-label", labels[1]]
    elif labels:
        with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False, encoding="utf-8") as file:
            file.write("\n".join(labels))
        words += ["--class-labels-file", file.name]
    sys.argv = ["drum", "score", *words]  # where its checks of options look
    context = inline.drum_inline_predictor(task["targetType"], task["codeDir"], task["targetName"], *words)
    predictor = context.__enter__()
    if task["types"] is not None:
        _read_as_registered(task["types"])
    return predictor, context


def _read_as_registered(types: dict[str, str]) -> None:
    """Have DRUM read tables with the types of the registration, not with what each one looks like."""
    pandas = importlib.import_module("pandas")
    reading = importlib.import_module(f"{_DRUM}.drum.utils.structured_input_read_utils").StructuredInputReadUtils
    fixed = {"text": str, "numeric": "float64"}  # whole numbers and flags are told by their looks, gaps or not
    dtypes = {name: fixed[kind] for name, kind in types.items() if kind in fixed}

    def read(body: bytes, _mimetype: str, _columns: Any = None) -> Any:
        return pandas.read_csv(
            io.BytesIO(body), dtype=dtypes, keep_default_na=False, na_values=[""], skip_blank_lines=False
        )

    reading.read_structured_input_data_as_df = staticmethod(read)


def _predict(predictor: Any, task: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    response = predictor.predict(binary_data=body, mimetype="text/csv")
    frame, extra = response.predictions, response.extra_model_output
    header: dict[str, Any] = {"rows": len(frame), "extra": [_cells(extra, name) for name in task["extra"]]}
    if task["text"]:
        return {**header, "text": _cells(frame, frame.columns[0])}, b""
    if task["labels"]:
        frame = frame[task["labels"]]
    values = frame.to_numpy(dtype="float64").copy(order="C")
    return {**header, "columns": values.shape[1]}, values.tobytes()


def _cells(frame: Any, name: str) -> list[Any]:
    """A column as values of JSON; what is missing, or not finite, is null."""
    if frame is None or name not in frame:
        raise ValueError(f"the column {name!r}, which the registration names, is not among what the model returned")
    cells = [cell.item() if hasattr(cell, "item") else cell for cell in frame[name]]
    plain = (str, int, float, bool, type(None))
    cells = [cell if isinstance(cell, plain) else str(cell) for cell in cells]
    return [None if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in cells]


def _reason(error: BaseException, printed: str = "") -> str:
    """The error in its own words, those of a hook's error after DRUM's."""
    if isinstance(error, SystemExit) and printed.strip():
        return printed.strip().splitlines()[-1]
    if isinstance(error, SystemExit) and error.__context__ is not None:
        error = error.__context__  # what it leaves for, without a word
    text = str(error) or type(error).__name__
    found: BaseException | None = error
    while found is not None:
        head, mark, _ = str(found).partition(" Exception: ")
        inner = found.__cause__ or found.__context__
        if mark and inner is not None:
            text = f"{head.rstrip('.')}: {type(inner).__name__}: {inner}"
        found = inner
    return text


def _is_missing(error: BaseException) -> bool:
    """Whether it is DRUM itself that is not installed."""
    return isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == _DRUM


def _receive(sock: socket.socket) -> bytes | None:
    head = _exactly(sock, _LENGTH.size)
    return None if head is None else _exactly(sock, _LENGTH.unpack(head)[0])


def _exactly(sock: socket.socket, size: int) -> bytes | None:
    body = bytearray(size)
    view, done = memoryview(body), 0
    while done < size:
        taken = sock.recv_into(view[done:])
        if not taken:
            return None
        done += taken
    return bytes(body)


def _send(sock: socket.socket, header: dict[str, Any], values: bytes = b"") -> None:
    head = json.dumps(header).encode()
    sock.sendall(_LENGTH.pack(len(head)) + head + _LENGTH.pack(len(values)))
    sock.sendall(values)


def _end_with_parent(sock: socket.socket) -> None:
    """End at once when the other side is gone, even in the middle of a hook."""

    def watch() -> None:
        poll = select.poll()
        poll.register(sock.fileno(), 0)  # hang-ups are always reported
        poll.poll()
        os._exit(0)

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
