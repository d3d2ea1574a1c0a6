"""Scoring with no server: the model in this process, the same pipeline, file to file."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from scoreline import urls
from scoreline.cli import options
from scoreline.cli.model_options import ModelWords
from scoreline.cli.output import show_note
from scoreline.cli.places import DATASET, Place
from scoreline.cli.progress import View, open_view, show_result
from scoreline.cli.score_words import ScoreWords
from scoreline.cli.signals import set_soon
from scoreline.errors import InvalidRequest, NotFound, RunStopped
from scoreline.jobs import fitting, plans, storage, web
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.target import Target
from scoreline.rows import forms
from scoreline.types import JsonObject, ModelInfo, Range, RunTicket, ServerAddress, Snapshot

_THRESHOLD = 0.5


def score(
    path: Path,
    about: ModelWords,
    words: ScoreWords,
    source: Place,
    output: Place,
    *,
    errors: str | None = None,
    trusted: bool = False,
    quiet: bool = False,
) -> JsonObject:
    """Score a file or an object; return what was done. `errors`: the file that lists the failed rows.

    Raises what the run raises; after Ctrl-C no half file stays.
    """
    from scoreline import models  # noqa: PLC0415 -- start-up time of the other commands
    from scoreline.engines import MemoryLedger, run_ticket  # noqa: PLC0415 -- as above
    from scoreline.scorers.inprocess import InProcessScorer  # noqa: PLC0415 -- as above

    if not path.exists():
        raise NotFound(f"There is no model {path}.")
    begun = time.monotonic()
    with open_view(quiet=quiet) as view, _interruptible() as stop:
        view.state("loading the model")
        model = models.load(path, trusted=trusted)
        target = _target(path, about, model.info)
        with tempfile.TemporaryDirectory(prefix="scoreline-") as scratch:
            ticket = _ticket(words, target, source, output, scratch)
            if errors is not None:
                ticket = replace(ticket, errors_file={"type": "filesystem", "path": errors})
            view.state("scoring")
            watcher = _Watcher(view, stop)
            try:
                summary = run_ticket(ticket, MemoryLedger(), watcher, scorer=InProcessScorer(model))
            except RunStopped as error:
                raise KeyboardInterrupt from error
    for warning in summary.warnings:
        show_note(warning)
    counts, seconds = summary.counts, time.monotonic() - begun
    show_result(counts.read, counts.failed, seconds, output.shown, quiet=quiet, rows_explained=words.include_status)
    return {
        "output": output.shown,
        "rows": counts.read,
        "scoredRows": counts.scored,
        "failedRows": counts.failed,
        "seconds": round(seconds, 3),
        "warnings": list(summary.warnings),
    }


def plan(
    path: Path, about: ModelWords, words: ScoreWords, source: Place, output: Place, *, trusted: bool = False
) -> JsonObject:
    """Return what scoring would do, by the first rows of a file or an object; see `jobs.planning.document`."""
    from scoreline import models  # noqa: PLC0415 -- start-up time of the other commands
    from scoreline.engines import preview_ticket  # noqa: PLC0415 -- as above
    from scoreline.jobs import planning  # noqa: PLC0415 -- as above
    from scoreline.scorers.inprocess import InProcessScorer  # noqa: PLC0415 -- as above

    if not path.exists():
        raise NotFound(f"There is no model {path}.")
    model = models.load(path, trusted=trusted)
    with _interruptible() as stop, tempfile.TemporaryDirectory(prefix="scoreline-") as scratch:
        ticket = _ticket(words, _target(path, about, model.info), source, output, scratch)

        def check() -> None:
            if stop.is_set():
                raise KeyboardInterrupt

        found = preview_ticket(ticket, check, scorer=InProcessScorer(model))
    return planning.document(found, ticket.pace.concurrency)


def _target(path: Path, about: ModelWords, info: ModelInfo) -> Target:
    """Decide what is predicted by the same rules as a registration does."""
    from scoreline.registry import agreement, request  # noqa: PLC0415 -- start-up time of the other commands

    asked = request.parse(about.document(path.name))
    kind = agreement.target_type(asked, info)
    labels = agreement.class_labels(asked, info, kind)
    return Target(
        name=agreement.target_name(asked, info, kind),
        type=agreement.stored_type(kind),
        features=agreement.features(asked, info),
        class_labels=labels or (),
        positive_class=agreement.positive_class(asked, labels, kind),
        threshold=_THRESHOLD,
        label_thresholds=tuple(agreement.label_thresholds(asked, labels, kind, _THRESHOLD) or ()),
        extra=agreement.extra_outputs(asked, info),
    )


def _ticket(words: ScoreWords, target: Target, source: Place, output: Place, scratch: str) -> RunTicket:
    spec = JobSpec.from_document({"numConcurrent": _cores(), **words.document()})
    fitting.check_target(spec, target)
    settings = options.settings()
    return RunTicket(
        job_id=secrets.token_hex(4),
        fence=1,
        part=Range(),
        intake=_settings(source, "intake"),
        output=_settings(output, "output"),
        dialect=spec.csv.dialect,
        plan=plans.scoring(spec, target),
        pace=plans.pace(spec),
        errors=plans.errors(spec, settings),
        server=ServerAddress("", "", ""),
        spool=scratch,
        package_hash="",
        limits=plans.limits(settings, kept=False),
    )


def _settings(place: Place, side: str) -> JsonObject:
    """Return an adapter's settings. A store is reached as the person at the terminal, who has the keys."""
    settings = place.settings()
    if settings is None:
        return {"type": "filesystem", "path": place.text, **forms.by_name(place.text)}
    if place.credential is not None:
        raise InvalidRequest("Credentials are stored at a server: with --model your own environment has the keys.")
    field = f"{side}Settings"
    if settings["type"] == DATASET:
        raise InvalidRequest(f"{place.text!r} lies at a server: give --deployment instead of --model.")
    if settings["type"] == urls.HTTP:
        web.check(settings, field, side)
        return settings
    storage.check(settings, field, side)
    return {**settings, "ambient": True}


class _Watcher:
    """The run's link to the person at the terminal."""

    def __init__(self, view: View, stop: threading.Event) -> None:
        self._view = view
        self._stop = stop

    def report(self, snapshot: Snapshot) -> None:
        """Move the bar."""
        size = snapshot.bytes_total
        share = None if size is None else min(1.0, snapshot.bytes_in / max(size, 1))
        self._view.update(snapshot.counts.read, share)

    def log(self, message: str) -> None:
        """Drop it: warnings come with the summary, faults as errors."""

    def stop_requested(self) -> bool:
        """Return whether the person wants it to end."""
        return self._stop.is_set()


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Let Ctrl-C and SIGTERM end the run in order; a second Ctrl-C ends the process where it stands."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        set_soon(stop)

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
