"""A URL as a job reads it: what nobody could later tell from another file is copied to the spool before it is used.

A run that takes up a job must know that the source is still the one that the job began with. Where the server has no
word for that (`webread`), only a copy of all bytes does. Each run makes a copy of its own, unless one is whole already.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from scoreline import faults
from scoreline.adapters.localfile import LocalFileIntake
from scoreline.adapters.webread import UrlIntake
from scoreline.protocols import ByteIntake
from scoreline.spool import Spool
from scoreline.types import JsonObject, Range, RunTicket

_NAME = "source-"


class KeptUrl:
    """The bytes of a URL, or of their copy. Nothing is asked before the first byte is."""

    def __init__(self, url: UrlIntake, ticket: RunTicket, spool: Spool) -> None:
        """Read `url`, which the intake closes, for the ticket's job."""
        self._url = url
        self._ticket = ticket
        self._spool = spool
        self._folder = f"uploads/{ticket.job_id}"
        self._choosing = threading.Lock()
        self._chosen: ByteIntake | None = None

    def partitions(self, want: int) -> Sequence[Range]:  # noqa: ARG002 -- it is read in one go
        """Return the file as one part."""
        return [Range()]

    def size(self) -> int | None:
        """Return the bytes of the file, None where the server does not say. Raises as `blocks`."""
        return self._source().size()

    def identity(self) -> JsonObject | None:
        """Return what tells the file from any other, now. Raises as `blocks`."""
        return self._source().identity()

    def blocks(self, part: Range, offset: int) -> Iterator[bytes]:
        """Yield the file's bytes. Raises SourceError, RunStopped, and for the copy SpoolFull and SpoolError."""
        yield from self._source().blocks(part, offset)

    def close(self) -> None:
        """End reading, and copying; may be called from any thread, and again."""
        self._url.close()
        if self._chosen is not None:
            self._chosen.close()

    def _source(self) -> ByteIntake:
        with self._choosing:
            if self._chosen is None:
                self._chosen = self._copy() or (self._url if self._url.proven() else self._copied())
            return self._chosen

    def _copy(self) -> ByteIntake | None:
        """Return the whole copy that an earlier run left, if there is one; delete what others of them left."""
        for name in sorted({key.split("/")[2] for key in self._spool.blobs.list(self._folder)}):
            fence = name.removeprefix(_NAME)
            if not fence.isdecimal() or int(fence) >= self._ticket.fence:
                continue
            if self._spool.reader(f"{self._folder}/{name}").complete():
                return self._opened(name)
            self._spool.delete_stream(f"{self._folder}/{name}")
        return None

    def _copied(self) -> ByteIntake:
        name = f"{_NAME}{self._ticket.fence}"
        with self._spool.writer(f"{self._folder}/{name}") as writer:
            for block in self._url.blocks(Range(), 0):
                writer.write(block)
            writer.finish()
        faults.at("url.kept")
        return self._opened(name)

    def _opened(self, name: str) -> ByteIntake:
        return LocalFileIntake(replace(self._ticket, intake={"stream": name}), self._spool)
