"""What is asked of Azure Storage: where a URL leads, who asks, and what the answers mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from scoreline import urls
from scoreline.adapters.files import Patience, Trouble, Why
from scoreline.adapters.wire import Wire
from scoreline.credentials import AzurePrincipalSecret, AzureSecret, Keys
from scoreline.errors import Forbidden, InvalidRequest, NotFound, SetupError
from scoreline.types import RunTicket

_FIELD = "credentialId"
_CONNECT_SECONDS = 5
_READ_SECONDS = 30
_GET_BYTES = 4 << 20
_PIECE_BYTES = 256 << 10
_CLOUDS = (".blob.core.windows.net", ".blob.core.chinacloudapi.cn", ".blob.core.usgovcloudapi.net")
_HADOOP = ("abfs", "abfss", "wasb", "wasbs")

_MEANINGS = {
    Why.MISSING: ("BlobNotFound", "ContainerNotFound", "ResourceNotFound"),
    Why.GONE: ("InvalidBlockList", "InvalidBlockId"),
    Why.EXISTS: ("BlobAlreadyExists",),
    Why.AWAY: ("ServerBusy", "OperationTimedOut", "InternalError"),
    Why.OTHER: ("LeaseIdMissing", "BlobArchived"),
}
_BY_CODE = {code: why for why, codes in _MEANINGS.items() for code in codes}
_BY_STATUS = {401: Why.DENIED, 403: Why.DENIED, 404: Why.MISSING, 408: Why.AWAY, 412: Why.CHANGED, 429: Why.AWAY}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a blob lies: the address of its account without a `/` at the end, its container, its name there."""

    account: str
    container: str
    blob: str


def place(url: str) -> Place:
    """Read `https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB`, or `abfss://CONTAINER@ACCOUNT.../BLOB`.

    Raises InvalidRequest (field `url`), also for a URL that holds a signature: that belongs into a credential. And for
    a name that would become another blob's on the way: `..` in a path goes up, and Azure takes a backslash for a slash.
    """
    parts = urlsplit(url)
    path = unquote(parts.path.lstrip("/"))
    if parts.query or parts.fragment:
        raise InvalidRequest(
            "url must not have a query or a signature in it: store a shared access signature as a credential, in a "
            "connection string with BlobEndpoint and SharedAccessSignature.",
            "url",
        )
    if parts.scheme in _HADOOP:
        container, _, host = parts.netloc.partition("@")
        plain = parts.scheme in ("abfs", "wasb")
        account = f"{'http' if plain else 'https'}://{host.replace('.dfs.', '.blob.', 1)}"
    else:
        account = f"{parts.scheme}://{parts.netloc}"
        if "." not in (parts.hostname or "").strip("0123456789.") and parts.hostname:
            # A host that has no name for each account: the account is in the path.
            name, _, path = path.partition("/")
            account = f"{account}/{name}"
        container, _, path = path.partition("/")
    known = parts.scheme in ("https", "http", *_HADOOP)
    if not known or not parts.hostname or "@" in account or container in ("", ".", "..") or not path:
        raise InvalidRequest(
            f"url {url[:200]!r} must name a blob: https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB.", "url"
        )
    if "\\" in path or not {".", ".."}.isdisjoint(path.split("/")):
        raise InvalidRequest(
            f"url {url[:200]!r}: the name of a blob cannot have '\\' or a part that is '.' or '..'; name it otherwise.",
            "url",
        )
    return Place(account, container, path)


