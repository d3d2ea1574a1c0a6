"""The connections of one client of a vendor's library: where they may lead, and how they are ended from outside.

The libraries all connect by urllib3; its pools are told here what class of connections to make.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

from scoreline.errors import Forbidden

if TYPE_CHECKING:
    from scoreline.network import Reach


class Wire:
    """The sockets of a client. Closing a client does not wake a thread that waits in one; shutting them down does."""

    def __init__(self, reach: Reach | None, what: str) -> None:
        """Let connections lead within `reach`, None for anywhere; `what` begins the sentence of a refusal."""
        self.refused: Forbidden | None = None
        self._reach = reach
        self._what = what
        self._lock = threading.Lock()
        self._closed = False
        self._open: set[socket.socket] = set()

    @property
    def free(self) -> bool:
        """Whether connections may lead anywhere; only then may proxies be used, which hide where they lead."""
        return self._reach is None

    def pool(self, base: Any) -> Any:
        """Return a class of pools like `base` whose connections are this wire's."""
        wire = self

        class Connection(base.ConnectionCls):  # type: ignore[misc]  # a class that is known at run time only
            def _new_conn(self) -> socket.socket:
                return wire.connect(self, super()._new_conn)

        return type(base.__name__, (base,), {"ConnectionCls": Connection})

    def connect(self, connection: Any, new: Any) -> socket.socket:
        """Return a new socket to what the connection's host was looked up to. Raises Forbidden, and what `new` does."""
        if self._reach is None:
            return self._kept(new())
        host = connection._dns_host  # noqa: SLF001 -- the library has no other place for an address
        try:
            addresses = self._reach.resolve(host, connection.port, self._what)
        except Forbidden as error:
            self.refused = error
            raise
        try:
            for address in addresses[:-1]:
                connection._dns_host = address  # noqa: SLF001 -- as above
                with contextlib.suppress(Exception):
                    return self._kept(new())
            connection._dns_host = addresses[-1]  # noqa: SLF001 -- as above
            return self._kept(new())
        finally:
            connection._dns_host = host  # noqa: SLF001 -- names in certificates are checked against it

    def shut(self) -> None:
        """End everything that is in flight or begins later."""
        with self._lock:
            self._closed = True
            for sock in self._open:
                _shut(sock)
            self._open.clear()

    def _kept(self, sock: socket.socket) -> socket.socket:
        with self._lock:
            self._open = {known for known in self._open if known.fileno() >= 0} | {sock}
            if self._closed:
                _shut(sock)
        return sock


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        sock.shutdown(socket.SHUT_RDWR)
