"""What a spool needs of the place where its bytes are: a few verbs that folders and object stores both have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Protocol


class Blobs(Protocol):
    """Named bytes. A key is a relative name with `/` between its parts. Safe for threads.

    Everything raises SpoolError when the place fails, and SpoolFull when it has no space left.
    """

    url: str  # opens the same place again, in another process

    def put(self, key: str, pieces: Sequence[bytes | memoryview], *, sync: bool = True) -> None:
        """Store the pieces under the key, whole or not at all; an older blob of that name is replaced.

        With `sync=False` the bytes are durable but the name may be lost in a power cut until `sync(prefix)` is called.
        """
        ...

    def put_from(self, key: str, source: IO[bytes]) -> int:
        """Store all that `source` gives, as `put` does; return the number of bytes."""
        ...

    def sync(self, prefix: str) -> None:
        """Make the names below the prefix durable."""
        ...

    def get(self, key: str) -> bytes | None:
        """Return the whole blob, or None when there is none."""
        ...

    def tail(self, key: str, length: int) -> bytes | None:
        """Return the last `length` bytes of a blob (fewer when it is shorter), or None when there is none."""
        ...

    def open(self, key: str) -> IO[bytes] | None:
        """Open a blob for reading, or return None when there is none."""
        ...

    def size(self, key: str) -> int | None:
        """Return the bytes of a blob, or None when there is none."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Return the sorted keys that begin with `prefix` + `/`."""
        ...

    def delete(self, key: str) -> None:
        """Delete a blob; none of that name is fine."""
        ...

    def delete_all(self, prefix: str) -> None:
        """Delete everything below the prefix, half-written blobs too; nothing there is fine."""
        ...

    def sweep(self, older_than: float) -> int:
        """Delete what killed processes left half written, if untouched for `older_than` seconds; return how many."""
        ...

    def free_bytes(self) -> int | None:
        """Return the space left, or None where there is no such limit."""
        ...
