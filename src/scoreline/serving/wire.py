"""Messages between the front and a model process: small JSON objects over a stream socket.

A message is four bytes of length (big endian) and UTF-8 JSON. What is large, a batch and its answer, lies in memory
that both share (`shared.Shared`), whose descriptor travels beside the message. So no write ever blocks, and the next
request can lie in the socket while the process still works on the one before.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator

from scoreline.types import JsonObject

_LENGTH = struct.Struct("!I")
MAX_MESSAGE = 16 << 20


def pack(message: JsonObject) -> bytes:
    """One message as bytes."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_MESSAGE:
        raise ValueError(f"a message of {len(body)} bytes is longer than {MAX_MESSAGE}")
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Cuts a stream of bytes into messages, whatever the pieces it comes in."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[JsonObject]:
        """Yield every message that `data` completes. Raises ValueError on what cannot be a message."""
        self._held += data
        while len(self._held) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._held)
            if length > MAX_MESSAGE:
                raise ValueError(f"a message announces {length} bytes, more than {MAX_MESSAGE}")
            end = _LENGTH.size + length
            if len(self._held) < end:
                return
            body = bytes(self._held[_LENGTH.size : end])
            del self._held[:end]
            message = json.loads(body)
            if not isinstance(message, dict):
                raise ValueError("a message is not a JSON object")  # noqa: TRY004 -- one error for all broken streams
            yield message


def receive(sock: socket.socket) -> tuple[JsonObject, int | None] | None:
    """Block for one message and the descriptor that came with it; None once the other side is gone."""
    head, descriptors, _flags, _address = socket.recv_fds(sock, _LENGTH.size, 1)
    descriptor = descriptors[0] if descriptors else None
    try:
        head += _exactly(sock, _LENGTH.size - len(head))
        if len(head) < _LENGTH.size:
            return None
        body = _exactly(sock, _LENGTH.unpack(head)[0])
        message = json.loads(body) if body else None
    except BaseException:
        _close(descriptor)
        raise
    if not isinstance(message, dict):
        _close(descriptor)
        return None
    return message, descriptor


def _exactly(sock: socket.socket, size: int) -> bytes:
    """`size` bytes, or what came before the other side went away."""
    held = bytearray()
    while len(held) < size:
        piece = sock.recv(size - len(held))
        if not piece:
            return b""
        held += piece
    return bytes(held)


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
