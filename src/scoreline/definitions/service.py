"""What the API does with job definitions, with the caller's rights.

A definition belongs to who made it: its runs are theirs, with their rights and credentials. So only its owner changes
what it does; an admin of the organisation may also rename it, run it, switch it off and on, change when it is due, and
delete it.

Raises, beside what each says: NotFound for a definition that the caller may not see, StoreError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from scoreline.access import Caller, require_change, require_write, users, visible
from scoreline.access.outside import Outside
from scoreline.access.vault import Vault
from scoreline.definitions import records, request
from scoreline.definitions.records import Definition
from scoreline.definitions.request import Wanted
from scoreline.definitions.schedule import zone_named
from scoreline.errors import Conflict, Forbidden, InvalidRequest, NotFound
from scoreline.jobs import checks, keyring, ready, webhooks
from scoreline.jobs.outcomes import Origin
from scoreline.jobs.ready import Ready
from scoreline.jobs.spec import LOCAL_FILE, JobSpec
from scoreline.jobs.templates import Moments
from scoreline.network import Reach
from scoreline.registry.records import Page
from scoreline.store import Store, new_id, now
from scoreline.store.tables.definitions import job_definitions as table
from scoreline.types import JsonObject

_LOCK = "job definitions"
_HIDING = {
    "intakeSettings": "intake",
    "outputSettings": "output",
    "predictionInstance": "prediction_instance",
    webhooks.FIELD: "webhooks",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What an installation lets jobs do. files_open: whether the operator opened a folder to them.

    reach: how far addresses of webhooks may lead that a user, by id, names.
    """

    outside: Outside
    files_open: bool = False
    reach: Callable[[str], Reach] | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What it takes to make a job of a definition: whose it is, what it does, where it comes from, and its times."""

    owner: Caller
    spec: JobSpec
    origin: Origin
    moments: Moments


def create(store: Store, caller: Caller, document: Mapping[str, Any], rules: Rules) -> Definition:
    """Make a definition of the fields of a request; it is checked as a job of it would be.

    Raises InvalidRequest, naming the field; NotFound for the deployment or a credential; Forbidden; Conflict for a name
    that is taken in the organisation, or when no prediction server is known.
    """
    require_write(caller)
    wanted = request.read(document)
    body = _without_nulls(wanted.job)
    found, stored = _checked(store, caller, body, wanted, rules)
    definition_id, moment = new_id(), now()
    name = wanted.name or f"job-definition-{definition_id}"
    values = _own_values(wanted) | _body_values(found, stored)
    values |= {
        "id": definition_id,
        "owner_id": caller.user_id,
        "org_id": caller.org_id,
        "name": name,
        "created_at": moment,
        "updated_at": moment,
        "updated_by": caller.user_id,
    }

    def work(connection: Connection) -> Definition:
        found.check_in(store, connection, caller)
        _check_free(store, connection, caller.org_id, name)
        sealed = keyring.seal_in(connection, caller, found.keys, rules.outside)
        records.insert(connection, values | sealed)
        return _find(connection, caller, definition_id)

    return store.run(work)


def update(store: Store, caller: Caller, definition_id: str, document: Mapping[str, Any], rules: Rules) -> Definition:
    """Change what a request names, and nothing else; settings of intake and output, and the schedule, are replaced.

    Raises as `create`; Forbidden also for who changes what another user's definition does; Conflict when somebody else
    changed it at the same time.
    """
    before = get(store, caller, definition_id)
    require_change(caller, before.owner.id, f"job definition {before.name!r}")
    wanted = request.read(document, before)
    values = _own_values(wanted, before) | {"updated_at": now(), "updated_by": caller.user_id}
    body, changed = _changed_body(before, wanted, caller, rules.outside)
    found: Ready | None = None
    owner = caller
    if changed or _is_scheduled_anew(before, wanted):
        owner = owner_of(store, before, caller)
        found, stored = _checked(store, owner, body, wanted, rules)
        values |= _body_values(found, stored) if changed else {}

    def work(connection: Connection) -> Definition:
        if found is not None:
            found.check_in(store, connection, owner)
        if wanted.name != before.name:
            _check_free(store, connection, before.owner.org_id, str(wanted.name))
        sealed: JsonObject = {}
        if found is not None and changed:
            sealed = {"secret_id": None, **keyring.seal_in(connection, owner, found.keys, rules.outside)}
        if not records.change(connection, before.id, before.version, values | sealed):
            raise _changed_meanwhile(before)
        if sealed and before.secret_id is not None:
            Vault.delete_in(connection, before.secret_id)
        return _find(connection, caller, before.id)

    return store.run(work)


def delete(store: Store, caller: Caller, definition_id: str) -> None:
    """Delete a definition and the keys in it; jobs that were made from it go on.

    Raises Forbidden; Conflict when somebody changed it at the same time.
    """
    before = get(store, caller, definition_id)
    require_change(caller, before.owner.id, f"job definition {before.name!r}")
    values = {"deleted_at": now(), "enabled": False, "next_run_at": None, "waiting_for": None, "secret_id": None}

    def work(connection: Connection) -> None:
        found = _find(connection, caller, definition_id)
        if not records.change(connection, found.id, found.version, values):
            raise _changed_meanwhile(found)
        if found.secret_id is not None:
            Vault.delete_in(connection, found.secret_id)

    store.run(work)


def get(store: Store, caller: Caller, definition_id: str) -> Definition:
    """Return a definition."""
    with store.read() as connection:
        return _find(connection, caller, definition_id)


def list_definitions(
    store: Store,
    caller: Caller,
    *,
    search: str | None = None,
    deployment_id: str | None = None,
    offset: int = 0,
    limit: int | None = 100,
) -> Page[Definition]:
    """Return one page of the caller's definitions, the newest first. search: a part of names, in any case."""
    with store.read() as connection:
        return records.page(connection, caller, search=search, deployment_id=deployment_id, offset=offset, limit=limit)


