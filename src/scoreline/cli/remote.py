"""Scoring by a server: the file goes up and the result comes down at the same time."""

from __future__ import annotations

import os
import re
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Self

from scoreline.cli import credentials, datasets
from scoreline.cli.client import Api
from scoreline.cli.following import FINAL, follow, show
from scoreline.cli.output import show_note
from scoreline.cli.progress import View, open_view, show_result
from scoreline.cli.target import Target
from scoreline.errors import (
    InvalidRequest,
    NotFound,
    RunStopped,
    ScorelineError,
    ServerUnavailable,
    SourceError,
    one_line,
)
from scoreline.types import JsonObject

if TYPE_CHECKING:
    from scoreline.cli.places import Place
    from scoreline.cli.score_words import ScoreWords

_STREAM = "-"
_ID = re.compile(r"[0-9a-f]{24}")
_BLOCK_BYTES = 1 << 20
_LOOK_SECONDS = 0.5
_WAIT_SECONDS = 2.0  # between two looks at a job whose events are followed
_TRIES = 8
_LONGEST_PAUSE = 5.0
_END_SECONDS = 30.0
_WARNING = "Warning: "  # lines of a job's log that tell a person to look begin so
_JOIN_SECONDS = 1.0


def score(
    api: Api,
    deployment: str,
    words: ScoreWords,
    source: Place,
    output: Place,
    *,
    errors: str | None = None,
    quiet: bool = False,
) -> JsonObject:
    """Score a file or an object; return what was done.

    errors: where the failed rows are listed, also of a job that was aborted. Raises what the server refuses,
    SourceError, OutputError, and ScorelineError with the job's own reason when it was aborted. Whatever ends it early,
    Ctrl-C included, aborts the job and leaves no half file.
    """
    begun = time.monotonic()
    ends = {"intakeSettings": stored(api, source), "outputSettings": stored(api, output)}
    given = {name: settings for name, settings in ends.items() if settings is not None}

    def body() -> JsonObject:
        return {"deploymentId": find_deployment(api, deployment), **words.document(), **given}

    done = run(
        api,
        body,
        None if "intakeSettings" in given else source.text,
        None if "outputSettings" in given else output.text,
        quiet=quiet,
        errors=errors,
    )
    for line in done.get("logs") or ():
        if line.startswith(_WARNING):
            show_note(line.removeprefix(_WARNING))
    rows = done["scoredRows"] + done["failedRows"]
    seconds = time.monotonic() - begun
    show_result(rows, done["failedRows"], seconds, output.shown, quiet=quiet, rows_explained=words.include_status)
    return {
        "job": done["id"],
        "output": output.shown,
        "rows": rows,
        "scoredRows": done["scoredRows"],
        "failedRows": done["failedRows"],
        "seconds": round(seconds, 3),
    }


def run(
    api: Api,
    body: Callable[[], JsonObject],
    source: str | None,
    output: str | None,
    *,
    quiet: bool,
    errors: str | None = None,
    path: str = "batchPredictions/",
) -> JsonObject:
    """Do a job over a file; return its last document. `body` is asked once the file is open. Raises as `score`.

    source, output: None where the server itself reads or writes; then the job's id is told first. path: where the body
    is sent to.
    """
    with ExitStack() as stack:
        data = None if source is None else stack.enter_context(Source(source))
        document = body()
        target = None if output is None else Target(output)
        if target is not None:
            stack.callback(target.discard)
        job = api.post(path, document)
        if data is None or target is None:
            show_note(f"Job {job['id']}")
        view = stack.enter_context(open_view(quiet=quiet))
        stack.enter_context(_term_interrupts())
        with _listing(api, job, errors):
            done = _Run(api, job, data, target, view).go()
        if target is not None:
            target.finish()
    return done


