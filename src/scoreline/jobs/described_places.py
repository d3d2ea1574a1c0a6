"""What each setting of an intake and of an output is, by type: see `jobs.described`."""

from __future__ import annotations

from dataclasses import dataclass

from scoreline import adapters, urls
from scoreline.adapters.uploading import IF_EXISTS
from scoreline.jobs import datasets, formats, storage, templates, web
from scoreline.jobs.spec import FILE_INTAKE, FILESYSTEM, LOCAL_FILE
from scoreline.rows import forms
from scoreline.types import JsonObject

FLAG: JsonObject = {"type": "boolean"}
TEXT: JsonObject = {"type": "string", "minLength": 1}
TEXTS: JsonObject = {"type": "array", "items": {"type": "string"}}


@dataclass(frozen=True, slots=True)
class Setting:
    """One field. `default`: in words where the value alone says too little; `refused`: what else is, and why."""

    values: JsonObject
    meaning: str
    default: str = ""
    refused: str = ""


def flag(value: bool) -> str:
    """Return a switch as the documentation writes it."""
    return f"`{str(value).lower()}`"


_PATH = {
    "path": Setting(
        {"type": "string", "minLength": 1},
        "The file, below the folder that the operator opened (`SCORELINE_FILES_DIR`); as intake also many files, see "
        "[Folders](folders.md). May have [times](templates.md) in it.",
        "required",
        "A path that leads out of the folder; any, while no folder is open.",
    )
}
_URLS = {
    "s3": ("^s3://[^/@]+/.", "`s3://bucket/key`"),
    "azure": (
        "^(https?|abfss?|wasbs?)://[^?#]+$",
        "`https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB`, `abfss://…`",
    ),
    "gcp": ("^(gs|https?)://[^/@]+/.", "`gs://bucket/object`, `https://storage.googleapis.com/bucket/object`"),
}
_ENDPOINT = Setting(
    {"type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://"},
    "Address of another store than the provider's own.",
    "the provider's",
    "An address that users may not name (`SCORELINE_ALLOWED_NETWORKS`).",
)
_MORE = {
    "s3": {
        "endpointUrl": _ENDPOINT,
        "pathStyle": Setting(FLAG, "Name the bucket in the path, not in the host.", "`true` with `endpointUrl`"),
        "region": Setting(TEXT, "The bucket's region.", "found out"),
    },
    "azure": {},
    "gcp": {"endpointUrl": _ENDPOINT},
}
_IF_EXISTS = Setting(
    {"enum": list(IF_EXISTS)},
    "What becomes of an object that is there already: the job replaces it, or it ends (`error`). With `newName` it "
    "puts its id into the name, whether there is one or not.",
    "`overwrite`",
)
_ENCRYPTION = Setting(
    {
        "type": "object",
        "properties": {
            "algorithm": {"enum": [*storage.ALGORITHMS, None]},
            "kmsKeyId": {"type": ["string", "null"], "minLength": 1},
            "kmsEncryptionContext": {"type": ["string", "null"], "minLength": 1, "contentEncoding": "base64"},
            "customerAlgorithm": {"enum": ["AES256", None]},
            "customerKey": {"type": ["string", "null"], "minLength": 1, "contentEncoding": "base64"},
        },
        "additionalProperties": False,
    },
    "Encryption by S3: `algorithm` (`AES256`, or `aws:kms` with `kmsKeyId` and `kmsEncryptionContext`), or a "
    "`customerKey` of 32 bytes in Base64, which is stored sealed and shown as `[redacted]`.",
    refused="Both kinds at once.",
)


_COMPRESSION = Setting(
    {"enum": list(dict.fromkeys(name for names in forms.COMPRESSIONS.values() for name in names))},
    "How the output is packed; see [Formats](formats.md).",
    "`none`; `snappy` in Parquet",
    "One that the format does not have.",
)


_PARTITION = Setting(
    TEXTS,
    "Columns of the intake by whose values the output is divided into files of a folder; see [Folders](folders.md).",
    "required for a folder",
    "With an output that names no folder; more than 100.",
)


