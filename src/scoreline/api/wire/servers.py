"""Prediction servers as JSON, also in the role of the environments that models are deployed to."""

from __future__ import annotations

from pydantic import Field

from scoreline.access import Caller
from scoreline.api.wire import deployment_answers
from scoreline.api.wire.base import Wire, timestamp
from scoreline.api.wire.people import may_change
from scoreline.errors import InvalidRequest
from scoreline.registry.records import Environment, Server


class PredictorHere(Wire):
    """What a prediction server says when it starts."""

    name: str = Field(min_length=1)
    url: str = Field(min_length=1)
    concurrency: int = Field(ge=1, description="Requests that it takes at once.")


class Introspection(Wire):
    """A caller's token that a prediction server was shown."""

    token: str


class OnBehalf(Wire):
    """Who asked a prediction server."""

    user_id: str = ""


def server_document(server: Server, processing: int, queued: int) -> deployment_answers.PredictionServer:
    """Return one server, with the jobs that run on it and wait for it."""
    return {
        "id": server.id,
        "url": server.url,
        "datarobot-key": server.datarobot_key,
        "name": server.name,
        "batchPredictions": {"processing": processing, "queued": queued},
    }


class NewEnvironment(Wire):
    """Make a prediction environment."""

    name: str
    platform: str
    description: str | None = None
    supported_model_formats: list[str] = Field([], description="Kinds of models that go there; none: all.")
    is_managed_by_management_agent: bool = False
    plugin: str | None = None
    datastore_id: str | None = None
    credential_id: str | None = None

    def check_built(self) -> None:
        """Raise InvalidRequest, naming the field, for what this version cannot do."""
        for name, wanted in (
            ("isManagedByManagementAgent", self.is_managed_by_management_agent),
            ("plugin", self.plugin),
            ("datastoreId", self.datastore_id),
            ("credentialId", self.credential_id),
        ):
            if wanted:
                raise InvalidRequest(f"{name} is not built in this version of Scoreline: leave it out.", name)


def environment_document(environment: Environment, caller: Caller) -> deployment_answers.Environment:
    """Return a prediction environment."""
    owner = environment.owner
    found: deployment_answers.Environment = {
        "id": environment.id,
        "name": environment.name,
        "platform": environment.platform,
        "description": environment.description or "",  # the client fails on null
        "plugin": None,
        "supportedModelFormats": list(environment.formats),
        "isManagedByManagementAgent": False,
        "isDeleted": False,
        "permissions": ["CAN_VIEW", *(["CAN_DELETE"] if owner is not None and may_change(caller, owner) else [])],
    }
    if owner is not None:
        found["importMeta"] = {
            "dateCreated": timestamp(environment.created_at),
            "creatorId": owner.id,
            "creatorUsername": owner.username,
        }
    return found
