"""What files of `scoreline apply` say there should be: credentials, settings of deployments, job definitions."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Mapping
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

_MOST_LEVELS = 32
"""As deep as the API reads a request."""
_MOST_VALUES = 1_000_000
_PLAIN = (str, bool, int, float, type(None))

_NAMED_BY = {"credentials": "name", "deployments": "label", "definitions": "name"}


@dataclass(frozen=True, slots=True)
class Declared:
    """Entries of all files by section, each with its name under `name`, or `label` for deployments."""

    credentials: list[JsonObject] = field(default_factory=list)
    deployments: list[JsonObject] = field(default_factory=list)
    definitions: list[JsonObject] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """Plain YAML in which no key stands twice: of two, the first would be lost without a word.

    What looks like a date is a text, since JSON has no dates.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Raise ComposerError for a key that is there twice; what `<<` merges in comes later, and may be."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in seen:
                raise yaml.composer.ComposerError(None, None, f"the key {key.value!r} is there twice", key.start_mark)
            seen.add(name)
        return node


_Loader.yaml_implicit_resolvers = {
    first: [each for each in known if each[0] != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


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
    except RecursionError as error:
        raise InvalidRequest(f"{file} is nested too deeply: at most {_MOST_LEVELS} levels are read.") from error
    _check_plain(document, file)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidRequest(f"{file} must have sections: {', '.join(_NAMED_BY)}.")
    return document


def _check_plain(document: Any, file: str) -> None:
    """Raise InvalidRequest for what JSON does not have, and for few aliases that stand for no end of values."""
    count, waiting = 0, [(document, 0)]
    while waiting:
        value, level = waiting.pop()
        count += 1
        if level > _MOST_LEVELS:
            raise InvalidRequest(f"{file} is nested too deeply: at most {_MOST_LEVELS} levels are read.")
        if count + len(waiting) > _MOST_VALUES:
            raise InvalidRequest(f"{file} has more than {_MOST_VALUES:,} values, those that aliases repeat included.")
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise InvalidRequest(f"{file}: the key {str(key)[:40]} is no text: write it in quotes.")
            waiting.extend((each, level + 1) for each in value.values())
        elif isinstance(value, list):
            waiting.extend((each, level + 1) for each in value)
        elif not isinstance(value, _PLAIN) or (isinstance(value, float) and not math.isfinite(value)):
            raise InvalidRequest(f"{file}: {str(value)[:40]} is neither text nor number: write it in quotes.")


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
