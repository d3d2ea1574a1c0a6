"""Which stored credentials a job names, who may name them, and how its runs open them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scoreline import adapters, redact
from scoreline import credentials as kinds
from scoreline.access import Caller
from scoreline.access import credentials as stored
from scoreline.access.outside import Outside
from scoreline.access.vault import Vault
from scoreline.credentials import RunKeys, Secret
from scoreline.errors import Conflict, InvalidRequest, NotFound
from scoreline.jobs import kept
from scoreline.jobs.fields import Fields
from scoreline.jobs.model import JobState
from scoreline.jobs.spec import JobSpec
from scoreline.redact import MASK
from scoreline.store import Store
from scoreline.store.tables.jobs import jobs
from scoreline.types import JsonObject

FIELDS = frozenset(name for entry in adapters.REGISTRY.values() for name in entry.can.credentials)
"""All fields of settings that name a credential."""


def check_in(store: Store, connection: Connection, caller: Caller, spec: JobSpec) -> None:
    """Raise InvalidRequest when a field names a credential of a type that the adapter does not take.

    Runs in the write transaction that stores the job, so that nothing named is deleted meanwhile. Raises NotFound for
    a credential that the caller may not use.
    """
    named = list(_named(spec))
    if named:
        store.lock(connection, stored.LOCK)
    for side, settings, name, credential_id in named:
        field, kind = f"{side}Settings.{name}", str(settings["type"])
        if credential_id == MASK:
            raise InvalidRequest(f"{field} is masked here: give the id of a credential of your own.", field)
        try:
            found = stored.usable_in(connection, caller, credential_id)
        except NotFound as error:
            raise NotFound(f"{field}: {error.message}") from None
        takes = adapters.REGISTRY[kind].can.credentials[name]
        if found.type not in takes:
            raise InvalidRequest(
                f"{field} names the credential {found.name!r} of type {found.type}, but {side} of type {kind} takes a "
                f"credential of type {' or '.join(takes)}.",
                field,
            )


def keyless(settings: JsonObject) -> JsonObject:
    """Return an adapter's settings as a run knows them: it opens credentials by field, never by id."""
    return {name: value for name, value in settings.items() if name not in FIELDS}


def delete(store: Store, caller: Caller, credential_id: str) -> None:
    """Delete a credential for good.

    Raises NotFound, Forbidden; Conflict while a job definition names it, or a job that is not over.
    """

    def work(connection: Connection) -> None:
        store.lock(connection, stored.LOCK)
        found = stored.get_in(connection, caller, credential_id)
        under_way = sa.and_(
            jobs.c.cleaned_at.is_(None),
            jobs.c.state.in_((JobState.INITIALIZING, JobState.RUNNING)),
            sa.cast(jobs.c.spec, sa.Text).contains(found.id),
        )
        used = connection.scalar(sa.select(jobs.c.id).where(under_way).limit(1))
        if used is not None:
            raise Conflict(
                f"Credential {found.name!r} is used by job {used}, which is not over: abort the job or wait for its "
                "end, then delete the credential."
            )
        definition = kept.naming(connection, found.id)
        if definition is not None:
            raise Conflict(
                f"Credential {found.name!r} is used by job definition {definition!r}: delete the definition or give it "
                "another credential, then delete this one."
            )
        stored.delete_in(connection, caller, credential_id)

    store.run(work)


@dataclass(frozen=True, slots=True)
class JobKeys:
    """Opens what a job's settings name, and hides what it opened for as long as `hidden` is open."""

    store: Store
    vault: Vault
    owner_id: str
    hidden: ExitStack

    def of(self, side: str, settings: JsonObject, name: str) -> Secret | None:
        """Return what a field names. Raises NotFound when it was deleted, SetupError when it cannot be opened here."""
        credential_id = settings.get(name)
        if credential_id is None:
            return None
        try:
            secret = stored.open_secret(self.store, self.vault, self.owner_id, str(credential_id))
        except NotFound as error:
            raise NotFound(f"Opening {side}Settings.{name} failed: {error.message}") from error
        self.hidden.enter_context(redact.hiding(kinds.hidden(secret)))
        return secret


def keys(store: Store, outside: Outside, owner_id: str, spec: JobSpec, hidden: ExitStack) -> RunKeys:
    """Return what opens the credentials that an owner's job names, each at the moment when it is asked for.

    What is opened stays hidden from all texts until `hidden` is closed.
    """
    opens = JobKeys(store, outside.vault, owner_id, hidden)
    return RunKeys(
        lambda name: opens.of("intake", spec.intake, name), lambda name: opens.of("output", spec.output, name)
    )


def _named(spec: JobSpec) -> Iterator[tuple[str, JsonObject, str, str]]:
    """Yield side, settings, field and credential's id."""
    for side, settings in (("intake", spec.intake), ("output", spec.output)):
        given = Fields(settings, f"{side}Settings.")
        for name in adapters.REGISTRY[str(settings["type"])].can.credentials:
            credential_id = given.text(name)
            if credential_id is not None:
                yield side, settings, name, credential_id
