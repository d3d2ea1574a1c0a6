"""What a spool needs of the place where its bytes are: a few verbs that folders and object stores both have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Protocol, Self


class Blobs(Protocol):
    """Named bytes. A key is a relative name with `/` between its parts. Safe for threads.

    Everything raises SpoolError when the place fails, and SpoolFull when it has no space left.
    """

    url: str  # opens the same place again, in another process
    poll_seconds: float  # between two looks whether a blob has come, at most
    parallel: int  # blobs that are best written at once

    def put(self, key: str, pieces: Sequence[bytes | memoryview], *, sync: bool = True) -> None:
        """Store the pieces under the key, whole or not at all; an older blob of that name is replaced.

        With `sync=False` the bytes are durable but the name may be lost in a power cut until `sync(prefix)` is called.
        """
        ...

    def put_new(self, key: str, pieces: Sequence[bytes | memoryview]) -> bool:
        """Do as `put` unless there is a blob of that name; say whether it was stored. Of several at once, one wins."""
        ...

    def put_from(self, key: str, source: IO[bytes]) -> int:
        """Store all that `source` gives, as `put` does; return the number of bytes.

        What is stored is an object: `open`, `object_size` and `delete_object` are for it, and `list` shows it.
        """
        ...

    def sync(self, prefix: str) -> None:
        """Make the names below the prefix durable."""
        ...

    def get(self, key: str) -> bytes | None:
        """Return the whole blob, or None when there is none."""
        ...

    def tail(self, key: str, length: int) -> tuple[bytes, int] | None:
        """Return the last `length` bytes of a blob (fewer when it is shorter) and its size, or None without one."""
        ...

    def open(self, key: str) -> IO[bytes] | None:
        """Open an object for reading, or return None when there is none."""
        ...

    def size(self, key: str) -> int | None:
        """Return the bytes of a blob, or None when there is none."""
        ...

    def object_size(self, key: str) -> int | None:
        """Return the bytes of an object, or None when there is none."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Return the sorted keys that begin with `prefix` + `/`."""
        ...

    def delete(self, key: str) -> None:
        """Delete a blob; none of that name is fine."""
        ...

    def delete_object(self, key: str) -> None:
        """Delete an object; none of that name is fine."""
        ...

    def delete_all(self, prefix: str) -> None:
        """Delete everything below the prefix, half-written blobs too; nothing there is fine."""
        ...

    def sweep(self, older_than: float, prefix: str = "") -> int:
        """Delete what killed processes left half written, if untouched for `older_than` seconds; return how many.

        prefix: only below it.
        """
        ...

    def check_space(self, prefix: str, size: int) -> None:
        """Raise SpoolFull when `size` bytes more below the prefix are more than there is room for."""
        ...

    def free_bytes(self) -> int | None:
        """Return the space left, or None where there is no such limit."""
        ...

    def check(self) -> None:
        """Raise SetupError when the place cannot be used as it is set up."""
        ...

    def hasty(self, seconds: float) -> Self:
        """Return the same place for one who waits no longer for it; its `url` stays."""
        ...

    def close(self) -> None:
        """End all waiting for a place that does not answer."""
        ...