def stored(api: Api, place: Place) -> JsonObject | None:
    """Return a place's settings, with ids for the names of a credential and a dataset; None for a file."""
    settings = place.settings()
    if settings is not None and "datasetId" in settings:
        settings["datasetId"] = datasets.find(api, settings["datasetId"])["datasetId"]
    if settings is not None and "credentialId" in settings:
        settings["credentialId"] = credentials.find(api, settings["credentialId"])["credentialId"]
    return settings


def find_deployment(api: Api, id_or_name: str) -> str:
    """Return the id of a deployment. Raises NotFound, and InvalidRequest when several have the name."""
    if _ID.fullmatch(id_or_name):
        with suppress(NotFound):
            return str(api.get(f"deployments/{id_or_name}/")["id"])
    found = [item["id"] for item in api.pages("deployments/", search=id_or_name) if item.get("label") == id_or_name]
    if not found:
        raise NotFound(f"There is no deployment {id_or_name!r}: make one with `scoreline deploy`.")
    if len(found) > 1:
        raise InvalidRequest(f"Several deployments are named {id_or_name!r}: give one of the ids {', '.join(found)}.")
    return str(found[0])


def fetch_errors(api: Api, job: JsonObject, output: str) -> None:
    """Download the list of a job's failed rows as it is now. Raises as `fetch` does."""
    target = Target(output)
    try:
        fetch(api, job["links"]["errors"], target)
        target.finish()
    finally:
        target.discard()


def fetch(api: Api, address: str, target: Target) -> None:
    """Download a result to its end. A connection that breaks is taken up again: what was sent once never changes.

    Raises what the server refuses, ServerUnavailable when it stays away, OutputError.
    """
    pause, tries = 0.2, 0
    while True:
        before = target.written
        try:
            with api.download(address) as blocks:
                _skip_into(blocks, before, target)
            return
        except ServerUnavailable:
            tries = 1 if target.written > before else tries + 1
            if tries >= _TRIES:
                raise
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE, 2 * pause)


@contextmanager
def _listing(api: Api, job: JsonObject, errors: str | None) -> Iterator[None]:
    """List the failed rows after the block, and also when it fails, if some did by then."""
    try:
        yield
    except ScorelineError:
        with suppress(ScorelineError):  # the block's own error says more
            if errors is not None and api.get(f"batchPredictions/{job['id']}/")["failedRows"]:
                fetch_errors(api, job, errors)
        raise
    if errors is not None:
        fetch_errors(api, job, errors)


