"""Blobs in an object store: one object each, put whole. The store's library is obstore."""

from __future__ import annotations

import copy
import os
import secrets
import time
from collections.abc import Sequence
from datetime import timedelta
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any, Self
from urllib.parse import urlencode, urlsplit

from scoreline import faults
from scoreline.errors import SetupError, SpoolError
from scoreline.spool import pieces as in_pieces
from scoreline.spool.asking import Asking, StoreDenied, StoreMissing
from scoreline.spool.pieces import Index
from scoreline.spool.space import Bound, Limits, bounded

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
_PATIENCE_SECONDS = 300.0
_EMULATOR = "STORAGE_EMULATOR_HOST"
_DELETE_ATTEMPTS = 20
_SETTLE_SECONDS = 0.05
_MEASURE_SECONDS = 10.0
_CHECK_SECONDS = 10.0
_CHECKS = "checks"
_CLIENT: dict[str, Any] = {
    "allow_http": True,  # only where the operator names such an endpoint
    "connect_timeout": timedelta(seconds=5),
    "timeout": timedelta(seconds=60),
    "user_agent": "scoreline",
}
_RETRY: dict[str, Any] = {"max_retries": 0}  # `Asking` does it

_UNLIMITED = Limits()


class BucketBlobs:
    """The blobs below one prefix of a bucket; see `blobs.Blobs`. Any number of processes may use it at once.

    Objects that `put_from` stores are in pieces (`pieces.py`), all other blobs one object each.
    """

    poll_seconds = 0.25
    parallel = 4

    def __init__(self, url: str, limits: Limits = _UNLIMITED, patience: float = _PATIENCE_SECONDS) -> None:
        """Use `s3://bucket/prefix`, `gs://...` or `az://container/prefix`; nothing is asked yet.

        The environment gives credentials and endpoint. patience: seconds that a store that does not answer is waited
        for. Raises SetupError for a URL that is none, or without the library.
        """
        self.limits = limits
        parts = urlsplit(url)
        self._shown = f"{parts.scheme}://{parts.netloc}"
        self._obstore: Any = _library()
        self._store = _opened(url)
        self._patience = patience
        self._ask = Asking(self._shown, patience)
        given = {"most": limits.most, "patience": patience}
        query = urlencode({name: value for name, value in given.items() if value is not None})
        self.url = f"{self._shown}{parts.path.rstrip('/')}?{query}"
        self._bound = Bound(lambda: self.limits.most, self._staged, _MEASURE_SECONDS)

    def put(self, key: str, pieces: Sequence[bytes | memoryview], *, sync: bool = True) -> None:  # noqa: ARG002 -- it is durable at once
        """Store the pieces; see Blobs. Raises SpoolFull, SpoolError."""
        size = sum(map(len, pieces))
        if bounded(key, size):
            self._bound.check(key, size)
        faults.at("spool.written")
        self._put(key, _joined(pieces))
        faults.at("spool.renamed")

    def put_new(self, key: str, pieces: Sequence[bytes | memoryview]) -> bool:
        """Store the pieces unless there are some; see Blobs. Raises SpoolFull, SpoolError."""
        body, tries = _joined(pieces), 0

        def work() -> Any:
            nonlocal tries
            tries += 1
            return self._obstore.put(self._store, key, body, mode="create", use_multipart=False)

        try:
            self._ask(f"write {key}", work, write=True)
        except FileExistsError:
            # It may be what an earlier try left whose answer was lost.
            return tries > 1 and self.get(key) == body
        return True

    def put_from(self, key: str, source: IO[bytes]) -> int:
        """Store what `source` gives; see Blobs. Raises SpoolFull, SpoolError."""
        folder = f"{in_pieces.FOLDER}/{key}/{secrets.token_hex(8)}"
        sizes: list[int] = []
        try:
            while piece := in_pieces.cut(source, in_pieces.PIECE_BYTES):
                size = sum(map(len, piece))
                self._bound.check(key, size)
                self._put(in_pieces.piece_key(folder, len(sizes)), _joined(piece))
                sizes.append(size)
            faults.at("spool.written")
            self._put(key, Index(folder, tuple(sizes)).to_json())
        except Exception:
            self.delete_all(folder)
            raise
        faults.at("spool.renamed")
        return sum(sizes)

    def sync(self, prefix: str) -> None:
        """Do nothing: what is put is durable."""

    def get(self, key: str) -> bytes | None:
        """Return the whole blob; see Blobs. Raises SpoolError."""
        found = self._get(key)
        return None if found is None else bytes(found)

    def tail(self, key: str, length: int) -> tuple[bytes, int] | None:
        """Return the end of a blob and its size; see Blobs. Raises SpoolError."""
        size = self.size(key)
        if not size:
            return None if size is None else (b"", 0)
        begin = max(0, size - length)
        found = self._ask(f"read {key}", lambda: self._obstore.get_range(self._store, key, start=begin, end=size))
        return None if found is None else (bytes(found), size)

    def open(self, key: str) -> IO[bytes] | None:
        """Open an object for reading; see Blobs. Raises SpoolError."""
        index = self._index(key)
        return None if index is None else in_pieces.opened(index, self._range)

    def size(self, key: str) -> int | None:
        """Return the bytes of a blob; see Blobs. Raises SpoolError."""
        found = self._ask(f"look at {key}", lambda: self._obstore.head(self._store, key))
        return None if found is None else found["size"]

    def object_size(self, key: str) -> int | None:
        """Return the bytes of an object; see Blobs. Raises SpoolError."""
        index = self._index(key)
        return None if index is None else index.size

    def delete(self, key: str) -> None:
        """Delete a blob; see Blobs. Raises SpoolError."""
        self._delete([key])

    def delete_object(self, key: str) -> None:
        """Delete an object; see Blobs. Raises SpoolError."""
        index = self._index(key)
        self._delete([key])
        if index is not None:
            self._delete(index.keys)

    def delete_all(self, prefix: str) -> None:
        """Delete everything below the prefix; see Blobs. Raises SpoolError.

        A writer that still runs may add a blob meanwhile, and some stores stop at one that another has deleted: so it
        is looked again.
        """
        for attempt in range(_DELETE_ATTEMPTS):
            there = self.list(prefix)
            if not there:
                return
            if attempt > 1:
                time.sleep(_SETTLE_SECONDS)
            self._delete(there)
        raise SpoolError(f"Spool: cannot delete {prefix}: something is written there again and again.")

    def sweep(self, older_than: float, prefix: str = "") -> int:
        """Delete pieces that no object speaks of, and what `check` left; see Blobs. Raises SpoolError."""
        limit = time.time() - older_than
        if not prefix:
            self._delete([one["path"] for one in self._listed(_CHECKS) if one["last_modified"].timestamp() <= limit])
        old: dict[str, list[str]] = {}
        for found in self._listed("/".join(filter(None, (in_pieces.FOLDER, prefix)))):
            if found["last_modified"].timestamp() <= limit:
                folder = found["path"].rpartition("/")[0]
                old.setdefault(folder, []).append(found["path"])
        gone = 0
        for folder, keys in old.items():
            key = folder.removeprefix(f"{in_pieces.FOLDER}/").rpartition("/")[0]
            index = self._index(key)
            if index is None or index.folder != folder:
                self._delete(keys)
                gone += len(keys)
        return gone

    def check_space(self, prefix: str, size: int) -> None:
        """Raise SpoolFull when so many bytes are more than all may take; see Blobs. Raises SpoolError."""
        self._bound.check(prefix, size)

    def free_bytes(self) -> int | None:
        """Return None: a store has no such limit."""
        return None

    def check(self) -> None:
        """Put, list, read and delete a blob, as all the work needs it; see Blobs. Raises SetupError, SpoolError."""
        soon = self.hasty(_CHECK_SECONDS)
        unusable = "The spool of SCORELINE_SPOOL_URL cannot be used"
        key = f"{_CHECKS}/{secrets.token_hex(8)}"
        try:
            soon.put(key, [b"1"])
            if soon.put_new(key, [b"2"]) or soon.get(key) != b"1":
                raise SetupError(
                    f"{unusable}: {self._shown} lets an object be replaced that was to be new only; take a store that "
                    "knows If-None-Match."
                )
            if key not in soon.list(_CHECKS):
                raise SetupError(f"{unusable}: {self._shown} does not list what was put there; take one that does.")
            soon.delete(key)
        except (StoreDenied, StoreMissing) as error:
            raise SetupError(f"{unusable}. {error.message}") from error

    def list(self, prefix: str) -> list[str]:
        """Return the keys below the prefix; see Blobs. Raises SpoolError."""
        return sorted(str(found["path"]) for found in self._listed(prefix))

    def hasty(self, seconds: float) -> Self:
        """Return the same bucket for one who waits no longer for it; see Blobs."""
        other = copy.copy(self)
        other._ask = Asking(self._shown, min(self._patience, seconds))  # noqa: SLF001 -- one of its kind
        return other

    def close(self) -> None:
        """End all waiting for a store that does not answer."""
        self._ask.close()

    def _put(self, key: str, body: bytes) -> None:
        self._ask(f"write {key}", lambda: self._obstore.put(self._store, key, body, use_multipart=False), write=True)

    def _get(self, key: str) -> memoryview | None:
        found = self._ask(f"read {key}", lambda: self._obstore.get(self._store, key).bytes())
        return None if found is None else memoryview(found)

    def _range(self, key: str, start: int, end: int) -> memoryview:
        found = self._ask(f"read {key}", lambda: self._obstore.get_range(self._store, key, start=start, end=end))
        if found is None or len(found) != end - start:
            raise SpoolError(f"Spool: {key} is missing or damaged in {self._shown}; store again what it is part of.")
        return memoryview(found)

    def _index(self, key: str) -> Index | None:
        body = self.get(key)
        return None if body is None else Index.from_json(key, body)

    def _listed(self, prefix: str) -> Sequence[Any]:
        def work() -> Sequence[Any]:
            return [found for page in self._obstore.list(self._store, prefix or None) for found in page]

        return self._ask(f"list {prefix}", work) or []

    def _delete(self, keys: Sequence[str]) -> None:
        if keys:
            self._ask(f"delete {keys[0]}", lambda: self._obstore.delete(self._store, list(keys)))

    def _staged(self, kinds: Sequence[str]) -> int:
        places = [place for kind in kinds for place in (kind, f"{in_pieces.FOLDER}/{kind}")]
        return sum(found["size"] for place in places for found in self._listed(place))