def _formats(kind: str, side: str) -> dict[str, Setting]:
    can = adapters.REGISTRY[kind].can
    known = can.reads if side == "intake" else can.writes
    meaning = "How files hold rows; see [Formats](formats.md)."
    settings = {
        "format": Setting({"enum": list(known)}, meaning, "`csv`"),
        "compression": _COMPRESSION,
        formats.PARTITION: _PARTITION,
    }
    return {name: settings[name] for name in formats.fields(kind, side)}


def _stored(kind: str) -> dict[str, Setting]:
    pattern, shapes = _URLS[kind]
    return {
        "url": Setting(
            {"type": "string", "pattern": pattern},
            f"The object: {shapes}. May have [times](templates.md) in it, behind the bucket.",
            "required",
            "A folder, where the format takes none.",
        ),
        "credentialId": Setting(TEXT, "The stored credential that gives access.", "without one, as anybody"),
        **_MORE[kind],
    }


_TIME = rf"\{{\{{ ({'|'.join(templates.VARIABLES)}) \}}\}}"
_WEB = f"^[hH][tT][tT][pP][sS]?://[A-Za-z0-9.-]+(:[1-9][0-9]{{0,3}})?(/([!-~]|{_TIME})*)?$"


def _web(side: str) -> dict[str, Setting]:
    told = {
        urls.URL: Setting(
            {"type": "string", "pattern": _WEB},
            f"What is {'read' if side == 'intake' else 'written'}; also signed in advance. User, password and query "
            "are stored sealed and shown as `[redacted]`. May have [times](templates.md) in it, behind the host. See "
            "[Files on web servers](http.md).",
            "required",
            "An address that users may not name (`SCORELINE_ALLOWED_NETWORKS`).",
        ),
        "method": Setting({"enum": [*urls.METHODS]}, "How the rows are sent.", "required"),
        urls.SEND_AGAIN: Setting(
            FLAG,
            "Send a `POST` again when it is not known whether the one before arrived: rows may arrive twice. A `PUT` "
            "always is.",
            "`false`",
        ),
        urls.HEADERS: Setting(
            {"type": "object", "additionalProperties": {"type": "string"}},
            "Headers to send, with their values. Most values are stored sealed and shown as `[redacted]`.",
            refused="Headers that say how a request is read, such as `Host` and `Content-Length`.",
        ),
        "credentialId": Setting(
            TEXT, "The stored credential whose user, or token, is sent.", "without one, as anybody"
        ),
        **_formats(urls.HTTP, side),
    }
    return {name: told[name] for name in web.fields(side) if name != "type"}


INTAKES: dict[str, dict[str, Setting]] = {
    LOCAL_FILE: {
        "multipart": Setting(FLAG, "The client sends the data in numbered parts.", flag(FILE_INTAKE["multipart"])),
        "async": Setting(FLAG, "Score while the data arrives; false waits for all of it.", flag(FILE_INTAKE["async"])),
    },
    FILESYSTEM: _PATH | _formats(FILESYSTEM, "intake"),
    datasets.DATASET: {
        datasets.ID: Setting(
            TEXT,
            "The dataset; see [Datasets](datasets.md).",
            "required",
            "One that the caller may not see, or that was not made; a CSV with another delimiter than `csvSettings`.",
        ),
        datasets.VERSION: Setting(TEXT, "The version of it.", "the latest one when the job is created"),
    },
    **{kind: _stored(kind) | _formats(kind, "intake") for kind in storage.PLACES},
    urls.HTTP: _web("intake"),
}
"""The fields of `intakeSettings` beside `type`, by type."""

OUTPUTS: dict[str, dict[str, Setting]] = {
    LOCAL_FILE: {},
    FILESYSTEM: _PATH | _formats(FILESYSTEM, "output"),
    **{kind: {**_stored(kind), **_formats(kind, "output"), "ifExists": _IF_EXISTS} for kind in storage.PLACES},
    urls.HTTP: _web("output"),
}
OUTPUTS["s3"][storage.ENCRYPTION] = _ENCRYPTION
"""The fields of `outputSettings` beside `type`, by type."""
