"""What a request says about a job definition: fields of its own beside those of a job, all on one level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scoreline.definitions.records import CatchUp, Definition, Overlap
from scoreline.definitions.schedule import Schedule, zone_named
from scoreline.errors import InvalidRequest
from scoreline.jobs import spec
from scoreline.jobs.fields import Fields
from scoreline.types import JsonObject

OWN = ("name", "enabled", "schedule", "timeZone", "overlap", "catchUp", "disableAfterFailures")
"""The fields that jobs do not have."""

LONGEST_NAME = 255
MOST_FAILURES = 1000
UTC = "UTC"
_SHOWN_ONLY = "redactedFields"  # comes back when an answer is sent as a request


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a definition is to be. name: None where it is to be made up. job: the fields of a job that were given.

    A field of `job` that is None goes back to its default.
    """

    name: str | None
    enabled: bool
    schedule: JsonObject | None
    time_zone: str
    overlap: Overlap
    catch_up: CatchUp
    disable_after: int | None
    job: JsonObject

    @property
    def due(self) -> Schedule | None:
        """When it is due; None while it is not enabled."""
        return Schedule.from_document(self.schedule) if self.enabled and self.schedule is not None else None


def read(document: Mapping[str, Any], before: Definition | None = None) -> Wanted:
    """Read a request's document; what it does not name stays as it was before.

    Raises InvalidRequest, naming the field, for what is wrong among its own fields or has a name that does not exist.
    """
    fields = Fields(document)
    fields.only((*OWN, *spec.NAMES, _SHOWN_ONLY))
    schedule = fields.object("schedule") if "schedule" in document or before is None else before.schedule
    if schedule is not None:
        Schedule.from_document(schedule)
    enabled = fields.flag("enabled", default=False if before is None else before.enabled)
    if enabled and schedule is None:
        raise InvalidRequest(
            "schedule is required when enabled is true: give one, or leave enabled out and run the definition by hand.",
            "schedule",
        )
    zone = fields.text("timeZone", UTC if before is None else before.time_zone)
    zone_named(zone)
    failures = before.disable_after if before is not None and "disableAfterFailures" not in document else None
    return Wanted(
        name=_name(fields, None if before is None else before.name),
        enabled=enabled,
        schedule=schedule,
        time_zone=str(zone),
        overlap=Overlap(_one_of(fields, "overlap", Overlap, Overlap.QUEUE if before is None else before.overlap)),
        catch_up=CatchUp(_one_of(fields, "catchUp", CatchUp, CatchUp.ONCE if before is None else before.catch_up)),
        disable_after=fields.whole("disableAfterFailures", 1, MOST_FAILURES) or failures,
        job={name: fields.raw(name) for name in document if name in spec.NAMES},
    )


def _name(fields: Fields, before: str | None) -> str | None:
    name = fields.text("name", before)
    if name is not None and (not name.strip() or len(name) > LONGEST_NAME or not name.isprintable()):
        raise InvalidRequest(f"name is a text of 1 to {LONGEST_NAME} characters that can be printed.", "name")
    return name


def _one_of(fields: Fields, name: str, kinds: type[Overlap | CatchUp], before: str) -> str:
    return fields.text(name, str(before), one_of=[str(kind) for kind in kinds]) or str(before)
