"""What a job does, as the server tells it: by its stream of events, or from one that has none, by asking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING

from scoreline.errors import ScorelineError, ServerUnavailable
from scoreline.types import JsonObject

if TYPE_CHECKING:
    from scoreline.cli.client import Api
    from scoreline.cli.progress import View

FINAL = ("COMPLETED", "ABORTED")
_LOOK_SECONDS = 0.5


def follow(api: Api, job_id: str, over: Event) -> Iterator[JsonObject]:
    """Yield a job's status and counters, by their names in its document, whenever they change, until it is over.

    `logs` has the new lines of its log. A server that is away, or too busy, is waited for. over: ends it early.
    """
    path, last, streams = f"batchPredictions/{job_id}/", "", True
    told = streamed = 0  # lines: that were yielded, that the events up to `last` had
    while not over.is_set():
        job: JsonObject | None = None
        try:
            if streams:
                for number, event in api.events(f"{path}events/", last):
                    lines = event.get("logs") or []
                    new = lines[max(0, told - streamed) :]
                    last, streamed = number, streamed + len(lines)
                    told = max(told, streamed)
                    job = {**event, "logs": new}
                    yield job
                    if over.is_set():
                        return
        except ServerUnavailable:
            pass
        except ScorelineError:
            streams = False  # an older server
        if job is None:
            with suppress(ScorelineError):
                job = api.get(path)
                lines = job.get("logs") or []
                new, told = lines[told:], max(told, len(lines))
                yield {**job, "logs": new}
        if job is not None and job["status"] in FINAL:
            return
        over.wait(_LOOK_SECONDS)


def show(view: View, job: JsonObject) -> None:
    """Show how far a job is."""
    ahead = job.get("queuePosition")
    view.state(f"waiting, {ahead} ahead" if ahead else str(job["status"]).lower())
    view.update(job["scoredRows"] + job["failedRows"], job["percentageCompleted"] / 100 or None)
