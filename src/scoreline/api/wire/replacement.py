"""Replacing a deployment's model, and the models it has had, as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

# pydantic reads it and not the standard library's before Python 3.12.
from typing_extensions import TypedDict

from scoreline.api.wire.answers import Member, Moment
from scoreline.api.wire.base import Wire, timestamp
from scoreline.api.wire.people import member
from scoreline.registry.history import Served
from scoreline.registry.replacement import Validation


class ModelChoice(Wire):
    """A model that might replace a deployment's."""

    model_package_id: str | None = Field(None, min_length=1)
    model_id: str | None = Field(None, min_length=1, description="Of several packages, the newest.")


class ModelReplacement(ModelChoice):
    """Replace a deployment's model."""

    reason: Literal["ACCURACY", "DATA_DRIFT", "ERRORS", "SCHEDULED_REFRESH", "SCORING_SPEED", "OTHER"]


class CheckAnswer(TypedDict):
    """One point of a validation: passing, warning or failing."""

    status: str
    message: str


class ValidationAnswer(TypedDict):
    """Whether a model may replace a deployment's: passing, warning (it may) or failing."""

    status: str
    message: str
    checks: dict[str, CheckAnswer]


class ReplacedAnswer(ValidationAnswer):
    """The id of the deployment that has another model now, and what there was to say about it."""

    id: str


class ServedModelAnswer(TypedDict):
    """A model that is or was served."""

    id: str


class ServedPackageAnswer(TypedDict):
    """The package of a model that is or was served."""

    id: str
    name: str
    version: int
    registeredModelId: str


class ServedAnswer(TypedDict):
    """One model of a deployment, numbered from 1. `replacedAt` is null for the present one, `reason` for the first."""

    number: int
    model: ServedModelAnswer
    modelPackage: ServedPackageAnswer
    deployedAt: Moment | None
    deployedBy: Member
    replacedAt: Moment | None
    reason: str | None


def validation_document(validation: Validation) -> ValidationAnswer:
    """Return whether a model fits a deployment."""
    checks: dict[str, CheckAnswer] = {
        name: {"status": each.status, "message": each.message} for name, each in validation.checks.items()
    }
    return {"status": validation.status, "message": validation.message, "checks": checks}


def history_document(served: Served) -> ServedAnswer:
    """Return one model that a deployment has or had."""
    return {
        "number": served.number,
        "model": {"id": served.model_id},
        "modelPackage": {
            "id": served.package_id,
            "name": served.package_name,
            "version": served.version,
            "registeredModelId": served.registered_model_id,
        },
        "deployedAt": timestamp(served.since),
        "deployedBy": member(served.by),
        "replacedAt": timestamp(served.until),
        "reason": served.reason,
    }
