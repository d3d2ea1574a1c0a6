"""What files of `scoreline apply` say there should be: credentials, settings of deployments, job definitions."""

from __future__ import annotations

import os
import sys
from collections.abc import Hashable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from scoreline.errors import InvalidRequest, one_line
from scoreline.types import JsonObject

STDIN = "-"
FROM_ENV = "fromEnv"
"""`{fromEnv: NAME}` stands for the value of a variable of the environment."""

_NAMED_BY = {"credentials": "name", "deployments": "label", "definitions": "name"}


@dataclass(frozen=True, slots=True)
class Declared:
    """Entries of all files by section, each with its name under `name`, or `label` for deployments."""

    credentials: list[JsonObject] = field(default_factory=list)
    deployments: list[JsonObject] = field(default_factory=list)
    definitions: list[JsonObject] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """Plain YAML in which no key stands twice: of two, the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Raise ConstructorError for a key that is there twice."""
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if isinstance(name, Hashable) and name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} is there twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def read(files: Iterable[str]) -> Declared:
    """Read files, `-` for standard input. Raises InvalidRequest, naming file and place, for what cannot be meant."""
    found = Declared()
    for file in files:
        document = _document(file)
        for section, entries in document.items():
            if section not in _NAMED_BY:
                raise InvalidRequest(f"{file}: there is no section {section!r}; there are {', '.join(_NAMED_BY)}.")
            _add(getattr(found, section), section, entries, file)
    if not (found.credentials or found.deployments or found.definitions):
        raise InvalidRequest("Nothing is declared: give files with one of the sections " + ", ".join(_NAMED_BY) + ".")
    return found


def opened(value: Any) -> Any:
    """Return a copy with the values of variables in their places. Raises InvalidRequest for one that is not set."""
    if is_variable(value):
        name = str(value[FROM_ENV])
        if name not in os.environ:
            raise InvalidRequest(f"There is no variable {name!r} in the environment, which {FROM_ENV} names.")
        return os.environ[name]
    if isinstance(value, dict):
        return {key: opened(each) for key, each in value.items()}
    return [opened(each) for each in value] if isinstance(value, list) else deepcopy(value)


def is_variable(value: Any) -> bool:
    """Say whether a value is taken from the environment."""
    return isinstance(value, dict) and list(value) == [FROM_ENV] and isinstance(value[FROM_ENV], str)


def _document(file: str) -> Mapping[str, Any]:
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}."
        ) from error
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 -- a safe loader
    except yaml.YAMLError as error:
        raise InvalidRequest(one_line(f"{file} is not YAML: {error}.")) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidRequest(f"{file} must have sections: {', '.join(_NAMED_BY)}.")
    return document


def _add(found: list[JsonObject], section: str, entries: Any, file: str) -> None:
    key = _NAMED_BY[section]
    if entries is None:
        return
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidRequest(f"{file}: {section} must be a list of objects with a {key} each.")
    names = {entry[key] for entry in found}
    for entry in entries:
        name = entry.get(key)
        if not isinstance(name, str) or not name.strip():
            raise InvalidRequest(f"{file}: an entry of {section} has no {key}, which tells it from the others.")
        if name in names:
            raise InvalidRequest(f"{file}: {section} has {name!r} twice.")
        names.add(name)
        found.append(entry)
