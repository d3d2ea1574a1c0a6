"""`predictionInstance`: a prediction server that is named with the job, instead of the deployment's own."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sqlalchemy.engine import Connection

from scoreline import scorers
from scoreline.access import Caller
from scoreline.access.outside import Outside
from scoreline.errors import InvalidRequest
from scoreline.jobs.fields import Fields
from scoreline.network import Reach
from scoreline.redact import MASK
from scoreline.registry import foreign, servers
from scoreline.registry.records import Server
from scoreline.store import Store
from scoreline.types import JsonObject

KIND = "datarobot"  # the protocol of a server that is no own one
FIELD = "predictionInstance"
SECRET = ("apiKey", "datarobotKey")
"""The fields that hold keys."""
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9_.])?")
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Instance:
    """The server that scores a job. own: one of ours, which needs no key; else what it takes to note and ask another.

    concurrency: requests that it takes at once.
    """

    url: str
    concurrency: int
    own: Server | None = None
    reach: Reach | None = None
    keys: JsonObject = field(default_factory=dict, repr=False)


def check(settings: JsonObject) -> None:
    """Raise InvalidRequest for settings that are not of the right form."""
    _read(settings)


def masked(settings: JsonObject) -> JsonObject:
    """Return the settings as they are stored and shown: that there were keys, not which."""
    return {name: MASK if name in SECRET and value is not None else value for name, value in settings.items()}


def find(store: Store, caller: Caller, settings: JsonObject, outside: Outside) -> Instance:
    """Return the server that is meant, if the caller may use it.

    Raises InvalidRequest for settings that are wrong, a foreign host without a key among them, and Forbidden.
    """
    scheme, host, port = _read(settings)
    keys = {name: settings[name] for name in SECRET if settings.get(name)}
    for name, key in keys.items():
        if key == MASK:
            raise _wrong(name, "is masked here: give the key itself")
        if not key.isascii() or not key.isprintable() or key != key.strip():
            raise _wrong(name, "is a text of printable ASCII without blanks around it")
    own = _own(servers.list_servers(store, caller), host, port)
    if own is not None:
        return Instance(own.url, own.concurrency, own=own, keys=keys)
    shown = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{shown}" + ("" if port == _PORTS[scheme] else f":{port}")
    if "apiKey" not in keys:
        raise _wrong("apiKey", f"is missing: {shown}:{port} is no prediction server of this installation and needs one")
    reach = foreign.reach_for(store, caller, KIND, url, outside)
    return Instance(url, scorers.concurrency(KIND, {}), reach=reach, keys=keys)


def settle_in(connection: Connection, caller: Caller, instance: Instance) -> JsonObject:
    """Note the server; return the job's columns.

    Runs in a write transaction that holds the lock "prediction servers".
    """
    if instance.own is not None:
        return {"server_id": instance.own.id}
    anywhere = instance.reach is not None and instance.reach.anywhere
    server_id = servers.register_foreign_in(
        connection, caller, KIND, instance.url, instance.concurrency, anywhere=anywhere
    )
    return {"server_id": server_id}


def _read(settings: JsonObject) -> tuple[str, str, int]:
    """Return scheme, host and port."""
    fields = Fields(settings, f"{FIELD}.")
    fields.only(("hostName", "sslEnabled", *SECRET))
    for name in SECRET:
        fields.text(name)
    scheme = "https" if fields.flag("sslEnabled", default=True) else "http"
    given = fields.text("hostName")
    if given is None:
        raise _wrong("hostName", "is missing: it says which prediction server scores")
    if "://" in given:
        raise _wrong("hostName", "is a name without `https://`; sslEnabled says whether it is asked that way")
    host, port = _split(given)
    return scheme, host.lower(), _PORTS[scheme] if port is None else port


def _split(given: str) -> tuple[str, int | None]:
    """Read `host`, `host:port`, `[address]:port`, and an IPv6 address without brackets."""
    try:
        return str(ipaddress.IPv6Address(given)), None
    except ValueError:
        pass
    try:
        parts = urlsplit(f"//{given}")
        host, port = parts.hostname or "", parts.port
        host = str(ipaddress.IPv6Address(host)) if ":" in host else host
        good = ":" in host or _NAME.fullmatch(host) is not None
    except ValueError:
        good = False
    if not good or port == 0 or parts.netloc != given or parts.username is not None:
        raise _wrong("hostName", f"is like `host`, `host:port` or `[address]:port`, not {given[:100]!r}")
    return host, port


def _own(known: list[Server], host: str, port: int) -> Server | None:
    """Return our own server at this place. Whether it speaks TLS is known from where it is registered."""
    for server in known:
        parts = urlsplit(server.url)
        place = (parts.hostname or "").lower(), parts.port or _PORTS[parts.scheme]
        if server.kind == servers.OWN and place == (host, port):
            return server
    return None


def _wrong(name: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{FIELD}.{name} {what}.", f"{FIELD}.{name}")
