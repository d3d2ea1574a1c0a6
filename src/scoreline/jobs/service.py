"""What the API and the command line do with jobs. Functions that take a caller show and change only what they may.

Raises, beside what each says: NotFound for a job that the caller may not see, StoreError when the database fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.engine import Connection

from scoreline.access import Caller, require_change, require_write, visible
from scoreline.access.outside import Outside
from scoreline.errors import Conflict, Forbidden, InvalidRequest, NotFound
from scoreline.jobs import checks, fitting, instances, repeats, states, subject, uploads
from scoreline.jobs import ledger as ledgers
from scoreline.jobs import store as rows
from scoreline.jobs.instances import Instance
from scoreline.jobs.model import Job, JobState, UploadState, clock
from scoreline.jobs.repeats import Ask
from scoreline.jobs.spec import LOCAL_FILE, JobSpec
from scoreline.jobs.store import ORDERS, JobFilter
from scoreline.jobs.subject import Subject
from scoreline.registry import packages
from scoreline.registry.records import Package, Page, Server
from scoreline.store import Store, new_id, now
from scoreline.store.tables.jobs import jobs
from scoreline.types import Receipt

PART = 0
"""The part whose result is downloaded; a result in several parts is a later version's business."""


def create(
    store: Store,
    caller: Caller,
    spec: JobSpec,
    *,
    source: str | None = "api",
    asked: Ask | None = None,
    wanted: Callable[[], bool] = lambda: True,
    files_open: bool = False,
    outside: Outside | None = None,
) -> Job:
    """Create a job; it scores with the model that `subject.choose` finds now, to its end.

    source: where the request came from. asked: what the request was, so that one that comes again gets the job that it
    made (see `repeats`). wanted: false when nobody waits for the answer any more; nothing is made then.
    files_open: whether the operator opened a folder to jobs that read or write files. outside: needed for a
    `predictionInstance`, whose keys are sealed before anything is stored.

    Raises InvalidRequest for what cannot be done (naming the field), NotFound for the deployment or model, Forbidden,
    Conflict when no prediction server is known, or nobody waits.
    """
    require_write(caller)
    if asked is not None and (made := repeats.known(store, caller, asked)):
        return get(store, caller, made)
    checks.check_built(spec, files_open=files_open)
    chosen = subject.choose(store, caller, spec)
    target = chosen.target
    fitting.check_target(spec, target)
    instance = _instance(store, caller, spec, chosen, outside)
    server = instance or chosen.server
    adapts = spec.num_concurrent is None
    spec = replace(spec, num_concurrent=spec.num_concurrent or server.concurrency)
    if spec.prediction_instance is not None:
        spec = replace(spec, prediction_instance=instances.masked(spec.prediction_instance))
    job_id = new_id()
    upload = UploadState.WAITING if spec.intake_type == LOCAL_FILE else UploadState.NONE
    moment = now()
    values: dict[str, Any] = {
        "id": job_id,
        "owner_id": caller.user_id,
        "org_id": caller.org_id,
        "deployment_id": None if chosen.deployment is None else chosen.deployment.id,
        "package_id": chosen.package.id,
        "package_hash": _what_scores(chosen.package, instance),
        "adapts": adapts,
        "target": rows.target_to_json(target),
        "spec": spec.to_document(),
        "intake_type": spec.intake_type,
        "output_type": spec.output_type,
        "source": source,
        "state": JobState.INITIALIZING,
        "upload_state": upload,
        "priority": spec.priority or 0,
        "retention_hours": spec.retention_hours,
        "created_at": moment,
    }
    with store.begin() as connection:
        earlier = None if asked is None else repeats.earlier(store, connection, caller, asked)
        if earlier is None:
            if not wanted():
                raise Conflict("The client closed the connection before its job was made: no job was made.")
            if isinstance(server, Server):
                values["server_id"] = server.id
            elif outside is not None:
                store.lock(connection, "prediction servers")
                values |= instances.settle_in(connection, caller, server, outside)
            _insert(connection, values, caller, asked)
    return get(store, caller, earlier or job_id)


def _insert(connection: Connection, values: dict[str, Any], caller: Caller, asked: Ask | None) -> None:
    rows.insert(connection, values)
    rows.add_log(connection, values["id"], [f"Job created by {caller.username} at {clock(values['created_at'])}"])
    if asked is not None:
        repeats.note(connection, caller, asked, values["id"])
    if values["upload_state"] is UploadState.NONE:
        states.enqueue(connection, values["id"])


