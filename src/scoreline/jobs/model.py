"""A job as it is stored: its state, its counters, what it scores with, and what its status says to a reader."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from scoreline.jobs.outcomes import MadeFrom
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.target import Target
from scoreline.jobs.templates import Moments
from scoreline.registry.records import Owner
from scoreline.store import now
from scoreline.types import Counts, JsonObject


class JobState(StrEnum):
    """INITIALIZING waits for data or for a slot; COMPLETED and ABORTED are final."""

    INITIALIZING = "INITIALIZING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    ABORTED = "ABORTED"

    @property
    def final(self) -> bool:
        """True when nothing changes any more."""
        return self in (JobState.COMPLETED, JobState.ABORTED)


class UploadState(StrEnum):
    """NONE: the intake is no upload. BROKEN: it ended before it was whole, or nobody wants it any more.

    INTERRUPTED: it broke off, and may be sent again for a while. REPEATED: it is sent again; runs wait for all of it.
    """

    NONE = "none"
    WAITING = "waiting"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    REPEATED = "repeated"
    DONE = "done"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Job:
    """One job. Sizes are bytes; `percentage` is 0 to 100; counters only grow.

    fence numbers its runs. lease_owner: the worker that runs it. queue_position: jobs ahead of it while it waits for a
    slot, else None. source: where the request came from. paused_at: since when it rests; space_wanted: until so many
    bytes can be staged. ran_seconds: what its runs took. secret_id: the sealed keys of its `predictionInstance`.
    adapts: it was created without `numConcurrent`. live_concurrency, live_chunk_bytes: of its run, calls at once and
    bytes of a chunk. source_identity: what tells the source from any other. result_sha256: digest of the whole output.
    server_model: what the prediction server calls its model. partitions: into how many it is cut. made_from: its
    definition. moments: what the times in templates of its spec are, None where it has none. upload_stream: the stream
    of the spool that a run reads; upload_sender: the request that sends now (see `jobs.uploads`); upload_beat changes
    while it lives; upload_trouble: how it was interrupted.
    """

    id: str
    owner: Owner
    state: JobState
    reason: str | None
    spec: JobSpec
    target: Target
    deployment_id: str | None
    package_id: str
    package_hash: str
    server_id: str
    server_name: str
    source: str | None
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    hidden_at: datetime | None
    paused_at: datetime | None
    space_wanted: int | None
    upload_state: UploadState
    upload_bytes: int
    upload_expected: int | None
    upload_stream: str
    upload_sender: str | None
    upload_beat: int
    upload_trouble: str | None
    counts: Counts
    bytes_in: int
    bytes_out: int
    percentage: float
    queue_position: int | None
    fence: int
    lease_owner: str | None
    results_deleted: bool
    ran_seconds: float
    secret_id: str | None = None
    adapts: bool = False
    live_concurrency: int | None = None
    live_chunk_bytes: int | None = None
    source_identity: JsonObject | None = None
    result_sha256: str | None = None
    server_model: str | None = None
    intake_name: str | None = None
    partitions: int = 1
    made_from: MadeFrom | None = None
    moments: Moments | None = None

    @property
    def queued(self) -> bool:
        """True while the job waits for a slot."""
        return self.queue_position is not None

    @property
    def elapsed_seconds(self) -> int:
        """Whole seconds since it began to run, up to its end; 0 before."""
        if self.started_at is None:
            return 0
        end = self.finished_at or now()
        return max(0, int((end - self.started_at).total_seconds()))

    @property
    def status_details(self) -> str:
        """What the job does or how it ended, in words; never empty."""
        if self.reason:
            return self.reason
        rests = self._rests
        if rests is not None:
            return rests
        if self.state is JobState.RUNNING:
            done = self.counts.scored + self.counts.failed
            begun = "" if self.started_at is None else f" since {clock(self.started_at)}"
            return f"Scoring{begun} on prediction server '{self.server_name}': {done} rows done"
        if self.queue_position is not None:
            jobs = "job" if self.queue_position == 1 else "jobs"
            return f"Waiting for a processing slot: {self.queue_position} {jobs} ahead"
        return self._waiting_for_data

    @property
    def _rests(self) -> str | None:
        """Why no run begins although the job has a place in the line; None when one may."""
        if self.upload_state is UploadState.INTERRUPTED:
            return f"Waiting for the upload to be sent again: {self.upload_trouble}"
        if self.paused_at is not None:
            done = self.counts.scored + self.counts.failed
            return f"Paused since {clock(self.paused_at)}: {done} rows done; resume the job to go on"
        if self.space_wanted is not None:
            return f"Waiting for space: the job goes on when {self.space_wanted} bytes more can be stored"
        return None

    @property
    def _waiting_for_data(self) -> str:
        what = "Waiting for CSV data to be pushed"
        if self.upload_state is UploadState.WAITING:
            return f"{what} to the job's csvUpload link"
        again = " again" if self.upload_state is UploadState.REPEATED else ""
        return f"{what}{again}: {self.upload_bytes} bytes so far, the upload must be complete"


def clock(moment: datetime) -> str:
    """Return a time as texts for people show it: UTC, a blank in the middle, microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
