"""Models that live on servers of other makers: who may name such a server, and what it says about its model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sqlalchemy.engine import Connection

from scoreline import redact, scorers
from scoreline.access import Caller
from scoreline.access.outside import Outside
from scoreline.errors import Conflict, Forbidden, InvalidRequest, ScoringError
from scoreline.network import Reach
from scoreline.registry import servers
from scoreline.registry.records import Server
from scoreline.registry.request import PackageRequest, ServerRequest
from scoreline.scorers.replies import meaning
from scoreline.store import Store
from scoreline.types import Feature, FeatureType, JsonObject, ModelInfo, ServerAddress, TargetType

RIGHT = "servers"
KEYS = "server key"  # kind of secret


@dataclass(frozen=True, slots=True)
class Remote:
    """A foreign server that was asked. features: as asked for, where the server names none. keys: to be sealed."""

    kind: str
    url: str
    options: dict[str, str]
    info: ModelInfo
    features: dict[str, Feature]
    reach: Reach
    keys: JsonObject = field(default_factory=dict, repr=False)


def ask(store: Store, caller: Caller, request: PackageRequest, outside: Outside) -> Remote:
    """Ask the server that a package names about its model; only after the caller was found to have a right to it.

    Raises Forbidden, InvalidRequest for a wrong kind, address or option, Conflict when the server cannot be asked.
    """
    assert request.server is not None
    scorers.check(request.server.kind, request.server.options)
    wanted = replace(request.server, url=servers.checked_url(request.server.url))
    reach = reach_for(store, caller, wanted.kind, wanted.url, outside)
    keys = _keys(wanted)
    address = ServerAddress(
        wanted.url, "", wanted.key, wanted.kind, wanted.options, datarobot_key=wanted.datarobot_key, reach=reach
    )
    with redact.hiding(redact.texts(keys)):
        try:
            learned = scorers.learn(address, request.class_names, tuple(request.features.values()))
        except ScoringError as error:
            said = redact.mask(error.message)
            raise Conflict(f"The server {wanted.url} cannot be registered: {said}") from error
    features = dict(request.features)
    if learned.needs_values:
        features = {name: _with_value(feature) for name, feature in features.items()}
    _check_labels(request, learned.info)
    info = replace(learned.info, outputs=_outputs(request, learned.info))
    return Remote(wanted.kind, wanted.url, {**learned.options, **wanted.options}, info, features, reach, keys)


def register_in(connection: Connection, caller: Caller, remote: Remote, outside: Outside) -> JsonObject:
    """Note the server, if it is new, seal its keys, and return what a package keeps of it."""
    concurrency = scorers.concurrency(remote.kind, remote.options)
    server_id = servers.register_foreign_in(
        connection, caller, remote.kind, remote.url, concurrency, anywhere=remote.reach.anywhere
    )
    kept: JsonObject = {"id": server_id, "kind": remote.kind, "url": remote.url, "options": remote.options}
    if remote.keys:
        kept["secret"] = outside.vault.seal_in(connection, caller.user_id, KEYS, remote.keys)
    return kept


def address_of(server: Server, remote: JsonObject, owner_id: str, outside: Outside) -> ServerAddress:
    """Return how a run reaches the foreign server of a package, whose owner is `owner_id`.

    Raises SetupError when its key cannot be opened here.
    """
    secret = remote.get("secret")
    keys = {} if secret is None else outside.vault.open(secret, owner_id, KEYS)
    return ServerAddress(
        server.url,
        "",
        keys.get("key", ""),
        server.kind,
        remote["options"],
        datarobot_key=keys.get("datarobotKey", ""),
        reach=outside.reach(anywhere=server.reach == servers.ANYWHERE),
    )


def reach_for(store: Store, caller: Caller, kind: str, url: str, outside: Outside) -> Reach:
    """Return how far this address leads for a caller. Raises Forbidden for one that they may not name.

    A new address would make this installation send rows wherever the caller likes.
    """
    known = servers.known_foreign(store, caller, kind, url)
    if known is None and caller.role != "admin" and RIGHT not in caller.rights:
        raise Forbidden(
            f"No admin has registered the server {url} yet, and user {caller.username!r} lacks the right {RIGHT!r} "
            f"to do so: an admin grants it with `scoreline user update {caller.username} --right {RIGHT}`."
        )
    reach = outside.reach(anywhere=caller.role == "admin" or known == servers.ANYWHERE)
    reach.check_url(url, f"The server {url}")
    return reach


def _keys(server: ServerRequest) -> JsonObject:
    given = {"key": server.key, "datarobotKey": server.datarobot_key}
    return {name: value for name, value in given.items() if value}


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
    if kind in (TargetType.MULTICLASS, TargetType.MULTILABEL, TargetType.CLUSTERING):
        return len(request.class_names or info.class_labels or ()) or 2
    return 0 if kind is TargetType.TEXT_GENERATION else 1


def _with_value(feature: Feature) -> Feature:
    whole = feature.type in (FeatureType.INTEGER, FeatureType.BOOLEAN)
    return replace(feature, nullable=False) if whole else feature
