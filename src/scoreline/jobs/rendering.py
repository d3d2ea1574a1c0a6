"""Which settings of a job may have times in them (see `templates`), and what they are in one run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from scoreline.errors import InvalidRequest
from scoreline.jobs import storage, templates
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.templates import Moments
from scoreline.types import JsonObject

URL = "url"
FIELDS = {"intake": ("path", "query", URL), "output": ("path", "schema", "table", URL)}
"""The settings on a side that may have templates, whatever its type."""

_BEHIND_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\\]+/")
_TAKES = "only " + " and ".join(f"{', '.join(names)} of {side}Settings" for side, names in FIELDS.items()) + " may"


def has_templates(spec: JobSpec) -> bool:
    """Say whether any setting has a template."""
    return any(templates.prefix(text) is not None for _, _, text in _texts(spec))


def rendered(spec: JobSpec, moments: Moments | None) -> JobSpec:
    """Return a spec with its templates replaced by their values; without moments nothing is a template.

    Raises InvalidRequest, naming the field, for a template that cannot be read.
    """
    if moments is None or not has_templates(spec):
        return spec
    ends: dict[str, JsonObject] = {"intake": dict(spec.intake), "output": dict(spec.output)}
    for side, name, text in _texts(spec):
        ends[side][name] = templates.render(text, moments, f"{side}Settings.{name}")
    return replace(spec, intake=ends["intake"], output=ends["output"])


def values(spec: JobSpec, moments: Moments | None) -> dict[str, str]:
    """Return what the settings with templates are in a run, by their paths."""
    done = rendered(spec, moments)
    if done is spec:
        return {}
    return {
        f"{side}Settings.{name}": str(getattr(done, side)[name])
        for side, name, text in _texts(spec)
        if templates.prefix(text) is not None
    }


def check(spec: JobSpec) -> None:
    """Raise InvalidRequest, naming the field, for a template that stands where none may.

    A URL's scheme, host and bucket are what stands there for all to see: its first template comes behind them.
    """
    for side, names in FIELDS.items():
        settings: JsonObject = getattr(spec, side)
        for name in names:
            text = settings.get(name)
            before = templates.prefix(text) if name == URL and isinstance(text, str) else None
            if before is not None and not _fixes_place(str(settings["type"]), before):
                raise InvalidRequest(
                    f"{side}Settings.{name} has a template in the wrong place, at character {len(before) + 1}: host, "
                    "bucket and container must stand before the first one.",
                    f"{side}Settings.{name}",
                )
        for path, value in _others(settings, names, f"{side}Settings."):
            templates.check_text(value, path, _TAKES)
    for path, value in _others(spec.prediction_instance or {}, (), "predictionInstance."):
        templates.check_text(value, path, _TAKES)


def _texts(spec: JobSpec) -> Iterator[tuple[str, str, str]]:
    """Yield side, name and text of the settings that may have templates."""
    for side, names in FIELDS.items():
        settings: JsonObject = getattr(spec, side)
        for name in names:
            if isinstance(settings.get(name), str):
                yield side, name, settings[name]


def _others(settings: JsonObject, names: tuple[str, ...], path: str) -> Iterator[tuple[str, Any]]:
    """Yield path and value of the settings that may have none, those inside of others too; lists name columns."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _others(value, (), f"{path}{name}.")
        elif name not in names:
            yield f"{path}{name}", value


def _fixes_place(kind: str, before: str) -> bool:
    """Say whether the text before the first template says where the rest leads."""
    place = storage.PLACES.get(kind)
    if place is None:
        return _BEHIND_HOST.match(before) is not None
    try:
        place(f"{before}x")
    except (InvalidRequest, ValueError):
        return False
    return True
