"""azure: blobs in Azure Storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from scoreline.adapters.azurecalls import AzureStore
from scoreline.adapters.files import FileInfo, Part, Trouble, Why, suppress_trouble
from scoreline.adapters.objects import ObjectIntake
from scoreline.adapters.uploading import ObjectOutput
from scoreline.credentials import Keys
from scoreline.rows.forms import media_type
from scoreline.spool import Spool
from scoreline.types import JsonObject, RunTicket

_MARK = "scoreline"
_GET_BYTES = 4 << 20


class AzureFiles:
    """The blobs of one container; see `files.Files`."""

    def __init__(self, store: AzureStore) -> None:
        self._store = store

    def shown(self, key: str) -> str:
        """Return the blob's URL."""
        return self._store.shown(key)

    def stat(self, key: str) -> FileInfo:
        """Return size and ETag. Raises SourceError."""

        def work() -> FileInfo:
            with self._store.blob(key) as blob:
                found = blob.get_blob_properties()
                return FileInfo(key, found.size, str(found.etag).strip('"'))

        try:
            return self._store.patience.call(work)
        except Trouble as trouble:
            raise trouble.source_error(self.shown(key)) from trouble

    def list(self, prefix: str) -> Iterator[FileInfo]:
        """Yield the blobs whose names begin with `prefix`, sorted by name. Raises SourceError."""
        try:
            for found in self._store.list(prefix):
                if not (found.metadata or {}).get("hdi_isfolder"):
                    yield FileInfo(found.name, found.size, str(found.etag).strip('"'))
        except Trouble as trouble:
            raise trouble.source_error(self.shown(prefix)) from trouble

    def read(self, info: FileInfo, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the blob's bytes, as long as it has the ETag of `info`. Raises SourceError, RunStopped."""
        from azure.core import MatchConditions  # noqa: PLC0415 -- optional

        stop = info.size if end is None else min(end, info.size)

        def opened(at: int) -> Iterator[bytes]:
            with self._store.blob(info.key) as blob:
                while at < stop:
                    length = min(_GET_BYTES, stop - at)
                    same = {"etag": f'"{info.version}"', "match_condition": MatchConditions.IfNotModified}
                    block = cast("bytes", blob.download_blob(at, length, **same).readall())
                    at += len(block)
                    yield block

        try:
            yield from self._store.patience.read(opened, start, stop)
        except Trouble as trouble:
            raise trouble.source_error(self.shown(info.key)) from trouble

    def close(self) -> None:
        """End reading; calling it again is harmless."""
        self._store.close()


class AzureUploads:
    """Block blobs in one container; see `files.Uploads`. The names of blocks say whose they are."""

    most_part = 4000 << 20

    def __init__(self, store: AzureStore, settings: Mapping[str, Any]) -> None:
        """Write what an output of these settings does."""
        self._store = store
        self._kind = media_type(settings)

    def shown(self, key: str) -> str:
        """Return the blob's URL."""
        return self._store.shown(key)

    def exists(self, key: str) -> bool:
        """Say whether there is a blob of that name."""
        return self._properties(key) is not None

    def begin(self, key: str, mark: str, *, again: bool) -> JsonObject:  # noqa: ARG002 -- there is nothing before the first block
        """Return what names the blocks."""
        return {"key": key, "mark": mark}

    def part(self, upload: JsonObject, number: int, start: int, body: bytes | Part, *, last: bool) -> JsonObject:  # noqa: ARG002 -- blocks have names
        """Store a block."""
        name = f"{upload['mark']}.{number:06d}"
        if not len(body):
            return {}
        with self._store.blob(upload["key"]) as blob:
            blob.stage_block(name, body, length=len(body))
        return {"block": name}

    def complete(self, upload: JsonObject, parts: Sequence[JsonObject], size: int, *, new: bool) -> None:  # noqa: ARG002 -- the blocks have it
        """Make the blocks the blob."""
        from azure.core import MatchConditions  # noqa: PLC0415 -- optional
        from azure.storage.blob import BlobBlock, ContentSettings  # noqa: PLC0415 -- optional

        blocks = [BlobBlock(block_id=part["block"]) for part in parts if "block" in part]
        only_new = {"match_condition": MatchConditions.IfMissing} if new else {}
        with self._store.blob(upload["key"]) as blob:
            blob.commit_block_list(
                blocks,
                metadata={_MARK: upload["mark"]},
                content_settings=ContentSettings(content_type=self._kind),
                **only_new,
            )

    def finished(self, upload: JsonObject, size: int) -> bool:
        """Say whether the blob has the upload's mark and this size."""
        found = self._properties(upload["key"])
        return found is not None and (found.metadata or {}).get(_MARK) == upload["mark"] and found.size == size

    def abort(self, upload: JsonObject) -> None:
        """Drop the blocks, where that can be done without touching anything else; Azure does it after a week.

        Blocks without a blob go when a blob takes their place: an empty one does, for a moment.
        """
        from azure.core import MatchConditions  # noqa: PLC0415 -- optional

        key = upload["key"]
        if self._properties(key) is not None:
            return
        with suppress_trouble(Why.MISSING, Why.EXISTS, Why.CHANGED, Why.DENIED), self._store.blob(key) as blob:
            _, left = blob.get_block_list("all")
            if not left or not all(block.id.startswith(f"{upload['mark']}.") for block in left):
                return
            with suppress_trouble(Why.MISSING), self._store.blob(key) as nothing:
                nothing.delete_blob()  # who may not delete is told so here, before there is anything to delete
            made = blob.upload_blob(b"", overwrite=False)
            blob.delete_blob(etag=made["etag"], match_condition=MatchConditions.IfNotModified)

    def close(self) -> None:
        """End what is under way; calling it again is harmless."""
        self._store.close()

    def _properties(self, key: str) -> Any:
        try:
            with self._store.blob(key) as blob:
                return blob.get_blob_properties()
        except Trouble as trouble:
            if trouble.why is Why.MISSING:
                return None
            raise


def open_files(ticket: RunTicket, keys: Keys) -> tuple[AzureFiles, str]:
    """Return the container of the ticket's intake and the name that its url names. Raises SetupError."""
    store = AzureStore(ticket, ticket.intake, keys)
    return AzureFiles(store), store.place.blob


def open_intake(ticket: RunTicket, spool: Spool, keys: Keys) -> ObjectIntake:  # noqa: ARG001 -- nothing is staged
    """Open the blob of the ticket's intake. Raises SourceError, SetupError."""
    return ObjectIntake(*open_files(ticket, keys))


def open_uploads(ticket: RunTicket, keys: Keys) -> tuple[AzureUploads, str]:
    """Return the place of the ticket's output and the key that its url names. Raises SetupError."""
    store = AzureStore(ticket, ticket.output, keys)
    return AzureUploads(store, ticket.output), store.place.blob


def open_output(ticket: RunTicket, spool: Spool, keys: Keys) -> ObjectOutput:
    """Open the blob of the ticket's output. Raises SetupError."""
    return ObjectOutput(*open_uploads(ticket, keys), ticket, spool)
