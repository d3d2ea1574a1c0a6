"""A job definition as text that `scoreline apply` reads: names instead of ids, which mean nothing elsewhere."""

from __future__ import annotations

from typing import Any

import yaml

from scoreline.access import Caller
from scoreline.access import credentials as stored
from scoreline.definitions.records import Definition
from scoreline.errors import NotFound
from scoreline.jobs import webhooks
from scoreline.jobs.credentials import FIELDS
from scoreline.redact import MASK
from scoreline.registry import deployments
from scoreline.registry.selection import Filters
from scoreline.store import Store
from scoreline.types import JsonObject

DEPLOYMENT = "deployment"
"""Stands for `deploymentId`, with the label."""

_SIDES = ("intakeSettings", "outputSettings")
_MASKED = f"# Keys are not exported: give those that are {MASK} here.\n"


def by_name(field: str) -> str:
    """Return what stands, with the name, for a field that has a credential's id."""
    return field.removesuffix("Id")


def text_of(store: Store, caller: Caller, definition: Definition) -> str:
    """Return a definition that the caller may see as YAML."""
    own: JsonObject = {
        "name": definition.name,
        "enabled": definition.enabled,
        "schedule": definition.schedule,
        "timeZone": definition.time_zone,
        "overlap": definition.overlap.value,
        "catchUp": definition.catch_up.value,
        "disableAfterFailures": definition.disable_after,
    }
    body = dict(definition.body)
    label = _label(store, caller, body)
    if label is not None:
        del body["deploymentId"]
        own[DEPLOYMENT] = label
    mine = caller.user_id == definition.owner.id
    if body.get(webhooks.FIELD) and not mine:
        body[webhooks.FIELD] = webhooks.for_others(body[webhooks.FIELD])
    for side in _SIDES:
        if side in body:
            body[side] = dict(_named(store, caller, name, value, mine=mine) for name, value in body[side].items())
    entry = {name: value for name, value in own.items() if value is not None} | body
    text = yaml.safe_dump({"definitions": [entry]}, sort_keys=False, allow_unicode=True, width=120)
    return (_MASKED if MASK in text else "") + text


def _label(store: Store, caller: Caller, body: JsonObject) -> str | None:
    """Return the label of the body's deployment if no other one has it."""
    wanted = body.get("deploymentId")
    if wanted is None:
        return None
    try:
        label = deployments.get(store, caller, wanted).label
    except NotFound:
        return None
    found = deployments.list_deployments(store, caller, Filters(search=label), limit=None)
    return label if [each.id for each in found.items if each.label == label] == [wanted] else None


def _named(store: Store, caller: Caller, field: str, value: Any, *, mine: bool) -> tuple[str, Any]:
    """Return a setting with the name of a credential for its id; of another user's, only that there is one."""
    if field not in FIELDS or value is None:
        return field, value
    if not mine:
        return field, MASK
    try:
        return by_name(field), stored.get(store, caller, str(value)).name
    except NotFound:
        return field, value
