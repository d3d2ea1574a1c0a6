"""The API as a process: uvicorn with httptools, and uvloop where there is one."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import uvicorn
from fastapi import FastAPI

from scoreline import logs
from scoreline.api.app import create_app
from scoreline.connection import Protocol
from scoreline.errors import SetupError
from scoreline.settings import Settings
from scoreline.spool import spool_of
from scoreline.store import Store

_GRACE_SECONDS = 5  # for requests under way when the process goes down
_KEEP_ALIVE_SECONDS = 30
_SPOOL_SECONDS = 60.0  # that clients wait for a spool that does not answer
_BACKLOG = 512
# What uvicorn says about a connection that is broken on purpose, or ended at the end of the grace.
_ON_PURPOSE = ("ASGI callable returned without", "Cancel %s running", "Exception in ASGI application")
_log = logging.getLogger(__name__)


def serve(
    settings: Settings,
    *,
    stop: threading.Event | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the API until `stop` is set, or SIGINT or SIGTERM comes (in the main thread); then return.

    ready: called with the address, for instance `http://127.0.0.1:8080`, once requests are answered. Downloads under
    way break off at the end, uploads get a few seconds. Raises SetupError when database, spool or port cannot be used.
    """
    logs.configure(settings, "api")
    store = Store(settings.store_url)
    try:
        store.migrate()
        spool = spool_of(settings, patience=min(settings.patience_seconds, _SPOOL_SECONDS))
        spool.check()
        serve_app(create_app(settings, store, spool), settings.host, settings.port, stop=stop, ready=ready)
    finally:
        store.dispose()


def serve_app(
    app: FastAPI,
    host: str,
    port: int,
    *,
    stop: threading.Event | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Do what `serve` does with an application that is at hand. Raises SetupError when the port cannot be used."""
    _quieten()
    with _listen(host, port) as listener:
        server = _Server(_config(app), stop or threading.Event(), app.state.installation.closing)
        server.on_ready = lambda: _say_ready(app, host, listener, ready)
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """A uvicorn server that is stopped from outside and leaves the process alive after a signal."""

    def __init__(self, config: uvicorn.Config, stop: threading.Event, closing: threading.Event) -> None:
        super().__init__(config)
        self._stop = stop
        self._closing = closing
        self.on_ready: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self.on_ready()

    async def on_tick(self, counter: int) -> bool:
        if self._stop.is_set():
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._closing.set()
        await super().shutdown(sockets=sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals as uvicorn does, but do not raise them again: the caller has more to close."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        loop="uvloop" if find_spec("uvloop") else "asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # `urls` reads them
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _listen(host: str, port: int) -> socket.socket:
    """Open the socket, so that a port that is taken is said in words."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise SetupError(
            f"The API cannot listen on {host}:{port} ({reason}): choose another --host or --port, or end what uses it."
        ) from exc


def _say_ready(app: FastAPI, host: str, listener: socket.socket, ready: Callable[[str], None] | None) -> None:
    port = listener.getsockname()[1]
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    app.state.installation.presence.answers_at(place)
    address = f"http://{place}"
    _log.info("the API answers at %s", address)
    if ready is not None:
        ready(address)


def _quieten() -> None:
    """Keep uvicorn's own lines out of the log, except for those that need somebody to look."""
    logger = logging.getLogger("uvicorn.error")
    logger.setLevel(logging.WARNING)
    if not any(isinstance(known, _Unwanted) for known in logger.filters):
        logger.addFilter(_Unwanted())


class _Unwanted(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Drop what is said about connections that are broken on purpose; the application logs its own errors."""
        return not str(record.msg).startswith(_ON_PURPOSE)
