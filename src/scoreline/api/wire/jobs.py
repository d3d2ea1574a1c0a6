"""Batch prediction jobs as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Literal

from pydantic import Field

from scoreline import adapters, urls
from scoreline.api.urls import Links
from scoreline.api.wire import job_answers
from scoreline.api.wire.base import Paging, Time, Wire, timestamp
from scoreline.api.wire.people import person
from scoreline.errors import InvalidRequest
from scoreline.jobs import credentials, rendering, webhooks
from scoreline.jobs.model import Job
from scoreline.jobs.outbox import Message, MessageState
from scoreline.jobs.parts import Part
from scoreline.jobs.spec import LOCAL_FILE, JobSpec
from scoreline.jobs.store import JobFilter
from scoreline.types import JsonObject

COLLECTION = "batchPredictions"
_REDACTED = "[redacted]"
_SECRETS = (
    ("predictionInstance", "apiKey"),
    ("predictionInstance", "datarobotKey"),
    ("outputSettings", "serverSideEncryption", "customerKey"),
)
_OWN = tuple((side, name) for side in ("intakeSettings", "outputSettings") for name in sorted(credentials.FIELDS))

_State = Literal["INITIALIZING", "RUNNING", "COMPLETED", "ABORTED", "FAILED"]


class JobQuery(Paging):
    """The filters of the list of jobs."""

    status: tuple[_State, ...] = ()
    source: tuple[str, ...] = Field((), description="A leading `-` excludes.")
    deployment_id: str | None = None
    model_id: str | None = None
    job_id: str | None = None
    order_by: Literal["created", "-created", "status", "-status"] = "-created"
    all_jobs: bool | None = Field(None, description="Has no effect: what is visible depends on the caller's role.")
    cutoff_hours: int | None = Field(None, ge=0, le=10**6, description="Only jobs created in the last hours.")
    start_date_time: Time | None = Field(None, description="Only jobs created then or later.")
    end_date_time: Time | None = Field(None, description="Only jobs created then or earlier.")
    batch_prediction_job_definition_id: str | None = None
    hostname: tuple[str, ...] = ()
    batch_job_type: tuple[Literal["prediction", "monitoring"], ...] = ()
    intake_type: tuple[str, ...] = ()
    output_type: tuple[str, ...] = ()

    def filter(self) -> JobFilter:
        """Return what the query means. Raises InvalidRequest for a type of intake or output that does not exist."""
        return JobFilter(
            states=self.status,
            sources=self.source,
            deployment_id=self.deployment_id,
            model_id=self.model_id,
            job_id=self.job_id,
            cutoff_hours=self.cutoff_hours,
            start=self.start_date_time,
            end=self.end_date_time,
            definition_id=self.batch_prediction_job_definition_id,
            hostnames=self.hostname,
            batch_job_types=self.batch_job_type,
            intake_types=_types(self.intake_type, "intakeType"),
            output_types=_types(self.output_type, "outputType"),
        )


class JobChange(Wire):
    """What may be changed of a job."""

    hidden: bool = Field(description="Take the job from the lists, or show it again.")


class FromExisting(Wire):
    """Repeat a job."""

    prediction_job_id: str = Field(min_length=1)


class FromDefinition(Wire):
    """Run a job definition."""

    job_definition_id: str = Field(min_length=1)


def job_document(job: Job, logs: Sequence[str], links: Links, viewer: str) -> job_answers.Job:
    """Return one job for a user, given by id. The client needs every field's type to be exactly this one."""
    return {
        "id": job.id,
        "status": job.state.value,
        "statusDetails": job.status_details,
        "percentageCompleted": job.percentage,
        "elapsedTimeSec": job.elapsed_seconds,
        "created": timestamp(job.created_at),
        "createdBy": person(job.owner),
        "scoredRows": job.counts.scored,
        "failedRows": job.counts.failed,
        "skippedRows": job.counts.skipped,
        "jobIntakeSize": job.bytes_in,
        "jobOutputSize": job.bytes_out,
        "liveConcurrency": job.live_concurrency,
        "liveChunkSize": job.live_chunk_bytes,
        "queued": job.queued,
        "queuePosition": job.queue_position,
        "resultsDeleted": job.results_deleted,
        "source": job.source,
        "logs": list(logs),
        "links": _links(job, links),
        "jobSpec": spec_document(job.spec, job.owner.id, viewer),
        "rendered": rendering.values(job.spec, job.moments),
        "hidden": timestamp(job.hidden_at),
        "paused": timestamp(job.paused_at),
        "intakeDatasetDisplayName": job.intake_name,
        "monitoringBatchId": None,
        "batchPredictionJobDefinition": _made_from(job),
        "partitions": job.partitions,
    }


