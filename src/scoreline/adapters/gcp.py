"""gcp: objects in Google Cloud Storage.

Google's library for accounts signs the requests; the requests themselves, to the JSON API, are few and stand here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from scoreline.adapters.files import BLOCK_BYTES, BUCKET, FileInfo, Part, Patience, Trouble, Why, suppress_trouble
from scoreline.adapters.objects import ObjectIntake
from scoreline.adapters.uploading import ObjectOutput
from scoreline.adapters.wire import Wire
from scoreline.credentials import GcpSecret, Keys
from scoreline.errors import Forbidden, InvalidRequest, NotFound, SetupError
from scoreline.rows.forms import media_type
from scoreline.spool import Spool
from scoreline.types import JsonObject, RunTicket

_FIELD = "credentialId"
_MARK = "scoreline"
_HOST = "storage.googleapis.com"
_EMULATOR = "STORAGE_EMULATOR_HOST"
_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
_TIMES = (5, 30)  # seconds to connect, and between two pieces of an answer
_GONE = (404, 410, 499)  # 499: the answer to the end of an upload
_BY_STATUS = {
    401: Why.DENIED,
    403: Why.DENIED,
    404: Why.MISSING,
    408: Why.AWAY,
    410: Why.GONE,
    412: Why.CHANGED,
    429: Why.AWAY,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object lies."""

    bucket: str
    key: str


def place(url: str) -> Place:
    """Read `gs://bucket/object` or `https://storage.googleapis.com/bucket/object`. Raises InvalidRequest (`url`)."""
    parts = urlsplit(url, allow_fragments=False)
    bucket, _, key = url.partition("://")[2].partition("/")
    if parts.scheme in ("http", "https") and parts.netloc == _HOST and not parts.query:
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    elif parts.scheme != "gs":
        bucket = ""
    if not BUCKET.fullmatch(bucket) or not key:
        raise InvalidRequest(f"url {url[:200]!r} must name an object: gs://bucket/object.", "url")
    if key in (".", ".."):
        raise InvalidRequest(f"url {url[:200]!r}: no object can be called '.' or '..'; name another one.", "url")
    return Place(bucket, key)


