"""Kinds of credentials: what each consists of, what the API calls its parts, and what an adapter is handed.

A credential is stored as a sealed document with the API's own names (`access.credentials`). A run opens it just before
it is used, as one of the dataclasses below. None of them shows a secret when it is printed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, cast
from urllib.parse import unquote

from scoreline.errors import InvalidRequest
from scoreline.types import JsonObject

_MOST_CHARACTERS = 1 << 16
_HUMP = re.compile(r"(?<=[a-z0-9])[A-Z]")
_CONFIG = "configId"
_LINE = 24  # shorter lines of a key occur in texts that have nothing to do with it


def _part(name: str, *others: str, secret: bool = True, blank: bool = False) -> Any:
    """Return a dataclass field: `name` on the wire, `others` mean the same; blank: an empty text is good."""
    return field(repr=not secret, metadata={"names": (name, *others), "secret": secret, "blank": blank})


def _optional(name: str, *, secret: bool = True) -> Any:
    return field(default=None, repr=not secret, metadata={"names": (name,), "secret": secret, "blank": False})


@dataclass(frozen=True, slots=True)
class BasicSecret:
    """A user and a password."""

    user: str = _part("user", "username", secret=False)
    password: str = _part("password", blank=True)


@dataclass(frozen=True, slots=True)
class S3Secret:
    """An access key of Amazon S3 or of what speaks its protocol; session_token with temporary ones."""

    access_key_id: str = _part("awsAccessKeyId")
    secret_access_key: str = _part("awsSecretAccessKey")
    session_token: str | None = _optional("awsSessionToken")


@dataclass(frozen=True, slots=True)
class AzureSecret:
    """The connection string of a storage account, with the account's key or a shared access signature."""

    connection_string: str = _part("azureConnectionString")

    @property
    def parts(self) -> dict[str, str]:
        """Its settings by name, for instance AccountName, AccountKey, SharedAccessSignature, BlobEndpoint.

        An endpoint among them is an address that a user named: check it like any other.
        """
        pairs = (part.partition("=") for part in self.connection_string.split(";"))
        return {name.strip(): value.strip() for name, mark, value in pairs if mark}


@dataclass(frozen=True, slots=True)
class GcpSecret:
    """A service account's key, with the names of the file that Google hands out.

    `token_uri` in it is an address that a user named: check it like any other.
    """

    key: Mapping[str, Any] = _part("gcpKey")


@dataclass(frozen=True, slots=True)
class OAuthSecret:
    """A token to be sent as `Authorization: Bearer`, and one to get the next with."""

    token: str = _part("token")
    refresh_token: str = _part("refreshToken", blank=True)


@dataclass(frozen=True, slots=True)
class KeyPairSecret:
    """A user who signs with a private key (PEM); passphrase: of the key, if it is encrypted."""

    user: str = _part("user", "username", secret=False)
    private_key: str = _part("privateKeyStr")
    passphrase: str | None = _optional("passphrase")


@dataclass(frozen=True, slots=True)
class AccessTokenSecret:
    """An access token of Databricks."""

    token: str = _part("databricksAccessToken")


@dataclass(frozen=True, slots=True)
class ServicePrincipalSecret:
    """A program's account at Databricks."""

    client_id: str = _part("clientId", secret=False)
    client_secret: str = _part("clientSecret")


@dataclass(frozen=True, slots=True)
class AzurePrincipalSecret:
    """A program's account in a tenant of Azure."""

    client_id: str = _part("clientId", secret=False)
    client_secret: str = _part("clientSecret")
    tenant_id: str = _part("azureTenantId", secret=False)


@dataclass(frozen=True, slots=True)
class AdlsSecret:
    """A program that asks for access to Azure Data Lake in a user's name."""

    client_id: str = _part("clientId", secret=False)
    client_secret: str = _part("clientSecret")
    scopes: tuple[str, ...] = _part("oauthScopes", secret=False)


