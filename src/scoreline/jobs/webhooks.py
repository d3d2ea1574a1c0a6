"""`webhooks`: addresses that are told when a job starts and ends. What the setting holds, and how messages are signed.

The form of messages is that of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com/), so that its libraries
verify them: the headers `webhook-id`, `webhook-timestamp` (seconds since 1970) and `webhook-signature`, which is `v1,`
and the Base64 of HMAC-SHA256 over `id.timestamp.body`. A secret is `whsec_` and the key's bytes in Base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Any

from scoreline import urls
from scoreline.errors import InvalidRequest
from scoreline.jobs import web
from scoreline.jobs.fields import Fields
from scoreline.network import Reach
from scoreline.redact import MASK
from scoreline.types import JsonObject

FIELD = "webhooks"
EVENTS = ("started", "completed", "aborted")
USUAL = ("completed", "aborted")
"""The events of a webhook that names none."""
MOST = 10
PREFIX = "whsec_"
KEY_BYTES = (24, 64)
"""Shortest and longest key, as Standard Webhooks has them."""

_URL, _EVENTS, _SECRET = "url", "events", "secret"

Hooks = Sequence[JsonObject]


def check(hooks: Hooks) -> None:
    """Raise InvalidRequest, naming the field, for webhooks that are not of the right form. No URL is quoted."""
    if len(hooks) > MOST:
        raise InvalidRequest(f"{FIELD} must be at most {MOST}.", FIELD)
    for number, hook in enumerate(hooks):
        _check(hook, f"{FIELD}.{number}")


def _check(hook: JsonObject, field: str) -> None:
    given = Fields(hook, f"{field}.")
    given.only((_URL, _EVENTS, _SECRET))
    url = given.text(_URL)
    web.check_url(url, f"{field}.{_URL}", names="what is told about the job")
    if urls.userinfo(str(url)) is not None:
        raise InvalidRequest(
            f"{field}.{_URL} has a user in it: leave it out, and let the receiver verify the signature (`secret`).",
            f"{field}.{_URL}",
        )
    events = given.texts(_EVENTS)
    if events is not None and (not events or len(set(events)) < len(events) or not set(events) <= set(EVENTS)):
        raise InvalidRequest(
            f"{field}.{_EVENTS} must be some of {', '.join(map(repr, EVENTS))}, each once.", f"{field}.{_EVENTS}"
        )
    secret = given.text(_SECRET)
    if secret == MASK:
        raise InvalidRequest(f"{field}.{_SECRET} is masked here: give the secret itself.", f"{field}.{_SECRET}")
    if secret is not None and key_of(secret) is None:
        raise InvalidRequest(
            f"{field}.{_SECRET} must be {PREFIX} and {KEY_BYTES[0]} to {KEY_BYTES[1]} bytes in Base64: make one with "
            f'`echo "{PREFIX}$(openssl rand -base64 32)"`.',
            f"{field}.{_SECRET}",
        )


def check_reach(hooks: Hooks, reach: Reach) -> None:
    """Look the addresses up. Raises Forbidden for one that its user may not name, InvalidRequest for no address."""
    for number, hook in enumerate(hooks):
        field = f"{FIELD}.{number}.{_URL}"
        try:
            reach.check_url(str(hook[_URL]), field)
        except InvalidRequest as error:
            raise InvalidRequest(error.message, field) from error


def wants(hook: JsonObject, event: str) -> bool:
    """Say whether a webhook is told of an event."""
    return event in (hook.get(_EVENTS) or USUAL)


def masked(hooks: Hooks) -> tuple[JsonObject, ...]:
    """Return webhooks as they are stored and shown: that there are secrets, not which."""
    return tuple({**urls.masked(hook), **({_SECRET: MASK} if hook.get(_SECRET) is not None else {})} for hook in hooks)


def secret(hooks: Hooks) -> JsonObject:
    """Return what `masked` hides as a document to seal; most have nothing."""
    kept = [
        {name: value for name, value in hook.items() if shown[name] != value}
        for hook, shown in zip(hooks, masked(hooks), strict=True)
    ]
    return {FIELD: kept} if any(kept) else {}


def opened(hooks: Hooks, keys: JsonObject) -> tuple[JsonObject, ...]:
    """Return webhooks with what `secret` returned of them."""
    kept = keys.get(FIELD) or [{}] * len(hooks)
    return tuple({**hook, **hidden} for hook, hidden in zip(hooks, kept, strict=True))


def hides(hooks: Iterable[JsonObject]) -> list[str]:
    """Return the names of masked fields."""
    return [
        f"{FIELD}.{number}.{name}"
        for number, hook in enumerate(hooks)
        for name in (_URL, _SECRET)
        if MASK in str(hook.get(name) or "")
    ]


def for_others(hooks: Iterable[JsonObject]) -> list[JsonObject]:
    """Return webhooks as those see them who do not own the job: an address may be a secret in itself."""
    return [{**hook, _URL: f"{str(hook[_URL]).partition('://')[0]}://{MASK}"} for hook in hooks]


def hidden(hook: JsonObject) -> list[str]:
    """Return what no text may show of an opened webhook."""
    return [*urls.hidden(str(hook[_URL])), *([str(hook[_SECRET])] if hook.get(_SECRET) else [])]


def key_of(secret: str) -> bytes | None:
    """Return the key that a secret stands for, None for a text that is no secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if secret.startswith(PREFIX) and KEY_BYTES[0] <= len(key) <= KEY_BYTES[1] else None


def headers(hook: JsonObject, message_id: str, moment: int, body: bytes) -> dict[str, str]:
    """Return the headers of a message that is sent at `moment`; it is signed if the opened webhook has a secret."""
    named: dict[str, Any] = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "webhook-id": message_id,
        "webhook-timestamp": str(moment),
    }
    key = key_of(str(hook.get(_SECRET) or ""))
    if key is not None:
        signed = hmac.new(key, f"{message_id}.{moment}.".encode() + body, hashlib.sha256).digest()
        named["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return named
