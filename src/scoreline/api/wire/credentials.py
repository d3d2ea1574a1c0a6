"""Stored credentials as JSON: the shapes of each type on the way in, and what is shown of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from scoreline import credentials
from scoreline.access.credentials import Credential
from scoreline.api.wire import answers
from scoreline.api.wire.base import Paging, timestamp
from scoreline.credentials import Part
from scoreline.errors import InvalidRequest
from scoreline.jobs.fields import Fields
from scoreline.types import JsonObject

_ABOUT = ("name", "credentialType", "description")
_TEXT: JsonObject = {"type": "string", "minLength": 1}
_FORMS: dict[str, JsonObject] = {
    "text": _TEXT,
    "texts": {"type": "array", "items": _TEXT, "minItems": 1},
    "object": {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
}


class CredentialQuery(Paging):
    """The filters of the list of credentials."""

    types: tuple[str, ...] = Field((), description=f"Only these types, of {', '.join(credentials.KINDS)}.")
    all_owners: bool = Field(False, description="An admin's: all of the organisation, not only own ones.")


@dataclass(frozen=True, slots=True)
class NewCredential:
    """What is asked to be stored."""

    name: str
    kind: str
    description: str
    parts: Mapping[str, Any]

    @classmethod
    def read(cls, document: JsonObject) -> NewCredential:
        """Read a request's body. Raises InvalidRequest, naming the field."""
        parts = {name: value for name, value in document.items() if name not in _ABOUT}
        return cls(
            _required(document, "name"),
            _required(document, "credentialType"),
            _description(document) or "",
            parts,
        )


def read_change(document: JsonObject) -> JsonObject:
    """Return what is asked to be changed. Raises InvalidRequest, naming the field."""
    fields = Fields(document)
    fields.text("name")
    fields.text("credentialType")
    _description(document)
    return document


def credential_document(found: Credential) -> answers.Credential:
    """Return what is shown of a credential, which is nothing of what it holds. The client fails on null."""
    return {
        "credentialId": found.id,
        "name": found.name,
        "credentialType": found.type,
        "description": found.description,
        "creationDate": timestamp(found.created_at),
    }


def new_schema() -> JsonObject:
    """Return the JSON Schema of a body that stores a credential."""
    return {"title": "NewCredential", "anyOf": [_schema(kind) for kind in credentials.KINDS]}


def change_schema() -> JsonObject:
    """Return the JSON Schema of a body that changes one: any of the fields of its type."""
    properties = {"name": _nullable(_TEXT), "credentialType": {"enum": [*credentials.KINDS, None]}}
    properties["description"] = {"type": ["string", "null"]}
    for kind in credentials.KINDS:
        properties |= _properties(credentials.parts(kind))
    return {
        "title": "CredentialChange",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _schema(kind: str) -> JsonObject:
    parts = credentials.parts(kind)
    required = [part.name for part in parts if part.required and not part.also]
    either = [
        {"anyOf": [{"required": [name]} for name in (part.name, *part.also)]}
        for part in parts
        if part.required and part.also
    ]
    schema: JsonObject = {
        "type": "object",
        "properties": {
            "name": _TEXT,
            "credentialType": {"const": kind},
            "description": {"type": ["string", "null"]},
            **_properties(parts),
        },
        "required": ["name", "credentialType", *required],
        "additionalProperties": False,
    }
    return schema | ({"allOf": either} if either else {})


def _properties(parts: list[Part]) -> dict[str, JsonObject]:
    found = {}
    for part in parts:
        values = {"type": "string"} if part.blank else _FORMS[part.form]
        for name in (part.name, *part.also):
            found[name] = values if part.required and not part.also else _nullable(values)
    return found


def _nullable(values: JsonObject) -> JsonObject:
    return values | {"type": [values["type"], "null"]}


def _required(document: JsonObject, field: str) -> str:
    value = Fields(document).text(field)
    if value is None:
        raise InvalidRequest(f"{field} is required.", field)
    return value


def _description(document: JsonObject) -> str | None:
    value = document.get("description")
    if value is not None and not isinstance(value, str):
        raise InvalidRequest("description must be a text.", "description")
    return value
