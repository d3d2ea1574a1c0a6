"""s3: objects in Amazon S3 and in what speaks its protocol."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from scoreline.adapters.files import BLOCK_BYTES, BUCKET, FileInfo, Part, Patience, Trouble, Why, suppress_trouble
from scoreline.adapters.objects import ObjectIntake
from scoreline.adapters.uploading import ObjectOutput
from scoreline.adapters.wire import Wire
from scoreline.credentials import Keys, S3Secret
from scoreline.errors import Forbidden, InvalidRequest, NotFound, SetupError
from scoreline.rows.forms import media_type
from scoreline.spool import Spool
from scoreline.types import JsonObject, RunTicket

_CONNECT_SECONDS = 5
_READ_SECONDS = 30
_POOL = 16
_FIELD = "credentialId"
_MARK = "scoreline"

_MEANINGS = {
    Why.EXPIRED: ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"),
    Why.DENIED: ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthorizationHeaderMalformed"),
    Why.AWAY: ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "OperationAborted"),
    Why.MISSING: ("NoSuchKey", "NoSuchBucket", "NotFound"),
    Why.GONE: ("NoSuchUpload", "InvalidPart", "InvalidPartOrder"),
}
_BY_CODE = {code: why for why, codes in _MEANINGS.items() for code in codes}
# 200: an answer to "complete" begins before the work is done, and may hold an error all the same.
_BY_STATUS = {200: Why.AWAY, 401: Why.DENIED, 403: Why.DENIED, 404: Why.MISSING, 412: Why.CHANGED, 429: Why.AWAY}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object lies."""

    bucket: str
    key: str


def place(url: str) -> Place:
    """Read `s3://bucket/key`. Raises InvalidRequest (field `url`)."""
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme.lower() != "s3" or not BUCKET.fullmatch(bucket) or not key:
        raise InvalidRequest(f"url {url[:200]!r} must name an object: s3://bucket/key.", "url")
    return Place(bucket, key)


class S3Store:
    """The calls that adapters make of one bucket, with what the library raises as Trouble. Safe for threads."""

    def __init__(self, ticket: RunTicket, settings: Mapping[str, Any], keys: Keys) -> None:
        """Connect to nothing yet. Raises SetupError without the library, and what `keys` raises."""
        self.bucket = place(str(settings["url"])).bucket
        self.patience = Patience(ticket.limits.patience_seconds)
        self._settings = settings
        self._keys = keys
        self._secret = cast("S3Secret | None", keys(_FIELD))
        # What users name is judged; Amazon's own addresses, or an operator's proxy to them, are not theirs to choose.
        self._reach = ticket.reach if settings.get("endpointUrl") else None
        self._wire = Wire(self._reach, "endpointUrl")
        self._client = self._connected()

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Call an operation of S3's. Raises Trouble: also Why.AWAY when keys had expired and there are new ones now."""
        try:
            with self.meanings():
                answer: dict[str, Any] = getattr(self._client, name)(Bucket=self.bucket, **arguments)
                return answer
        except Trouble as trouble:
            if trouble.why is Why.EXPIRED and self._renew():
                raise Trouble(Why.AWAY, "the keys had expired and are new now") from trouble
            if self._secret is None:
                raise trouble.of_nobody() from trouble
            raise

    def head(self, key: str, **more: Any) -> dict[str, Any]:
        """Return what S3 tells of an object. Raises Trouble, with the reason where the credential may read."""
        try:
            return self.call("head_object", Key=key, **more)
        except Trouble as trouble:
            if trouble.why in (Why.MISSING, Why.AWAY):
                raise
        # An answer to HEAD has no body that could say why: GET tells.
        answer = self.call("get_object", Key=key, Range="bytes=0-0", **more)
        answer["Body"].close()
        return answer | {"ContentLength": int(answer["ContentRange"].rpartition("/")[2])}

    @contextmanager
    def meanings(self, *, cut: bool = False) -> Iterator[None]:
        """Raise what the library raises as Trouble. cut: an answer is being read already."""
        from botocore import exceptions  # noqa: PLC0415 -- optional
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 -- comes with it

        try:
            yield
        except exceptions.ClientError as error:
            raise _meaning(error.response) from error
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            raise Trouble(Why.DENIED, "no credentials") from error
        except exceptions.SSLError as error:
            raise Trouble(Why.OTHER, f"TLS: {error}") from error
        except _broken(exceptions, HTTPError) as error:
            if self._wire.refused is not None:
                raise self._wire.refused from error
            raise Trouble(Why.CUT if cut else Why.AWAY, type(error).__name__) from error
        except exceptions.BotoCoreError as error:
            raise Trouble(Why.OTHER, str(error)) from error

    def close(self) -> None:
        """End what is under way; calling it again is harmless."""
        self.patience.close()
        self._wire.shut()
        self._client.close()

    def _renew(self) -> bool:
        """Take the credential as it is stored now; say whether it is another one than before."""
        with suppress(NotFound):
            secret = cast("S3Secret | None", self._keys(_FIELD))
            if secret not in (None, self._secret):
                self._secret = secret
                self._client = self._connected()
                return True
        return False

    def _connected(self) -> Any:
        try:
            from botocore import UNSIGNED  # noqa: PLC0415 -- optional, and slow to import
            from botocore.config import Config  # noqa: PLC0415 -- as above
        except ImportError as error:
            raise SetupError("Opening S3 failed: its library is not installed; pip install 'scoreline[s3]'.") from error
        endpoint, secret = self._settings.get("endpointUrl"), self._secret
        given: dict[str, Any] = {}
        options: dict[str, Any] = {}
        if secret is not None:
            given = {
                "aws_access_key_id": secret.access_key_id,
                "aws_secret_access_key": secret.secret_access_key,
                "aws_session_token": secret.session_token,
            }
        elif self._reach is not None or not self._settings.get("ambient"):  # no other's store is to see own tokens
            options["signature_version"] = UNSIGNED
        if self._reach is not None:
            options["proxies"] = {}
        config = Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            max_pool_connections=_POOL,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path" if self._settings.get("pathStyle", endpoint is not None) else "auto"},
            # Stores that only speak the protocol do not know the newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent_extra="scoreline",
            **options,
        )
        region = self._settings.get("region")
        made = _session().create_client("s3", region_name=region, endpoint_url=endpoint, config=config, **given)
        pools = made._endpoint.http_session._pool_classes_by_scheme  # noqa: SLF001 -- there is no other way to them
        pools.update({scheme: self._wire.pool(base) for scheme, base in pools.items()})
        return made


