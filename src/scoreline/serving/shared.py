"""Memory that the front and a model process share: a batch goes in once, its answer comes back in the same place."""

from __future__ import annotations

import os
import tempfile
from types import TracebackType
from typing import Self

_LARGEST_KEPT = 16 << 20


class Shared:
    """A growing run of bytes outside any process's heap, handed on by its descriptor.

    On Linux it is anonymous memory, elsewhere an unnamed file. Used in `with`, it is given back at the end; a process
    that was handed the descriptor keeps its own copy of it.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _anonymous() if descriptor is None else descriptor
        self.size = 0

    def append(self, data: bytes | memoryview) -> None:
        """Add `data` at the end. Raises OSError when there is no memory for it."""
        with memoryview(data).cast("B") as view:
            done = 0
            while done < len(view):
                done += os.pwrite(self.descriptor, view[done:], self.size + done)
            self.size += done

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`. Raises EOFError when the other side did not write that many."""
        pieces = []
        while size:
            piece = os.pread(self.descriptor, size, offset)
            if not piece:
                raise EOFError("shared memory ends before the answer does")
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Give the memory back; calling it again is harmless."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SharedPool:
    """Shared memory to use again: fresh pages cost more than the bytes that are copied into them."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._free: list[Shared] = []

    def take(self) -> Shared:
        """Empty shared memory, to be used in `with`."""
        if not self._free:
            return Shared()
        return self._free.pop()

    def give_back(self, shared: Shared) -> None:
        """Keep it for later. Only for memory whose request was answered: else a process may still write to it."""
        if len(self._free) < self._keep and os.fstat(shared.descriptor).st_size <= _LARGEST_KEPT:
            self._free.append(Shared(shared.descriptor))
            shared.descriptor = -1

    def close(self) -> None:
        """Give all of it back to the system."""
        while self._free:
            self._free.pop().close()


def _anonymous() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("scoreline", os.MFD_CLOEXEC)
    descriptor, path = tempfile.mkstemp(prefix="scoreline-")
    os.unlink(path)  # noqa: PTH108 -- pairs with mkstemp
    return descriptor
