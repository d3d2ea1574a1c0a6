"""What the API and the command line do with jobs. Functions that take a caller show and change only what they may.

Raises, beside what each says: NotFound for a job that the caller may not see, StoreError when the database fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.engine import Connection

from scoreline.access import Caller, require_change, require_write, visible
from scoreline.access.outside import Outside
from scoreline.errors import Conflict, Forbidden, InvalidRequest, NotFound
from scoreline.jobs import (
    checks,
    instances,
    kept,
    keyring,
    outbox,
    outcomes,
    parts,
    rendering,
    repeats,
    states,
    webhooks,
)
from scoreline.jobs import ledger as ledgers
from scoreline.jobs import ready as readiness
from scoreline.jobs import store as rows
from scoreline.jobs.model import Job, JobState, UploadState, clock
from scoreline.jobs.outbox import Message
from scoreline.jobs.outcomes import Origin
from scoreline.jobs.parts import Part
from scoreline.jobs.ready import Ready
from scoreline.jobs.repeats import Ask
from scoreline.jobs.spec import LOCAL_FILE, JobSpec
from scoreline.jobs.store import ORDERS, JobFilter
from scoreline.jobs.templates import Moments
from scoreline.network import Reach
from scoreline.registry.records import Page, Server
from scoreline.store import Store, new_id, now
from scoreline.store.tables.jobs import jobs
from scoreline.types import Receipt

PART = 0
"""The part whose result is downloaded; a result in several parts is a later version's business."""

_NAMED = 3  # jobs that a message names; of others it says how many there are


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
    room: Callable[[], None] = lambda: None,
    origin: Origin | None = None,
    moments: Moments | None = None,
    reach: Callable[[], Reach] | None = None,
) -> Job:
    """Create a job; it scores with the model that `subject.choose` finds now, to its end.

    source: where the request came from. asked: what the request was, so that one that comes again gets the job that it
    made (see `repeats`). wanted: false when nobody waits for the answer any more; nothing is made then.
    files_open: whether the operator opened a folder to jobs that read or write files. outside: needed for a
    keys among the settings, which are sealed before anything is stored. room: raises SpoolFull when nothing can be
    staged, which is asked of jobs that need it. origin: the definition that it is made from, whose owner the caller is;
    a run that was due is made once, and asking again returns it. moments: what the times in templates are; without
    them, the present time and none before. reach: how far addresses of webhooks may lead, which is looked at when they
    are told, too; without it, only then.

    Raises InvalidRequest for what cannot be done (naming the field), NotFound for the deployment or model, Forbidden,
    Conflict when no prediction server is known, or nobody waits.
    """
    require_write(caller)
    if asked is not None and (made := repeats.known(store, caller, asked)):
        return get(store, caller, made)
    moments = moments or Moments(now())
    checks.check_built(spec, files_open=files_open, moments=moments)
    in_templates = moments if rendering.has_templates(spec) else None
    if LOCAL_FILE in (spec.intake_type, spec.output_type):
        room()
    if spec.webhooks and reach is not None:
        webhooks.check_reach(spec.webhooks, reach())
    ready = readiness.find(store, caller, spec, outside)
    values = _values(caller, ready, source, origin, in_templates)
    if LOCAL_FILE in (spec.intake_type, spec.output_type):
        room()
    with store.begin() as connection:
        ready.check_in(store, connection, caller)
        earlier = _earlier(store, connection, caller, asked, origin)
        if earlier is None:
            if not wanted():
                raise Conflict("The client closed the connection before its job was made: no job was made.")
            if isinstance(ready.server, Server):
                values["server_id"] = ready.server.id
            elif outside is not None:
                store.lock(connection, "prediction servers")
                values |= instances.settle_in(connection, caller, ready.server)
            values |= keyring.seal_in(connection, caller, ready.keys, outside)
            _insert(connection, values, caller, asked, origin)
    return get(store, caller, earlier or values["id"])


def _earlier(
    store: Store, connection: Connection, caller: Caller, asked: Ask | None, origin: Origin | None
) -> str | None:
    """Return the job that the same request, or the same due run, made before; take the run otherwise."""
    earlier = None if asked is None else repeats.earlier(store, connection, caller, asked)
    if origin is None or earlier is not None:
        return earlier
    if origin.claim is not None:
        origin.claim(connection)
    return outcomes.made(store, connection, origin)


def _values(
    caller: Caller, ready: Ready, source: str | None, origin: Origin | None, moments: Moments | None
) -> dict[str, Any]:
    """Return the new job's columns that need no transaction."""
    spec, chosen = ready.spec, ready.chosen
    return {
        "id": new_id(),
        "owner_id": caller.user_id,
        "org_id": caller.org_id,
        "deployment_id": None if chosen.deployment is None else chosen.deployment.id,
        "package_id": chosen.package.id,
        "package_hash": ready.package_hash,
        "adapts": ready.adapts,
        "target": rows.target_to_json(ready.target),
        "spec": spec.to_document(),
        "moments": None if moments is None else moments.to_json(),
        "intake_type": spec.intake_type,
        "intake_name": ready.intake_name,
        "output_type": spec.output_type,
        "source": source,
        "definition_id": None if origin is None else origin.definition_id,
        "scheduled_for": None if origin is None else origin.scheduled_for,
        "state": JobState.INITIALIZING,
        "upload_state": UploadState.WAITING if spec.intake_type == LOCAL_FILE else UploadState.NONE,
        "priority": spec.priority or 0,
        "retention_hours": spec.retention_hours,
        "created_at": now(),
    }


