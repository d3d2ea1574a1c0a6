"""The one execution environment of an installation, as the official client sees it: what custom models run in."""

from __future__ import annotations

from datetime import UTC, datetime

from scoreline.errors import InvalidRequest

ID = "5c07e11e000000000000e001"
VERSION_ID = "5c07e11e000000000000e101"
NAME = "Scoreline"
DESCRIPTION = (
    "Python. Models of the formats that Scoreline reads run in its prediction servers; folders with custom.py run "
    "through DRUM, in the environment that SCORELINE_DRUM names."
)
CREATED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def check(environment_id: str | None, version_id: str | None = None) -> None:
    """Raise InvalidRequest for another environment than this one; None means it."""
    for given, own, field in (
        (environment_id, ID, "baseEnvironmentId"),
        (version_id, VERSION_ID, "baseEnvironmentVersionId"),
    ):
        if given is not None and given != own:
            raise InvalidRequest(
                f"There is no execution environment {given[:100]!r}: leave `{field}` out, or give {own}, the only one.",
                field,
            )