class GcpStore:
    """The requests that adapters make of one bucket, with what goes wrong as Trouble. Safe for threads."""

    def __init__(self, ticket: RunTicket, settings: Mapping[str, Any], keys: Keys) -> None:
        """Connect to nothing yet. Raises SetupError without the library, and what `keys` raises."""
        self.bucket = place(str(settings["url"])).bucket
        self.patience = Patience(ticket.limits.patience_seconds)
        given = settings.get("endpointUrl")
        emulator = os.environ.get(_EMULATOR)
        self._base = str(given or emulator or f"https://{_HOST}").rstrip("/")
        # No other's store is to see the machine's own tokens.
        self._ambient = bool(settings.get("ambient")) and not (given and ticket.reach)
        self._keys = keys
        self._secret = keys(_FIELD)
        # Users name the endpoint, and in a service account's key the place that gives tokens.
        named = given is not None or self._secret is not None
        self._wire = Wire(ticket.reach if named and not emulator else None, "The address of Google Cloud Storage")
        self._session = self._connected()

    def shown(self, key: str) -> str:
        """Return an object's URL."""
        return f"gs://{self.bucket}/{key}"

    def address(self, key: str | None = None, *, upload: bool = False) -> str:
        """Return the address of the bucket's objects, or of one of them."""
        objects = f"{self._base}{'/upload' if upload else ''}/storage/v1/b/{quote(self.bucket, safe='')}/o"
        return objects if key is None else f"{objects}/{quote(key, safe='')}"

    def ask(self, method: str, url: str, *, fine: Sequence[int] = (200,), **more: Any) -> Any:
        """Send a request and return the answer, if its status is one of `fine`. Raises Trouble.

        That is Why.AWAY, too, when the key was refused and there is a new one now.
        """
        try:
            with self.meanings():
                answer = self._session.request(method, url, timeout=_TIMES, allow_redirects=False, **more)
                if answer.status_code in fine:
                    return answer
                trouble = _meaning(answer)
                answer.close()
            raise trouble
        except Trouble as trouble:
            if trouble.why in (Why.DENIED, Why.EXPIRED) and self._renew():
                raise Trouble(Why.AWAY, "the key was refused and is new now") from trouble
            if self._secret is None:
                raise trouble.of_nobody() from trouble
            raise

    @contextmanager
    def meanings(self, *, cut: bool = False) -> Iterator[None]:
        """Raise what the libraries raise as Trouble. cut: an answer is being read already."""
        from google.auth import exceptions  # noqa: PLC0415 -- optional
        from requests import RequestException  # noqa: PLC0415 -- comes with it
        from requests.exceptions import SSLError  # noqa: PLC0415 -- as above
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 -- as above

        try:
            yield
        except exceptions.TransportError as error:
            self._check_refused(error)
            raise Trouble(Why.AWAY, "Google's place for tokens") from error
        except exceptions.GoogleAuthError as error:
            raise Trouble(Why.DENIED, f"Google gives no token: {error.args[0] if error.args else error}") from error
        except SSLError as error:
            raise Trouble(Why.OTHER, "TLS") from error
        except (RequestException, HTTPError, OSError, Forbidden) as error:
            self._check_refused(error)
            raise Trouble(Why.CUT if cut else Why.AWAY, type(error).__name__) from error

    def close(self) -> None:
        """End what is under way; calling it again is harmless."""
        self.patience.close()
        self._wire.shut()
        self._session.close()

    def _check_refused(self, error: BaseException) -> None:
        if self._wire.refused is not None:
            raise self._wire.refused from error

    def _renew(self) -> bool:
        """Take the credential as it is stored now; say whether it is another one than before."""
        with suppress(NotFound):
            secret = self._keys(_FIELD)
            if secret not in (None, self._secret):
                self._secret = secret
                self._session = self._connected()
                return True
        return False

    def _connected(self) -> Any:
        try:
            import requests  # noqa: PLC0415 -- comes with the library
            from google.auth import default  # noqa: PLC0415 -- optional
            from google.auth.transport.requests import AuthorizedSession, Request  # noqa: PLC0415 -- optional
            from google.oauth2 import service_account  # noqa: PLC0415 -- optional
        except ImportError as error:
            raise SetupError(
                "Opening Google Cloud Storage failed: its library is not installed; pip install 'scoreline[gcp]'."
            ) from error
        credentials = None
        if isinstance(self._secret, GcpSecret):
            try:
                credentials = service_account.Credentials.from_service_account_info(self._secret.key, scopes=_SCOPES)
            except ValueError as error:
                raise InvalidRequest(
                    "The credential is no key of a service account that can be used.", _FIELD
                ) from error
        elif self._ambient:
            credentials, _ = default(scopes=_SCOPES)
        if credentials is None:
            return self._wired(requests.Session())
        return self._wired(AuthorizedSession(credentials, auth_request=Request(self._wired(requests.Session()))))

    def _wired(self, session: Any) -> Any:
        from requests.adapters import HTTPAdapter  # noqa: PLC0415 -- comes with the library
        from urllib3 import HTTPConnectionPool, HTTPSConnectionPool  # noqa: PLC0415 -- as above

        session.trust_env = self._wire.free
        for scheme, base in (("https", HTTPSConnectionPool), ("http", HTTPConnectionPool)):
            adapter = HTTPAdapter(pool_maxsize=16)
            adapter.poolmanager.pool_classes_by_scheme = {scheme: self._wire.pool(base)}
            session.mount(f"{scheme}://", adapter)
        return session


