"""Job definitions as JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

# pydantic reads these and not the standard library's before Python 3.12.
from typing_extensions import TypedDict

from scoreline.api.wire.answers import Moment, Person
from scoreline.api.wire.base import Paging, timestamp
from scoreline.api.wire.job_answers import ShownSpec
from scoreline.api.wire.jobs import spec_document
from scoreline.api.wire.people import person
from scoreline.definitions import records, request
from scoreline.definitions.records import CatchUp, Overlap
from scoreline.definitions.schedule import LISTS, Schedule, zone_named
from scoreline.jobs import described
from scoreline.jobs.spec import JobSpec
from scoreline.store import now
from scoreline.types import JsonObject


def _list(name: str) -> JsonObject:
    low, high, names = LISTS[name]
    one: list[JsonObject] = [{"type": "integer", "minimum": low, "maximum": high}, {"type": "string"}]
    words = f", or names such as `{names[0][:3]}` or `{names[0]}` in any case" if names else ""
    return {
        "type": "array",
        "items": {"anyOf": one},
        "minItems": 1,
        "description": f'`["*"]`, or numbers from {low} to {high}{words}.',
    }


_SCHEDULE: JsonObject = {
    "type": ["object", "null"],
    "properties": {name: _list(name) for name in LISTS},
    "required": list(LISTS),
    "additionalProperties": False,
    "description": "When it is due: `dayOfMonth` and `dayOfWeek` (Sunday is 0) add to each other.",
}
_OWN: JsonObject = {
    "name": {
        "type": ["string", "null"],
        "minLength": 1,
        "maxLength": request.LONGEST_NAME,
        "pattern": "\\S",
        "description": "Its name, unique in the organisation; without one it gets one.",
    },
    "enabled": {
        "type": ["boolean", "null"],
        "default": False,
        "description": "Whether it runs by its schedule, which it needs then.",
    },
    "schedule": _SCHEDULE,
    "timeZone": {
        "type": ["string", "null"],
        "default": request.UTC,
        "description": "Where the schedule's clock hangs, as the IANA calls it: `Europe/Berlin`.",
    },
    "overlap": {
        "enum": [*map(str, Overlap), None],
        "default": str(Overlap.QUEUE),
        "description": "What becomes of a run that is due while the one before goes on: it waits (one at most), is "
        "left out, or takes the other one's place.",
    },
    "catchUp": {
        "enum": [*map(str, CatchUp), None],
        "default": str(CatchUp.ONCE),
        "description": "Whether the last of the runs that were missed while nothing ran is made up for.",
    },
    "disableAfterFailures": {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": request.MOST_FAILURES,
        "description": "So many failed runs in a row disable it.",
    },
}


def asked_schema(title: str) -> JsonObject:
    """Return the JSON Schema of a definition's body: its own fields beside those of a job."""
    schema = described.asked_schema()
    shown_only: JsonObject = {"description": "Has no effect: it comes back with answers that are sent as requests."}
    return schema | {"title": title, "properties": _OWN | schema["properties"] | {"redactedFields": shown_only}}


class DefinitionQuery(Paging):
    """The filters of the list of job definitions."""

    search_name: str | None = Field(None, description="A part of the name, in any case.")
    deployment_id: str | None = None


class Definition(TypedDict):
    """A job definition. `batchPredictionJob` has the defaults filled in and templates as they were given.

    `lastScheduledRunTime` is when a run was due, whatever became of it. `message` says why the last run failed or was
    left out.
    """

    id: str
    name: str
    enabled: bool
    schedule: Annotated[JsonObject | None, WithJsonSchema(_SCHEDULE)]
    timeZone: str
    overlap: Literal["queue", "skip", "replace"]
    catchUp: Literal["once", "none"]
    disableAfterFailures: int | None
    batchPredictionJob: ShownSpec
    created: Moment | None
    createdBy: Person
    updated: Moment | None
    updatedBy: Person
    nextScheduledRunTime: Moment | None
    nextRunTimes: list[Moment]
    waitingRunTime: Moment | None
    lastScheduledRunTime: Moment | None
    lastStartedJobTime: Moment | None
    lastStartedJobStatus: Literal["INITIALIZING", "RUNNING", "COMPLETED", "ABORTED"] | None
    lastStartedJobId: str | None
    lastSuccessfulRunTime: Moment | None
    lastFailedRunTime: Moment | None
    lastSkippedRunTime: Moment | None
    consecutiveFailures: int
    message: str | None


def definition_document(found: records.Definition, viewer: str) -> Definition:
    """Return one definition for a user, given by id."""
    spec = JobSpec.from_document(found.body)
    spec = replace(spec, num_concurrent=spec.num_concurrent or found.concurrency)
    return {
        "id": found.id,
        "name": found.name,
        "enabled": found.enabled,
        "schedule": found.schedule,
        "timeZone": found.time_zone,
        "overlap": found.overlap.value,
        "catchUp": found.catch_up.value,
        "disableAfterFailures": found.disable_after,
        "batchPredictionJob": _job(spec, found.owner.id, viewer),
        "created": timestamp(found.created_at),
        "createdBy": person(found.owner),
        "updated": timestamp(found.updated_at),
        "updatedBy": person(found.updated_by),
        "nextScheduledRunTime": timestamp(found.next_run_at),
        "nextRunTimes": _next_times(found),
        "waitingRunTime": timestamp(found.waiting_for),
        "lastScheduledRunTime": timestamp(found.last_scheduled_at),
        "lastStartedJobTime": timestamp(found.last_started_at),
        "lastStartedJobStatus": None if found.last_job_state is None else found.last_job_state.value,
        "lastStartedJobId": found.last_job_id,
        "lastSuccessfulRunTime": timestamp(found.last_succeeded_at),
        "lastFailedRunTime": timestamp(found.last_failed_at),
        "lastSkippedRunTime": timestamp(found.last_skipped_at),
        "consecutiveFailures": found.failures,
        "message": found.message,
    }


def _job(spec: JobSpec, owner: str, viewer: str) -> JsonObject:
    """Return the settings of the job, the remapping as a list: programs that were made for this API read no other."""
    document = spec_document(spec, owner, viewer)
    if document["columnNamesRemapping"] is not None:
        document["columnNamesRemapping"] = [{"inputName": old, "outputName": new} for old, new in spec.remap]
    return document


def _next_times(found: records.Definition) -> list[str]:
    """Return the times that it would be due next, also while it is not enabled."""
    if found.schedule is None:
        return []
    times = Schedule.from_document(found.schedule).next_times(now(), zone_named(found.time_zone))
    return [str(timestamp(each)) for each in times]
