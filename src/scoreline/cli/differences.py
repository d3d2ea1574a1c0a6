"""What `scoreline apply` would change, and how: files on one side, a server on the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from scoreline import credentials as kinds
from scoreline.cli import declared
from scoreline.cli.client import Api
from scoreline.cli.declared import Declared
from scoreline.cli.definitions import PATH, portable
from scoreline.cli.remote import find_deployment
from scoreline.definitions import request
from scoreline.definitions.portable import DEPLOYMENT, by_name
from scoreline.definitions.schedule import Schedule
from scoreline.errors import InvalidRequest, NotFound
from scoreline.jobs import keyring
from scoreline.jobs.credentials import FIELDS
from scoreline.jobs.spec import JobSpec
from scoreline.redact import MASK
from scoreline.types import JsonObject

_CREDENTIALS = "credentials/"
_SIDES = ("intakeSettings", "outputSettings")
_NEW = "new credential "  # stands for an id until there is one
_RESET_BY_NULL = "customBoundaries"
_OF_DEPLOYMENTS = ("label", "description", "importance", "status", "settings")


@dataclass(frozen=True, slots=True)
class Difference:
    """One object: `lines` are a field's path, its value now and the wanted one. do: None where nothing is to be done.

    left: what of it is left alone, in words.
    """

    kind: str
    name: str
    new: bool
    lines: list[tuple[str, Any, Any]]
    do: Callable[[], None] | None
    left: str | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """Ids by names, and names by ids; credentials that are made on the way get theirs later."""

    api: Api
    credentials: dict[str, str]
    deployments: dict[str, str] = field(default_factory=dict)

    def credential(self, name: str) -> str:
        """Return a credential's id. Raises NotFound."""
        if name not in self.credentials:
            raise NotFound(f"There is no credential {name!r} of yours: see `scoreline credentials list`.")
        return self.credentials[name]

    def deployment(self, label: str) -> str:
        """Return a deployment's id. Raises NotFound, InvalidRequest when several have the label."""
        if label not in self.deployments:
            self.deployments[label] = find_deployment(self.api, label)
        return self.deployments[label]

    def shown(self, value: Any) -> Any:
        """Return a value as people read it."""
        names = {held: name for ids in (self.credentials, self.deployments) for name, held in ids.items()}
        return names.get(value, value) if isinstance(value, str) else value


def differences(api: Api, wanted: Declared, *, send_keys: bool = False) -> Iterator[Difference]:
    """Yield what differs, in the order in which it is to be done; nothing is changed yet.

    send_keys: settings that hold keys are sent also when nothing else differs. Raises what the server answers, and
    InvalidRequest, NotFound for entries that cannot be meant.
    """
    there = {each["name"]: each for each in api.pages(_CREDENTIALS)}
    names = Names(api, {name: each["credentialId"] for name, each in there.items()})
    for entry in wanted.credentials:
        yield _credential(api, names, entry, there.get(entry["name"]))
    for entry in wanted.deployments:
        yield _deployment(api, names, entry)
    known = {each["name"]: each for each in api.pages(PATH)} if wanted.definitions else {}
    for entry in wanted.definitions:
        yield _definition(api, names, entry, known.get(entry["name"]), send_keys=send_keys)


def _credential(api: Api, names: Names, entry: JsonObject, found: JsonObject | None) -> Difference:
    name = entry["name"]
    given = {key: value for key, value in entry.items() if key not in ("name", "description", "credentialType")}
    kind = entry.get("credentialType") or (found or {}).get("credentialType")
    if not isinstance(kind, str):
        raise InvalidRequest(f"Credential {name!r} needs its credentialType.")
    _check_parts(name, kind, given)
    about = {"description": entry["description"]} if entry.get("description") is not None else {}
    if found is not None:
        if found["credentialType"] != kind:
            raise InvalidRequest(f"Credential {name!r} is of type {found['credentialType']}, not {kind}: it stays so.")
        changes = {key: value for key, value in about.items() if found[key] != value}
        lines = [(key, found[key], value) for key, value in changes.items()]
        path = f"{_CREDENTIALS}{found['credentialId']}/"
        do = (lambda: _ignore(api.patch(path, changes))) if changes else None
        return Difference("credential", name, False, lines, do, "its keys")
    if not given:
        raise NotFound(
            f"There is no credential {name!r}: store it with `scoreline credentials add {name!r} --type {kind}`, or "
            f"give its fields in the file, as {{{declared.FROM_ENV}: VARIABLE}}."
        )
    names.credentials[name] = f"{_NEW}{name}"
    try:
        opened = declared.opened(given)
        kinds.read(kind, opened)
    except InvalidRequest as error:
        raise InvalidRequest(f"Credential {name!r}: {error.message}") from error

    def make() -> None:
        body = {"name": name, "credentialType": kind, **about, **opened}
        names.credentials[name] = api.post(_CREDENTIALS, body)["credentialId"]

    lines = [("credentialType", None, kind), *((key, None, MASK) for key in given)]
    return Difference("credential", name, True, lines, make)