def run(store: Store, caller: Caller, definition_id: str, outside: Outside) -> Run:
    """Return what it takes to run a definition now, whether it is enabled or not; the job is its owner's.

    Raises Forbidden; Conflict when the owner's account is disabled; SetupError when its keys cannot be opened here.
    """
    found = get(store, caller, definition_id)
    require_change(caller, found.owner.id, f"job definition {found.name!r}")
    origin = Origin(found.id, found.name, asked_by=caller.username)
    return Run(owner_of(store, found, caller), spec_of(found, outside), origin, moments_of(found, now()))


def owner_of(store: Store, definition: Definition, caller: Caller | None = None) -> Caller:
    """Return the definition's owner as the caller of its runs; `caller` when it is them.

    Raises Conflict when their account is disabled.
    """
    if caller is not None and caller.user_id == definition.owner.id:
        return caller
    try:
        return users.caller_of(store, definition.owner.id)
    except NotFound as error:
        raise Conflict(f"Job definition {definition.name!r} cannot run for its owner. {error.message}") from error


def spec_of(definition: Definition, outside: Outside) -> JobSpec:
    """Return what a run of the definition is asked to do, with its keys. Raises SetupError, InvalidRequest."""
    spec = JobSpec.from_document(definition.body)
    if definition.secret_id is None:
        return spec
    return keyring.opened(spec, outside.vault.open(definition.secret_id, definition.owner.id, keyring.KIND))


def moments_of(definition: Definition, current: datetime) -> Moments:
    """Return what the times in templates are in a run that is made now."""
    return Moments(
        current,
        last_scheduled=definition.last_started_at,
        next_scheduled=definition.next_run_at,
        last_completed=definition.last_succeeded_at,
    )


def _is_scheduled_anew(before: Definition, wanted: Wanted) -> bool:
    return wanted.enabled and not (before.enabled and wanted.schedule == before.schedule)