def _insert(
    connection: Connection, values: dict[str, Any], caller: Caller, asked: Ask | None, origin: Origin | None
) -> None:
    rows.insert(connection, values)
    who = caller.username if origin is None or origin.asked_by is None else origin.asked_by
    lines = [f"Job created by {who} at {clock(values['created_at'])}"]
    if origin is not None:
        due = "" if origin.scheduled_for is None else f", due at {clock(origin.scheduled_for)}"
        lines.append(f"Made from job definition {origin.name!r} of {caller.username}{due}")
        lines += [] if origin.note is None else [origin.note]
        outcomes.started(connection, origin, values["id"], values["created_at"])
    rows.add_log(connection, values["id"], lines)
    if asked is not None:
        repeats.note(connection, caller, asked, values["id"])
    if values["upload_state"] is UploadState.NONE:
        states.enqueue(connection, values["id"])


def repeated(store: Store, caller: Caller, job_id: str, outside: Outside) -> JobSpec:
    """Return what it takes to create a job like this one, with the keys among its settings.

    Raises NotFound, SetupError; Forbidden for who does not own the keys; Conflict when they are not kept any more.
    """
    old = get(store, caller, job_id)
    spec = replace(old.spec, num_concurrent=None) if old.adapts else old.spec
    if not keyring.has_keys(spec):
        return spec
    if old.secret_id is None:
        raise Conflict(
            f"The keys among the settings of job {job_id!r} were deleted with its results: create a job with its "
            "settings and the keys."
        )
    if old.owner.id != caller.user_id:
        raise Forbidden(
            f"Job {job_id!r} has keys of {old.owner.username!r} among its settings: create the job with keys of your "
            "own."
        )
    return keyring.opened(spec, keyring.keys_of(old, outside))


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


def check_unused(store: Store, deployment_id: str, label: str) -> None:
    """Raise InvalidRequest, which names them, when a deployment has jobs that are not over, whoever made them.

    So it does when a job definition with a schedule scores with it. For callers who have been given the deployment,
    whose label is `label`.
    """
    with store.read() as connection:
        found = rows.live_on(connection, deployment_id, _NAMED)
        definition = kept.naming(connection, deployment_id, enabled=True)
    if definition is not None:
        raise InvalidRequest(
            f"Deployment {label!r} is in use by job definition {definition!r}, which runs by schedule: disable or "
            "change the definition first."
        )
    if not found.items:
        return
    named = [f"{job.owner.username}'s job {job.id} ({_doing(job)})" for job in found.items]
    if found.total > len(named):
        named.append(f"{found.total - len(named)} more")
    if len(named) == 1:
        using, next_step = named[0], "wait for its end, or abort it if it is not needed"
    else:
        using, next_step = f"{', '.join(named[:-1])} and {named[-1]}", "wait for their end, or abort what is not needed"
    raise InvalidRequest(f"Deployment {label!r} is in use by {using}: {next_step}.")


def abort(store: Store, caller: Caller, job_id: str) -> Job:
    """End a job at once, whether it waits or runs; its worker stops within seconds and deletes what it wrote.

    Raises Conflict when the job is over already, or its output is being put in place; Forbidden.
    """
    job = get(store, caller, job_id)
    require_change(caller, job.owner.id, f"job {job_id!r}")
    reason = f"Cancelled by {caller.username} at {clock(now())}"
    if not store.run(lambda connection: states.abort(connection, job_id, reason, cancelled=True)):
        raise _too_late(get(store, caller, job_id), "aborted")
    return get(store, caller, job_id)


def pause(store: Store, caller: Caller, job_id: str) -> Job:
    """Let a job rest that waits or runs: it gives its slot back, and what is done stays done. One that rests, rests on.

    Raises Conflict when the job is over, or its output is being put in place; Forbidden.
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
    changed = store.run(lambda connection: change(connection, job_id, caller.username))
    job = get(store, caller, job_id)
    if job.state.final or (not changed and change is states.pause and job.paused_at is None):
        raise _too_late(job, verb)
    return job


def _too_late(job: Job, verb: str) -> Conflict:
    if job.state.final:
        return Conflict(f"Job {job.id!r} cannot be {verb}, because it is {job.state} already.")
    return Conflict(
        f"Job {job.id!r} cannot be {verb} any more: all its rows are scored, and its output is being put in place."
    )


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


def partitions(store: Store, caller: Caller, job_id: str) -> list[Part]:
    """Return the parts of a job that several workers share, none where it is not cut."""
    job = get(store, caller, job_id)
    with store.read() as connection:
        return parts.parts_of(connection, job.id)


def messages(store: Store, caller: Caller, job_id: str) -> list[Message]:
    """Return what a job's webhooks were told, or are still to be told; settled messages are kept for a while."""
    job = get(store, caller, job_id)
    with store.read() as connection:
        return outbox.of_job(connection, job.id)


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


def _doing(job: Job) -> str:
    if job.paused_at is not None:
        return "paused"
    if job.state is JobState.RUNNING:
        return "running"
    return "waiting in line" if job.queued else "waiting for its data"