def progress_document(job: Job, lines: Sequence[str]) -> job_answers.Progress:
    """Return what an event says of a job, and the lines of its log that are new."""
    return {
        "id": job.id,
        "status": job.state.value,
        "statusDetails": job.status_details,
        "percentageCompleted": job.percentage,
        "elapsedTimeSec": job.elapsed_seconds,
        "scoredRows": job.counts.scored,
        "failedRows": job.counts.failed,
        "skippedRows": job.counts.skipped,
        "jobIntakeSize": job.bytes_in,
        "jobOutputSize": job.bytes_out,
        "liveConcurrency": job.live_concurrency,
        "liveChunkSize": job.live_chunk_bytes,
        "queued": job.queued,
        "queuePosition": job.queue_position,
        "paused": timestamp(job.paused_at),
        "logs": list(lines),
    }


def partitions_document(found: Sequence[Part]) -> job_answers.Partitions:
    """Return the parts of a job."""
    return {
        "data": [
            {
                "partition": part.number,
                "state": part.state.value,
                "worker": part.owner,
                "rows": None if part.counts is None else part.counts.read,
            }
            for part in found
        ]
    }


def messages_document(job: Job, found: Sequence[Message], viewer: str) -> job_answers.Messages:
    """Return what a job's webhooks are told, for a user."""
    hooks = spec_document(job.spec, job.owner.id, viewer).get(webhooks.FIELD) or []
    return {
        "data": [
            {
                "id": message.id,
                "webhook": message.hook,
                "url": hooks[message.hook]["url"],
                "event": message.event,
                "state": message.state.value,
                "tries": message.tries,
                "created": timestamp(message.created_at),
                "due": timestamp(message.due_at) if message.state is MessageState.WAITING else None,
                "settled": timestamp(message.settled_at),
                "status": message.status,
                "trouble": message.trouble,
            }
            for message in found
        ]
    }


def manifest_document(job: Job, viewer: str) -> job_answers.Manifest:
    """Return what a job did, to the byte, for a user; the figures are final once the job is COMPLETED."""
    counts = job.counts
    return {
        "jobId": job.id,
        "status": job.state.value,
        "statusDetails": job.status_details,
        "rows": {
            "read": counts.read,
            "scored": counts.scored,
            "failed": counts.failed,
            "skipped": counts.skipped,
            "written": counts.scored + counts.failed,
        },
        "intake": {"type": job.spec.intake_type, "bytes": job.bytes_in, "identity": job.source_identity},
        "output": {"type": job.spec.output_type, "bytes": job.bytes_out, "sha256": job.result_sha256},
        "model": {"modelPackageId": job.package_id, "sha256": job.package_hash, "servedAs": job.server_model},
        "runs": job.fence,
        "ranSeconds": round(job.ran_seconds, 3),
        "created": timestamp(job.created_at),
        "started": timestamp(job.started_at),
        "finished": timestamp(job.finished_at),
        "jobSpec": spec_document(job.spec, job.owner.id, viewer),
        "rendered": rendering.values(job.spec, job.moments),
    }


def _links(job: Job, links: Links) -> job_answers.JobLinks:
    """Return the job's links. The download is offered at once: the client gives up on a job that queues without one."""
    found: job_answers.JobLinks = {
        "self": links.to(COLLECTION, job.id),
        "errors": links.to(COLLECTION, job.id, "errors"),
    }
    if job.spec.intake_type == LOCAL_FILE:
        found["csvUpload"] = links.to(COLLECTION, job.id, "csvUpload")
    if job.spec.output_type == LOCAL_FILE:
        found["download"] = links.to(COLLECTION, job.id, "download")
    return found


def _made_from(job: Job) -> job_answers.MadeFrom | None:
    found = job.made_from
    return None if found is None else {"id": found.id, "name": found.name, "createdBy": found.owner_id}


def spec_document(spec: JobSpec, owner: str, viewer: str) -> JsonObject:
    """Return settings of a job or a definition for a user; users are given by id."""
    document = deepcopy(spec.to_document())
    redacted = []
    # A job's credentials are its owner's: nobody else may use them, or needs to know which ones they are.
    for path in _SECRETS if viewer == owner else (*_SECRETS, *_OWN):
        place: Any = document
        for step in path[:-1]:
            place = place.get(step) if isinstance(place, dict) else None
        if isinstance(place, dict) and place.get(path[-1]) is not None:
            place[path[-1]] = _REDACTED
            redacted.append(".".join(path))
    for side in ("intakeSettings", "outputSettings"):
        if document[side]["type"] == urls.HTTP:
            redacted += [f"{side}.{name}" for name in urls.hides(document[side])]
    if document.get(webhooks.FIELD):
        if viewer != owner:
            document[webhooks.FIELD] = webhooks.for_others(document[webhooks.FIELD])
        redacted += webhooks.hides(document[webhooks.FIELD])
    return {**document, "redactedFields": redacted}


def _types(given: Sequence[str], field: str) -> tuple[str, ...]:
    try:
        return tuple(adapters.canonical(kind) for kind in given)
    except InvalidRequest as exc:
        raise InvalidRequest(exc.message, field) from exc
