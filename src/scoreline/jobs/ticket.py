"""Building a run's ticket: all that the pipeline needs, and a token that is good for this run only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import structlog

from scoreline.access import tokens
from scoreline.access.outside import Outside
from scoreline.errors import SetupError, StoreError
from scoreline.jobs import instances, plans
from scoreline.jobs.model import Job
from scoreline.jobs.spec import FILESYSTEM, LOCAL_FILE
from scoreline.registry import foreign, packages, servers
from scoreline.registry.records import Server
from scoreline.settings import Settings
from scoreline.store import Store, now
from scoreline.types import JsonObject, Range, RunTicket, ServerAddress

_log = structlog.get_logger(__name__)
_MOST_CALLS = 16
_TOKEN_LIFE = timedelta(days=30)  # longer than any job; it is ended with the run


@contextmanager
def opened(store: Store, spool_url: str, job: Job, settings: Settings) -> Iterator[RunTicket]:
    """Give a ticket for the job's current run; its token ends with the block.

    An earlier run's token ends, too. Raises NotFound when the prediction server is not registered any more, SetupError
    when a key cannot be opened here, StoreError.
    """
    ticket, token_id = build(store, spool_url, job, settings)
    try:
        yield ticket
    finally:
        try:
            tokens.end(store, token_id)
        except StoreError as exc:
            # It ends with the next run's token, or by itself; how this run ended matters more.
            _log.warning("A run's token could not be ended", job_id=job.id, cause=exc.message)


def build(store: Store, spool_url: str, job: Job, settings: Settings) -> tuple[RunTicket, str]:
    """Return a ticket for the job's current run and the id of the token in it."""
    server = servers.resolve(store, job.server_id)
    foreign_address = None
    if server.kind != servers.OWN:
        foreign_address = _foreign_address(store, server, job, Outside.of(store, settings))
    secret = tokens.new_secret()
    with store.begin() as connection:
        token = tokens.create_in(
            connection,
            job.owner.id,
            f"job {job.id}",
            secret,
            kind="run",
            expires=now() + _TOKEN_LIFE,
            package_ids=[job.package_id],
            replace=True,
        )
    # What is minted here is for our own servers only.
    address = foreign_address or ServerAddress(server.url, job.package_id, secret)
    most = _most_calls(server, foreign_address) if job.adapts else None
    return _ticket(spool_url, job, settings, address, most), token.id


def for_removal(spool_url: str, job: Job, settings: Settings) -> RunTicket:
    """Return a ticket that is good for nothing but to open the job's output and remove it. Raises SetupError."""
    return _ticket(spool_url, job, settings, ServerAddress("", job.package_id, ""), None)


def _ticket(spool_url: str, job: Job, settings: Settings, address: ServerAddress, most: int | None) -> RunTicket:
    return RunTicket(
        job_id=job.id,
        fence=job.fence,
        part=Range(),
        intake=_rooted(_intake(job), settings),
        output=_rooted(job.spec.output, settings),
        dialect=job.spec.csv.dialect,
        plan=plans.scoring(job.spec, job.target),
        pace=plans.pace(job.spec, most),
        errors=plans.errors(job.spec, settings),
        server=address,
        spool=spool_url,
        package_hash=job.package_hash,
        limits=plans.limits(settings),
        errors_file={"type": LOCAL_FILE},
    )


def _most_calls(server: Server, address: ServerAddress | None) -> int:
    """Return how many calls at once a run may come to that feels its way."""
    if address is None:
        return server.concurrency  # its processes; more calls were measured to gain nothing, and cost the worker memory
    return int(address.options.get("concurrency", _MOST_CALLS))


def _foreign_address(store: Store, server: Server, job: Job, outside: Outside) -> ServerAddress:
    """Return how the run reaches a server of another maker, with its key."""
    remote, owner_id = packages.server_of(store, job.package_id)
    if job.spec.prediction_instance is None:
        return foreign.address_of(server, remote or {"options": {}}, owner_id, outside)
    keys = {} if job.secret_id is None else outside.vault.open(job.secret_id, job.owner.id, instances.KEYS)
    same_kind = remote is not None and remote["kind"] == instances.KIND
    options = {"deployment": str(job.deployment_id)} | (remote["options"] if remote is not None and same_kind else {})
    return ServerAddress(
        server.url,
        "",
        keys.get("apiKey", ""),
        instances.KIND,
        options,
        datarobot_key=keys.get("datarobotKey", ""),
        reach=outside.reach(anywhere=server.reach == servers.ANYWHERE),
    )


def _intake(job: Job) -> dict[str, Any]:
    settings = dict(job.spec.intake)
    if job.spec.intake_type == LOCAL_FILE and job.upload_expected is not None:
        settings["contentLength"] = job.upload_expected
    return settings


def _rooted(given: JsonObject, settings: Settings) -> JsonObject:
    """Say where files of jobs lie on this machine."""
    if given["type"] != FILESYSTEM:
        return dict(given)
    if settings.files_dir is None:
        raise SetupError(
            "Opening the job's files failed: this worker has no folder that is open to jobs; start it with the same "
            "SCORELINE_FILES_DIR as the API."
        )
    return {**given, "root": str(settings.files_dir.resolve())}
