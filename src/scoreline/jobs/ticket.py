"""Building a run's ticket: all that the pipeline needs, and a token that is good for this run only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from scoreline.access import Caller, tokens
from scoreline.access.outside import Outside
from scoreline.errors import SetupError, StoreError
from scoreline.jobs import credentials, datasets, instances, keyring, plans, presence, storage
from scoreline.jobs.instances import Instance
from scoreline.jobs.model import Job
from scoreline.jobs.ready import Ready
from scoreline.jobs.spec import FILESYSTEM, LOCAL_FILE
from scoreline.network import Reach
from scoreline.registry import foreign, packages, servers
from scoreline.registry.records import Server
from scoreline.settings import Settings
from scoreline.store import Store, now
from scoreline.types import JsonObject, Range, RunTicket, ServerAddress

_log = structlog.get_logger(__name__)
_MOST_CALLS = 16
_LOOK_LIFE = timedelta(minutes=10)
_TOKEN_LIFE = timedelta(days=30)  # longer than any job; it is ended with the run


@contextmanager
def opened(
    store: Store, spool_url: str, job: Job, settings: Settings, *, helper: int | None = None
) -> Iterator[RunTicket]:
    """Give a ticket for the job's current run; its token ends with the block.

    helper: number of the partition with which a run begins that scores ahead; it has a token of its own. An earlier
    run's token ends, too. Raises NotFound when the prediction server is not registered any more, SetupError
    when a key cannot be opened here, StoreError.
    """
    ticket, token_id = build(store, spool_url, job, settings, helper=helper)
    try:
        yield ticket
    finally:
        try:
            tokens.end(store, token_id)
        except StoreError as exc:
            # It ends with the next run's token, or by itself; how this run ended matters more.
            _log.warning("A run's token could not be ended", job_id=job.id, cause=exc.message)


def build(
    store: Store, spool_url: str, job: Job, settings: Settings, *, helper: int | None = None
) -> tuple[RunTicket, str]:
    """Return a ticket for the job's current run and the id of the token in it; see `opened`."""
    server = servers.resolve(store, job.server_id)
    outside = Outside.of(store, settings)
    foreign_address = None
    if server.kind != servers.OWN:
        foreign_address = _foreign_address(store, server, job, outside)
    secret = tokens.new_secret()
    name = _token_name(job) if helper is None else f"{_token_name(job)} partition {helper}"
    token_id = _mint(store, job.owner.id, name, secret, job.package_id)
    # What is minted here is for our own servers only.
    address = foreign_address or ServerAddress(server.url, job.package_id, secret)
    most = _most_calls(server, foreign_address) if job.adapts else None
    ticket = _ticket(store, spool_url, job, settings, address, outside=outside, most=most)
    if job.spec.intake_type == datasets.DATASET:
        ticket = replace(ticket, intake=datasets.source(store, job.spec.intake))
    return ticket, token_id


@contextmanager
def looking(
    store: Store, caller: Caller, ready: Ready, outside: Outside, *, spool_url: str, settings: Settings
) -> Iterator[RunTicket]:
    """Give a ticket that is good for looking at what a run of a spec would find; its token ends with the block.

    Raises SetupError when a key cannot be opened here, StoreError.
    """
    spec, package = ready.spec, ready.chosen.package
    secret = tokens.new_secret()
    token_id = _mint(store, caller.user_id, f"look {tokens.new_secret()[:12]}", secret, package.id, life=_LOOK_LIFE)
    try:
        own = ready.server.own if isinstance(ready.server, Instance) else ready.server
        if own is None:
            address = _of_instance(ready, outside)
        elif own.kind == servers.OWN:
            address = ServerAddress(own.url, package.id, secret)
        else:
            remote, owner_id = packages.server_of(store, package.id)
            address = foreign.address_of(own, remote or {"options": {}}, owner_id, outside)
        opened = keyring.opened(spec, ready.keys) if ready.keys else spec
        intake = datasets.source(store, spec.intake) if spec.intake_type == datasets.DATASET else opened.intake
        yield RunTicket(
            job_id=token_id,
            fence=0,
            part=Range(),
            intake=_here(intake, settings),
            output=_here(opened.output, settings),
            dialect=spec.csv.dialect,
            plan=plans.scoring(spec, ready.target),
            pace=plans.pace(spec),
            errors=plans.errors(spec, settings),
            server=address,
            spool=spool_url,
            package_hash=ready.package_hash,
            limits=plans.limits(settings, kept=False),
            reach=reach(store, caller.user_id, settings, outside),
        )
    finally:
        tokens.end(store, token_id)


