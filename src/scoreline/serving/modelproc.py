"""A model process: loads artefacts and scores batches for the front, one message after the other.

Started as `python -m scoreline.serving.modelproc DESCRIPTOR MODELS` with a socket to the front. It gets folders and
record batches, no token, no address and no environment of the installation, since a model may run any code it likes.
"""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import resource
import select
import signal
import socket
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from scoreline import models
from scoreline.errors import DataRefused, ModelBroken, ModelCrashed, ScorelineError, SetupError, one_line
from scoreline.rows import arrow, cast, exchange
from scoreline.serving import wire
from scoreline.serving.documents import info_to_json
from scoreline.types import JsonObject, ModelInfo

_FIRST_TO_GO = "800"  # of 1000, to the kernel


class Shelf:
    """The models this process keeps loaded, the least recently used making room."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._loaded: OrderedDict[str, models.Model] = OrderedDict()

    def take(self, request: JsonObject) -> tuple[models.Model, bool]:
        """The model that `request` names, and whether it was loaded before. Raises ModelBroken."""
        key = request["key"]
        if key in self._loaded:
            self._loaded.move_to_end(key)
            return self._loaded[key], True
        while len(self._loaded) >= self._keep:
            self._loaded.popitem(last=False)
        try:
            model = models.load(Path(request["path"]), trusted=request["trusted"], threads=1)
        except ScorelineError:
            raise
        except (Exception, SystemExit) as error:
            raise ModelBroken(f"The model cannot be loaded: {_cause(error)}.") from error
        self._loaded[key] = model
        return model, False


class Process:
    """Answers one kind of message each by its methods."""

    def __init__(self, keep: int) -> None:
        self._shelf = Shelf(keep)
        self._operations: dict[str, Callable[[JsonObject, int | None], JsonObject]] = {
            "load": self._load,
            "score": self._score,
            "inspect": self._inspect,
        }

    def answer(self, request: JsonObject, descriptor: int | None) -> JsonObject:
        """What to say to `request`; never raises, whatever a model does."""
        try:
            return self._operations[request["op"]](request, descriptor)
        except ModelCrashed as error:
            return {"error": "crash", "message": error.message}
        except DataRefused as error:
            return {"error": "data", "message": error.message, "row": error.row}
        except (ModelBroken, SetupError) as error:
            return {"error": "model", "message": error.message}
        except MemoryError:
            return {"error": "crash", "message": "The model process has no memory left for this batch."}
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- a model's code may raise anything, sys.exit included
            return {"error": "data", "message": f"The model failed on these rows: {_cause(error)}."}

    def _load(self, request: JsonObject, _descriptor: int | None) -> JsonObject:
        _model, hit = self._shelf.take(request)
        return {"hit": hit}

    def _score(self, request: JsonObject, descriptor: int | None) -> JsonObject:
        model, hit = self._shelf.take(request)
        assert descriptor is not None
        batch = _read_batch(descriptor, request["size"])
        extra = [each.name for each in model.info.extra]
        body = exchange.encode_scores(models.scores(model, batch), extra)
        _write(descriptor, body, request["size"])
        return {"hit": hit, "size": body.size, "rows": batch.num_rows}

    def _inspect(self, request: JsonObject, descriptor: int | None) -> JsonObject:
        model, _hit = self._shelf.take(request)
        sample = None
        if descriptor is not None:
            sample = _sample(os.pread(descriptor, request["size"], 0), model.info)
        outputs = model.info.outputs
        if model.info.features:  # else nobody knows what a row looks like
            batch = models.sample_batch(model.info) if sample is None else sample
            try:
                outputs = models.scores(model, batch).values.shape[1]
            except DataRefused as error:
                raise ModelBroken(
                    "The model cannot be used: it refused the row that it was tried with "
                    f"({error.message.rstrip('.')}); mend it and send it again."
                ) from error
        return {"info": info_to_json(model.info), "check": {"outputs": outputs}}


def _read_batch(descriptor: int, size: int) -> pa.RecordBatch:
    """The record batch that lies in shared memory; copies nothing. Raises DataRefused."""
    if size == 0:
        raise DataRefused("The body is empty; send one Arrow record batch as an IPC stream.")
    try:
        return exchange.decode(pa.py_buffer(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)))
    except ValueError as error:
        raise DataRefused(f"The body is not one Arrow record batch as an IPC stream: {_cause(error)}.") from error


def _write(descriptor: int, body: pa.Buffer, offset: int) -> None:
    view = memoryview(body)
    done = 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done:], offset + done)


def _sample(text: bytes, info: ModelInfo) -> pa.RecordBatch:
    """One row for the check at registration, from a JSON object of column texts."""
    given = json.loads(text)
    missing = [feature.name for feature in info.features if feature.name not in given]
    if missing:
        raise DataRefused(f"The sample lacks the model's column {missing[0]!r}.")
    columns = {feature.name: arrow.texts([given[feature.name]]) for feature in info.features}
    batch, errors = cast.features(columns, info.features)
    if errors:
        raise DataRefused(f"The sample row does not fit the model: {next(iter(errors.values()))}.", 0)
    return batch


def _cause(error: BaseException) -> str:
    text = one_line(str(error), 300).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _harden() -> None:
    """No core files with customers' rows, no reaction to the terminal's Ctrl-C, traces of crashes in the log.

    Without memory on the machine it is a model's process that ends, and not the database's or the API's.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    os.dup2(2, 1)  # what models print belongs to the log


def _leave_with_the_front(sock: socket.socket) -> None:
    """End at once when the front is gone, even in the middle of a long prediction."""

    def watch() -> None:
        poll = select.poll()
        poll.register(sock.fileno(), 0)  # hang-ups are always reported
        poll.poll()
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)  # with all that a model has started
        os._exit(0)

    threading.Thread(target=watch, name="front-watch", daemon=True).start()


def main(arguments: list[str]) -> int:
    """Serve the socket whose descriptor is given until the front closes it."""
    sock = socket.socket(fileno=int(arguments[0]))
    sock.setblocking(True)
    _harden()
    _leave_with_the_front(sock)
    process = Process(int(arguments[1]))
    sock.sendall(wire.pack({"ready": os.getpid()}))
    while (received := wire.receive(sock)) is not None:
        request, descriptor = received
        try:
            sock.sendall(wire.pack(process.answer(request, descriptor)))
        finally:
            if descriptor is not None:
                os.close(descriptor)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
