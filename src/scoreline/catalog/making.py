"""From a file that has come to a version of a dataset: it is read as a whole, stored, and then known to all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from scoreline import faults
from scoreline.catalog import datasets
from scoreline.catalog.opening import of_dataset
from scoreline.catalog.profile import profile
from scoreline.catalog.records import object_name
from scoreline.errors import SourceError
from scoreline.registry.tree import disk_errors
from scoreline.spool import Spool
from scoreline.store import Store
from scoreline.types import RunLimits

_CHECK_BYTES = 16 << 20


def make(
    store: Store, spool: Spool, version_id: str, file: Path, *, limits: RunLimits, check: Callable[[], None]
) -> None:
    """Make a version of the file. check: called now and then; what it raises ends the work, and nothing is left.

    Raises SourceError for what is no table, SpoolFull, SpoolError, StoreError.
    """
    stored = file.stat().st_size
    found = profile(lambda: file.open("rb"), stored, limits, check)
    name = object_name(version_id)
    with disk_errors(), file.open("rb") as body:
        hashed = _Hashed(body, check)
        spool.put_object(name, hashed)  # type: ignore[arg-type]  # it is read only
    faults.at("dataset.stored")
    if not datasets.finish(store, version_id, found, stored, hashed.digest.hexdigest()):
        spool.delete_object(name)


def fetch(blocks: Iterator[bytes], target: Path, most: int | None, spool: Spool, check: Callable[[], None]) -> None:
    """Write what comes to a file. most: bytes that it may have. Raises SourceError, SpoolFull, and as `check`."""
    size = unchecked = 0
    with _of_dataset(), disk_errors(), target.open("wb") as file:
        for block in blocks:
            check()
            size += len(block)
            if most is not None and size > most:
                raise SourceError(
                    f"Reading the dataset failed: it has more than {most} bytes (SCORELINE_MAX_DATASET_BYTES); make "
                    "several of it, or ask for a higher limit."
                )
            file.write(block)
            unchecked += len(block)
            if unchecked >= _CHECK_BYTES:
                spool.check_space()
                unchecked = 0


@contextmanager
def _of_dataset() -> Iterator[None]:
    try:
        yield
    except SourceError as error:
        raise of_dataset(error) from error


class _Hashed:
    """A file of which the digest is taken as it is read."""

    def __init__(self, file: IO[bytes], check: Callable[[], None]) -> None:
        self._file = file
        self._check = check
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        self._check()
        block = self._file.read(size)
        self.digest.update(block)
        return block