class S3Files:
    """The objects of one bucket; see `files.Files`."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    def shown(self, key: str) -> str:
        """Return the object's URL."""
        return f"s3://{self._store.bucket}/{key}"

    def stat(self, key: str) -> FileInfo:
        """Return size and ETag. Raises SourceError."""
        try:
            answer = self._store.patience.call(lambda: self._store.head(key))
        except Trouble as trouble:
            raise trouble.source_error(self.shown(key)) from trouble
        return FileInfo(key, answer["ContentLength"], _tag(answer))

    def list(self, prefix: str) -> Iterator[FileInfo]:
        """Yield the objects whose keys begin with `prefix`, sorted by key. Raises SourceError."""
        more: dict[str, str] = {}
        while True:
            try:
                answer = self._store.patience.call(
                    lambda more=more: self._store.call("list_objects_v2", Prefix=prefix, **more)  # type: ignore[misc]  # mypy cannot type a lambda with a default
                )
            except Trouble as trouble:
                raise trouble.source_error(self.shown(prefix)) from trouble
            for found in answer.get("Contents", ()):
                yield FileInfo(found["Key"], found["Size"], _tag(found))
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def read(self, info: FileInfo, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the object's bytes, as long as it has the ETag of `info`. Raises SourceError, RunStopped."""
        stop = info.size if end is None else min(end, info.size)

        def opened(at: int) -> Iterator[bytes]:
            span = f"bytes={at}-{stop - 1}"
            answer = self._store.call("get_object", Key=info.key, Range=span, IfMatch=f'"{info.version}"')
            body = answer["Body"]
            try:
                with self._store.meanings(cut=True):
                    while block := body.read(BLOCK_BYTES):
                        yield block
            finally:
                body.close()

        try:
            yield from self._store.patience.read(opened, start, stop)
        except Trouble as trouble:
            raise trouble.source_error(self.shown(info.key)) from trouble

    def close(self) -> None:
        """End reading; calling it again is harmless."""
        self._store.close()


class S3Uploads:
    """Multipart uploads to one bucket; see `files.Uploads`."""

    most_part = 5 << 30

    def __init__(self, store: S3Store, settings: Mapping[str, Any]) -> None:
        """Encrypt as `serverSideEncryption` of the settings says."""
        self._store = store
        self._kind = media_type(settings)
        self._sealed, self._seal = _encryption(settings.get("serverSideEncryption") or {})

    def shown(self, key: str) -> str:
        """Return the object's URL."""
        return f"s3://{self._store.bucket}/{key}"

    def exists(self, key: str) -> bool:
        """Say whether there is an object of that name."""
        return self._found(key) is not None

    def begin(self, key: str, mark: str, *, again: bool) -> JsonObject:
        """Create an upload."""
        if again:
            with suppress_trouble(Why.DENIED):
                self._forget(key)
        answer = self._store.call(
            "create_multipart_upload",
            Key=key,
            ContentType=self._kind,
            Metadata={_MARK: mark},
            **self._sealed,
            **self._seal,
        )
        return {"key": key, "id": answer["UploadId"], "mark": mark}

    def _forget(self, key: str) -> None:
        """Abort the uploads to a key that have no part: a run may have died before it told of its own."""
        found = self._store.call("list_multipart_uploads", Prefix=key).get("Uploads", ())
        for upload in [upload for upload in found if upload["Key"] == key]:
            named = {"Key": key, "UploadId": upload["UploadId"]}
            if not self._store.call("list_parts", MaxParts=1, **named).get("Parts"):
                self._store.call("abort_multipart_upload", **named)

    def part(self, upload: JsonObject, number: int, start: int, body: bytes | Part, *, last: bool) -> JsonObject:  # noqa: ARG002 -- parts have numbers
        """Upload a part."""
        answer = self._store.call("upload_part", **_named(upload), PartNumber=number, Body=body, **self._seal)
        return {"etag": _tag(answer)}

    def complete(self, upload: JsonObject, parts: Sequence[JsonObject], size: int, *, new: bool) -> None:  # noqa: ARG002 -- the parts have it
        """Complete the upload."""
        listed = [{"PartNumber": part["number"], "ETag": f'"{part["etag"]}"'} for part in parts]
        more = {"IfNoneMatch": "*"} if new else {}
        try:
            self._store.call(
                "complete_multipart_upload", **_named(upload), MultipartUpload={"Parts": listed}, **more, **self._seal
            )
        except Trouble as trouble:
            if new and trouble.why is Why.CHANGED:
                raise Trouble(Why.EXISTS, trouble.said) from trouble
            raise

    def finished(self, upload: JsonObject, size: int) -> bool:
        """Say whether the object has the upload's mark and this size."""
        found = self._found(upload["key"]) or {}
        return bool(found.get("Metadata", {}).get(_MARK) == upload["mark"] and found["ContentLength"] == size)

    def abort(self, upload: JsonObject) -> None:
        """Abort the upload."""
        with suppress_trouble(Why.GONE, Why.MISSING):
            self._store.call("abort_multipart_upload", **_named(upload))

    def close(self) -> None:
        """End what is under way; calling it again is harmless."""
        self._store.close()

    def _found(self, key: str) -> dict[str, Any] | None:
        """Return what S3 tells of an object: None without one, nothing of one that is encrypted with another key."""
        try:
            return self._store.head(key, **self._seal)
        except Trouble as trouble:
            if trouble.why is Why.MISSING:
                return None
            if trouble.said.startswith("InvalidRequest"):
                return {}
            raise


def open_files(ticket: RunTicket, keys: Keys) -> tuple[S3Files, str]:
    """Return the bucket of the ticket's intake and the key that its url names. Raises SetupError."""
    return S3Files(S3Store(ticket, ticket.intake, keys)), place(str(ticket.intake["url"])).key


def open_intake(ticket: RunTicket, spool: Spool, keys: Keys) -> ObjectIntake:  # noqa: ARG001 -- nothing is staged
    """Open the object of the ticket's intake. Raises SourceError, SetupError."""
    return ObjectIntake(*open_files(ticket, keys))


def open_uploads(ticket: RunTicket, keys: Keys) -> tuple[S3Uploads, str]:
    """Return the place of the ticket's output and the key that its url names. Raises SetupError."""
    uploads = S3Uploads(S3Store(ticket, ticket.output, keys), ticket.output)
    return uploads, place(str(ticket.output["url"])).key


def open_output(ticket: RunTicket, spool: Spool, keys: Keys) -> ObjectOutput:
    """Open the object of the ticket's output. Raises SetupError."""
    return ObjectOutput(*open_uploads(ticket, keys), ticket, spool)


def _session() -> Any:
    """Return a session of its own, which shares with all others what the library reads of S3 from its files."""
    from botocore import session  # noqa: PLC0415 -- optional

    made = session.Session()
    made.register_component("data_loader", _loader())
    return made


@cache
def _loader() -> Any:
    """Return what reads those files, once a process: that takes a tenth of a second."""
    from botocore import session  # noqa: PLC0415 -- optional

    return session.Session().get_component("data_loader")


def _broken(theirs: Any, below: type[Exception]) -> tuple[type[Exception], ...]:
    """Return what is raised when there is no connection, or one that breaks."""
    named = theirs.HTTPClientError, theirs.ConnectionError, theirs.IncompleteReadError
    return *named, below, OSError, Forbidden


def _meaning(response: Mapping[str, Any]) -> Trouble:
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    why = _BY_CODE.get(code) or _BY_STATUS.get(status) or (Why.AWAY if status >= 500 else Why.OTHER)
    return Trouble(why, f"status {status}" if not code or code.isdigit() else f"{code}, status {status}")


def _named(upload: JsonObject) -> dict[str, Any]:
    return {"Key": upload["key"], "UploadId": upload["id"]}


def _encryption(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what begins an encrypted upload, and what every call about it needs."""
    once = {
        "ServerSideEncryption": given.get("algorithm"),
        "SSEKMSKeyId": given.get("kmsKeyId"),
        "SSEKMSEncryptionContext": given.get("kmsEncryptionContext"),
    }
    always: dict[str, Any] = {}
    if given.get("customerKey"):
        always = {
            "SSECustomerAlgorithm": given.get("customerAlgorithm") or "AES256",
            "SSECustomerKey": base64.b64decode(given["customerKey"]),
        }
    return {name: value for name, value in once.items() if value is not None}, always


def _tag(answer: Mapping[str, Any]) -> str:
    return str(answer["ETag"]).strip('"')
