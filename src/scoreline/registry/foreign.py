"""Models that live on servers of other makers: who may name such a server, and what it says about its model."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

from sqlalchemy.engine import Connection

from scoreline import scorers
from scoreline.access import Caller
from scoreline.errors import Conflict, Forbidden, InvalidRequest, ScoringError, SetupError
from scoreline.registry import servers
from scoreline.registry.request import PackageRequest, ServerRequest
from scoreline.scorers.replies import meaning
from scoreline.store import Store
from scoreline.types import Feature, FeatureType, JsonObject, ModelInfo, ServerAddress, TargetType

RIGHT = "servers"
_KEY = "SCORELINE_SERVER_KEY_"
_KEY_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Remote:
    """A foreign server that was asked. features: as asked for, where the server names none."""

    kind: str
    url: str
    options: dict[str, str]
    info: ModelInfo
    features: dict[str, Feature]


def ask(store: Store, caller: Caller, request: PackageRequest) -> Remote:
    """Ask the server that a package names about its model; only after the caller was found to have a right to it.

    Raises Forbidden, InvalidRequest for a wrong kind, address or option, Conflict when the server cannot be asked.
    """
    assert request.server is not None
    wanted = _checked(request.server)
    _require_right(store, caller, wanted)
    address = address_of(wanted.kind, wanted.url, wanted.options)
    try:
        learned = scorers.learn(address, request.class_names, tuple(request.features.values()))
    except ScoringError as error:
        raise Conflict(f"The server {wanted.url} cannot be registered: {error.message}") from error
    features = dict(request.features)
    if learned.needs_values:
        features = {name: _with_value(feature) for name, feature in features.items()}
    _check_labels(request, learned.info)
    info = replace(learned.info, outputs=_outputs(request, learned.info))
    return Remote(wanted.kind, wanted.url, {**learned.options, **wanted.options}, info, features)


def register_in(connection: Connection, caller: Caller, remote: Remote) -> JsonObject:
    """Note the server, if it is new, and return what a package keeps of it."""
    concurrency = scorers.concurrency(remote.kind, remote.options)
    server_id = servers.register_foreign_in(connection, caller, remote.kind, remote.url, concurrency)
    return {"id": server_id, "kind": remote.kind, "url": remote.url, "options": remote.options}


def address_of(kind: str, url: str, options: dict[str, str]) -> ServerAddress:
    """Return how a foreign server is reached, with its key, which the environment of this process has.

    Raises SetupError when the environment lacks it.
    """
    name = options.get("key")
    if not name:
        return ServerAddress(url, "", "", kind, options)
    secret = os.environ.get(_KEY + name)
    if not secret:
        raise SetupError(
            f"The key of the server {url} is missing: set {_KEY}{name} in the environment of the API and the workers."
        )
    return ServerAddress(url, "", secret, kind, options, os.environ.get(f"{_KEY}{name}_DATAROBOT", ""))


def _checked(server: ServerRequest) -> ServerRequest:
    scorers.check(server.kind, server.options)
    name = server.options.get("key")
    if name is not None and not _KEY_NAME.fullmatch(name):
        raise InvalidRequest("The option `key` is a name in capital letters, digits and `_`.", "server.options")
    return replace(server, url=servers.checked_url(server.url))


def _require_right(store: Store, caller: Caller, server: ServerRequest) -> None:
    """A new address, and any key, would make this installation send rows or secrets wherever the caller likes."""
    if caller.role == "admin":
        return
    if "key" in server.options:
        raise Forbidden("A server that needs a key is registered by an admin: ask one.")
    if RIGHT in caller.rights or servers.known_foreign(store, caller, server.kind, server.url):
        return
    raise Forbidden(
        f"No admin has registered the server {server.url} yet, and user {caller.username!r} lacks the right {RIGHT!r} "
        f"to do so: an admin grants it with `scoreline user update {caller.username} --right {RIGHT}`."
    )


def _check_labels(request: PackageRequest, info: ModelInfo) -> None:
    """A server's answers name its classes, so they cannot be given other names here."""
    asked, own = request.class_names, info.class_labels
    if asked is not None and own is not None and set(map(meaning, asked)) != set(map(meaning, own)):
        shown = ", ".join(map(repr, own[:20]))
        raise InvalidRequest(f"The server's classes are {shown}: leave `target.classNames` out.", "target.classNames")


def _outputs(request: PackageRequest, info: ModelInfo) -> int:
    kind = request.target_type or info.target_type
    if kind is TargetType.BINARY:
        return 2
    if kind is TargetType.MULTICLASS:
        return len(request.class_names or info.class_labels or ()) or 2
    return 1


def _with_value(feature: Feature) -> Feature:
    whole = feature.type in (FeatureType.INTEGER, FeatureType.BOOLEAN)
    return replace(feature, nullable=False) if whole else feature