def _check_parts(name: str, kind: str, given: JsonObject) -> None:
    """Raise InvalidRequest for fields that the type does not have, and for secrets that stand in the file."""
    parts = {each: part for part in kinds.parts(kind) for each in (part.name, *part.also)}
    for key, value in given.items():
        if key not in parts:
            raise InvalidRequest(f"Credential {name!r} has {key!r}; one of type {kind} has {', '.join(parts)}.")
        if parts[key].secret and not declared.is_variable(value):
            raise InvalidRequest(
                f"Credential {name!r} has the secret {key} in the file: name a variable of the environment, "
                f"`{key}: {{{declared.FROM_ENV}: VARIABLE}}`."
            )


def _deployment(api: Api, names: Names, entry: JsonObject) -> Difference:
    label = entry["label"]
    for key in entry:
        if key not in _OF_DEPLOYMENTS:
            raise InvalidRequest(f"Deployment {label!r} has {key!r}; there are {', '.join(_OF_DEPLOYMENTS)}.")
    path = f"deployments/{names.deployment(label)}/"
    found = api.get(path)
    about = {key: entry[key] for key in ("description", "importance") if entry.get(key) is not None}
    about = {key: value for key, value in about.items() if (found.get(key) or "") != value}
    lines = [(key, found.get(key), value) for key, value in about.items()]
    status = entry.get("status") if entry.get("status") not in (None, found["status"]) else None
    lines += [] if status is None else [("status", found["status"], status)]
    settings: JsonObject = {}
    if entry.get("settings"):
        now = api.get(f"{path}settings/")
        for name, wanted in _known(entry["settings"], now, f"Deployment {label!r}: settings").items():
            changed = list(_leaves(f"settings.{name}", now.get(name), wanted, whole=False))
            if changed:
                settings[name] = _merged(now.get(name), wanted, changed, f"settings.{name}")
                lines += changed

    def change() -> None:
        if settings:  # the part that may be refused comes first
            api.patch(f"{path}settings/", settings)
        if about:
            api.patch(path, about)
        if status is not None:
            api.patch(f"{path}status/", {"status": status})

    return Difference(
        "deployment", label, False, lines, change if lines else None, "settings that the file does not name"
    )


def _definition(api: Api, names: Names, entry: JsonObject, found: JsonObject | None, *, send_keys: bool) -> Difference:
    name = entry["name"]
    try:
        wanted = _whole(resolved(names, declared.opened(entry)))
    except (InvalidRequest, NotFound) as error:
        raise type(error)(f"Job definition {name!r}: {error.message}") from error
    spec = JobSpec.from_document({key: value for key, value in wanted.items() if key not in request.OWN})
    shown = wanted | _masked(spec)
    if found is None:
        lines = [(path, None, names.shown(_covered(entry.get(path), value))) for path, value in _given(entry, shown)]
        return Difference("definition", name, True, lines, lambda: _ignore(api.post(PATH, _body(names, entry))))
    there = yaml.safe_load(b"".join(portable(api, found["id"])))["definitions"][0]
    now = _whole(resolved(names, there))
    if entry.get("enabled") is None:
        shown["enabled"] = wanted["enabled"] = now["enabled"]
    now |= _masked(JobSpec.from_document({key: value for key, value in now.items() if key not in request.OWN}))
    changes: dict[str, list[tuple[str, Any, Any]]] = {}
    for key in shown | now:
        if not _equal(key, now.get(key), shown.get(key)):
            found_here = _leaves(key, now.get(key), shown.get(key), whole=True)
            changes[key] = [_hidden(entry, line) for line in found_here]
    if send_keys:
        for key in _holding_keys(spec) - changes.keys():
            changes[key] = [(key, MASK, f"{MASK} (sent again)")]
    lines = [(path, names.shown(old), names.shown(new)) for each in changes.values() for path, old, new in each]

    def change() -> None:
        body = _body(names, entry)
        api.patch(f"{PATH}{found['id']}/", {key: body.get(key) for key in changes})

    left = "its keys" if _holding_keys(spec) and not send_keys else None
    return Difference("definition", name, False, lines, change if changes else None, left)


def resolved(names: Names, entry: JsonObject) -> JsonObject:
    """Return an entry with ids for names. Raises NotFound, InvalidRequest."""
    found = dict(entry)
    label = found.pop(DEPLOYMENT, None)
    if label is not None:
        if found.get("deploymentId") is not None:
            raise InvalidRequest(f"{DEPLOYMENT} and deploymentId are given: give one.")
        found["deploymentId"] = names.deployment(str(label))
    for side in _SIDES:
        if not isinstance(found.get(side), dict):
            continue
        settings = found[side] = dict(found[side])
        for id_field in FIELDS:
            name = settings.pop(by_name(id_field), None)
            if name is not None:
                settings[id_field] = names.credential(str(name))
    return found


