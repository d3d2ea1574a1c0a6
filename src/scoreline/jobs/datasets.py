"""Jobs that read datasets: which version one reads is settled when it is made, and stays there until it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline.access import Caller
from scoreline.catalog import datasets
from scoreline.catalog.records import Dataset, State
from scoreline.errors import Conflict, InvalidRequest, NotFound, SourceError
from scoreline.jobs import kept
from scoreline.jobs.fields import Fields
from scoreline.jobs.model import JobState
from scoreline.jobs.spec import JobSpec
from scoreline.rows import forms
from scoreline.store import Store
from scoreline.store.tables.jobs import jobs
from scoreline.types import JsonObject

DATASET = "dataset"
ID, VERSION = "datasetId", "datasetVersionId"


def check(given: JsonObject, field: str) -> None:
    """Raise InvalidRequest, naming the field, for settings that are not of the right form."""
    settings = Fields(given, f"{field}.")
    settings.only(("type", ID, VERSION))
    if settings.text(ID) is None:
        raise InvalidRequest(f"{field}.{ID} is required: it names a dataset of the catalogue.", f"{field}.{ID}")
    settings.text(VERSION)


def pinned(store: Store, caller: Caller, spec: JobSpec) -> tuple[JobSpec, str | None]:
    """Return the spec with the version that it reads, the latest one unless it names another, and the dataset's name.

    Raises NotFound for a dataset that the caller may not see; InvalidRequest for one that was not made, or is divided
    by another delimiter than the job's.
    """
    if spec.intake_type != DATASET:
        return spec, None
    found = _named(lambda: datasets.get(store, caller, spec.intake[ID], spec.intake.get(VERSION)))
    version = found.version
    if version.state is not State.COMPLETED:
        why = f"it failed: {version.error}" if version.state is State.ERROR else "it is still being made"
        raise InvalidRequest(f"intakeSettings.{ID}: dataset {found.name!r} has no rows to score, {why}", _field(ID))
    columns = sum((version.kinds or {}).values())
    if version.form == forms.CSV and columns > 1 and version.delimiter != spec.csv.dialect.delimiter:
        raise InvalidRequest(
            f"csvSettings.delimiter: the columns of dataset {found.name!r} are divided by {version.delimiter!r}, and "
            f"the job's by {spec.csv.dialect.delimiter!r}; give the dataset's.",
            "csvSettings.delimiter",
        )
    return replace(spec, intake={**spec.intake, VERSION: version.id}), found.name


def check_in(store: Store, connection: Connection, caller: Caller, spec: JobSpec) -> None:
    """Raise NotFound when the dataset was deleted since. In the transaction that stores the job."""
    if spec.intake_type == DATASET:
        store.lock(connection, datasets.LOCK)
        _named(lambda: datasets.get_in(connection, caller, spec.intake[ID], spec.intake[VERSION]))


def source(store: Store, intake: JsonObject) -> JsonObject:
    """Return what a run needs to know to read a job's dataset. Raises SourceError when it is gone."""
    found = datasets.for_run(store, intake[VERSION])
    if found is None:
        raise SourceError("Reading the intake failed: the job's dataset was deleted; make a job with another one.")
    version = found.version
    return {
        **intake,
        "object": version.object_name,
        "name": found.name,
        "bytes": version.stored,
        "sha256": version.sha256,
        "format": version.form,
    }


def reader(connection: Connection, dataset_id: str) -> str | None:
    """Return a job that is not over and reads a version of the dataset, None when there is none."""
    live = jobs.c.state.in_((JobState.INITIALIZING, JobState.RUNNING))
    reads = sa.cast(jobs.c.spec, sa.Text).contains(dataset_id, autoescape=True)
    query = sa.select(jobs.c.id).where(live, jobs.c.intake_type == DATASET, reads)
    return connection.scalar(query.limit(1))


def delete(store: Store, caller: Caller, dataset_id: str) -> None:
    """Delete a dataset; it can be brought back for a while.

    Raises NotFound, Forbidden; Conflict while a job that is not over reads it, or a job definition that is enabled.
    """

    def work(connection: Connection) -> None:
        store.lock(connection, datasets.LOCK)
        found = datasets.get_in(connection, caller, dataset_id)
        job_id = reader(connection, dataset_id)
        if job_id is not None:
            raise Conflict(
                f"Dataset {found.name!r} is read by job {job_id}, which is not over: abort the job or wait for its "
                "end, then delete the dataset."
            )
        definition = kept.naming(connection, dataset_id, enabled=True)
        if definition is not None:
            raise Conflict(
                f"Dataset {found.name!r} is read by job definition {definition!r}, which runs by schedule: disable or "
                "change the definition, then delete the dataset."
            )
        datasets.delete_in(connection, caller, dataset_id)

    store.run(work)


def _named(look: Callable[[], Dataset]) -> Dataset:
    try:
        return look()
    except NotFound as error:
        raise NotFound(f"intakeSettings: {error.message}") from None


def _field(name: str) -> str:
    return f"intakeSettings.{name}"