def _joined(pieces: Sequence[bytes | memoryview]) -> bytes:
    return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)


def _library() -> ModuleType:
    try:
        import obstore  # noqa: PLC0415 -- optional
    except ImportError as error:
        raise SetupError(
            "Opening the spool failed: the library for SCORELINE_SPOOL_URL is not installed; pip install "
            "'scoreline[spool]'."
        ) from error
    return obstore


def _opened(url: str) -> ObjectStore:
    """Connect to nothing yet. Raises SetupError."""
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    if parts.scheme not in SCHEMES or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise SetupError(
            f"SCORELINE_SPOOL_URL {_hidden(url)!r} names no place for staged bytes: give s3://BUCKET/PREFIX, "
            "gs://BUCKET/PREFIX or az://CONTAINER/PREFIX, without keys in it."
        )
    _library()
    from obstore import store  # noqa: PLC0415 -- optional
    from obstore.exceptions import BaseError  # noqa: PLC0415 -- as above

    given: dict[str, Any] = {"prefix": prefix or None, "client_options": _CLIENT, "retry_config": _RETRY}
    try:
        if parts.scheme == "s3":
            return store.S3Store(parts.netloc, **given)
        if parts.scheme == "az":
            return store.AzureStore(parts.netloc, **given)
        emulator = os.environ.get(_EMULATOR)
        if emulator:
            given |= {"base_url": emulator.rstrip("/"), "bearer_token": "emulator"}
        return store.GCSStore(parts.netloc, **given)
    except (BaseError, ValueError, OSError) as error:
        raise SetupError(
            f"SCORELINE_SPOOL_URL {_hidden(url)!r} cannot be opened ({type(error).__name__}): check the environment's "
            "account, credentials and endpoint for it."
        ) from error


def _hidden(url: str) -> str:
    """Show a URL without what may be a secret in it."""
    return url.partition("?")[0].rpartition("@")[2][:100]
