"""What the API tells a job about its data: it begins, grows, is whole, broke off, will never be whole.

Raises, beside what each says: StoreError when the database fails.
"""

from __future__ import annotations

from scoreline.access import Caller, require_change
from scoreline.errors import Conflict, NotFound
from scoreline.jobs import service, uploads
from scoreline.jobs import store as rows
from scoreline.jobs.model import Job, UploadState
from scoreline.jobs.uploads import Begun
from scoreline.store import Store


class UnderWay(Conflict):
    """Another request sends the job's data: `sender`, whose upload had this `beat`."""

    def __init__(self, message: str, sender: str, beat: int) -> None:
        super().__init__(message)
        self.sender = sender
        self.beat = beat


class Replaced(Conflict):
    """Another request has taken this one's place."""


def begins(store: Store, caller: Caller, job_id: str, sender: str, *, expected: int | None = None) -> tuple[Job, Begun]:
    """Note that the client's data begins to arrive, or comes again; with `async` the job enters the queue now.

    expected: bytes that the client announced (Content-Length). Parts of a multipart upload each call it.
    Raises NotFound for a job that needs no data; UnderWay while another request sends it; Conflict when it was sent
    before, or the job is over; Forbidden.
    """
    job = service.get(store, caller, job_id)
    require_change(caller, job.owner.id, f"job {job_id!r}")
    if job.upload_state is UploadState.NONE:
        raise NotFound(f"Job {job_id!r} takes no upload: its intake is {job.spec.intake_type}.")
    announced = None if job.spec.multipart else expected
    begun = store.run(lambda connection: uploads.begin(connection, job, announced, sender))
    if begun is None:
        raise _no_upload(service.get(store, caller, job_id))
    return service.get(store, caller, job_id), begun


def progress(store: Store, job_id: str, received: int, sender: str | None = None) -> None:
    """Note the bytes that are staged. Call it about once a second while the client sends, even without new bytes.

    sender: None for parts. Raises Conflict when the job is over and wants no data, Replaced when another sends it.
    """
    if not store.run(lambda connection: uploads.grow(connection, job_id, received, sender)):
        raise _unwanted(store, job_id)


def part_done(store: Store, job_id: str, received: int, sender: str) -> None:
    """Note that a part is staged, and all the bytes now. Raises Conflict when the job is over and wants no data."""
    if not store.run(lambda connection: uploads.end_part(connection, job_id, received, sender)):
        raise _unwanted(store, job_id)


def done(store: Store, job_id: str, received: int, sender: str | None = None) -> None:
    """Note that all data is staged, `received` bytes; with `async=false` the job enters the queue now.

    sender: None for parts. Doing it again is harmless. Raises Conflict when the job is over for another reason,
    Replaced.
    """
    if not store.run(lambda connection: uploads.finish(connection, job_id, received, sender)):
        raise _unwanted(store, job_id)


def interrupted(
    store: Store, job_id: str, trouble: str, *, sender: str, received: int | None = None, beat: int | None = None
) -> bool:
    """Note that a request that sends data broke off; `trouble` says how. See `uploads.interrupt`."""
    return store.run(
        lambda connection: uploads.interrupt(connection, job_id, trouble, sender=sender, received=received, beat=beat)
    )


def broken(store: Store, job_id: str, reason: str, *, received: int | None = None, sender: str | None = None) -> bool:
    """End a job whose data will never be whole; `reason` is the sentence for its status, `received` the staged bytes.

    sender: only if it is this one's upload. Returns False when the upload was complete before, and nothing is changed
    then. A job that is over stays as it is.
    """
    return store.run(lambda connection: uploads.give_up(connection, job_id, reason, received, sender=sender))


def _no_upload(job: Job) -> Conflict:
    if job.state.final:
        return Conflict(f"Job {job.id!r} takes no data any more, because it is {job.state}.")
    words = f"The upload for job {job.id!r} has begun already: create a new job to send other data."
    if job.upload_sender is not None and job.upload_state is not UploadState.DONE:
        return UnderWay(words, job.upload_sender, job.upload_beat)
    return Conflict(words)


def _unwanted(store: Store, job_id: str) -> Conflict:
    with store.read() as connection:
        job = rows.find(connection, job_id)
    if job is None:
        return Conflict(f"Job {job_id!r} does not exist any more.")
    if job.state.final:
        return Conflict(f"Job {job_id!r} takes no data any more, because it is {job.state}: {job.status_details}")
    return Replaced(f"Job {job_id!r} takes no more data from this request, because another one has taken its place.")
