"""What the API answers, as types: builders of documents are checked against them, and OpenAPI describes them.

Keys are named as they travel. A key that is not `NotRequired` is always there; clients fail on absent ones.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, NotRequired, TypeVar

from pydantic import WithJsonSchema

# pydantic reads these and not the standard library's before Python 3.12.
from typing_extensions import TypedDict

T = TypeVar("T")

Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""ISO 8601 in UTC, with a Z."""

Link = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]
"""An absolute URL with the host that the client asked."""


class Problem(TypedDict):
    """Why a request was refused."""

    message: str
    errors: NotRequired[dict[str, str]]


class Page(TypedDict, Generic[T]):
    """A page of a list. `next` and `previous` repeat the request's filters."""

    count: int
    totalCount: int
    next: Link | None
    previous: Link | None
    data: list[T]


class Made(TypedDict):
    """The id of what an asynchronous request made or changed."""

    id: str


class Progress(TypedDict):
    """How far an asynchronous request is."""

    status: str


class Work(Progress):
    """Work that goes on (RUNNING), or that failed (ERROR) for the reason in `message`."""

    statusId: str
    statusType: str
    code: int
    message: str
    description: str
    created: Moment | None


class Version(TypedDict):
    """What the API is compatible with, and the version of Scoreline."""

    major: int
    minor: int
    versionString: str
    scoreline: str


class Pong(TypedDict):
    """The API answers."""

    response: Literal["pong"]


class Person(TypedDict):
    """Who made a job."""

    userId: str
    username: str
    fullName: str | None


class Member(TypedDict):
    """Who made a model or a deployment."""

    id: str
    name: str
    email: str


class Credential(TypedDict):
    """A stored credential, without what it holds."""

    credentialId: str
    name: str
    credentialType: str
    description: str
    creationDate: Moment | None


class Holder(TypedDict):
    """Whose a token is, for prediction servers. Only `active` is there for one that is not good."""

    active: bool
    userId: NotRequired[str]
    username: NotRequired[str]
    kind: NotRequired[str]
    packageIds: NotRequired[list[str] | None]
    rights: NotRequired[list[str]]
    expiresIn: NotRequired[float | None]


class Known(TypedDict):
    """A prediction server that is registered now."""

    id: str
    name: str
    url: str
