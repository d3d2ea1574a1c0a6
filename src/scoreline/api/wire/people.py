"""People as JSON, in the two shapes that the client knows."""

from __future__ import annotations

from scoreline.access import Caller
from scoreline.api.wire import answers
from scoreline.registry.records import Owner


def person(owner: Owner) -> answers.Person:
    """Return who made a job."""
    return {"userId": owner.id, "username": owner.username, "fullName": owner.full_name}


def member(owner: Owner) -> answers.Member:
    """Return who made a model or a deployment."""
    return {"id": owner.id, "name": owner.full_name or owner.username, "email": owner.username}


def may_change(caller: Caller, owner: Owner) -> bool:
    """Say whether the caller may change an owner's object, to show it; `access` decides."""
    return caller.role == "admin" or (caller.role == "user" and caller.user_id == owner.id)