def _mint(store: Store, user_id: str, name: str, secret: str, package_id: str, *, life: timedelta = _TOKEN_LIFE) -> str:
    """Make a secret a token that scores with one package; return the token's id."""
    with store.begin() as connection:
        return tokens.create_in(
            connection,
            user_id,
            name,
            secret,
            kind="run",
            expires=now() + life,
            package_ids=[package_id],
            replace=True,
        ).id


def _token_name(job: Job) -> str:
    return f"job {job.id}"


def for_removal(store: Store, spool_url: str, job: Job, settings: Settings) -> RunTicket:
    """Return a ticket that is good for nothing but to open the job's output and remove it. Raises SetupError.

    A target that does not answer is not waited for.
    """
    address = ServerAddress("", job.package_id, "")
    ticket = _ticket(store, spool_url, job, settings, address, outside=Outside.of(store, settings))
    return replace(ticket, limits=replace(ticket.limits, patience_seconds=0.0))


def reach(store: Store, user_id: str, settings: Settings, outside: Outside) -> Reach:
    """Return how far the addresses lead that a user names to read from and to write to."""
    own, known = servers.places(store, user_id)
    return outside.reach(anywhere=False, own=[*presence.places(settings.data_dir), *own], known=known)


def _ticket(
    store: Store,
    spool_url: str,
    job: Job,
    settings: Settings,
    address: ServerAddress,
    *,
    outside: Outside,
    most: int | None = None,
) -> RunTicket:
    spec = keyring.ends_of(job, outside)
    return RunTicket(
        job_id=job.id,
        fence=job.fence,
        part=Range(),
        intake=_here(_intake(job, spec.intake), settings),
        output=_here(spec.output, settings),
        dialect=job.spec.csv.dialect,
        plan=plans.scoring(job.spec, job.target),
        pace=plans.pace(job.spec, most),
        errors=plans.errors(job.spec, settings),
        server=address,
        spool=spool_url,
        package_hash=job.package_hash,
        limits=plans.limits(settings, kept=job.spec.output_type == LOCAL_FILE),
        errors_file={"type": LOCAL_FILE},
        reach=reach(store, job.owner.id, settings, outside),
        goes_on=True,
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
    within = outside.reach(anywhere=server.reach == servers.ANYWHERE)
    return _instance(server.url, keyring.keys_of(job, outside), str(job.deployment_id), remote, within)


def _of_instance(ready: Ready, outside: Outside) -> ServerAddress:
    assert isinstance(ready.server, Instance)
    deployment, within = ready.chosen.deployment, ready.server.reach or outside.reach(anywhere=False)
    named = "" if deployment is None else deployment.id
    return _instance(ready.server.url, ready.keys, named, ready.chosen.package.server, within)


def _instance(
    url: str, keys: JsonObject, deployment_id: str, remote: JsonObject | None, within: Reach
) -> ServerAddress:
    """Return how a server of another installation is reached that `predictionInstance` names, with its keys."""
    same_kind = remote is not None and remote["kind"] == instances.KIND
    options = {"deployment": deployment_id} | (remote["options"] if remote is not None and same_kind else {})
    api_key, other = keys.get("apiKey", ""), keys.get("datarobotKey", "")
    return ServerAddress(url, "", api_key, instances.KIND, options, datarobot_key=other, reach=within)


def _intake(job: Job, given: JsonObject) -> dict[str, Any]:
    settings = dict(given)
    if job.spec.intake_type == LOCAL_FILE:
        settings["stream"] = job.upload_stream
        if job.upload_expected is not None:
            settings["contentLength"] = job.upload_expected
    return settings


def _here(given: JsonObject, settings: Settings) -> JsonObject:
    """Say what an adapter needs to know of here: where files of jobs lie, whether it may act in the machine's name."""
    if given["type"] in storage.PLACES:
        # The machine may read what all others have sent: not in the name of who knows where that lies.
        own = settings.cloud_identity and not storage.is_spool(given, settings.spool_url)
        return credentials.keyless(given) | {"ambient": own}
    if given["type"] != FILESYSTEM:
        return credentials.keyless(given)
    if settings.files_dir is None:
        raise SetupError(
            "Opening the job's files failed: this worker has no folder that is open to jobs; start it with the same "
            "SCORELINE_FILES_DIR as the API."
        )
    return {**given, "root": str(settings.files_dir.resolve())}