class AzureStore:
    """The calls that adapters make of one container, with what the library raises as Trouble. Safe for threads."""

    def __init__(self, ticket: RunTicket, settings: Mapping[str, Any], keys: Keys) -> None:
        """Connect to nothing yet. Raises SetupError without the library, and what `keys` raises."""
        self.place = place(str(settings["url"]))
        self.patience = Patience(ticket.limits.patience_seconds)
        # No other's host is to see the machine's own tokens.
        own = ticket.reach is None or str(urlsplit(self.place.account).hostname).endswith(_CLOUDS)
        self._ambient = bool(settings.get("ambient")) and own
        self._keys = keys
        self._secret = keys(_FIELD)
        self._wire = Wire(ticket.reach, "url")
        self._client = self._connected()

    def shown(self, key: str) -> str:
        """Return a blob's URL."""
        return f"{self.place.account}/{self.place.container}/{key}"

    @contextmanager
    def blob(self, key: str) -> Iterator[Any]:
        """Give a client for one blob; what is raised in the block comes out of it as Trouble.

        That is Why.AWAY, too, when the credential had expired and there is a new one now.
        """
        try:
            with self._meanings():
                yield self._client.get_blob_client(key)
        except Trouble as met:
            trouble = met
            if trouble.why is Why.DENIED and _is_over(self._secret):
                trouble = Trouble(Why.EXPIRED, met.said)
            if trouble.why is Why.EXPIRED and self._renew():
                raise Trouble(Why.AWAY, "the credential had expired and is new now") from trouble
            raise (trouble.of_nobody() if self._secret is None else trouble) from met

    def list(self, prefix: str) -> Iterator[Any]:
        """Yield what there is, page by page. Raises Trouble."""
        pages = self._client.list_blobs(name_starts_with=prefix, include=["metadata"]).by_page()
        more = True
        while more:
            page: list[Any] = []

            def work(page: list[Any] = page) -> bool:
                with self._meanings():
                    found = next(pages, None)
                    page.extend(found or ())
                    return found is not None

            more = self.patience.call(work)
            yield from page

    def close(self) -> None:
        """End what is under way; calling it again is harmless."""
        self.patience.close()
        self._wire.shut()
        self._session.close()

    @contextmanager
    def _meanings(self) -> Iterator[None]:
        from azure.core import exceptions  # noqa: PLC0415 -- optional
        from requests import RequestException  # noqa: PLC0415 -- comes with it
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 -- as above

        try:
            yield
        except exceptions.HttpResponseError as error:
            if self._wire.refused is not None:
                raise self._wire.refused from error
            raise _meaning(error) from error
        except (exceptions.AzureError, RequestException, HTTPError, OSError, Forbidden) as error:
            if self._wire.refused is not None:
                raise self._wire.refused from error
            tls = "certificate" in str(error).lower()
            raise Trouble(Why.OTHER if tls else Why.AWAY, "TLS" if tls else type(error).__name__) from error

    def _renew(self) -> bool:
        """Take the credential as it is stored now; say whether it is another one than before."""
        with suppress(NotFound):
            secret = self._keys(_FIELD)
            if secret not in (None, self._secret):
                self._secret = secret
                self._client = self._connected()
                return True
        return False

    def _connected(self) -> Any:
        try:
            import requests  # noqa: PLC0415 -- comes with the library
            from azure.core.pipeline.transport import RequestsTransport  # noqa: PLC0415 -- optional
            from azure.storage.blob import ContainerClient  # noqa: PLC0415 -- optional
            from urllib3 import HTTPConnectionPool, HTTPSConnectionPool  # noqa: PLC0415 -- as the first
        except ImportError as error:
            raise SetupError(
                "Opening Azure Storage failed: its library is not installed; pip install 'scoreline[azure]'."
            ) from error
        self._session = session = requests.Session()
        session.trust_env = self._wire.free
        for scheme, base in (("https", HTTPSConnectionPool), ("http", HTTPConnectionPool)):
            adapter = requests.adapters.HTTPAdapter(pool_maxsize=16)
            adapter.poolmanager.pool_classes_by_scheme = {scheme: self._wire.pool(base)}
            session.mount(f"{scheme}://", adapter)
        transport = RequestsTransport(
            session=session,
            session_owner=False,  # one that is closed while a thread reads fails in other ways than by its connections
            connection_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            connection_data_block_size=_PIECE_BYTES,
        )
        credential = _credential(self._secret, self.place, ambient=self._ambient)
        return ContainerClient(
            self.place.account,
            self.place.container,
            credential,
            transport=transport,
            retry_total=0,
            max_single_get_size=_GET_BYTES,
            user_agent="scoreline",
        )


def _credential(secret: Any, where: Place, *, ambient: bool) -> Any:
    """Return what signs requests. Raises InvalidRequest for the connection string of another account."""
    if isinstance(secret, AzurePrincipalSecret):
        from azure.identity import ClientSecretCredential  # noqa: PLC0415 -- optional

        return ClientSecretCredential(secret.tenant_id, secret.client_id, secret.client_secret)
    if not isinstance(secret, AzureSecret):
        if ambient:
            from azure.identity import DefaultAzureCredential  # noqa: PLC0415 -- optional

            return DefaultAzureCredential()
        return None
    parts = secret.parts
    if not parts.get("BlobEndpoint") and not parts.get("AccountName"):
        raise InvalidRequest("The connection string has neither AccountName nor BlobEndpoint.", _FIELD)
    own = parts.get("BlobEndpoint") or (
        f"https://{parts.get('AccountName')}.blob.{parts.get('EndpointSuffix', 'core.windows.net')}"
    )
    if urlsplit(own)._replace(scheme="").geturl().rstrip("/") != urlsplit(where.account)._replace(scheme="").geturl():
        raise InvalidRequest(
            f"The credential is for {urls.shown(own)}, and url is at {where.account}: give the credential of that "
            "account.",
            "url",
        )
    if parts.get("AccountKey"):
        return {"account_name": parts.get("AccountName"), "account_key": parts["AccountKey"]}
    if parts.get("SharedAccessSignature"):
        from azure.core.credentials import AzureSasCredential  # noqa: PLC0415 -- optional

        return AzureSasCredential(parts["SharedAccessSignature"].lstrip("?"))
    raise InvalidRequest("The connection string has neither AccountKey nor SharedAccessSignature.", _FIELD)


def _is_over(secret: Any) -> bool:
    """Say whether a shared access signature has expired; Azure's answer does not always tell."""
    signature = secret.parts.get("SharedAccessSignature", "") if isinstance(secret, AzureSecret) else ""
    ends = parse_qs(signature.lstrip("?")).get("se", [""])[0]
    with suppress(ValueError, TypeError):
        return datetime.fromisoformat(ends) < datetime.now(UTC)
    return False


def _meaning(error: Any) -> Trouble:
    code, status = getattr(error, "error_code", None) or "", int(error.status_code or 0)
    code = str(getattr(code, "value", code))
    text = str(getattr(error, "message", "")).lower()
    if status == 403 and ("time frame" in text or "expir" in text):
        return Trouble(Why.EXPIRED, code or "the signature")
    why = _BY_CODE.get(code) or _BY_STATUS.get(status) or (Why.AWAY if status >= 500 or not status else Why.OTHER)
    return Trouble(why, f"{code}, status {status}" if code else f"status {status}")
