"""Take gzip and zstd off a source: known by its first bytes, unpacked as it comes, never beyond the limits."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

import pyarrow as pa

from scoreline.errors import SourceError
from scoreline.types import RunLimits

_SLICE_BYTES = 256 << 10  # of packed bytes looked at in one go
_PIECE_BYTES = 1 << 20  # of unpacked bytes given out in one go
_HEAD_BYTES = 4
_FREE_BYTES = 100 << 20  # unpacked bytes from which on the ratio counts: small files may be packed very well

_GZIP = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]", re.DOTALL)
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)  # a frame, or one to be skipped
_GZIP_FORMAT = 16 + zlib.MAX_WBITS


class Unpacked:
    """The bytes of `blocks`, unpacked if they are gzip or zstd data, of one member or frame or several.

    packing: "gzip", "zstd", or None; known once the first block has come out. bytes_in, bytes_out: bytes taken from
    `blocks`, and given out, so far. As an iterator it raises SourceError for data that is damaged, cut, followed by
    something else, or unpacks to more than the limits allow.
    """

    def __init__(self, blocks: Iterator[bytes], limits: RunLimits) -> None:
        self.packing: str | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self._blocks = blocks
        self._limits = limits

    def __iter__(self) -> Iterator[bytes]:
        head = b""
        while len(head) < _HEAD_BYTES and (block := next(self._blocks, b"")):
            head += block
        if _GZIP.match(head):
            self.packing = "gzip"
            pieces = self._gunzip(self._slices(head))
        elif _ZSTD.match(head):
            self.packing = "zstd"
            pieces = self._unzstd(self._slices(head))
        else:
            pieces = self._plain(head)
        for piece in pieces:
            self.bytes_out += len(piece)
            if self.packing is not None:
                self._check_size()
            yield piece

    def _plain(self, head: bytes) -> Iterator[bytes]:
        self.bytes_in = len(head)
        if head:
            yield head
        for block in self._blocks:
            self.bytes_in += len(block)
            yield block

    def _slices(self, head: bytes) -> Iterator[bytes]:
        block = head
        while block:
            for start in range(0, len(block), _SLICE_BYTES):
                some = block[start : start + _SLICE_BYTES]
                self.bytes_in += len(some)
                yield some
            block = next(self._blocks, b"")

    def _gunzip(self, slices: Iterator[bytes]) -> Iterator[bytes]:
        member = zlib.decompressobj(_GZIP_FORMAT)
        begun = False  # false between two members
        for some in slices:
            data = some
            while data:
                if not begun:
                    data = data.lstrip(b"\0") if member.eof else data  # what fills up a block of a tape
                    if not data:
                        break
                    member, begun = zlib.decompressobj(_GZIP_FORMAT), True
                try:
                    piece = member.decompress(data, _PIECE_BYTES)
                    while piece:
                        yield piece
                        data = member.unconsumed_tail
                        piece = member.decompress(data, _PIECE_BYTES)
                except zlib.error as problem:
                    raise self._damaged(str(problem)) from problem
                data = member.unused_data if member.eof else b""
                begun = not member.eof
        if begun:
            raise self._cut()

    def _unzstd(self, slices: Iterator[bytes]) -> Iterator[bytes]:
        try:
            with pa.CompressedInputStream(pa.PythonFile(_Slices(slices), mode="r"), "zstd") as stream:
                while piece := stream.read(_PIECE_BYTES):
                    yield piece
        except OSError as problem:
            if "runcated" in str(problem):
                raise self._cut() from problem
            raise self._damaged(str(problem).removeprefix("ZSTD decompress failed: ")) from problem

    def _check_size(self) -> None:
        most, ratio = self._limits.max_unpacked_bytes, self._limits.max_expansion
        if self.bytes_out > most:
            raise SourceError(
                f"Reading the intake failed: its {self.packing} data unpacks to more than {most} bytes; send it in "
                "parts, or have the setting SCORELINE_MAX_UNPACKED_BYTES raised."
            )
        if self.bytes_out > max(_FREE_BYTES, ratio * self.bytes_in):
            raise SourceError(
                f"Reading the intake failed: its {self.packing} data unpacks to more than {ratio} times its size, as "
                "no ordinary table does; send it unpacked, or have the setting SCORELINE_MAX_EXPANSION raised."
            )

    def _damaged(self, cause: str) -> SourceError:
        return SourceError(
            f"Reading the intake failed: its {self.packing} data is damaged near byte {self.bytes_in} ({cause}); "
            "pack and send the file again."
        )

    def _cut(self) -> SourceError:
        return SourceError(
            f"Reading the intake failed: its {self.packing} data ends too early, after {self.bytes_in} bytes; "
            "send the whole file again."
        )


class _Slices:
    """An iterator of bytes as a file, as Arrow wants it."""

    closed = False

    def __init__(self, slices: Iterator[bytes]) -> None:
        self._slices = slices
        self._left = b""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        if not self._left:
            self._left = next(self._slices, b"")
        some, self._left = self._left[:size], self._left[size:]
        return some

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def close(self) -> None:
        """Nothing is held open."""
