"""Settings of intake and output that name an object of S3, Azure Storage or Google Cloud Storage."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from copy import deepcopy
from typing import Any
from urllib.parse import urlsplit

from scoreline.adapters import azurecalls, gcp, s3
from scoreline.adapters.uploading import IF_EXISTS
from scoreline.errors import InvalidRequest
from scoreline.jobs import formats
from scoreline.jobs.fields import Fields
from scoreline.network import split_url
from scoreline.redact import MASK
from scoreline.types import JsonObject

PLACES: dict[str, Callable[[str], object]] = {"s3": s3.place, "azure": azurecalls.place, "gcp": gcp.place}
"""What reads the url of each type; raises InvalidRequest for one that names no object."""

ALGORITHMS = ("AES256", "aws:kms")
KEY = "customerKey"
ENCRYPTION = "serverSideEncryption"
_ENDPOINT = {"s3": ("endpointUrl", "pathStyle", "region"), "azure": (), "gcp": ("endpointUrl",)}
_KEY_BYTES = 32
_SPOOLS = {"s3": "s3", "az": "azure", "gs": "gcp"}


def fields(kind: str, side: str) -> tuple[str, ...]:
    """Return the names of a type's settings on a side, "intake" or "output"."""
    written = ("ifExists", *((ENCRYPTION,) if kind == "s3" else ())) if side == "output" else ()
    return ("type", "url", "credentialId", *formats.fields(kind, side), *_ENDPOINT[kind], *written)


def is_spool(given: JsonObject, spool_url: str | None) -> bool:
    """Say whether settings name the bucket, or a container of that name, in which the installation has its spool."""
    if spool_url is None:
        return False
    spool = urlsplit(spool_url)
    if _SPOOLS.get(spool.scheme) != given["type"]:
        return False
    found = PLACES[str(given["type"])](str(given["url"]))
    return spool.netloc == (found.container if isinstance(found, azurecalls.Place) else getattr(found, "bucket", None))


def check(given: JsonObject, field: str, side: str) -> None:
    """Raise InvalidRequest, naming the field, for settings that are not of the right form."""
    kind = str(given["type"])
    settings = Fields(given, f"{field}.")
    settings.only(fields(kind, side))
    url = settings.text("url")
    if url is None:
        raise InvalidRequest(f"{field}.url is required: it names an object.", f"{field}.url")
    try:
        PLACES[kind](url)
    except (InvalidRequest, ValueError) as exc:
        said = exc.message if isinstance(exc, InvalidRequest) else f"url {url[:200]!r} cannot be read."
        raise InvalidRequest(f"{field}.{said}", f"{field}.url") from exc
    formats.check(settings, kind, field, side)
    if side == "output":
        formats.check_partition(settings, field, url, "url")
    settings.text("credentialId")
    settings.text("region")
    settings.flag("pathStyle", default=True)
    settings.text("ifExists", one_of=IF_EXISTS)
    endpoint = settings.text("endpointUrl")
    if endpoint is not None:
        try:
            split_url(endpoint, f"{field}.endpointUrl")
        except InvalidRequest as exc:
            raise InvalidRequest(exc.message, f"{field}.endpointUrl") from exc
    encryption = settings.object(ENCRYPTION)
    if encryption is not None:
        _check_encryption(Fields(encryption, f"{field}.{ENCRYPTION}."), f"{field}.{ENCRYPTION}")


def _check_encryption(given: Fields, field: str) -> None:
    given.only(("algorithm", "kmsKeyId", "kmsEncryptionContext", "customerAlgorithm", KEY))
    algorithm = given.text("algorithm", one_of=ALGORITHMS)
    customer = given.text("customerAlgorithm", one_of=("AES256",))
    context, key = given.text("kmsEncryptionContext"), given.text(KEY)
    if algorithm != ALGORITHMS[1] and (context or given.has("kmsKeyId")):
        raise InvalidRequest(f"{field}.kmsKeyId and kmsEncryptionContext go with the algorithm 'aws:kms'.", field)
    if algorithm and (customer or key):
        raise InvalidRequest(f"{field} names two kinds of encryption: give algorithm, or a customer's key.", field)
    if customer and not key:
        raise InvalidRequest(f"{field}.{KEY} is missing, which customerAlgorithm goes with.", f"{field}.{KEY}")
    if context is not None and _decoded(context) is None:
        raise InvalidRequest(f"{field}.kmsEncryptionContext must be Base64.", f"{field}.kmsEncryptionContext")
    if key == MASK:
        raise InvalidRequest(f"{field}.{KEY} is masked here: give the key itself.", f"{field}.{KEY}")
    if key is not None and len(_decoded(key) or b"") != _KEY_BYTES:
        raise InvalidRequest(f"{field}.{KEY} must be {_KEY_BYTES} bytes as Base64.", f"{field}.{KEY}")


def secret(output: JsonObject) -> JsonObject:
    """Return the key among an output's settings that is to be sealed, as a document; most have none."""
    key = (output.get(ENCRYPTION) or {}).get(KEY)
    return {} if key is None else {KEY: key}


def with_key(output: JsonObject, key: Any) -> JsonObject:
    """Return the settings with another key in the place of theirs, if they have one."""
    if not secret(output) or key is None:
        return output
    changed = deepcopy(output)
    changed[ENCRYPTION][KEY] = key
    return changed


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