class _Run:
    """One job, from its upload to its last state."""

    def __init__(self, api: Api, job: JsonObject, data: Source | None, target: Target | None, view: View) -> None:
        self._api = api
        self._id = str(job["id"])
        self._links = job["links"]
        self._data = data
        self._target = target
        self._view = view
        self._over, self._ended = threading.Event(), threading.Event()
        self._upload_error: ScorelineError | None = None
        self._given_up = False  # aborted because of that
        works = [self._watch] if data is None else [self._upload, self._watch]
        self._threads = [threading.Thread(target=work, name=work.__name__, daemon=True) for work in works]

    def go(self) -> JsonObject:
        """Upload and download at once; return the finished job's document."""
        try:
            for thread in self._threads:
                thread.start()
            return self._finish()
        except BaseException:
            self._abort()
            raise
        finally:
            self._over.set()
            if self._data is not None:
                self._data.close()
            self._join()

    def _finish(self) -> JsonObject:
        try:
            if self._target is None:
                self._wait()
            else:
                fetch(self._api, self._links["download"], self._target)
        except ScorelineError:
            # A job that was aborted has no download; its own reason says more than that.
            if self._job()["status"] != "ABORTED":
                raise
        job = self._final()
        if job["status"] == "ABORTED":
            raise self._reason(job)
        return job

    def _wait(self) -> None:
        """Wait until the job is over; a server that restarts meanwhile is waited for."""
        heard = time.monotonic()
        while True:
            try:
                if self._job()["status"] in FINAL:
                    return
                heard = time.monotonic()
            except ServerUnavailable:
                if time.monotonic() - heard > _END_SECONDS:
                    raise
            if self._ended.is_set():
                time.sleep(_LOOK_SECONDS)
            else:
                self._ended.wait(_WAIT_SECONDS)

    def _final(self) -> JsonObject:
        """Return the job once it is over; a server that restarts just now is waited for."""
        deadline = time.monotonic() + _END_SECONDS
        while True:
            try:
                job = self._job()
                if job["status"] in FINAL:
                    return job
                if time.monotonic() > deadline:
                    raise ScorelineError(f"Job {self._id} sent all its result, but stays {job['status']}: try again.")
            except ServerUnavailable:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def _reason(self, job: JsonObject) -> ScorelineError:
        self._over.set()
        self._join()
        error = self._upload_error
        if error is not None and (self._given_up or isinstance(error, SourceError) or not job.get("statusDetails")):
            return error
        return ScorelineError(one_line(f"Job {self._id} was aborted: {job['statusDetails']}", 2000))

    def _upload(self) -> None:
        assert self._data is not None
        try:
            self._api.upload(
                "PUT", self._links["csvUpload"], self._data.blocks(), content_type="text/csv", length=self._data.size
            )
        except ScorelineError as error:
            self._upload_error = error
            if not isinstance(error, RunStopped):
                self._give_up()

    def _join(self) -> None:
        """Let the threads say their last, for a moment: what they use is closed after this."""
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    def _give_up(self) -> None:
        """Abort the job as soon as the server hears it; else it would wait long for data that nobody sends."""
        while True:
            try:
                self._api.delete(f"batchPredictions/{self._id}/")
                self._given_up = True
            except ServerUnavailable:
                if not self._over.wait(_LOOK_SECONDS):
                    continue
            except ScorelineError:
                pass  # it is over, for a reason of its own
            return

    def _watch(self) -> None:
        for job in follow(self._api, self._id, self._over):
            show(self._view, job)
        self._ended.set()

    def _job(self) -> JsonObject:
        return self._api.get(f"batchPredictions/{self._id}/")

    def _abort(self) -> None:
        with suppress(ScorelineError):
            self._api.delete(f"batchPredictions/{self._id}/")


@dataclass
class Source:
    """The file that is sent. size: its bytes when it was opened, None for a pipe."""

    path: str
    size: int | None = None

    def __enter__(self) -> Self:
        try:
            self._file: IO[bytes] = (
                os.fdopen(os.dup(sys.stdin.fileno()), "rb", 0)
                if self.path == _STREAM
                else Path(self.path).open("rb", 0)
            )
            status = os.fstat(self._file.fileno())
        except OSError as error:
            raise SourceError(f"Intake: cannot read {self.path}: {error.strerror or error}.") from error
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self._closed = False
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let `blocks` end soon, wherever it is."""
        self._closed = True

    def blocks(self) -> Iterator[bytes]:
        """Yield what there was when it was opened. Raises SourceError, RunStopped once closed."""
        left = self.size
        with self._file as file:
            while left is None or left > 0:
                if self._closed:
                    raise RunStopped("The upload was stopped.")
                try:
                    block = file.read(_BLOCK_BYTES if left is None else min(left, _BLOCK_BYTES))
                except OSError as error:
                    raise SourceError(f"Intake: cannot read {self.path}: {error.strerror or error}.") from error
                if not block:
                    break
                left = None if left is None else left - len(block)
                yield block
        if left:
            raise SourceError(f"Intake: {self.path} lost its last {left} bytes while it was read.")


def _skip_into(blocks: Iterator[bytes], skip: int, target: Target) -> None:
    for block in blocks:
        if skip >= len(block):
            skip -= len(block)
            continue
        target.write(block[skip:])
        skip = 0


@contextmanager
def _term_interrupts() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does: with the job aborted."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