def repeated(store: Store, caller: Caller, job_id: str, outside: Outside) -> JobSpec:
    """Return what it takes to create a job like this one, with the keys of its prediction instance.

    Raises NotFound, SetupError; Forbidden for who does not own the keys.
    """
    old = get(store, caller, job_id)
    spec = replace(old.spec, num_concurrent=None) if old.adapts else old.spec
    if old.secret_id is None or spec.prediction_instance is None:
        return spec
    if old.owner.id != caller.user_id:
        raise Forbidden(
            f"Job {job_id!r} has keys of {old.owner.username!r} for its prediction instance: create the job with keys "
            "of your own."
        )
    keys = outside.vault.open(old.secret_id, old.owner.id, instances.KEYS)
    return replace(spec, prediction_instance={**spec.prediction_instance, **keys})


def get(store: Store, caller: Caller, job_id: str) -> Job:
    """Return a job in any state, hidden ones included."""
    with store.read() as connection:
        job = rows.find(connection, job_id, visible(caller, jobs))
    if job is None:
        raise NotFound(f"There is no batch prediction job {job_id!r}.")
    return job


def list_jobs(
    store: Store,
    caller: Caller,
    which: JobFilter | None = None,
    *,
    order: str = "-created",
    offset: int = 0,
    limit: int | None = 100,
) -> Page[Job]:
    """Return one page of the caller's jobs that are not hidden. Raises InvalidRequest for an unknown order."""
    if order not in ORDERS:
        raise InvalidRequest(f"orderBy must be one of {', '.join(ORDERS)}.", "orderBy")
    with store.read() as connection:
        return rows.page(connection, caller, which or JobFilter(), order=order, offset=offset, limit=limit)


def job_on(store: Store, deployment_id: str) -> Job | None:
    """Return a job, whoever made it, that runs on a deployment or waits in line; None when there is none.

    For callers who have been given the deployment.
    """
    with store.read() as connection:
        return rows.busy_on(connection, deployment_id)


def abort(store: Store, caller: Caller, job_id: str) -> Job:
    """End a job at once, whether it waits or runs; its worker stops within seconds and deletes what it wrote.

    Raises Conflict when the job is over already, Forbidden.
    """
    job = get(store, caller, job_id)
    require_change(caller, job.owner.id, f"job {job_id!r}")
    reason = f"Cancelled by {caller.username} at {clock(now())}"
    if not store.run(lambda connection: states.abort(connection, job_id, reason)):
        job = get(store, caller, job_id)
        raise Conflict(f"Job {job_id!r} cannot be aborted, because it is {job.state} already.")
    return get(store, caller, job_id)


def pause(store: Store, caller: Caller, job_id: str) -> Job:
    """Let a job rest that waits or runs: it gives its slot back, and what is done stays done. One that rests, rests on.

    Raises Conflict when the job is over, Forbidden.
    """
    return _rest(store, caller, job_id, states.pause, "paused")


def resume(store: Store, caller: Caller, job_id: str) -> Job:
    """Let a paused job go on after its last recorded chunk; one that is not paused stays as it is.

    Raises Conflict when the job is over, Forbidden.
    """
    return _rest(store, caller, job_id, states.resume, "resumed")


def _rest(store: Store, caller: Caller, job_id: str, change: Callable[[Connection, str, str], bool], verb: str) -> Job:
    job = get(store, caller, job_id)
    require_change(caller, job.owner.id, f"job {job_id!r}")
    store.run(lambda connection: change(connection, job_id, caller.username))
    job = get(store, caller, job_id)
    if job.state.final:
        raise Conflict(f"Job {job_id!r} cannot be {verb}, because it is {job.state} already.")
    return job


def hide(store: Store, caller: Caller, job_id: str, *, hidden: bool) -> Job:
    """Take a finished job from the lists, or show it again. Raises Conflict while it is not finished, Forbidden."""
    job = get(store, caller, job_id)
    require_change(caller, job.owner.id, f"job {job_id!r}")
    moment = (job.hidden_at or now()) if hidden else None
    if not store.run(lambda connection: states.hide(connection, job_id, moment)):
        raise Conflict(f"Job {job_id!r} cannot be hidden while it is {job.state}: abort it first.")
    return get(store, caller, job_id)


def queue_position(store: Store, caller: Caller, job_id: str) -> int | None:
    """Return the number of jobs ahead of one that waits for a slot, None for any other. `Job.queue_position` has it."""
    return get(store, caller, job_id).queue_position


def logs(store: Store, caller: Caller, job_id: str) -> list[str]:
    """Return a job's log, oldest line first; lines are only ever appended."""
    job = get(store, caller, job_id)
    return logs_of(store, [job])[job.id]


def logs_of(store: Store, shown: Sequence[Job]) -> dict[str, list[str]]:
    """Return the logs of jobs that the caller has been given, by job id, in one query."""
    with store.read() as connection:
        return rows.logs(connection, [job.id for job in shown])


def result_flushes(store: Store, job_id: str, after: int = -1) -> list[tuple[int, Receipt, int]]:
    """Return the blocks of a localFile result that are durable, in order: (number, receipt, bytes).

    `after` is the number of the last block that was read. For callers who have been given the job.
    """
    return result_since(store, job_id, after)[1]