class GcpFiles:
    """The objects of one bucket; see `files.Files`."""

    def __init__(self, store: GcpStore) -> None:
        self._store = store

    def shown(self, key: str) -> str:
        """Return the object's URL."""
        return self._store.shown(key)

    def stat(self, key: str) -> FileInfo:
        """Return size and generation. Raises SourceError."""
        fields = {"fields": "name,size,generation"}
        try:
            answer = self._store.patience.call(
                lambda: self._store.ask("GET", self._store.address(key), params=fields).json()
            )
        except Trouble as trouble:
            raise trouble.source_error(self.shown(key)) from trouble
        return _info(answer)

    def list(self, prefix: str) -> Iterator[FileInfo]:
        """Yield the objects whose names begin with `prefix`, sorted by name. Raises SourceError."""
        query = {"prefix": prefix, "fields": "items(name,size,generation),nextPageToken"}
        while True:
            try:
                answer = self._store.patience.call(
                    lambda: self._store.ask("GET", self._store.address(), params=query).json()
                )
            except Trouble as trouble:
                raise trouble.source_error(self.shown(prefix)) from trouble
            yield from map(_info, answer.get("items", ()))
            if not answer.get("nextPageToken"):
                return
            query["pageToken"] = answer["nextPageToken"]

    def read(self, info: FileInfo, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of the object's generation that `info` names. Raises SourceError, RunStopped."""
        stop = info.size if end is None else min(end, info.size)
        query = {"alt": "media", "generation": info.version}

        def opened(at: int) -> Iterator[bytes]:
            # Who takes gzip is given objects as they are stored.
            headers = {"Range": f"bytes={at}-{stop - 1}", "Accept-Encoding": "gzip"}
            url = self._store.address(info.key)
            answer = self._store.ask("GET", url, params=query, headers=headers, fine=(200, 206), stream=True)
            try:
                with self._store.meanings(cut=True):
                    while block := answer.raw.read(BLOCK_BYTES, decode_content=False):
                        yield block
            finally:
                answer.close()

        try:
            yield from self._store.patience.read(opened, start, stop)
        except Trouble as trouble:
            # A generation that another one has replaced is not there any more.
            changed = Trouble(Why.CHANGED, trouble.said) if trouble.why is Why.MISSING else trouble
            raise changed.source_error(self.shown(info.key)) from trouble

    def close(self) -> None:
        """End reading; calling it again is harmless."""
        self._store.close()


class GcpUploads:
    """Resumable uploads to one bucket; see `files.Uploads`. Parts are pieces of one stream."""

    most_part = 1 << 40

    def __init__(self, store: GcpStore, settings: Mapping[str, Any]) -> None:
        """Overwrite as `ifExists` of the settings says; otherwise an object must not be there when an upload ends."""
        self._store = store
        self._new = settings.get("ifExists", "overwrite") != "overwrite"
        self._kind = media_type(settings)
        self._stored: dict[str, int] = {}  # bytes that an upload's session has, where that is known

    def shown(self, key: str) -> str:
        """Return the object's URL."""
        return self._store.shown(key)

    def exists(self, key: str) -> bool:
        """Say whether there is an object of that name."""
        return self._metadata(key) is not None

    def begin(self, key: str, mark: str, *, again: bool) -> JsonObject:  # noqa: ARG002 -- a session without data is nothing
        """Begin a session."""
        query = {"uploadType": "resumable"} | ({"ifGenerationMatch": "0"} if self._new else {})
        body = {"name": key, "contentType": self._kind, "metadata": {_MARK: mark}}
        headers = {"X-Upload-Content-Type": self._kind}
        answer = self._store.ask("POST", self._store.address(upload=True), params=query, json=body, headers=headers)
        session = answer.headers["Location"]
        self._stored[session] = 0
        return {"key": key, "mark": mark, "session": session}

    def part(self, upload: JsonObject, number: int, start: int, body: bytes | Part, *, last: bool) -> JsonObject:  # noqa: ARG002 -- parts have places
        """Send the part, or what is missing of it."""
        session, end = upload["session"], start + len(body)
        at = self._stored.pop(session, None)
        if at is None:
            at = self._asked(session)
        if at is None or (at >= end and not last):  # it is there already
            return {}
        if at < start:
            raise Trouble(Why.GONE, f"it has {at} of {start} bytes")
        rest: Any = body
        if at > start:
            rest = body[at - start :] if isinstance(body, bytes) else body.read()[at - start :]
        span = f"{at}-{end - 1}" if at < end else "*"
        answer = self._put(session, f"bytes {span}/{end if last else '*'}", rest)
        if answer.status_code == 308:
            got = _range_end(answer)
            if got < end:
                raise Trouble(Why.CUT, f"it took {got} of {end} bytes")
            self._stored[session] = got
        return {}

    def complete(self, upload: JsonObject, parts: Sequence[JsonObject], size: int, *, new: bool) -> None:  # noqa: ARG002 -- a stream has no list
        """End the session, unless its last part did."""
        if self.finished(upload, size):
            return
        answer = self._put(upload["session"], f"bytes */{size}", b"")
        if answer.status_code == 308:
            raise Trouble(Why.GONE, f"it has {_range_end(answer)} of {size} bytes")

    def finished(self, upload: JsonObject, size: int) -> bool:
        """Say whether the object has the upload's mark and this size."""
        found = self._metadata(upload["key"])
        marked = found is not None and found.get("metadata", {}).get(_MARK) == upload["mark"]
        return marked and found is not None and int(found.get("size", 0)) == size

    def abort(self, upload: JsonObject) -> None:
        """End the session; Google forgets it after a week in any case."""
        with suppress_trouble(Why.GONE, Why.MISSING, Why.OTHER):
            self._store.ask("DELETE", upload["session"], fine=(200, 204, *_GONE))

    def close(self) -> None:
        """End what is under way; calling it again is harmless."""
        self._store.close()

    def _asked(self, session: str) -> int | None:
        """Return how many bytes a session has, None once it has ended with an object."""
        answer = self._put(session, "bytes */*", b"")
        return _range_end(answer) if answer.status_code == 308 else None

    def _put(self, session: str, content_range: str, body: Any) -> Any:
        headers = {"Content-Range": content_range}
        try:
            return self._store.ask("PUT", session, fine=(200, 201, 308), headers=headers, data=body)
        except Trouble as trouble:
            if trouble.why is Why.MISSING:
                raise Trouble(Why.GONE, trouble.said) from trouble
            if trouble.why is Why.CHANGED:
                raise Trouble(Why.EXISTS, trouble.said) from trouble
            raise

    def _metadata(self, key: str) -> JsonObject | None:
        try:
            found: JsonObject = self._store.ask("GET", self._store.address(key)).json()
        except Trouble as trouble:
            if trouble.why is Why.MISSING:
                return None
            raise
        return found


def open_files(ticket: RunTicket, keys: Keys) -> tuple[GcpFiles, str]:
    """Return the bucket of the ticket's intake and the name that its url names. Raises SetupError."""
    return GcpFiles(GcpStore(ticket, ticket.intake, keys)), place(str(ticket.intake["url"])).key


def open_intake(ticket: RunTicket, spool: Spool, keys: Keys) -> ObjectIntake:  # noqa: ARG001 -- nothing is staged
    """Open the object of the ticket's intake. Raises SourceError, SetupError."""
    return ObjectIntake(*open_files(ticket, keys))


def open_uploads(ticket: RunTicket, keys: Keys) -> tuple[GcpUploads, str]:
    """Return the place of the ticket's output and the key that its url names. Raises SetupError."""
    uploads = GcpUploads(GcpStore(ticket, ticket.output, keys), ticket.output)
    return uploads, place(str(ticket.output["url"])).key


def open_output(ticket: RunTicket, spool: Spool, keys: Keys) -> ObjectOutput:
    """Open the object of the ticket's output. Raises SetupError."""
    return ObjectOutput(*open_uploads(ticket, keys), ticket, spool)


def _info(item: Mapping[str, Any]) -> FileInfo:
    return FileInfo(str(item["name"]), int(item.get("size", 0)), str(item["generation"]))


def _range_end(answer: Any) -> int:
    """Return how many bytes the store has of an upload."""
    text = answer.headers.get("Range", "")
    return int(text.rpartition("-")[2]) + 1 if "-" in text else 0


def _meaning(answer: Any) -> Trouble:
    status, said = answer.status_code, ""
    with suppress(ValueError, AttributeError, KeyError, IndexError, TypeError):
        said = str(json.loads(answer.content)["error"]["errors"][0]["reason"])
    why = _BY_STATUS.get(status) or (Why.AWAY if status >= 500 else Why.OTHER)
    return Trouble(why, f"{said}, status {status}" if said else f"status {status}")