@dataclass(frozen=True, slots=True)
class ExternalOAuthSecret:
    """What a provider of OAuth tokens calls the authorization that it keeps."""

    authentication_id: str = _part("authenticationId")


@dataclass(frozen=True, slots=True)
class BoxSecret:
    """A program's account at Box, which signs with a private key (PEM)."""

    client_id: str = _part("clientId", secret=False)
    client_secret: str = _part("clientSecret")
    enterprise_id: str = _part("enterpriseId", secret=False)
    public_key_id: str = _part("publicKeyId", secret=False)
    private_key: str = _part("privateKeyStr")
    passphrase: str = _part("passphrase", blank=True)


Secret = (
    BasicSecret
    | S3Secret
    | AzureSecret
    | GcpSecret
    | OAuthSecret
    | KeyPairSecret
    | AccessTokenSecret
    | ServicePrincipalSecret
    | AzurePrincipalSecret
    | AdlsSecret
    | ExternalOAuthSecret
    | BoxSecret
)

Keys = Callable[[str], Secret | None]
"""Opens the credential that a field of the adapter's settings names, as it is stored now; None when it names none.

Calling it again sees a change that was made meanwhile. Raises InvalidRequest, NotFound, SetupError, StoreError.
"""


def no_keys(field: str) -> None:
    """Open nothing: for runs whose settings name no credentials."""


@dataclass(frozen=True, slots=True)
class RunKeys:
    """What opens the credentials of a run's intake and of its output."""

    intake: Keys = no_keys
    output: Keys = no_keys


NO_KEYS = RunKeys()

KINDS: dict[str, type[Secret]] = {
    "basic": BasicSecret,
    "s3": S3Secret,
    "azure": AzureSecret,
    "gcp": GcpSecret,
    "oauth": OAuthSecret,
    "snowflake_key_pair_user_account": KeyPairSecret,
    "databricks_access_token_account": AccessTokenSecret,
    "databricks_service_principal_account": ServicePrincipalSecret,
    "azure_service_principal": AzurePrincipalSecret,
    "adls_gen2_oauth": AdlsSecret,
    "external_oauth_provider": ExternalOAuthSecret,
    "box_jwt": BoxSecret,
}
"""The types of credentials, as the API spells them."""

