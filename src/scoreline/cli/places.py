"""Where `scoreline score` reads and writes when that is no file of this machine: URLs of stores and web servers."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from scoreline import urls
from scoreline.errors import InvalidRequest
from scoreline.types import JsonObject

_GOOGLE = "storage.googleapis.com"
_TYPES = {"s3": "s3", "gs": "gcp", "abfs": "azure", "abfss": "azure", "wasb": "azure", "wasbs": "azure"}
DATASET = "dataset"
_DATASETS = "dataset://"


@dataclass(frozen=True, slots=True)
class Place:
    """One end of a job. credential: id or name of a stored one; endpoint: address of another store of that type.

    headers: `NAME: VALUE`, for a web server. method: how rows are sent to one. written: whether it is the output.
    """

    text: str
    credential: str | None = None
    endpoint: str | None = None
    headers: tuple[str, ...] = ()
    method: str | None = None
    written: bool = False

    @property
    def shown(self) -> str:
        """How messages call it: without what a URL hides."""
        return urls.shown(self.text) if self.type == urls.HTTP else self.text

    @property
    def type(self) -> str | None:
        """The adapter's type, None for a file, a pipe or standard input and output.

        Raises InvalidRequest for a URL that is of none.
        """
        if "://" not in self.text:
            return None
        if self.text.startswith(_DATASETS):  # a name may hold anything
            return DATASET
        parts = urlsplit(self.text)
        host = parts.hostname or ""
        found = _TYPES.get(parts.scheme)
        if parts.scheme in ("http", "https"):
            stored = "gcp" if host == _GOOGLE else "azure" if ".blob." in host else urls.HTTP
            found = urls.HTTP if urls.is_signed(self.text) else stored
        if found is None:
            raise InvalidRequest(
                f"{self.text!r} names no place that is known: give a file, s3://BUCKET/KEY, gs://BUCKET/OBJECT, "
                "https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB, abfss://CONTAINER@ACCOUNT.../BLOB, the https:// "
                "address of a file on a web server, or dataset://NAME_OR_ID to read."
            )
        return found

    def settings(self) -> JsonObject | None:
        """Return the adapter's settings, with the format that the name speaks of; None for a file.

        Raises InvalidRequest, also for options of a URL alone.
        """
        kind = self.type
        if kind is None:
            if self.credential or self.endpoint or self.headers:
                raise InvalidRequest(f"{self.text!r} is a file: credentials and endpoints go with the URL of a store.")
            return None
        if kind == urls.HTTP:
            return self._web()
        if kind == DATASET:
            return self._dataset()
        if self.headers:
            raise InvalidRequest(f"{self.text!r} is in a store: headers go with the URL of a web server.")
        given = {"type": kind, "url": self.text, "credentialId": self.credential, "endpointUrl": self.endpoint}
        return {name: value for name, value in given.items() if value is not None} | self._form(self.text)

    def _dataset(self) -> JsonObject:
        if self.written:
            raise InvalidRequest(f"{self.text!r} can only be read: write a file, and `scoreline datasets add` it.")
        if self.credential or self.endpoint or self.headers:
            raise InvalidRequest(f"{self.text!r} lies at the server: it needs no credential, endpoint or headers.")
        return {"type": DATASET, "datasetId": self.text.removeprefix(_DATASETS)}

    def _web(self) -> JsonObject:
        if self.endpoint:
            raise InvalidRequest(f"{self.shown!r} is the address of a server itself: it has no other endpoint.")
        headers = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in self.headers)}
        given = {
            "type": urls.HTTP,
            "url": self.text,
            "method": self.method,
            "headers": headers or None,
            "credentialId": self.credential,
        }
        return {name: value for name, value in given.items() if value} | self._form(urlsplit(self.text).path)

    def _form(self, path: str) -> JsonObject:
        """Return the settings that the name speaks of. How an input is packed is told by its content."""
        from scoreline.rows import forms  # noqa: PLC0415 -- start-up time of the other commands

        found = forms.by_name(path)
        return found if self.written else {name: value for name, value in found.items() if name != "compression"}