def _body(names: Names, entry: JsonObject) -> JsonObject:
    """Return what is sent of an entry, now that all names have ids."""
    return resolved(names, declared.opened(entry))


def _whole(entry: JsonObject) -> JsonObject:
    """Return an entry with all defaults, so that two that mean the same are the same. Raises InvalidRequest."""
    wanted = request.read({**entry, "enabled": entry.get("enabled") or False})
    spec = JobSpec.from_document({key: value for key, value in wanted.job.items() if value is not None})
    return {
        "enabled": wanted.enabled,
        "schedule": wanted.schedule,
        "timeZone": wanted.time_zone,
        "overlap": wanted.overlap.value,
        "catchUp": wanted.catch_up.value,
        "disableAfterFailures": wanted.disable_after,
        **spec.to_document(),
        "columnNamesRemapping": dict(spec.remap) or None,
    }


def _masked(spec: JobSpec) -> JsonObject:
    """Return the settings in which keys may be, with the keys hidden."""
    safe, plain = keyring.masked(spec).to_document(), spec.to_document()
    return {key: value for key, value in safe.items() if value != plain.get(key)}


def _holding_keys(spec: JobSpec) -> set[str]:
    return set(_masked(spec)) | {
        key for key, value in spec.to_document().items() if MASK in str(value) and key not in request.OWN
    }


def _equal(key: str, one: Any, other: Any) -> bool:
    if key == "schedule" and one is not None and other is not None:
        return Schedule.from_document(one) == Schedule.from_document(other)
    return bool(one == other)


def _leaves(path: str, now: Any, wanted: Any, *, whole: bool) -> Iterator[tuple[str, Any, Any]]:
    """Yield the fields that differ; whole: what `wanted` does not name is to be gone."""
    if isinstance(wanted, dict) and isinstance(now, dict):
        for key in {**now, **wanted} if whole else wanted:
            yield from _leaves(f"{path}.{key}", now.get(key), wanted.get(key), whole=whole)
    elif now != wanted:
        yield path, now, wanted


def _known(wanted: Any, now: JsonObject, where: str) -> JsonObject:
    """Return the settings that a file names; one that is null says nothing, as to the server, but for one.

    Raises InvalidRequest for what is no object of settings that there are.
    """
    if not isinstance(wanted, dict):
        raise InvalidRequest(f"{where} must be an object, with some of {', '.join(now)}.")
    found: JsonObject = {}
    for key, value in wanted.items():
        if key not in now:
            raise InvalidRequest(f"{where} has {key!r}; there are {', '.join(now)}.")
        if value is None and key != _RESET_BY_NULL:
            continue
        whole = key == _RESET_BY_NULL or not isinstance(now[key], dict)
        found[key] = value if whole else _known(value, now[key], f"{where}.{key}")
    return found


def _merged(now: Any, wanted: Any, changed: list[tuple[str, Any, Any]], path: str) -> Any:
    """Return what differs of a setting; the boundaries beside one that changes go along, which belong together."""
    if not isinstance(wanted, dict):
        return wanted
    found: JsonObject = {}
    for key, value in wanted.items():
        inner = f"{path}.{key}"
        if any(name == inner or name.startswith(f"{inner}.") for name, _, _ in changed):
            before = (now or {}).get(key)
            found[key] = before | value if isinstance(before, dict) and isinstance(value, dict) else value
    return found


def _hidden(entry: JsonObject, line: tuple[str, Any, Any]) -> tuple[str, Any, Any]:
    """Return a line without what comes from the environment, nor what the server has in its place."""
    path, now, wanted = line
    given: Any = entry
    for key in path.split("."):
        given = given.get(key) if isinstance(given, dict) and not declared.is_variable(given) else given
    return path, _covered(given, now), _covered(given, wanted)


def _covered(given: Any, value: Any) -> Any:
    """Return a value with a mask wherever the file names a variable: what it holds may be a secret in itself."""
    if declared.is_variable(given):
        return None if value is None else MASK
    if isinstance(given, dict) and isinstance(value, dict):
        return {key: _covered(given.get(key), each) for key, each in value.items()}
    if isinstance(given, list) and isinstance(value, list):
        return [*map(_covered, given, value), *value[len(given) :]]
    return value


def _given(entry: JsonObject, shown: JsonObject) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a new definition that the file names."""
    for key in shown:
        if entry.get(key) is not None or (key == "deploymentId" and DEPLOYMENT in entry):
            yield key, shown[key]


def _ignore(_: object) -> None:
    pass