def result_since(store: Store, job_id: str, after: int = -1) -> tuple[JobState, list[tuple[int, Receipt, int]]]:
    """Return the job's state and the result's blocks after a number, both of one moment.

    A state of COMPLETED says that these blocks are the last ones. Raises NotFound.
    """
    with store.read() as connection:
        state = states.state_of(connection, job_id)
        if state is None:
            raise NotFound(f"There is no batch prediction job {job_id!r}.")
        found = ledgers.flushes(connection, job_id, PART, after)
    return state, [(flush.first, flush.receipt, flush.bytes_out) for flush in found]


def error_receipts(store: Store, job_id: str) -> list[Receipt]:
    """Return the blocks of the list of failed rows that are durable, in order. For callers who were given the job."""
    with store.read() as connection:
        return ledgers.error_receipts(connection, job_id)


def state(store: Store, job_id: str) -> JobState:
    """Return a job's state alone: one cheap read, for those who wait for a change. Raises NotFound."""
    with store.read() as connection:
        found = states.state_of(connection, job_id)
    if found is None:
        raise NotFound(f"There is no batch prediction job {job_id!r}.")
    return found


def upload_begins(store: Store, caller: Caller, job_id: str, *, expected: int | None = None) -> Job:
    """Note that the client's data begins to arrive; with `async` the job enters the queue now.

    expected: bytes that the client announced (Content-Length). Parts of a multipart upload may call it each.
    Raises NotFound for a job that needs no data; Conflict when data was sent before, or the job is over; Forbidden.
    """
    job = get(store, caller, job_id)
    require_change(caller, job.owner.id, f"job {job_id!r}")
    if job.upload_state is UploadState.NONE:
        raise NotFound(f"Job {job_id!r} takes no upload: its intake is {job.spec.intake_type}.")
    announced = None if job.spec.multipart else expected
    if not store.run(lambda connection: uploads.begin(connection, job, announced)):
        raise _no_upload(get(store, caller, job_id))
    return get(store, caller, job_id)


def upload_progress(store: Store, job_id: str, received: int) -> None:
    """Note the bytes that are staged. Call it about once a second while the client sends, even without new bytes.

    Raises Conflict when the data is not wanted any more, because the job is over.
    """
    if not store.run(lambda connection: uploads.grow(connection, job_id, received)):
        raise _unwanted(store, job_id)


def upload_done(store: Store, job_id: str, received: int) -> None:
    """Note that all data is staged, `received` bytes; with `async=false` the job enters the queue now.

    Doing it again is harmless. Raises Conflict when the job is over for another reason.
    """
    if not store.run(lambda connection: uploads.finish(connection, job_id, received)):
        raise _unwanted(store, job_id)


def upload_broken(store: Store, job_id: str, reason: str, *, received: int | None = None) -> bool:
    """End a job whose data will never be whole; `reason` is the sentence for its status, `received` the staged bytes.

    Returns False when the upload was complete before, and nothing is changed then. A job that is over stays as it is.
    """
    return store.run(lambda connection: uploads.give_up(connection, job_id, reason, received))


def _no_upload(job: Job) -> Conflict:
    if job.state.final:
        return Conflict(f"Job {job.id!r} takes no data any more, because it is {job.state}.")
    return Conflict(f"The upload for job {job.id!r} has begun already: create a new job to send other data.")


def _unwanted(store: Store, job_id: str) -> Conflict:
    with store.read() as connection:
        job = rows.find(connection, job_id)
    if job is None:
        return Conflict(f"Job {job_id!r} does not exist any more.")
    return Conflict(f"Job {job_id!r} takes no data any more, because it is {job.state}: {job.status_details}")


def _instance(store: Store, caller: Caller, spec: JobSpec, chosen: Subject, outside: Outside | None) -> Instance | None:
    """Return the prediction instance that the spec names."""
    if spec.prediction_instance is None:
        return None
    assert outside is not None
    found = instances.find(store, caller, spec.prediction_instance, outside)
    if found.own is not None and chosen.package.server is not None:
        raise InvalidRequest(
            f"predictionInstance names a prediction server of this installation, but the model is on "
            f"{chosen.package.server['url']}: leave predictionInstance out.",
            instances.FIELD,
        )
    if found.own is None and chosen.deployment is None:
        raise InvalidRequest(
            "predictionInstance names a server of another installation, which scores deployments only: give "
            "deploymentId.",
            instances.FIELD,
        )
    return found


def _what_scores(package: Package, instance: Instance | None) -> str:
    """Return a hash of what scores; another server may know a model that is only described here."""
    if instance is None or instance.own is not None or package.artifact or package.server:
        return packages.scorable(package)
    return hashlib.sha256(f"{instance.url} {package.id}".encode()).hexdigest()
