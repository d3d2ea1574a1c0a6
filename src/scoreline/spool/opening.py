"""Which place a spool is in: a folder, or a bucket of an object store."""

from __future__ import annotations

import functools
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from scoreline.errors import SetupError
from scoreline.settings import Settings
from scoreline.spool.bucket import SCHEMES, BucketBlobs
from scoreline.spool.folder import FolderBlobs
from scoreline.spool.space import Limits
from scoreline.spool.spool import Spool


def open_spool(
    url_or_path: str | Path, *, min_free: int = 0, most: int | None = None, patience: float | None = None
) -> Spool:
    """Open a spool: a folder's path, an object store's URL, or what `Spool.url` gave, with its limits.

    A folder is made if it is missing; a store is not asked yet. min_free: bytes that stay free on a disk. most: bytes
    that all staged data may take. patience: seconds that a store that does not answer is waited for. Raises SetupError
    for a place that is not known, SpoolError.
    """
    text = str(url_or_path)
    if "://" not in text:
        return Spool(FolderBlobs(Path(text), Limits(min_free, most)))
    parts = urlsplit(text)
    given = {name: values[0] for name, values in parse_qs(parts.query).items()}
    most = int(given["most"]) if "most" in given else most
    if parts.scheme in SCHEMES:
        known = given.get("patience", patience)
        return Spool(_shared(text.partition("?")[0], most, None if known is None else float(known)))
    if parts.scheme != "file" or parts.netloc:
        raise SetupError(
            f"Spool: {parts.scheme}:// is not a place for staged bytes; give a folder's path, or s3://, gs:// or az://."
        )
    limits = Limits(max(min_free, int(given.get("min_free", 0))), most)
    return Spool(FolderBlobs(Path(unquote(parts.path)), limits))


def spool_of(settings: Settings, *, patience: float | None = None) -> Spool:
    """Open the spool of an installation; see `open_spool`. patience: by default as the settings say."""
    patience = settings.patience_seconds if patience is None else patience
    if settings.spool_url is not None:
        return Spool(_bucket(settings.spool_url, settings.max_spool_bytes, patience))
    return open_spool(settings.spool_dir, min_free=settings.min_free_bytes, most=settings.max_spool_bytes)


def _bucket(url: str, most: int | None, patience: float | None) -> BucketBlobs:
    limits = Limits(most=most)
    return BucketBlobs(url, limits) if patience is None else BucketBlobs(url, limits, patience)


# All runs of a process have the same connections, and know the same of space.
_shared = functools.lru_cache(16)(_bucket)
