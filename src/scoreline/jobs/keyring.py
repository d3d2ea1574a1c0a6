"""Keys that a job's own settings hold: sealed when it is created, shown by nobody, opened for its runs."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.engine import Connection

from scoreline import urls
from scoreline.access import Caller
from scoreline.access.outside import Outside
from scoreline.jobs import instances, rendering, storage, webhooks
from scoreline.jobs.model import Job
from scoreline.jobs.spec import JobSpec
from scoreline.redact import MASK
from scoreline.types import JsonObject
from scoreline.urls import HTTP

KIND = "prediction instance"  # of secret; once there were no others
_OF_URL = "{}Url"  # name of what a URL and its headers hide on a side


def keys_in(spec: JobSpec) -> JsonObject:
    """Return the keys among the settings of intake, output and webhooks, by names of their own, to be sealed."""
    found = {**storage.secret(spec.output), **webhooks.secret(spec.webhooks or ())}
    for side, settings in _ends(spec):
        if settings["type"] == HTTP and (parts := urls.secret(settings)):
            found[_OF_URL.format(side)] = parts
    return found


def masked(spec: JobSpec) -> JobSpec:
    """Return a spec as it is stored and shown: that there are keys, not which."""
    spec = replace(spec, output=storage.with_key(spec.output, MASK))
    intake, output = (urls.masked(settings) if settings["type"] == HTTP else settings for _, settings in _ends(spec))
    spec = replace(spec, intake=intake, output=output)
    if spec.webhooks is not None:
        spec = replace(spec, webhooks=webhooks.masked(spec.webhooks))
    if spec.prediction_instance is None:
        return spec
    return replace(spec, prediction_instance=instances.masked(spec.prediction_instance))


def has_keys(spec: JobSpec) -> bool:
    """Say whether a job whose spec was stored was created with keys."""
    instance = MASK in (spec.prediction_instance or {}).values()
    return instance or _ends_have_keys(spec) or bool(webhooks.hides(spec.webhooks or ()))


def _ends(spec: JobSpec) -> list[tuple[str, JsonObject]]:
    return [("intake", spec.intake), ("output", spec.output)]


def _ends_have_keys(spec: JobSpec) -> bool:
    encryption = spec.output.get(storage.ENCRYPTION) or {}
    return MASK in encryption.values() or any(
        urls.hides(settings) for _, settings in _ends(spec) if settings["type"] == HTTP
    )


def seal_in(connection: Connection, caller: Caller, keys: JsonObject, outside: Outside | None) -> JsonObject:
    """Seal the keys of a job that is created; return the job's columns. Runs in the transaction that stores the job."""
    if not keys:
        return {}
    assert outside is not None
    return {"secret_id": outside.vault.seal_in(connection, caller.user_id, KIND, keys)}


def keys_of(job: Job, outside: Outside) -> JsonObject:
    """Return the keys of a job by the names of their settings. Raises SetupError when they cannot be opened here."""
    return {} if job.secret_id is None else outside.vault.open(job.secret_id, job.owner.id, KIND)


def ends_of(job: Job, outside: Outside) -> JobSpec:
    """Return a job's spec with the keys of its intake and output, and with its templates rendered.

    Raises SetupError when the keys cannot be opened here.
    """
    spec = _with_ends(job.spec, keys_of(job, outside)) if _ends_have_keys(job.spec) else job.spec
    return rendering.rendered(spec, job.moments)


def _with_ends(spec: JobSpec, keys: JsonObject) -> JobSpec:
    spec = replace(spec, output=storage.with_key(spec.output, keys.get(storage.KEY)))
    intake, output = ({**settings, **keys.get(_OF_URL.format(side), {})} for side, settings in _ends(spec))
    return replace(spec, intake=intake, output=output)


def opened(spec: JobSpec, keys: JsonObject) -> JobSpec:
    """Return a spec with its keys again."""
    spec = _with_ends(spec, keys)
    if spec.webhooks is not None:
        spec = replace(spec, webhooks=webhooks.opened(spec.webhooks, keys))
    if spec.prediction_instance is None:
        return spec
    own = {name: key for name, key in keys.items() if name in instances.SECRET}
    return replace(spec, prediction_instance={**spec.prediction_instance, **own})
