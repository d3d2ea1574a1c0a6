"""Prediction servers as JSON, also in the role of the environments that models are deployed to."""

from __future__ import annotations

from pydantic import Field

from scoreline.api.wire import answers
from scoreline.api.wire.base import Wire
from scoreline.registry.records import Server

PLATFORM = "other"


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


def server_document(server: Server, processing: int, queued: int) -> answers.PredictionServer:
    """Return one server, with the jobs that run on it and wait for it."""
    return {
        "id": server.id,
        "url": server.url,
        "datarobot-key": server.datarobot_key,
        "name": server.name,
        "batchPredictions": {"processing": processing, "queued": queued},
    }


def environment_document(server: Server) -> answers.Environment:
    """Return a server as a prediction environment: the place where predictions are made."""
    return {
        "id": server.id,
        "name": server.name,
        "platform": PLATFORM,
        "description": f"Prediction server at {server.url}",
        "plugin": None,
        "supportedModelFormats": [],
        "isManagedByManagementAgent": False,
        "isDeleted": False,
        "permissions": [],
    }