_WITH_CONFIG = frozenset(
    name
    for name, kind in KINDS.items()
    if kind in (S3Secret, GcpSecret, KeyPairSecret, ServicePrincipalSecret, AzurePrincipalSecret, AdlsSecret)
)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a credential on the wire. also: other spellings. form: "text", "texts" or "object"."""

    name: str
    also: tuple[str, ...]
    required: bool
    secret: bool
    blank: bool
    form: str


def parts(kind: str) -> list[Part]:
    """Return what a credential of this type consists of. Raises InvalidRequest for an unknown type."""
    return [_described(each) for each in fields(_class(kind))]


def read(kind: str, given: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> JsonObject:
    """Return the document to seal for the parts that the API was given; those of `before` stay unless they are given.

    An empty text takes away a part that need not be there.

    Raises InvalidRequest, naming the field, for a part that is missing, wrong or does not belong to the type.
    """
    known = parts(kind)
    given = {name: value for name, value in given.items() if value is not None}
    if _CONFIG in given and kind in _WITH_CONFIG:
        raise InvalidRequest(
            f"{_CONFIG}: no shared configurations are kept here, give the credential's own parts: "
            f"{', '.join(part.name for part in known)}.",
            _CONFIG,
        )
    spellings = {name: part for part in known for name in (part.name, *part.also)}
    found = dict(before or {})
    taken: dict[str, str] = {}
    for name, value in given.items():
        part = spellings.get(name)
        if part is None:
            raise InvalidRequest(
                f"There is no field {name[:100]!r} in a credential of type {kind}: it has {', '.join(spellings)}.", name
            )
        if (other := taken.setdefault(part.name, name)) != name:
            raise InvalidRequest(f"{name} and {other} mean the same: give one of them.", name)
        if value == "" and not part.required:  # the session token of a key that is a lasting one now
            found.pop(part.name, None)
            continue
        found[part.name] = _checked(part, name, value)
    for part in known:
        if part.required and part.name not in found:
            raise InvalidRequest(f"{part.name} is required for a credential of type {kind}.", part.name)
    return found


def secret_of(kind: str, document: Mapping[str, Any]) -> Secret:
    """Return what an adapter is handed of a stored document. Raises InvalidRequest for one that is not of this type."""
    document = read(kind, document)
    cls = _class(kind)
    values: dict[str, Any] = {}
    for each in fields(cls):
        value = document.get(_described(each).name)
        values[each.name] = tuple(value) if isinstance(value, list) else value
    return cls(**values)


def hidden(secret: Secret) -> Iterator[str]:
    """Yield what no text may show of a secret."""
    for each in fields(secret):
        value = getattr(secret, each.name)
        if not each.metadata["secret"] or value is None:
            continue
        if isinstance(value, Mapping):
            for name in ("private_key", "private_key_id"):
                yield from _lines(str(value.get(name, "")))
        else:
            yield from _lines(value)
    if isinstance(secret, AzureSecret):
        given = secret.parts
        yield given.get("AccountKey", "")
        signature = given.get("SharedAccessSignature", "")
        yield signature
        for pair in signature.split("&"):
            if pair.startswith("sig="):
                yield from {pair[4:], unquote(pair[4:])}


def _lines(text: str) -> Iterator[str]:
    """Yield a text, and its lines where it has several: libraries quote single ones."""
    yield text
    lines = text.split("\n")
    if len(lines) > 1:
        yield from (line for line in map(str.strip, lines) if len(line) >= _LINE and not line.startswith("-----"))


def _class(kind: str) -> type[Secret]:
    found = KINDS.get(kind)
    if found is None:
        raise InvalidRequest(
            f"credentialType {kind[:100]!r} is not known: it is one of {', '.join(KINDS)}.", "credentialType"
        )
    return found


def _described(each: Field[Any]) -> Part:
    name, *others = each.metadata["names"]
    form = "texts" if "tuple" in str(each.type) else "object" if "Mapping" in str(each.type) else "text"
    required = each.default is MISSING
    return Part(name, tuple(others), required, each.metadata["secret"], each.metadata["blank"], form)


def _checked(part: Part, name: str, value: Any) -> Any:
    if part.form == "object":
        return _service_account(name, value)
    if part.form == "texts":
        if not isinstance(value, list | tuple) or not value:
            raise InvalidRequest(f"{name} must be a list of texts.", name)
        return [_text(name, each) for each in value]
    return _text(name, value, blank=part.blank)


def _text(name: str, value: Any, *, blank: bool = False) -> str:
    if not isinstance(value, str) or not (value.strip() or blank):
        raise InvalidRequest(f"{name} must be a text{'' if blank else ' that is not empty'}.", name)
    if len(value) > _MOST_CHARACTERS:
        raise InvalidRequest(f"{name} is too long: at most {_MOST_CHARACTERS} characters.", name)
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidRequest(f"{name} holds a character that is none: a NUL, or half of a surrogate pair.", name)
    return value


def _service_account(name: str, value: Any) -> JsonObject:
    """Return a key with the names of Google's file, whichever spelling was given."""
    if not isinstance(value, Mapping) or not value:
        raise InvalidRequest(f"{name} must be the key of a service account, as the object in Google's file.", name)
    key = {_HUMP.sub(lambda hump: f"_{hump[0].lower()}", str(each)): inner for each, inner in value.items()}
    if not all(isinstance(inner, str) for inner in key.values()):
        raise InvalidRequest(f"{name} must hold texts only, as the key of a service account does.", name)
    # Other types name programs to run and files to read.
    if key.get("type", "service_account") != "service_account":
        raise InvalidRequest(f"{name} must be the key of a service account: its type is 'service_account'.", name)
    return cast("JsonObject", {each: _text(name, inner, blank=True) for each, inner in key.items()})