def _changed_body(before: Definition, wanted: Wanted, caller: Caller, outside: Outside) -> tuple[JsonObject, bool]:
    """Return the body with its keys after a change, and whether that is another one; keys are opened only if need be.

    Raises Forbidden for who does not own the definition and changes what it does.
    """
    if not wanted.job and not _is_scheduled_anew(before, wanted):
        return before.body, False
    opened = _overlaid(before.body, spec_of(before, outside))
    body = _without_nulls({**opened, **wanted.job})
    changed = JobSpec.from_document(body) != JobSpec.from_document(opened)
    if changed and caller.user_id != before.owner.id:
        raise Forbidden(
            f"Job definition {before.name!r} runs with the rights and credentials of {before.owner.username!r}, who "
            "alone changes what it does: make a definition of your own."
        )
    return body, changed


def _checked(store: Store, owner: Caller, body: JsonObject, wanted: Wanted, rules: Rules) -> tuple[Ready, JsonObject]:
    """Check a body as a job of it would be; return what it names and the body as it is stored."""
    spec = JobSpec.from_document(body)
    if wanted.enabled and spec.intake_type == LOCAL_FILE:
        raise InvalidRequest(
            "intakeSettings of type localFile wait for an upload, which nobody sends to a run by schedule: give "
            "another intake, or leave enabled out and run the definition by hand.",
            "intakeSettings.type",
        )
    checks.check_built(spec, files_open=rules.files_open)
    if spec.webhooks and rules.reach is not None:
        webhooks.check_reach(spec.webhooks, rules.reach(owner.user_id))
    found = ready.find(store, owner, spec, rules.outside)
    return found, _overlaid(body, keyring.masked(spec))


def _overlaid(body: JsonObject, spec: JobSpec) -> JsonObject:
    """Return the body with those settings that can hide keys as the spec has them."""
    return body | {name: getattr(spec, attribute) for name, attribute in _HIDING.items() if name in body}


def _without_nulls(body: JsonObject) -> JsonObject:
    return {name: value for name, value in body.items() if value is not None}


def _body_values(found: Ready, stored: JsonObject) -> dict[str, Any]:
    deployment = found.chosen.deployment
    return {
        "body": stored,
        "deployment_id": None if deployment is None else deployment.id,
        "concurrency": found.spec.num_concurrent,
    }


def _own_values(wanted: Wanted, before: Definition | None = None) -> dict[str, Any]:
    """Return the columns of a definition's own fields; when it is due next is settled anew when that has changed."""
    values: dict[str, Any] = {
        "name": wanted.name,
        "enabled": wanted.enabled,
        "schedule": wanted.schedule,
        "time_zone": wanted.time_zone,
        "overlap": wanted.overlap,
        "catch_up": wanted.catch_up,
        "disable_after": wanted.disable_after,
    }
    if before is not None and (wanted.enabled, wanted.schedule, wanted.time_zone) == (
        before.enabled,
        before.schedule,
        before.time_zone,
    ):
        return values
    due = wanted.due
    values["next_run_at"] = None if due is None else due.next_after(now(), zone_named(wanted.time_zone))
    if due is None:
        values["waiting_for"] = None
    elif before is not None and not before.enabled:
        values |= {"failures": 0, "trouble": None}
    return values


def _check_free(store: Store, connection: Connection, org_id: str, name: str) -> None:
    store.lock(connection, _LOCK)
    if records.taken(connection, org_id, name) is not None:
        raise Conflict(f"There is a job definition with the name {name!r} in your organisation: choose another name.")


def _changed_meanwhile(definition: Definition) -> Conflict:
    return Conflict(f"Job definition {definition.name!r} was changed by somebody else just now: try again.")


def _find(connection: Connection, caller: Caller, definition_id: str) -> Definition:
    found = records.find(connection, definition_id, visible(caller, table))
    if found is None:
        raise NotFound(f"There is no job definition {definition_id[:100]!r}.")
    return found
